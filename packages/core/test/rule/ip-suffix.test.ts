// IP-SUFFIX and SRC-IP-SUFFIX against a model of text, within other rules, and in lists.
import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { formatAddress } from '../../dist/net/address.js';
import { buildBareRule, buildRule } from '../../dist/rule/parse.js';
import type { Rule } from '../../dist/rule/rule.js';
import { compileList } from '../../dist/rule/set/compile-list.js';
import { FakeFacts, testSession } from '../../dist/testing.js';
import { knownRules } from '../support/known-rules.js';

const known = knownRules();
const bare = (text: string): Rule => buildBareRule(text, known);

/** All bits of an address, as zeros and ones. */
function written(bytes: Uint8Array): string {
  return [...bytes].map((byte) => byte.toString(2).padStart(8, '0')).join('');
}

/** Bytes of 4 or 16, and how many of its last bits count. */
const suffix = fc
  .constantFrom(4, 16)
  .chain((length) => fc.tuple(fc.uint8Array({ minLength: length, maxLength: length }), fc.integer({ min: 0, max: 8 * length })));
/** Bits to turn over, counted from the last: so that addresses differ just inside and just outside of what counts. */
const turns = fc.array(fc.integer({ min: -2, max: 2 }), { maxLength: 2 });
const other = fc.option(
  fc.constantFrom(4, 16).chain((length) => fc.uint8Array({ minLength: length, maxLength: length })),
  { freq: 3 },
);

void t.test('the last bits, as a model of text has them', async () => {
  let held = 0;
  let runs = 0;
  fc.assert(
    fc.property(suffix, turns, other, ([bytes, bits], near, far) => {
      const address = far ?? bytes.slice();
      if (far === null) {
        for (const from of near) {
          const at = bits + from;
          const index = address.length - 1 - (at >> 3);
          if (at >= 0 && index >= 0) address[index] = (address[index] ?? 0) ^ (1 << (at & 7));
        }
      }
      // Random bytes are as good as never IPv4-mapped: those have a table of their own.
      const expected = address.length === bytes.length && (bits === 0 || written(address).slice(-bits) === written(bytes).slice(-bits));
      const payload = `${formatAddress(bytes)}/${bits}`;
      const host = formatAddress(address);
      runs++;
      if (expected) held++;
      const client = testSession({ source: { host, port: 1 } });
      assert.equal(
        bare(`IP-SUFFIX,${payload}`).match(testSession({ destination: { host, port: 443 } }), new FakeFacts([host])),
        expected,
        `${payload} ${host}`,
      );
      for (const text of [`IP-SUFFIX,${payload},src`, `SRC-IP-SUFFIX,${payload}`])
        assert.equal(bare(text).match(client, new FakeFacts()), expected, `${text} ${host}`);
      if (bytes.length === 4) {
        assert.equal(bare(`SRC-IP-SUFFIX,::ffff:${payload}`).match(client, new FakeFacts()), expected, `${payload} mapped, ${host}`);
        const mapped = testSession({ source: { host: address.length === 4 ? `::ffff:${host}` : host, port: 1 } });
        assert.equal(bare(`SRC-IP-SUFFIX,${payload}`).match(mapped, new FakeFacts()), expected, `${payload} ${host} mapped`);
      }
    }),
    { numRuns: 2_000 },
  );
  assert.ok(held > runs / 10 && held < (runs * 9) / 10, `both answers are frequent: ${held} of ${runs}`);
});

void t.test('within AND, OR and NOT each address is judged on its own', async () => {
  const addresses = ['10.0.0.7', '10.0.0.8', '192.0.2.7', '2001:db8::7'];
  for (const [kind, payload, expected] of [
    ['AND', '((IP-CIDR,10.0.0.0/8),(IP-SUFFIX,0.0.0.7/8))', ['10.0.0.7']],
    ['OR', '((IP-SUFFIX,0.0.0.8/8),(IP-SUFFIX,::7/64))', ['10.0.0.8', '2001:db8::7']],
    ['NOT', '((IP-SUFFIX,0.0.0.7/8))', ['10.0.0.8', '2001:db8::7']],
    ['AND', '((SRC-IP-SUFFIX,0.0.0.9/8),(NOT,((IP-SUFFIX,0.0.0.0/0))))', ['2001:db8::7']],
    ['AND', '((SRC-IP-SUFFIX,0.0.0.6/8),(IP-SUFFIX,0.0.0.7/8))', false],
    ['OR', '((IP-SUFFIX,0.0.0.7/8,no-resolve),(IP-SUFFIX,0.0.0.9/8,src))', true],
  ] as const) {
    const session = testSession({ destination: { host: 'example.com', port: 443 }, source: { host: '192.0.2.9', port: 1 } });
    assert.deepEqual(await buildRule(kind, payload, [], {}, known).match(session, new FakeFacts(null, addresses)), expected, `${kind},${payload}`);
  }
});

void t.test('in a list of rules', async () => {
  const text = 'IP-SUFFIX,0.0.0.7/8   # printers\nSRC-IP-SUFFIX,::5/16\nIP-SUFFIX,0.0.0.9/8,no-resolve\nIP-SUFFIX,8.8.8.8\nSRC-IP-SUFFIX,::5/129\n';
  const list = await compileList(Buffer.from(text), { format: 'text', behavior: 'classical', buildRule: bare });
  assert.deepEqual(
    [...list.kinds],
    [
      ['IP-SUFFIX', 2],
      ['SRC-IP-SUFFIX', 1],
    ],
  );
  assert.deepEqual(
    list.problems.map(({ line }) => line),
    [4, 5],
  );
  const asked = async (host: string, source: string, facts: FakeFacts, how = {}): Promise<unknown> =>
    list.set.match(testSession({ destination: { host, port: 443 }, source: { host: source, port: 1 } }), facts, { noResolve: false, source: false, ...how });
  const looked = new FakeFacts(null, ['10.0.0.7', '10.0.0.8', '10.0.0.9']);
  assert.equal(await asked('example.com', '192.0.2.1', looked, { noResolve: true }), false);
  assert.equal(looked.lookups, 0, 'a list that may look up nothing does not');
  assert.deepEqual(await asked('example.com', '192.0.2.1', looked), ['10.0.0.7', '10.0.0.9'], 'the third line knows them from the first');
  assert.equal(looked.lookups, 1);
  assert.equal(await asked('10.0.0.8', '2001:db8::5', new FakeFacts(['10.0.0.8'])), true, 'of the client');
  for (const [source, expected] of [
    ['192.0.2.7', true],
    ['192.0.2.8', false],
  ] as const)
    assert.equal(await asked('10.0.0.7', source, new FakeFacts(['10.0.0.7']), { source: true }), expected, 'RULE-SET with src asks of the client');
});
