// One suite over both implementations, and each against the other.
import assert from 'node:assert/strict';
import { createCipheriv, createDecipheriv, createHash, hkdfSync, randomBytes } from 'node:crypto';
import fc from 'fast-check';
import t from 'tap';
import { addonCiphers } from '../../dist/native/addon-ciphers.js';
import { AEAD_METHODS, CHUNK_OVERHEAD, type Ciphers, type CodecSpec, MAX_PAYLOAD, METHODS_2022, STREAM_METHODS } from '../../dist/native/cipher.js';
import { fallbackCiphers } from '../../dist/native/fallback/ciphers.js';
import { findAddon } from '../../dist/native/load.js';
import { BLAKE3_CONTEXT, BLAKE3_VECTORS } from './cipher-blake3-vectors.js';
import { AEAD_VECTORS, HKDF_SHA1_VECTORS, STREAM_VECTORS } from './cipher-vectors.js';

const RUNS = process.env.NEKIT_FULL === undefined ? 25 : 300;

const native = addonCiphers(findAddon().addon);
const typescript = fallbackCiphers();
const both = native === null ? [typescript] : [typescript, native];

const bytes = (hex: string): Uint8Array => Uint8Array.from(Buffer.from(hex, 'hex'));
const hexOf = (array: Uint8Array): string => Buffer.from(array).toString('hex');
const text = (value: string): Uint8Array => Uint8Array.from(Buffer.from(value));
const isCode = (code: string): { code: string } => ({ code });
function keysOf<K extends string>(record: Readonly<Record<K, unknown>>): K[] {
  return Object.keys(record) as K[];
}

/** An IPv4 address as SOCKS writes it. */
const ADDRESS = Uint8Array.of(1, 127, 0, 0, 1, 0, 80);

/** Deterministic bytes of any length, cheaper than fast-check's arrays. */
const message = (maxLength: number): fc.Arbitrary<Uint8Array> =>
  fc.tuple(fc.nat({ max: maxLength }), fc.integer({ min: 0, max: 255 })).map(([length, seed]) => Uint8Array.from({ length }, (_, i) => (i * 31 + seed) & 0xff));

/** Cuts `wire` at fractions of its length, repeated ones included. */
function cut(wire: Uint8Array, fractions: readonly number[]): Uint8Array[] {
  const at = [0, ...fractions.map((fraction) => Math.floor((fraction * wire.length) / 1000)), wire.length].sort((a, b) => a - b);
  return at.slice(1).map((end, i) => wire.slice(at[i], end));
}
const fractions = fc.array(fc.nat({ max: 1000 }), { maxLength: 6 });

function suite(ciphers: Ciphers): void {
  const sealWith = (method: keyof typeof AEAD_METHODS, key: Uint8Array, nonce: Uint8Array, plain: Uint8Array, aad?: Uint8Array): Uint8Array => {
    const out = new Uint8Array(plain.length + 16);
    assert.equal(ciphers.createAead(method, key).seal(nonce, plain, 0, plain.length, out, 0, aad), out.length);
    return out;
  };

  for (const { from, method, key, nonce, aad, plain, sealed } of AEAD_VECTORS) {
    t.test(`${ciphers.kind}: ${method}: ${from}`, async (t) => {
      t.equal(hexOf(sealWith(method, bytes(key), bytes(nonce), bytes(plain), bytes(aad))), sealed);
      const aead = ciphers.createAead(method, bytes(key));
      // In the middle of larger arrays, so that ranges count.
      const wire = new Uint8Array([9, 9, ...bytes(sealed), 9]);
      const out = new Uint8Array(plain.length / 2 + 3).fill(7);
      t.equal(aead.open(bytes(nonce), wire, 2, wire.length - 1, out, 1, bytes(aad)), plain.length / 2);
      t.equal(hexOf(out), `07${plain}0707`);
      for (const at of [2, wire.length - 2]) {
        const altered = Uint8Array.from(wire);
        altered[at] = (altered[at] ?? 0) ^ 1;
        out.fill(7);
        t.equal(aead.open(bytes(nonce), altered, 2, wire.length - 1, out, 1, bytes(aad)), -1);
        t.equal(hexOf(out), `07${'00'.repeat(plain.length / 2)}0707`, 'what is not authentic is not shown');
      }
      t.equal(aead.open(bytes(nonce), wire, 2, 10, out, 0), -1, 'shorter than a tag');
      t.equal(aead.open(bytes(nonce), wire, 2, wire.length - 1, out, 1), -1, 'without the aad');
    });
  }

  for (const method of keysOf(AEAD_METHODS)) {
    t.test(`${ciphers.kind}: ${method}: datagrams, each with a key of its own`, async (t) => {
      const { key: length, nonce } = AEAD_METHODS[method];
      const key = Uint8Array.from({ length }, (_, i) => i);
      const packets = ciphers.createPacketAead(method, key);
      const plain = text('a datagram');
      const overhead = length + 16;
      const seal = (): Uint8Array => {
        const out = new Uint8Array(plain.length + overhead + 2).fill(7);
        t.equal(packets.seal(plain, 0, plain.length, out, 1), plain.length + overhead);
        t.strictSame([out[0], out.at(-1)], [7, 7]);
        return out.slice(1, -1);
      };
      const packet = seal();
      const salt = packet.subarray(0, length);
      t.not(hexOf(seal().subarray(0, length)), hexOf(salt));
      // By the parts: SIP004 is a key by HKDF, and nonce 0.
      const aead = ciphers.createAead(method, ciphers.hkdfSha1(key, salt, text('ss-subkey'), length));
      const out = new Uint8Array(plain.length + 1);
      t.equal(aead.open(new Uint8Array(nonce), packet, length, packet.length, out, 0), plain.length);
      t.equal(hexOf(out.subarray(0, -1)), hexOf(plain));
      t.equal(packets.open(packet, 0, packet.length, out.fill(7), 1), plain.length);
      t.equal(hexOf(out), `07${hexOf(plain)}`);
      // Sealed and opened where it lies.
      const place = new Uint8Array(plain.length + overhead);
      place.set(plain, length);
      t.equal(packets.seal(place, length, length + plain.length, place, 0), place.length);
      t.equal(packets.open(place, 0, place.length, place, length), plain.length);
      t.equal(hexOf(place.subarray(length, -16)), hexOf(plain));
      for (const at of [0, length, packet.length - 1]) {
        const altered = Uint8Array.from(packet);
        altered[at] = (altered[at] ?? 0) ^ 1;
        t.equal(packets.open(altered, 0, altered.length, out.fill(7), 0), -1);
        t.equal(hexOf(out), `${'00'.repeat(plain.length)}07`, 'what is not authentic is not shown');
      }
      t.equal(packets.open(packet, 0, overhead - 1, out, 0), -1, 'too short');
      t.equal(packets.open(packet, 0, overhead, out, 0), -1);
      const bad = isCode('ERR_INVALID_ARG_VALUE');
      t.throws(() => ciphers.createPacketAead(method, new Uint8Array(length - 1)), bad);
      t.throws(() => packets.seal(plain, 0, plain.length, new Uint8Array(plain.length + overhead - 1), 0), bad);
      t.throws(() => packets.seal(plain, 0, plain.length + 1, place, 0), bad);
      t.throws(() => packets.open(packet, 0, packet.length, new Uint8Array(plain.length - 1), 0), bad);
    });
  }

  t.test(`${ciphers.kind}: lengths and ranges`, async (t) => {
    const bad = isCode('ERR_INVALID_ARG_VALUE');
    const aead = ciphers.createAead('aes-128-gcm', new Uint8Array(16));
    const nonce = new Uint8Array(12);
    const room = new Uint8Array(64);
    t.throws(() => ciphers.createAead('aes-128-gcm', new Uint8Array(15)), bad);
    t.throws(() => ciphers.createStreamCipher('aes-128-cfb', new Uint8Array(16), new Uint8Array(8), 'encrypt'), bad);
    t.throws(() => ciphers.createAesBlock(new Uint8Array(17), 'encrypt'), bad);
    t.throws(() => aead.seal(new Uint8Array(24), room, 0, 16, room, 0), bad);
    t.throws(() => aead.seal(nonce, room, 0, 49, room, 0), bad, 'no room for the tag');
    t.throws(() => aead.seal(nonce, room, 8, 4, room, 0), bad);
    t.throws(() => aead.seal(nonce, room, 0, 65, room, 0), bad);
    t.throws(() => aead.seal(nonce, room, -1, 4, room, 0), bad);
    t.throws(() => aead.seal(nonce, room, 0.5, 4, room, 0), bad);
    t.throws(() => aead.open(nonce, room, 0, 64, new Uint8Array(47), 0), bad);
    t.throws(() => aead.sealRun(nonce, room, 0, 16, 0, room, 0), bad);
    t.throws(() => aead.openRun(nonce, room, 0, 64, MAX_PAYLOAD, new Uint8Array(63), 0, new Uint32Array(2)), bad);
    t.throws(() => ciphers.hkdfSha1(nonce, nonce, nonce, 0), bad);
    t.throws(() => ciphers.createCodec({ kind: 'aead', method: 'aes-256-gcm', key: new Uint8Array(16) }), bad);
    t.throws(() => ciphers.createCodec({ kind: '2022', role: 'server', method: '2022-blake3-aes-256-gcm', keys: [new Uint8Array(16)] }), bad);
    t.throws(() => ciphers.createCodec({ kind: '2022', role: 'client', method: '2022-blake3-aes-256-gcm', keys: [new Uint8Array(32)] }), bad, 'no header');
    const empty = new Uint8Array(16);
    t.equal(aead.seal(nonce, new Uint8Array(0), 0, 0, empty, 0), 16);
    t.equal(aead.open(nonce, empty, 0, 16, new Uint8Array(0), 0), 0);
  });

  for (const { from, method, key, iv, plain, sealed } of STREAM_VECTORS) {
    t.test(`${ciphers.kind}: ${method}: ${from}`, async (t) => {
      for (const step of [plain.length / 2, 16, 7, 1]) {
        const out = bytes(plain);
        const encrypt = ciphers.createStreamCipher(method, bytes(key), bytes(iv), 'encrypt');
        for (let at = 0; at < out.length; at += step) encrypt.process(out, at, Math.min(at + step, out.length), out, at);
        t.equal(hexOf(out), sealed, `in place, ${step} at a time`);
        const decrypt = ciphers.createStreamCipher(method, bytes(key), bytes(iv), 'decrypt');
        for (let at = 0; at < out.length; at += step) decrypt.process(out, at, Math.min(at + step, out.length), out, at);
        t.equal(hexOf(out), plain, `and back`);
      }
    });
  }

  t.test(`${ciphers.kind}: keys`, async (t) => {
    for (const [key, salt, info, out] of HKDF_SHA1_VECTORS) t.equal(hexOf(ciphers.hkdfSha1(bytes(key), bytes(salt), bytes(info), out.length / 2)), out);
    // openssl enc -aes-256-cfb -md md5 -nosalt -k barfoo! -P
    t.equal(hexOf(ciphers.bytesToKey(text('barfoo!'), 32)), BARFOO);
    t.equal(hexOf(ciphers.bytesToKey(text('barfoo!'), 24)), BARFOO.slice(0, 48));
    for (const [length, hash, derived] of BLAKE3_VECTORS) {
      const input = Uint8Array.from({ length }, (_, i) => i % 251);
      t.equal(hexOf(ciphers.blake3(input, 32)), hash, `${length}`);
      t.equal(hexOf(ciphers.blake3DeriveKey(BLAKE3_CONTEXT, input, 32)), derived, `${length}`);
    }
    // Zmax0/urban-spork, AEAD2022TestCase.
    const material = Buffer.concat([
      Buffer.from('Lc3tTx0BY6ZJ/fCwOx3JvF0I/anhwJBO5p2+FA5Vce4=', 'base64'),
      Buffer.from('3oFO0VyLyGI4nFN0M9P+62vPND/L6v8IingaPJWTbJA=', 'base64'),
    ]);
    t.equal(
      Buffer.from(ciphers.blake3DeriveKey('shadowsocks 2022 session subkey', material, 32)).toString('base64'),
      'EdNE+4U8dVnHT0+poAFDK2bdlwfrHT61sUNr9WYPh+E=',
    );
    const assistant = text('Personal search-enabled assistant for programmers');
    t.equal(
      Buffer.from(ciphers.blake3DeriveKey('shadowsocks 2022 identity subkey', assistant, 32)).toString('base64'),
      'nb91ZIjdNzFcPmGRS3Lg7m+muVqat549+RSDluyVN4c=',
    );
  });

  t.test(`${ciphers.kind}: rc4-md5 and single AES blocks`, async (t) => {
    // The key stream of RFC 6229 needs a key of our choice; MD5 stands in front, so the oracle is written out: RC4 of MD5(key, iv).
    const key = bytes('000102030405060708090a0b0c0d0e0f');
    const out = new Uint8Array(64);
    ciphers.createStreamCipher('rc4-md5', key, key, 'encrypt').process(out, 0, 64, out, 0);
    t.equal(hexOf(out), hexOf(plainRc4(createHash('md5').update(key).update(key).digest(), 64)));
    for (const length of [16, 24, 32]) {
      const block = randomBytes(20);
      const ecb = createCipheriv(`aes-${length * 8}-ecb`, bytes('42'.repeat(length)), null).setAutoPadding(false);
      const expected = Buffer.concat([block.subarray(0, 2), ecb.update(block.subarray(2, 18)), block.subarray(18)]);
      const copy = Uint8Array.from(block);
      ciphers.createAesBlock(bytes('42'.repeat(length)), 'encrypt').process(copy, 2);
      t.equal(hexOf(copy), hexOf(expected));
      ciphers.createAesBlock(bytes('42'.repeat(length)), 'decrypt').process(copy, 2);
      t.equal(hexOf(copy), hexOf(block));
    }
  });

  t.test(`${ciphers.kind}: runs of chunks`, async (t) => {
    for (const method of keysOf(AEAD_METHODS)) {
      const aead = ciphers.createAead(method, randomBytes(AEAD_METHODS[method].key));
      const sealNonce = new Uint8Array(AEAD_METHODS[method].nonce);
      const openNonce = Uint8Array.from(sealNonce);
      const plain = randomBytes(2 * MAX_PAYLOAD + 100);
      const wire = new Uint8Array(plain.length + 3 * CHUNK_OVERHEAD);
      t.equal(aead.sealRun(sealNonce, plain, 0, plain.length, MAX_PAYLOAD, wire, 0), wire.length);
      t.equal(sealNonce[0], 6, 'two operations a chunk');
      const out = new Uint8Array(wire.length);
      const progress = new Uint32Array(2);
      // All but a byte: the last chunk is left, and so is its nonce.
      aead.openRun(openNonce, wire, 0, wire.length - 1, MAX_PAYLOAD, out, 0, progress);
      const first = 2 * (MAX_PAYLOAD + CHUNK_OVERHEAD);
      t.strictSame([...progress, openNonce[0]], [first, 2 * MAX_PAYLOAD, 4]);
      aead.openRun(openNonce, wire, first, wire.length, MAX_PAYLOAD, out, 2 * MAX_PAYLOAD, progress);
      t.strictSame([...progress], [100 + CHUNK_OVERHEAD, 100]);
      t.ok(Buffer.compare(out.subarray(0, plain.length), plain) === 0);
      t.throws(() => aead.openRun(new Uint8Array(openNonce.length), wire, 0, wire.length, 100, out, 0, progress), isCode('CIPHER_PROTOCOL'), 'too long');
      wire[first + 20] = (wire[first + 20] ?? 0) ^ 1;
      openNonce.fill(0);
      t.throws(() => aead.openRun(openNonce, wire, 0, wire.length, MAX_PAYLOAD, out, 0, progress), isCode('CIPHER_AUTH'));
      t.strictSame([...progress, openNonce[0]], [first, 2 * MAX_PAYLOAD, 4], 'what came before the bad chunk is told');
    }
  });

  t.test(`${ciphers.kind}: a counter never comes round`, async (t) => {
    const aead = ciphers.createAead('aes-128-gcm', new Uint8Array(16));
    const nonce = bytes(`fdffffffffffffff00000000`);
    const wire = new Uint8Array(100);
    t.equal(aead.sealRun(nonce, text('a'), 0, 1, MAX_PAYLOAD, wire, 0), 1 + CHUNK_OVERHEAD);
    t.equal(hexOf(nonce), 'ffffffffffffffff00000000');
    t.throws(() => aead.sealRun(nonce, text('a'), 0, 1, MAX_PAYLOAD, wire, 0), isCode('CIPHER_EXHAUSTED'));
    t.throws(() => aead.openRun(nonce, wire, 0, 50, MAX_PAYLOAD, new Uint8Array(50), 0, new Uint32Array(2)), isCode('CIPHER_EXHAUSTED'));
    t.equal(hexOf(nonce), 'ffffffffffffffff00000000');
  });

  t.test(`${ciphers.kind}: SIP022 requests made by hand`, async (t) => {
    const method = '2022-blake3-aes-128-gcm';
    const key = randomBytes(16);
    const request = (type: number, variable: Uint8Array, length = variable.length): Uint8Array => {
      const salt = randomBytes(16);
      const aead = ciphers.createAead('aes-128-gcm', ciphers.blake3DeriveKey('shadowsocks 2022 session subkey', Buffer.concat([key, salt]), 16));
      const fixed = Buffer.alloc(11);
      fixed[0] = type;
      fixed.writeBigUInt64BE(BigInt(Math.floor(Date.now() / 1000)), 1);
      fixed.writeUInt16BE(length, 9);
      const wire = new Uint8Array(16 + 27 + variable.length + 16);
      wire.set(salt);
      const nonce = new Uint8Array(12);
      aead.seal(nonce, fixed, 0, 11, wire, 16);
      nonce[0] = 1;
      aead.seal(nonce, variable, 0, variable.length, wire, 43);
      return wire;
    };
    const serve = () => ciphers.createCodec({ kind: '2022', role: 'server', method, keys: [key] });
    const good = Uint8Array.of(...ADDRESS, 0, 2, 9, 9, 5);
    t.equal(hexOf(serve().open(request(0, good))), `${hexOf(ADDRESS)}05`);
    const name = Uint8Array.of(3, 3, 97, 46, 98, 0, 80);
    t.equal(hexOf(serve().open(request(0, Uint8Array.of(...name, 0, 1, 9)))), hexOf(name));
    t.equal(serve().open(request(0, Uint8Array.of(4, ...new Uint8Array(18), 0, 0, 5))).length, 20);
    const bad = isCode('CIPHER_PROTOCOL');
    t.throws(() => serve().open(request(1, good)), bad, 'the type of a response');
    t.throws(() => serve().open(request(0, Uint8Array.of(...ADDRESS, 0, 0))), bad, 'neither payload nor padding');
    t.throws(() => serve().open(request(0, Uint8Array.of(...ADDRESS, 0, 3, 9, 9))), bad, 'padding past the end');
    t.throws(() => serve().open(request(0, ADDRESS)), bad, 'no padding length');
    for (const odd of [[], [1], [1, 2, 3], [2, ...ADDRESS], [3, 0, 0, 80, 0, 1, 9], [3, 200, 1, 2], [4, ...ADDRESS]])
      t.throws(() => serve().open(request(0, Uint8Array.from(odd))), bad, `address ${odd.join()}`);
    t.equal(serve().open(request(0, good, 0xffff)).length, 0, 'waits for a longer one');
  });

  t.test(`${ciphers.kind}: SIP004 on the wire, opened by hand`, async (t) => {
    const key = ciphers.bytesToKey(text('secret'), 32);
    const codec = ciphers.createCodec({ kind: 'aead', method: 'aes-256-gcm', key, header: ADDRESS });
    t.equal(codec.prologuePending, true);
    const wire = codec.seal(text('GET /'));
    t.equal(codec.prologuePending, false);
    t.equal(codec.sealPrologue().length, 0);
    const subkey = new Uint8Array(hkdfSync('sha1', key, wire.subarray(0, 32), 'ss-subkey', 32));
    const nonce = new Uint8Array(12);
    const opened = [wire.subarray(32, 50), wire.subarray(50)].map((record) => {
      const decipher = createDecipheriv('aes-256-gcm', subkey, nonce).setAuthTag(record.subarray(-16));
      const plain = Buffer.concat([decipher.update(record.subarray(0, -16)), decipher.final()]);
      nonce[0] = (nonce[0] ?? 0) + 1;
      return plain.toString('hex');
    });
    t.strictSame(opened, ['000c', `${hexOf(ADDRESS)}${hexOf(text('GET /'))}`], 'address and first bytes share a chunk');
    const server = ciphers.createCodec({ kind: 'aead', method: 'aes-256-gcm', key });
    t.equal(server.prologuePending, false, 'a server has nothing to say by itself');
    t.equal(server.sealPrologue().length, 0);
    t.throws(() => codec.open(wire), isCode('CIPHER_PROTOCOL'), 'our own stream played back');
  });
}

// openssl enc -aes-256-cfb -md md5 -nosalt -k barfoo! -P
const BARFOO = 'b3adc47839e047eb228870526dc8fc30b347287ffca3045dcea06b3fdf090acb';

/** RC4 as Wikipedia has it. */
function plainRc4(key: Uint8Array, length: number): Uint8Array {
  const s = Array.from({ length: 256 }, (_, i) => i);
  const at = (i: number): number => s[i % 256] ?? 0;
  const swap = (i: number, j: number): void => {
    [s[i], s[j]] = [at(j), at(i)];
  };
  for (let i = 0, j = 0; i < 256; i += 1) {
    j = (j + at(i) + (key[i % key.length] ?? 0)) % 256;
    swap(i, j);
  }
  let j = 0;
  return Uint8Array.from({ length }, (_, n) => {
    const i = (n + 1) % 256;
    j = (j + at(i)) % 256;
    swap(i, j);
    return at(at(i) + at(j));
  });
}

suite(typescript);
if (native === null) t.test('native', { skip: 'the addon is not built, or has no ciphers' }, async () => undefined);
else suite(native);

/** A client's and a server's spec for every method. */
const pairs: { readonly name: string; readonly client: CodecSpec; readonly server: CodecSpec }[] = [
  ...keysOf(AEAD_METHODS).map((method) => {
    const server = { kind: 'aead', method, key: randomBytes(AEAD_METHODS[method].key) } as const;
    return { name: method, client: { ...server, header: ADDRESS }, server };
  }),
  ...keysOf(STREAM_METHODS).map((method) => {
    const server = { kind: 'stream', method, key: randomBytes(STREAM_METHODS[method].key) } as const;
    return { name: method, client: { ...server, header: ADDRESS }, server };
  }),
  ...keysOf(METHODS_2022).map((method) => {
    const keys = [randomBytes(METHODS_2022[method].key)];
    return {
      name: method,
      client: { kind: '2022', role: 'client', method, keys, header: ADDRESS },
      server: { kind: '2022', role: 'server', method, keys },
    } as const;
  }),
];

function saltOf(spec: CodecSpec): number {
  return spec.kind === 'aead' ? AEAD_METHODS[spec.method].key : spec.kind === 'stream' ? STREAM_METHODS[spec.method].iv : METHODS_2022[spec.method].key;
}

for (const client of both) {
  for (const server of both) {
    t.test(`${client.kind} client, ${server.kind} server: any bytes in any fragmentation`, async () => {
      for (const pair of pairs) {
        fc.assert(
          fc.property(fc.array(message(40_000), { maxLength: 3 }), fc.array(message(70_000), { maxLength: 3 }), fractions, (up, down, cuts) => {
            const a = client.createCodec(pair.client);
            const b = server.createCodec(pair.server);
            const request = [...up.map((part) => a.seal(part)), a.sealPrologue()];
            const taken = cut(Buffer.concat(request), cuts).map((part) => b.open(part));
            assert.equal(Buffer.compare(Buffer.concat(taken), Buffer.concat([ADDRESS, ...up])), 0, pair.name);
            const back = cut(Buffer.concat(down.map((part) => b.seal(part))), cuts).map((part) => a.open(part));
            assert.equal(Buffer.compare(Buffer.concat(back), Buffer.concat(down)), 0, pair.name);
          }),
          { numRuns: Math.ceil(RUNS / 5) },
        );
      }
    });

    t.test(`${client.kind} client, ${server.kind} server: where a FIN cuts a record in two`, async () => {
      for (const pair of pairs) {
        const a = client.createCodec(pair.client);
        const b = server.createCodec(pair.server);
        const salt = saltOf(pair.client);
        for (const [from, to] of [
          [a, b],
          [b, a],
        ] as const) {
          const parts = ['one', 'two', 'three'].map((part) => from.seal(text(part)));
          const ends = new Set([0, ...parts.map((_, i) => Buffer.concat(parts.slice(0, i + 1)).length)]);
          if (pair.client.kind !== '2022') ends.add(salt);
          const wire = Buffer.concat(parts);
          for (let at = 0; at < wire.length; at += 1) {
            const whole = ends.has(at) || (pair.client.kind === 'stream' && at >= salt);
            assert.equal(to.midRecord, !whole, `${pair.name} at ${at}`);
            to.open(wire.subarray(at, at + 1));
          }
          assert.equal(to.midRecord, false, pair.name);
        }
        if (pair.client.kind === 'stream') continue;
        a.open(b.seal(text('four')).subarray(0, 5));
        assert.equal(a.midRecord, true);
        assert.throws(() => a.open(new Uint8Array(100)), isCode('CIPHER_AUTH'));
        assert.equal(a.midRecord, false, 'a dead codec has no say');
      }
    });

    t.test(`${client.kind} client, ${server.kind} server: wrong key, altered bytes`, async () => {
      for (const pair of pairs) {
        if (pair.client.kind === 'stream') continue; // no integrity
        const wire = client.createCodec(pair.client).seal(text('hello'));
        for (let at = 0; at < wire.length; at += 1) {
          const altered = Uint8Array.from(wire);
          altered[at] = (altered[at] ?? 0) ^ 0x10;
          const codec = server.createCodec(pair.server);
          assert.throws(() => codec.open(altered), isCode('CIPHER_AUTH'), `${pair.name} at ${at}`);
          assert.throws(() => codec.open(wire), isCode('CIPHER_AUTH'), 'it stays dead');
          assert.throws(() => codec.seal(wire), isCode('CIPHER_AUTH'));
          assert.equal(codec.prologuePending, false);
        }
      }
    });

    t.test(`${client.kind} client, ${server.kind} server: SIP022`, async (t) => {
      const keys = [randomBytes(32)];
      const method = '2022-blake3-aes-256-gcm';
      const start = (offset = 0) => client.createCodec({ kind: '2022', role: 'client', method, keys, header: ADDRESS, clockOffset: offset });
      const serve = (offset = 0, check?: (header: Uint8Array, salt: Uint8Array) => boolean) =>
        server.createCodec({ kind: '2022', role: 'server', method, keys, clockOffset: offset, ...(check === undefined ? {} : { check }) });
      for (const offset of [-29, 29]) t.equal(hexOf(serve().open(start(offset).seal(text('x')))), `${hexOf(ADDRESS)}78`);
      for (const offset of [-40, 40, 1e9])
        t.throws(() => serve().open(start(offset).seal(text('x'))), { code: 'CIPHER_CLOCK', message: /differs by -?(?:39|4[01]|40|9{9}|10{9}|1000000001) s/ });
      t.equal(serve().open(start().sealPrologue()).length, ADDRESS.length, 'padding is taken out');

      const seen: string[] = [];
      const one = start();
      const wire = one.seal(text('x'));
      const checked = serve(0, (header, salt) => seen.push(`${header.length} ${header[0] ?? -1} ${hexOf(salt)}`) > 0);
      checked.open(wire);
      checked.open(one.seal(text('y')));
      t.strictSame(seen, [`11 0 ${hexOf(wire.subarray(0, 32))}`], 'once');
      t.equal(hexOf(checked.peerSalt), hexOf(wire.subarray(0, 32)));
      t.throws(() => serve(0, () => false).open(wire), isCode('CIPHER_REFUSED'));
      const broken = serve(0, () => {
        throw new Error('mine');
      });
      t.throws(() => broken.open(wire), { message: 'mine' });
      t.throws(() => broken.open(wire), isCode('CIPHER_MOVED'));

      t.throws(() => serve().seal(text('x')), isCode('CIPHER_PROTOCOL'), 'an answer before the request');
      const answer = (() => {
        const codec = serve();
        codec.open(wire);
        return codec.seal(text('z'));
      })();
      const other = start();
      other.sealPrologue();
      t.throws(() => other.open(answer), isCode('CIPHER_PROTOCOL'), 'an answer to somebody else');
      t.throws(() => start().open(answer), isCode('CIPHER_PROTOCOL'), 'an answer before the request');
      t.throws(() => serve().open(answer), isCode('CIPHER_AUTH'), 'a response instead of a request: its first record is longer');
      t.equal(hexOf(one.open(answer)), '7a');
    });

    t.test(`${client.kind} client, ${server.kind} server: SIP023 identity headers`, async (t) => {
      for (const method of ['2022-blake3-aes-128-gcm', '2022-blake3-aes-256-gcm'] as const) {
        const key = () => randomBytes(METHODS_2022[method].key);
        const [outer, ...users] = [key(), key(), key(), key()];
        const serve = () => server.createCodec({ kind: '2022', role: 'server', method, keys: [outer], users });
        users.forEach((user, i) => {
          const codec = serve();
          const a = client.createCodec({ kind: '2022', role: 'client', method, keys: [outer, user], header: ADDRESS });
          t.equal(codec.user, -1);
          t.equal(hexOf(codec.open(a.seal(text('x')))), `${hexOf(ADDRESS)}78`);
          t.equal(codec.user, i);
          t.equal(hexOf(a.open(codec.seal(text('back')))), hexOf(text('back')));
        });
        const stranger = client.createCodec({ kind: '2022', role: 'client', method, keys: [outer, key()], header: ADDRESS });
        t.throws(() => serve().open(stranger.seal(text('x'))), isCode('CIPHER_AUTH'));
      }
    });
  }
}

if (native !== null) {
  t.test('both implementations agree', async () => {
    for (const method of keysOf(AEAD_METHODS)) {
      fc.assert(
        fc.property(message(3000), fc.integer({ min: 1, max: 700 }), (plain, maxPayload) => {
          const key = randomBytes(AEAD_METHODS[method].key);
          const sealed = both.map((ciphers) => {
            const wire = new Uint8Array(plain.length + Math.ceil(plain.length / maxPayload) * CHUNK_OVERHEAD);
            ciphers.createAead(method, key).sealRun(new Uint8Array(AEAD_METHODS[method].nonce), plain, 0, plain.length, maxPayload, wire, 0);
            return hexOf(wire);
          });
          assert.equal(sealed[0], sealed[1], method);
        }),
        { numRuns: RUNS },
      );
    }
    for (const method of keysOf(STREAM_METHODS)) {
      fc.assert(
        fc.property(message(3000), fractions, fc.constantFrom('encrypt' as const, 'decrypt' as const), (plain, cuts, direction) => {
          const key = randomBytes(STREAM_METHODS[method].key);
          const iv = randomBytes(STREAM_METHODS[method].iv);
          const [whole, parts] = [[plain], cut(plain, cuts)].map((list, i) => {
            const cipher = (both[i] ?? typescript).createStreamCipher(method, key, iv, direction);
            return Buffer.concat(
              list.map((part) => {
                const out = new Uint8Array(part.length);
                cipher.process(part, 0, part.length, out, 0);
                return out;
              }),
            );
          });
          assert.deepEqual(whole, parts, method);
        }),
        { numRuns: RUNS },
      );
    }
    fc.assert(
      fc.property(message(5000), message(100), fc.integer({ min: 1, max: 200 }), (material, salt, length) => {
        const results = both.map((ciphers) => [
          hexOf(ciphers.blake3(material, length)),
          hexOf(ciphers.blake3DeriveKey('a context', material, length)),
          hexOf(ciphers.hkdfSha1(material, salt, salt, length)),
          hexOf(ciphers.bytesToKey(material, length)),
        ]);
        assert.deepEqual(results[0], results[1]);
      }),
      { numRuns: RUNS },
    );
  });
}
