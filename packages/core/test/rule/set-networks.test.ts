// Large sets of networks, from text: against a scan of them all, and against BigInt.
import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { formatAddress } from '../../dist/net/address.js';
import { type Cidr, CidrSetBuilder, parseCidr } from '../../dist/rule/cidr-set.js';
import { addRange } from '../../dist/rule/set/address-list.js';

const FULL = process.env.NEKIT_FULL === '1';

/** Seeded, so that a failure comes again. */
function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

function network(random: () => number): string {
  const part = (max: number): number => Math.floor(random() * max);
  if (random() < 0.6) return `${part(8)}.${part(256)}.${part(256)}.${part(256)}/${20 + part(13)}`;
  return `2001:${part(4).toString(16)}:${part(65536).toString(16)}::${part(65536).toString(16)}/${36 + part(93)}`;
}

function add(builder: CidrSetBuilder, text: string): void {
  const bytes = Buffer.from(`-${text}-`);
  if (!builder.addBytes(bytes, 1, bytes.length - 1)) builder.add(text);
}

function contains(cidr: Cidr, address: Uint8Array): boolean {
  if (cidr.address.length !== address.length) return false;
  for (let bit = 0; bit < cidr.prefix; bit++) {
    const mask = 0x80 >> (bit % 8);
    if (((cidr.address[bit >> 3] ?? 0) & mask) !== ((address[bit >> 3] ?? 0) & mask)) return false;
  }
  return true;
}

t.test('thousands of networks hold what a scan of them finds', async (t) => {
  for (let round = 0; round < (FULL ? 20 : 3); round++) {
    const random = randomOf(round);
    const texts = Array.from({ length: 6_000 }, () => network(random));
    const cidrs = texts.map(parseCidr);
    const builder = new CidrSetBuilder();
    for (const text of texts) add(builder, text);
    t.equal(builder.entries, texts.length);
    const set = builder.build();
    let found = 0;
    for (let i = 0; i < 400; i++) {
      const bytes = (cidrs[Math.floor(random() * cidrs.length)]?.address ?? new Uint8Array(4)).map((byte, at) => (random() < 0.3 && at > 1 ? byte ^ 1 : byte));
      const expected = cidrs.some((cidr) => contains(cidr, bytes));
      if (expected) found++;
      assert.equal(set.has(formatAddress(bytes)), expected, formatAddress(bytes));
    }
    t.ok(found > 100 && found < 400, `${found} of 400`);
  }
});

t.test('what is read from bytes is what is read from text', async () => {
  const text = fc.oneof(
    fc.string({ unit: fc.constantFrom('0', '1', '2', '5', '9', '.', '/', ' ', ':'), maxLength: 18 }),
    fc
      .tuple(fc.array(fc.nat({ max: 300 }), { minLength: 3, maxLength: 5 }), fc.option(fc.nat({ max: 40 })))
      .map(([parts, prefix]) => parts.join('.') + (prefix === null ? '' : `/${prefix}`)),
  );
  fc.assert(
    fc.property(text, (given) => {
      const [quick, careful] = [new CidrSetBuilder(), new CidrSetBuilder()];
      const bytes = Buffer.from(given);
      const taken = quick.addBytes(bytes, 0, bytes.length);
      let cidr: Cidr | null = null;
      try {
        cidr = parseCidr(given);
      } catch (error) {
        assert.ok(error instanceof Error);
      }
      if (!taken) return assert.ok(cidr === null || cidr.address.length === 16, `${given} is IPv4, and the quick way left it`);
      assert.ok(cidr !== null, given);
      careful.addCidr(cidr);
      assert.deepEqual([...quick.ranges()], [...careful.ranges()]);
      const [one, other] = [quick.build(), careful.build()];
      for (const host of ['0.0.0.0', formatAddress(cidr.address), '255.255.255.255', '1.2.2.5'])
        assert.equal(one.has(host), other.has(host), `${given} ${host}`);
    }),
    { numRuns: FULL ? 50_000 : 5_000 },
  );
});

t.test('ranges of NEKit hold their ends and nothing beside them', async (t) => {
  const host = (value: bigint, bits: number): string =>
    formatAddress(Uint8Array.from({ length: bits / 8 }, (_, i) => Number((value >> BigInt(bits - 8 - i * 8)) & 255n)));
  const range = fc.oneof(
    fc.tuple(fc.constant(32), fc.bigInt({ min: 0n, max: 2n ** 32n - 1n }), fc.bigInt({ min: 0n, max: 2n ** 33n })),
    fc.tuple(fc.constant(128), fc.bigInt({ min: 2n ** 112n, max: 2n ** 128n - 1n }), fc.bigInt({ min: 0n, max: 2n ** 126n })),
    fc.tuple(fc.constant(32), fc.bigInt({ min: 0n, max: 2n ** 32n - 1n }), fc.bigInt({ min: 0n, max: 300n })),
  );
  fc.assert(
    fc.property(range, ([bits, first, more]) => {
      const builder = new CidrSetBuilder();
      const text = `${host(first, bits)}+${more}`;
      const last = first + more;
      if (last >= 2n ** BigInt(bits)) return assert.throws(() => addRange(builder, text), /goes beyond the last/);
      addRange(builder, text);
      const set = builder.build();
      for (const inside of [first, last, (first + last) / 2n]) assert.ok(set.has(host(inside, bits)), text);
      if (first > 0n) assert.ok(!set.has(host(first - 1n, bits)), text);
      if (last + 1n < 2n ** BigInt(bits)) assert.ok(!set.has(host(last + 1n, bits)), text);
    }),
    { numRuns: FULL ? 10_000 : 1_000 },
  );
  for (const text of ['1.2.3.4+', '1.2.3.4+-1', '1.2.3+4', '1.2.3.4+1+1', 'a+1', '1.2.3.4+1x'])
    t.throws(() => addRange(new CidrSetBuilder(), text), /is no range/, text);
});

t.test('mapped addresses are IPv4', async (t) => {
  const builder = new CidrSetBuilder();
  for (const text of ['::ffff:10.0.0.0/104', '::ffff:192.0.2.1', '::/96']) add(builder, text);
  t.equal(builder.ipv6Entries, 1);
  const set = builder.build();
  t.same(
    ['10.255.0.1', '::ffff:10.0.0.1', '192.0.2.1', '192.0.2.2', '::1', '::ffff:11.0.0.0'].map((host) => set.has(host)),
    [true, true, true, false, true, false],
  );
});

t.test('a hundred thousand networks cost no more than a few', async (t) => {
  const random = randomOf(9);
  const builder = new CidrSetBuilder();
  const texts = Array.from({ length: FULL ? 1_000_000 : 100_000 }, () => network(random));
  for (const text of texts) add(builder, text);
  const steps = builder.steps();
  let longest = 0;
  let set = null;
  while (set === null) {
    const begin = process.cpuUsage();
    const step = steps.next();
    longest = Math.max(longest, process.cpuUsage(begin).user / 1_000);
    if (step.done === true) set = step.value;
  }
  t.ok(longest < 100, `the longest step took ${longest.toFixed(1)} ms`);
  for (const text of texts) if (!set.has(text.replace(/\/\d+$/, ''))) assert.fail(text);
});
