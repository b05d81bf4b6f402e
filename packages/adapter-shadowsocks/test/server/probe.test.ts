// What somebody without the password sees of a Shadowsocks port: the same whatever is sent.
// Read first: SIP022 (detection prevention), "How China Detects and Blocks Shadowsocks" (IMC 2020), "Detecting Probe-resistant Proxies" (NDSS 2020).
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { CIPHERS, type Ciphers, encodeSocksAddress, STREAM_METHODS, type Stream } from '@nekit/core';
import { allCiphers, collect, settle, testContext, within } from '@nekit/core/testing';
import t from 'tap';
import { clientCodec, METHODS, type Secret } from '../../dist/method.js';
import { Strangers } from '../../dist/server/strangers.js';
import { type Request2022, request2022, requestAead, TARGET } from './craft.js';
import { assertClean, listenInMemory, type MemoryListener, type Prober, type Seen, secretFor } from './listener.js';

const key = (length: number, fill: number): string => Buffer.alloc(length, fill).toString('base64');

interface Server {
  readonly name: string;
  readonly cipher: string;
  readonly password: string;
  readonly users?: readonly { readonly username: string; readonly password: string }[];
  /** What a client of it has as its password. */
  readonly client: string;
}

const SERVERS: readonly Server[] = [
  { name: 'aes-256-gcm', cipher: 'aes-256-gcm', password: 'secret', client: 'secret' },
  { name: 'aes-128-gcm', cipher: 'aes-128-gcm', password: 'secret', client: 'secret' },
  { name: 'chacha20-ietf-poly1305', cipher: 'chacha20-ietf-poly1305', password: 'secret', client: 'secret' },
  { name: '2022-blake3-aes-256-gcm', cipher: '2022-blake3-aes-256-gcm', password: key(32, 1), client: key(32, 1) },
  { name: '2022-blake3-aes-128-gcm', cipher: '2022-blake3-aes-128-gcm', password: key(16, 1), client: key(16, 1) },
  { name: '2022-blake3-chacha20-poly1305', cipher: '2022-blake3-chacha20-poly1305', password: key(32, 1), client: key(32, 1) },
  {
    name: '2022-blake3-aes-256-gcm with users',
    cipher: '2022-blake3-aes-256-gcm',
    password: key(32, 1),
    users: [
      { username: 'ann', password: key(32, 2) },
      { username: 'bob', password: key(32, 3) },
    ],
    client: `${key(32, 1)}:${key(32, 3)}`,
  },
];

const HTTP = Buffer.from('GET / HTTP/1.1\r\nHost: example.com\r\nUser-Agent: curl/8\r\nAccept: */*\r\n\r\n');
/** A TLS 1.2 ClientHello's beginning, and then nothing that matters. */
const TLS = Buffer.concat([Buffer.from('16030100f5010000f10303', 'hex'), randomBytes(32), Buffer.from([32]), randomBytes(200)]);

interface Probe {
  readonly name: string;
  readonly bytes: Uint8Array;
  /** Written in pieces of this length. */
  readonly size?: number;
}

/** An address that SIP022's own parser lets through, and ours must not. */
const BAD_ADDRESSES: readonly (readonly [string, Uint8Array])[] = [
  ['an unknown address type', Uint8Array.of(2, 127, 0, 0, 1, 0, 80)],
  ['a one-time-auth flag', Uint8Array.of(0x11, 127, 0, 0, 1, 0, 80)],
  ['port 0', Uint8Array.of(1, 127, 0, 0, 1, 0, 0)],
  ['an empty name', Uint8Array.of(3, 0, 0, 80)],
  ['a name that is none', Buffer.concat([Uint8Array.of(3, 6), Buffer.from('a b\0c/'), Uint8Array.of(0, 80)])],
];

function everyLength(valid: () => Uint8Array): Probe[] {
  const { length } = valid();
  return Array.from({ length }, (_, cut) => ({ name: `cut to ${cut} bytes`, bytes: valid().subarray(0, cut) }));
}

function everyFlip(valid: () => Uint8Array, bits: readonly number[]): Probe[] {
  const { length } = valid();
  return Array.from({ length }, (_, at) => at).flatMap((at) =>
    bits.map((bit) => {
      const bytes = Uint8Array.from(valid());
      bytes[at] = (bytes[at] ?? 0) ^ (1 << bit);
      return { name: `bit ${bit} of byte ${at}`, bytes };
    }),
  );
}

function strangersProbes(): Probe[] {
  const lengths = [
    1, 7, 8, 15, 16, 17, 31, 32, 33, 42, 43, 44, 49, 50, 51, 58, 59, 60, 66, 67, 75, 76, 91, 92, 128, 221, 500, 1024, 4096, 16_500, 40_000, 66_000, 90_000,
  ];
  return [
    ...lengths.map((length) => ({ name: `${length} random bytes`, bytes: randomBytes(length) })),
    ...[49, 58, 91, 300].map((length) => ({ name: `${length} random bytes one by one`, bytes: randomBytes(length), size: 1 })),
    { name: '5,000 zeros', bytes: new Uint8Array(5_000) },
    { name: 'HTTP', bytes: HTTP },
    { name: 'TLS', bytes: TLS },
    { name: 'SSH', bytes: Buffer.from('SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n') },
    { name: 'SOCKS5', bytes: Buffer.from('05020002', 'hex') },
    { name: 'text line by line', bytes: Buffer.from('EHLO example.com\r\nMAIL FROM:<a@example.com>\r\n'), size: 18 },
  ];
}

function probes2022(ciphers: Ciphers, secret: Secret): Probe[] {
  const make = (request: Request2022): Uint8Array => request2022(ciphers, secret, request);
  const stranger = Buffer.alloc(secret.method.keyLength, 9);
  const named: [string, Request2022][] = [
    ...[-3_000_000_000, -3600, -32, 60, 3600, 3_000_000_000].map((late): [string, Request2022] => [`a timestamp ${late} s off`, { late }]),
    ...[1, 2, 0x80, 0xff].map((type): [string, Request2022] => [`type ${type}`, { type }]),
    ['neither payload nor padding', { payload: new Uint8Array(0) }],
    ['padding past the header', { paddingLength: 6, payload: Buffer.from('hello') }],
    ['padding far past the header', { paddingLength: 0xffff }],
    ['a header of no bytes', { variable: new Uint8Array(0) }],
    ['a header that ends in the address', { variable: encodeSocksAddress(TARGET).subarray(0, 9) }],
    ['a header that ends behind the address', { variable: encodeSocksAddress(TARGET) }],
    ['a header that ends in the padding length', { variable: Buffer.concat([encodeSocksAddress(TARGET), Uint8Array.of(0)]) }],
    ['more announced than sent', { length: 0xffff }],
    ['less announced than sent', { length: 3 }],
    ['nothing announced', { length: 0 }],
    ['a stranger’s key', { key: stranger }],
    ...BAD_ADDRESSES.map(([name, address]): [string, Request2022] => [name, { address }]),
  ];
  if (secret.keys.length > 1) {
    named.push(
      ['an unknown user', { identities: [stranger], key: stranger }],
      ['an unknown user’s name, a known one’s key', { identities: [stranger] }],
      ['a known user’s name, a stranger’s key', { key: stranger }],
      ['another user’s name', { identities: [Buffer.alloc(32, 2)] }],
      ['no identity header', { identities: [] }],
      ['two identity headers', { identities: [secret.keys[1] ?? stranger, secret.keys[1] ?? stranger] }],
      ['the listener’s own key', { identities: [], key: secret.keys[0] ?? stranger }],
    );
  }
  return named.map(([name, request]) => ({ name, bytes: make(request) }));
}

function probesAead(ciphers: Ciphers, secret: Secret): Probe[] {
  const address = encodeSocksAddress(TARGET);
  const make = (...chunks: Parameters<typeof requestAead>[2][number][]): Uint8Array => requestAead(ciphers, secret, chunks);
  return [
    { name: 'a length with reserved bits', bytes: make({ payload: address, length: 0x4000 | address.length }) },
    { name: 'a length of 0xffff', bytes: make({ payload: address, length: 0xffff }) },
    { name: 'more announced than sent', bytes: make({ payload: address, length: 0x3fff }) },
    { name: 'less announced than sent', bytes: make({ payload: address, length: 3 }) },
    { name: 'chunks without bytes', bytes: make({ payload: new Uint8Array(0) }, { payload: new Uint8Array(0) }) },
    { name: 'an address in pieces, not whole', bytes: make({ payload: address.subarray(0, 1) }, { payload: address.subarray(1, 9) }) },
    { name: 'an address in pieces, then a bad length', bytes: make({ payload: address.subarray(0, 5) }, { payload: address, length: 0xffff }) },
    { name: 'a good request and a bad chunk at once', bytes: make({ payload: address }, { payload: address, length: 0x4001 }) },
    ...BAD_ADDRESSES.map(([name, bytes]) => ({ name, bytes: make({ payload: bytes }) })),
  ];
}

/** One with everything that a probe needs. */
function validRequest(ciphers: Ciphers, secret: Secret): Uint8Array {
  return clientCodec(ciphers, secret, encodeSocksAddress(TARGET)).seal(Buffer.from('hello'));
}

/** Long enough for a reaction, if there were one. */
async function turns(): Promise<void> {
  for (let i = 0; i < 3; i++) await settle();
}

async function sendAll(listener: MemoryListener, probes: readonly Probe[], finish: boolean): Promise<Prober[]> {
  return Promise.all(
    probes.map(async ({ bytes, size }) => {
      const prober = listener.probe();
      await prober.send(bytes, size);
      if (finish) await prober.finish();
      return prober;
    }),
  );
}

function compare(probes: readonly Probe[], probers: readonly Prober[], expected: Seen): void {
  const others = probes.flatMap(({ name }, i) => {
    const seen = probers[i]?.seen;
    return JSON.stringify(seen) === JSON.stringify(expected) ? [] : [{ name, seen }];
  });
  assert.deepEqual(others, []);
}

for (const ciphers of allCiphers()) {
  const { kind } = ciphers;
  for (const server of SERVERS) {
    void t.test(`${server.name}, ${kind}: all probes see the same`, async (t) => {
      const listener = listenInMemory({ ciphers, ...server });
      const secret = secretFor(ciphers, server.cipher, server.client);
      const valid = (): Uint8Array => validRequest(ciphers, secret);

      // One good connection: its bytes, and the answer to it, are what is repeated.
      const recorded = valid();
      const good = listener.connect();
      await good.write([Uint8Array.from(recorded)]);
      const [answer] = await Promise.all([collect(good), good.closeWrite()]);
      assert.equal(listener.requests.length, 1);
      assert.ok(answer.length > 0);

      const flips = process.env.NEKIT_FULL === undefined ? [3] : [0, 1, 2, 3, 4, 5, 6, 7];
      const is2022 = secret.method.family === '2022';
      const groups: Readonly<Record<string, Probe[]>> = {
        'too short': everyLength(valid),
        altered: everyFlip(valid, flips),
        repeated: [
          { name: 'whole', bytes: recorded },
          { name: 'byte by byte', bytes: recorded, size: 1 },
          { name: 'with more behind it', bytes: Buffer.concat([recorded, randomBytes(500)]) },
          ...everyLength(() => recorded),
          ...everyFlip(() => recorded, [0]),
          { name: 'what we answered', bytes: answer },
        ],
        malformed: is2022 ? probes2022(ciphers, secret) : probesAead(ciphers, secret),
        'of others': strangersProbes(),
      };
      for (const [group, probes] of Object.entries(groups)) {
        await t.test(`${group}: ${probes.length} probes are drained and reset when the time is up`, async () => {
          const probers = await sendAll(listener, [{ name: 'nothing', bytes: new Uint8Array(0) }, ...probes], false);
          const all = [{ name: 'nothing' }, ...probes] as Probe[];
          await turns();
          compare(all, probers, { bytes: 0, end: 'open', at: null });
          await listener.clock.advance(59_900);
          compare(all, probers, { bytes: 0, end: 'open', at: null });
          // More bytes change nothing, in either state.
          await Promise.all(probers.map((prober) => prober.send(randomBytes(100))));
          await turns();
          compare(all, probers, { bytes: 0, end: 'open', at: null });
          await listener.clock.advance(200);
          compare(all, probers, { bytes: 0, end: 'reset', at: probers[0]?.seen.at ?? assert.fail() });
          assert.equal(listener.requests.length, 1);
          await assertClean(listener);
        });
        await t.test(`${group}: who says FIN gets FIN, at once`, async () => {
          const probers = await sendAll(listener, probes, true);
          await turns();
          compare(probes, probers, { bytes: 0, end: 'fin', at: 0 });
          assert.equal(listener.requests.length, 1);
          await assertClean(listener);
        });
      }

      await t.test('1,000 good connections afterwards', async () => {
        for (let i = 0; i < 1_000; i += 50) {
          await within(
            Promise.all(
              Array.from({ length: 50 }, async () => {
                const codec = clientCodec(ciphers, secret, encodeSocksAddress(TARGET));
                const stream = listener.connect();
                await stream.write([codec.seal(Buffer.from('hello'))]);
                const [back] = await Promise.all([collect(stream), stream.closeWrite()]);
                assert.equal(Buffer.from(codec.open(back)).toString(), 'hello');
              }),
            ),
          );
        }
        assert.equal(listener.requests.length, 1_001);
        assert.deepEqual(
          new Set(
            listener.requests.map(({ session }) => `${session.inboundType} ${session.user ?? '-'} ${session.destination.host}:${session.destination.port}`),
          ),
          new Set([`SHADOWSOCKS ${server.users === undefined ? '-' : 'bob'} target.example:443`]),
        );
        await assertClean(listener);
      });
    });
  }
}

void t.test('what we sent to one client is no request of another', async (t) => {
  for (const ciphers of allCiphers()) {
    for (const [cipher, method] of METHODS) {
      if (cipher === 'none') continue; // has nothing to tell connections apart by
      await t.test(`${cipher}, ${ciphers.kind}`, async () => {
        const password = method.family === '2022' ? key(method.keyLength, 1) : 'secret';
        const listener = listenInMemory({ ciphers, cipher, password });
        // A target that answers with what would be a request: the attacker may be the target.
        const codec = clientCodec(ciphers, secretFor(ciphers, cipher, password), encodeSocksAddress(TARGET));
        const stream = listener.connect();
        await stream.write([codec.seal(encodeSocksAddress({ host: '192.0.2.66', port: 80 }))]);
        const [answer] = await Promise.all([collect(stream), stream.closeWrite()]);
        assert.equal(Buffer.from(codec.open(answer)).length, 7);
        const prober = listener.probe();
        await prober.send(answer);
        await turns();
        assert.deepEqual(prober.seen, { bytes: 0, end: 'open', at: null });
        assert.equal(listener.requests.length, 1);
        if (method.family !== '2022') assert.equal(listener.failed.at(-1)?.code, 'SS_REPLAY');
        await prober.finish();
        await assertClean(listener);
      });
    }
  }

  await t.test('a codec knows its salt before it is used', () => {
    for (const ciphers of allCiphers()) {
      for (const [cipher, method] of METHODS) {
        const codec = clientCodec(
          ciphers,
          secretFor(ciphers, cipher, method.family === '2022' ? key(method.keyLength, 1) : 'secret'),
          encodeSocksAddress(TARGET),
        );
        const { salt } = codec;
        assert.deepEqual(codec.salt, salt);
        assert.deepEqual(Uint8Array.from(codec.seal(Buffer.from('x')).subarray(0, salt.length)), Uint8Array.from(salt));
        assert.equal(salt.length, method.family === 'stream' ? STREAM_METHODS[method.cipher].iv : method.keyLength);
      }
    }
    return Promise.resolve();
  });
});

void t.test('what the operator is told', async (t) => {
  const ciphers = testContext().context.get(CIPHERS);
  const server = SERVERS[6] ?? assert.fail();
  const listener = listenInMemory({ ciphers, ...server });
  const secret = secretFor(ciphers, server.cipher, server.client);
  let peers = 0;
  const told = async (bytes: Uint8Array): Promise<string> => {
    const prober = listener.probe(`192.0.2.${++peers}`);
    await prober.send(bytes);
    await prober.finish();
    await turns();
    const event = listener.failed.at(-1);
    assert.equal(event?.source.host, `192.0.2.${peers}`);
    assert.ok(!JSON.stringify(event).includes(key(32, 1)) && !JSON.stringify(event).includes('AQEB'), 'no key in it');
    return `${event?.code}: ${event?.message}`;
  };
  const valid = validRequest(ciphers, secret);
  const first = listener.probe('192.0.2.200');
  await first.send(valid);
  await first.finish();
  await turns();
  assert.equal(listener.failed.length, 0);
  assert.match(await told(randomBytes(100)), /^SS_AUTH: wrong password or cipher, an unknown user, or no Shadowsocks$/);
  assert.match(await told(request2022(ciphers, secret, { identities: [Buffer.alloc(32, 9)] })), /^SS_AUTH: /);
  assert.match(await told(valid), /^SS_REPLAY: somebody repeats a recorded connection$/);
  assert.match(await told(request2022(ciphers, secret, { late: -3600 })), /^SS_CLOCK: the client's clock differs by -3600 s/);
  assert.match(await told(request2022(ciphers, secret, { type: 1 })), /^SS_PROTOCOL: the first record is of the wrong type$/);
  assert.match(await told(valid.subarray(0, 20)), /^SS_PROTOCOL: the client left before its request was whole$/);

  await t.test('once a minute and peer', async () => {
    const before = listener.failed.length;
    const again = async (from: string): Promise<void> => {
      const prober = listener.probe(from);
      await prober.send(randomBytes(100));
      await prober.finish();
      await turns();
    };
    for (let i = 0; i < 20; i++) await again('192.0.2.250');
    assert.equal(listener.failed.length, before + 1);
    await listener.clock.advance(59_000);
    await again('192.0.2.250');
    assert.equal(listener.failed.length, before + 1);
    await listener.clock.advance(1_000);
    await again('192.0.2.250');
    assert.equal(listener.failed.length, before + 2);
    for (let i = 0; i < 1_100; i++) await again(`198.51.${i >> 8}.${i & 255}`); // more than are remembered
    assert.equal(listener.failed.length, before + 1_102);
  });

  await t.test('not of who only knocks', async () => {
    const before = listener.failed.length;
    const prober = listener.probe('203.0.113.1');
    await prober.finish();
    await turns();
    assert.equal(prober.seen.end, 'fin');
    assert.equal(listener.failed.length, before);
    await assertClean(listener);
  });
});

void t.test('clocks may differ by 30 s', async (t) => {
  for (const ciphers of allCiphers()) {
    for (const [offset, good] of [
      [0, true],
      [29, true],
      [30, true],
      [31, false],
      [-29, true],
      [-30, true],
      [-31, false],
    ] as const) {
      await t.test(`${offset} s, ${ciphers.kind}`, async () => {
        const listener = listenInMemory({ ciphers, cipher: '2022-blake3-aes-256-gcm', password: key(32, 1) });
        const spec = {
          kind: '2022',
          role: 'client',
          method: '2022-blake3-aes-256-gcm',
          keys: [Buffer.alloc(32, 1)],
          header: encodeSocksAddress(TARGET),
        } as const;
        for (;;) {
          // Both ends must look at their clocks within the same second.
          const second = Math.floor(Date.now() / 1000);
          const requests = listener.requests.length;
          const prober = listener.probe();
          await prober.send(ciphers.createCodec({ ...spec, clockOffset: offset }).seal(Buffer.from('x')));
          await settle();
          const taken = listener.requests.length > requests;
          await prober.finish();
          if (Math.floor(Date.now() / 1000) !== second) continue;
          assert.equal(taken, good);
          break;
        }
        if (!good) assert.equal(listener.failed.at(-1)?.code, 'SS_CLOCK');
        await assertClean(listener);
      });
    }
  }
});

void t.test('bounds', async (t) => {
  const ciphers = testContext().context.get(CIPHERS);

  await t.test('a flood is read up to a limit, and sees the same', async () => {
    const listener = listenInMemory({ ciphers, cipher: 'aes-256-gcm', password: 'secret' });
    const prober = listener.probe();
    let sent = 0;
    const flood = (async () => {
      for (; sent < 100; sent++) await prober.send(randomBytes(64 * 1024));
    })().catch(() => {});
    await turns();
    const read = sent;
    assert.ok(read >= 16 && read <= 18, `${read} blocks of 64 KiB were taken`);
    await listener.clock.advance(59_000);
    assert.equal(sent, read);
    assert.deepEqual(prober.seen, { bytes: 0, end: 'open', at: null });
    await listener.clock.advance(1_100);
    assert.equal(prober.seen.end, 'reset');
    await flood;
    await assertClean(listener);
  });

  await t.test('where too many are silent the oldest has to go, whatever it waits for', async () => {
    const { timers } = testContext();
    const strangers = new Strangers(timers, 60_000, 3);
    const listener = listenInMemory({ ciphers, cipher: 'aes-256-gcm', password: 'secret' });
    const aborted: number[] = [];
    const admitted = Array.from({ length: 5 }, (_, i) => {
      const stream = listener.connect();
      return strangers.admit({ ...streamFace(stream), abort: () => aborted.push(i) });
    });
    assert.deepEqual(aborted, [0, 1]);
    assert.equal(strangers.size, 3);
    strangers.cutAll();
    assert.deepEqual(aborted, [0, 1, 2, 3, 4]);
    for (const stranger of admitted) stranger.leave();
    assert.equal(strangers.size, 0);
    assert.equal(timers.size, 0);
    return Promise.resolve();
  });

  await t.test('a listener that stops lets go of all', async () => {
    const listener = listenInMemory({ ciphers, cipher: 'aes-256-gcm', password: 'secret' });
    const probers = await sendAll(
      listener,
      [
        { name: 'bad', bytes: randomBytes(100) },
        { name: 'short', bytes: randomBytes(3) },
        { name: 'none', bytes: new Uint8Array(0) },
      ],
      false,
    );
    await turns();
    listener.protocol.strangers.cutAll();
    await turns();
    for (const { seen } of probers) assert.equal(seen.end, 'reset');
    await assertClean(listener);
  });

  await t.test('a filter without room refuses, in the same way', async () => {
    const listener = listenInMemory({
      ciphers,
      cipher: '2022-blake3-aes-128-gcm',
      password: key(16, 1),
      filter: () => ({ admit: () => 'full', record: () => {}, size: 0, footprint: 0 }),
    });
    const prober = listener.probe();
    await prober.send(validRequest(ciphers, secretFor(ciphers, '2022-blake3-aes-128-gcm', key(16, 1))));
    await turns();
    assert.deepEqual(prober.seen, { bytes: 0, end: 'open', at: null });
    assert.equal(listener.failed.at(-1)?.code, 'SS_BUSY');
    await prober.finish();
    await turns();
    assert.equal(prober.seen.end, 'fin');
    await assertClean(listener);
  });
});

/** The methods of a stream that a stranger's holder may call. */
function streamFace(stream: Stream): Stream {
  return {
    read: () => stream.read(),
    write: (chunks) => stream.write(chunks),
    closeWrite: () => stream.closeWrite(),
    abort: (reason) => stream.abort(reason),
  };
}
