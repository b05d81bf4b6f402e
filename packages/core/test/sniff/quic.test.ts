// QUIC: the vectors of RFC 9001 and RFC 9369, and hellos in every arrangement that clients make of them.
import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { ClientInitials } from '../../dist/sniff/quic/client-initials.js';
import { clientInitialKeys, QUIC_VERSIONS } from '../../dist/sniff/quic/initial-keys.js';
import { cryptoFrame, helloFor, initialPacket, OUTER_ECH, uint, VERSION_1, VERSION_2, varint } from './client-hellos.js';

const ID = Buffer.from('8394c8f03e515708', 'hex');

/** The CRYPTO frame of RFC 9001 appendix A.2 and RFC 9369 appendix A.2. */
const RFC_FRAME = Buffer.from(
  '060040f1010000ed0303ebf8fa56f12939b9584a3896472ec40bb863cfd3e86804fe3a47f06a2b69484c00000413011302010000c000000010000e00000b657861' +
    '6d706c652e636f6dff01000100000a00080006001d0017001800100007000504616c706e000500050100000000003300260024001d00209370b2c9caa47fbabaf4' +
    '559fedba753de171fa71f50f1ce15d43e994ec74d748002b0003020304000d0010000e0403050306030203080408050806002d00020101001c0002400100390032' +
    '0408ffffffffffffffff05048000ffff07048000ffff0801100104800075300901100f088394c8f03e51570806048000ffff',
  'hex',
);

/** Of appendix A.1, and of the sealed packet in A.2 its beginning and its tag, which holds for all of it. */
const VECTORS = [
  {
    name: 'RFC 9001',
    version: VERSION_1,
    keys: ['1f369613dd76d5467730efcbe3b1a22d', 'fa044b2f42a3fd3b46fb255c', '9f50449e04a0e810283a1e9933adedd2'],
    first: 'c000000001088394c8f03e5157080000449e7b9aec34d1b1c98dd7689fb8ec11',
    tag: 'e221af44860018ab0856972e194cd934',
  },
  {
    name: 'RFC 9369',
    version: VERSION_2,
    keys: ['8b1a0bc121284290a29e0971b5cd045d', '91f73e2351d8fa91660e909f', '45b95e15235d6f45a6b19cbcb0294ba9'],
    first: 'd76b3343cf088394c8f03e5157080000449ea0c95e82ffe67b6abcdb4298b485',
    tag: 'a18b2faa745b6fe189cf772a9f84cbfc',
  },
] as const;

for (const { name, version, keys, first, tag } of VECTORS) {
  void t.test(`${name}: the keys and the client's Initial of its appendix`, () => {
    const known = QUIC_VERSIONS.find(({ number }) => number === version.number);
    assert.ok(known !== undefined);
    const { key, iv, hp } = clientInitialKeys(known, ID);
    assert.deepEqual(
      [key, iv, hp].map((bytes) => Buffer.from(bytes).toString('hex')),
      keys,
    );
    const packet = initialPacket(RFC_FRAME, { version, destinationId: ID, sourceId: Buffer.alloc(0), packetNumber: 2, paddedTo: 1162 });
    assert.equal(packet.length, 1200);
    assert.equal(packet.subarray(0, 32).toString('hex'), first);
    assert.equal(packet.subarray(-16).toString('hex'), tag);
    assert.deepEqual(new ClientInitials().add(packet), { host: 'example.com', ech: false });
    return Promise.resolve();
  });
}

const hello = helloFor('www.example.com');
const whole = cryptoFrame(hello, 0, hello.length);

function sniff(...datagrams: readonly Uint8Array[]): unknown {
  const initials = new ClientInitials();
  let finding: unknown = 'nothing was given';
  for (const datagram of datagrams) finding = initials.add(datagram);
  return finding;
}

void t.test('where the hello is', async (t) => {
  const found = { host: 'www.example.com', ech: false };
  for (const version of [VERSION_1, VERSION_2]) {
    const packet = (frames: Uint8Array, packetNumber = 0, paddedTo = 1162): Buffer => initialPacket(frames, { version, packetNumber, paddedTo });
    const half = Math.floor(hello.length / 2);
    const [one, two] = [cryptoFrame(hello, 0, half), cryptoFrame(hello, half, hello.length)];
    await t.test(`version ${version.number.toString(16)}`, () => {
      assert.deepEqual(sniff(packet(whole)), found);
      assert.deepEqual(sniff(packet(Buffer.concat([two, uint(1, 1), Buffer.alloc(3), one]))), found, 'frames in another order, PING and PADDING between');
      assert.deepEqual(sniff(packet(one, 0), packet(two, 1)), found, 'two datagrams');
      assert.deepEqual(sniff(packet(two, 1), packet(one, 0)), found, 'in another order');
      assert.deepEqual(sniff(packet(one, 0), packet(one, 2), packet(two, 1)), found, 'one of them twice');
      assert.deepEqual(sniff(Buffer.concat([packet(one, 0, 0), packet(two, 1)])), found, 'coalesced');
      assert.deepEqual(sniff(Buffer.concat([packet(whole), Buffer.alloc(50)])), found, 'padding behind the packet');
      assert.equal(sniff(packet(one)), 'more');
      assert.equal(sniff(packet(two)), 'more');
      const ack = Buffer.concat([uint(2, 1), varint(5), varint(0), varint(1), varint(2), varint(0), varint(1)]);
      const ackEcn = Buffer.concat([uint(3, 1), varint(5), varint(300), varint(0), varint(5), varint(1), varint(2), varint(70_000)]);
      assert.deepEqual(sniff(packet(Buffer.concat([ack, ackEcn, whole]))), found);
      for (const numberLength of [1, 2, 3, 4]) assert.deepEqual(sniff(initialPacket(whole, { version, numberLength, packetNumber: 200 })), found);
      assert.deepEqual(sniff(initialPacket(whole, { version, token: Buffer.alloc(100, 3) })), found, 'with a token');
      assert.deepEqual(sniff(initialPacket(whole, { version, destinationId: Buffer.alloc(20, 4) })), found);
      return Promise.resolve();
    });
  }

  await t.test('0-RTT and Handshake packets are passed over, in front of and behind an Initial, and as datagrams of their own', () => {
    const half = 100;
    const one = initialPacket(cryptoFrame(hello, 0, half));
    const two = initialPacket(cryptoFrame(hello, half, hello.length), { packetNumber: 1 });
    const other = (type: number): Buffer =>
      Buffer.concat([uint(0xc0 | (type << 4), 1), uint(1, 4), uint(8, 1), ID, uint(0, 1), varint(30), Buffer.alloc(30, 6)]);
    assert.deepEqual(sniff(Buffer.concat([one, other(1)]), other(1), other(2), Buffer.concat([other(1), two])), found);
    return Promise.resolve();
  });

  await t.test('a hello with keys of 8 KiB', () => {
    const big = helloFor('pq.example.com', 8_000);
    const datagrams: Buffer[] = [];
    for (let at = 0; at < big.length; at += 1_000) datagrams.push(initialPacket(cryptoFrame(big, at, 1_000), { packetNumber: at / 1_000 }));
    assert.deepEqual(sniff(...datagrams.reverse()), { host: 'pq.example.com', ech: false });
    return Promise.resolve();
  });

  await t.test('an outer hello says that it is one', () => {
    const outer = helloFor('provider.example', 36, OUTER_ECH);
    assert.deepEqual(sniff(initialPacket(cryptoFrame(outer, 0, outer.length))), { host: 'provider.example', ech: true });
    return Promise.resolve();
  });
});

void t.test('what is none', async (t) => {
  const good = initialPacket(whole, { paddedTo: 1162 });
  const changed = (at: number): Buffer => {
    const bytes = Buffer.from(good);
    bytes[at] = (bytes[at] ?? 0) ^ 1;
    return bytes;
  };
  const cases: [string, Uint8Array][] = [
    ['nothing', Buffer.alloc(0)],
    ['a short header', Buffer.concat([Buffer.from([0x40]), Buffer.alloc(40)])],
    ['another version', changed(4)],
    ['the id changed, and with it the keys', changed(6)],
    ['the payload changed', changed(200)],
    ['the tag changed', changed(good.length - 1)],
    ['cut', good.subarray(0, good.length - 1)],
    ['too short for a sample', initialPacket(Buffer.alloc(0), { numberLength: 1 })],
    ['a frame that an Initial must not have', initialPacket(Buffer.concat([uint(0x08, 1), Buffer.alloc(30)]))],
    ['CRYPTO beyond every hello', initialPacket(cryptoFrame(Buffer.alloc(20_000), 16_380, 100))],
    ['CRYPTO longer than its packet', initialPacket(Buffer.concat([uint(6, 1), varint(0), varint(500), Buffer.alloc(50)]))],
    ['no ClientHello', initialPacket(cryptoFrame(Buffer.alloc(100, 2), 0, 100))],
    ['a hello of an address', initialPacket(Buffer.concat([cryptoFrame(helloFor('192.0.2.1'), 0, 1_000)]))],
    ['a Retry', Buffer.concat([uint(0xf0, 1), uint(1, 4), uint(8, 1), ID, uint(0, 1), Buffer.alloc(40)])],
    ['an id of 21 bytes', initialPacket(whole, { destinationId: Buffer.alloc(21) })],
    ['DTLS', Buffer.concat([Buffer.from([22, 0xfe, 0xfd]), Buffer.alloc(100)])],
    ['a DNS question', Buffer.from('123401000001000000000000076578616d706c6503636f6d0000010001', 'hex')],
  ];
  for (const [what, bytes] of cases)
    await t.test(what, () => {
      assert.equal(sniff(bytes), 'none');
      return Promise.resolve();
    });
});

void t.test('whatever comes: an answer, and no throw', async (t) => {
  const runs = { numRuns: process.env.NEKIT_FULL === '1' ? 20_000 : 500 };
  const good = initialPacket(whole, { paddedTo: 1162 });
  await t.test('random datagrams', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 1_500, size: 'max' }), { maxLength: 4 }), (datagrams) => {
        for (const finding of datagrams.map((datagram) => sniff(datagram))) assert.ok(finding === 'none' || finding === 'more');
      }),
      runs,
    );
    return Promise.resolve();
  });
  await t.test('an Initial with bytes changed, and cut', () => {
    const change = fc.tuple(fc.nat(good.length - 1), fc.nat(255));
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 4 }), fc.nat(good.length), (changes, length) => {
        const bytes = Buffer.from(good);
        for (const [at, value] of changes) bytes[at] = value;
        const finding = sniff(bytes.subarray(0, length));
        assert.ok(finding === 'none' || finding === 'more' || typeof finding === 'object');
      }),
      runs,
    );
    return Promise.resolve();
  });
  await t.test('sealed frames of any content', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200, size: 'max' }), (frames) => {
        const finding = sniff(initialPacket(frames, { paddedTo: 32 }));
        assert.ok(finding === 'none' || finding === 'more');
      }),
      runs,
    );
    return Promise.resolve();
  });
  await t.test('a hello cut anywhere, its parts in any order', () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.integer({ min: 1, max: hello.length - 1 }), { maxLength: 8 }), fc.infiniteStream(fc.nat()), (cuts, order) => {
        const ends = [...cuts.sort((a, b) => a - b), hello.length];
        const parts = ends.map((end, i) => cryptoFrame(hello, ends[i - 1] ?? 0, end - (ends[i - 1] ?? 0)));
        const mixed = parts.map((part) => ({ part, rank: order.next().value as number })).sort((a, b) => a.rank - b.rank);
        assert.deepEqual(sniff(...mixed.map(({ part }, i) => initialPacket(part, { packetNumber: i, paddedTo: 40 }))), { host: 'www.example.com', ech: false });
      }),
      { numRuns: process.env.NEKIT_FULL === '1' ? 2_000 : 100 },
    );
    return Promise.resolve();
  });
});
