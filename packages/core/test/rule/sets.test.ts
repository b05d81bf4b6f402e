// CIDR sets against the system's BlockList; regular expressions and wildcards against Node's matcher.
import assert from 'node:assert/strict';
import { BlockList } from 'node:net';
import fc from 'fast-check';
import t from 'tap';
import { formatAddress, parseAddress } from '../../dist/net/address.js';
import { CidrSet, formatCidr, parseCidr } from '../../dist/rule/cidr-set.js';
import { compileRegex } from '../../dist/rule/domain-regex.js';
import { matchesWildcard } from '../../dist/rule/domain-wildcard.js';

/** Few bits set, so that networks nest and touch. */
const address = (family: 4 | 6): fc.Arbitrary<string> =>
  fc
    .array(fc.constantFrom(0, 0, 0, 1, 127, 128, 255), { minLength: family === 4 ? 4 : 16, maxLength: family === 4 ? 4 : 16 })
    .map((bytes) => formatAddress(Uint8Array.from(bytes)))
    .filter((text) => text.includes(':') === (family === 6));
const cidr = fc.oneof(fc.tuple(address(4), fc.nat({ max: 32 })), fc.tuple(address(6), fc.nat({ max: 128 }))).map(([host, prefix]) => `${host}/${prefix}`);

void t.test('CidrSet holds what the BlockList of Node holds', async () => {
  fc.assert(
    fc.property(fc.array(cidr, { maxLength: 20 }), fc.array(fc.oneof(address(4), address(6)), { minLength: 1, maxLength: 20 }), (cidrs, addresses) => {
      const set = new CidrSet(cidrs.map(parseCidr));
      const list = new BlockList();
      for (const text of cidrs) {
        const { address: base, prefix } = parseCidr(text);
        list.addSubnet(formatAddress(base), prefix, base.length === 4 ? 'ipv4' : 'ipv6');
      }
      const edges = cidrs.flatMap((text) => [text.split('/')[0] ?? '', lastOf(text)]);
      for (const host of [...addresses, ...edges]) {
        const family = host.includes(':') ? 'ipv6' : 'ipv4';
        // BlockList lets IPv6 networks hold mapped IPv4 addresses; ours are apart.
        const own = cidrs.filter((text) => text.includes(':') === (family === 'ipv6'));
        assert.equal(set.has(host), own.length > 0 && new CidrSet(own.map(parseCidr)).has(host), `${host} in ${cidrs.join(' ')}`);
        if (own.length === cidrs.length) assert.equal(set.has(host), list.check(host, family), `${host} in ${cidrs.join(' ')}`);
      }
    }),
    { numRuns: 300 },
  );
});

/** The last address of a network. */
function lastOf(text: string): string {
  const { address: base, prefix } = parseCidr(text);
  return formatAddress(base.map((byte, i) => byte | (0xff >> Math.max(0, Math.min(8, prefix - i * 8)))));
}

void t.test('CidrSet: single cases', async () => {
  const set = new CidrSet(['10.0.0.0/8', '10.1.0.0/16', '10.0.0.0/8', '11.0.0.0/8', '2001:db8::/32', '2001:db8:1::/48'].map(parseCidr));
  assert.equal(set.size, 3, 'nested ones are left out');
  for (const host of ['10.0.0.0', '11.255.255.255', '::ffff:10.0.0.1', '2001:db8:ffff::%eth0']) assert.equal(set.has(host), true, host);
  for (const host of ['12.0.0.0', '9.255.255.255', '2001:db9::', 'example.com', '', '10', '10.0.0', 'a:b', '::a00:1']) assert.equal(set.has(host), false, host);
  const none = new CidrSet([]);
  assert.equal(none.size, 0);
  assert.equal(none.has('1.2.3.4') || none.has('::1'), false);
  assert.equal(formatCidr(parseCidr('10.9.8.7/12')), '10.0.0.0/12');
  assert.equal(formatCidr(parseCidr('2001:DB8::1')), '2001:db8::1/128');
  assert.deepEqual(parseCidr('255.255.255.255/1').address, parseAddress('128.0.0.0'));
});

void t.test('wildcards mean what the regular expression means that one would write for them', async () => {
  fc.assert(
    fc.property(
      fc.string({ unit: fc.constantFrom('a', 'b', '.', '*', '?'), maxLength: 12 }),
      fc.string({ unit: fc.constantFrom('a', 'b', '.'), maxLength: 12 }),
      (pattern, text) => {
        const regex = new RegExp(`^${pattern.replaceAll('.', '\\.').replaceAll('*', '.*').replaceAll('?', '.')}$`);
        assert.equal(matchesWildcard(pattern, text), regex.test(text), `${pattern} ${text}`);
      },
    ),
    { numRuns: 3000 },
  );
  const long = 'a'.repeat(253);
  const begin = performance.now();
  assert.equal(matchesWildcard(`${'*a'.repeat(126)}b`, long), false);
  assert.ok(performance.now() - begin < 100);
});

void t.test('regular expressions that people write are run by Node', async () => {
  for (const source of [
    '^ads?[0-9]*\\.',
    'google',
    '(^|\\.)google\\.com$',
    '^([a-z0-9-]+\\.)*example\\.(com|net|org)$',
    '^(.+\\.)?example\\.com$',
    '^(.*\\.)?(ads?|track(er|ing)?)[0-9]{0,3}\\.',
    '^.*\\.cdn\\..*$',
    '^[a-z0-9-]{1,63}\\.cdn\\.net$',
    '^(www|m|mobile)\\.(face|insta)[a-z]+\\.com$',
    '^(?!.*(google|gstatic)).*\\.com$',
    '(?<=^|\\.)api[0-9]+\\.',
    '^\\d{1,3}-\\d{1,3}-\\d{1,3}-\\d{1,3}\\.',
    '^[^.]+\\.[^.]+\\.[^.]+\\.[^.]+\\.[^.]+$',
    '^(?:[a-z]{2}-)?(?<region>east|west)\\d+\\.',
    '[\\w-]+\\.r2\\.dev$',
    '\\x61\\u0062[.\\]-]',
    '^a{3}b{2,}c?',
    '^([a-f0-9]{2}){4,}\\.',
    '(?<=[a-z]+\\.)cdn[0-9]+',
    '|a',
    '$',
  ]) {
    assert.ok(compileRegex(source) instanceof RegExp, source);
  }
});

void t.test('what Node may be slow with is run by our automaton', async () => {
  for (const [source, yes, no] of [
    ['(a+)+$', ['a', 'baa'], ['ab', '']],
    ['^(a*)*b', ['b', 'aab'], ['a', 'c', '']],
    ['^(a|a)*$', ['', 'aaa'], ['ab']],
    ['^(a|ab|b)+$', ['ab', 'abba'], ['', 'abc']],
    ['^([a-z]+\\.?)+$', ['a.b', 'ab'], ['.', 'a..b']],
    ['(a?){40}a{40}x', [`${'a'.repeat(40)}x`, `${'a'.repeat(90)}x`], [`${'a'.repeat(39)}x`]],
    ['^(a{1,3}){10}b', [`${'a'.repeat(10)}b`, `${'a'.repeat(30)}b`], [`${'a'.repeat(9)}b`, `${'a'.repeat(31)}b`]],
    ['^((ab)+|(a|b)+)+$', ['ab', 'ba'], ['', 'abc']],
    ['ad.*track.*click', ['ad.track.click', 'xadtrackclickx'], ['track.ad.click']],
    ['.*a.*b.*c.*d.*e', ['abcde', 'a.b.c.d.e'], ['edcba']],
    ['^(.*)(-|\\.)abc[0-9]+(.*)$', ['x-abc1', 'y.abc22.z'], ['abc1', 'x-abc']],
    ['(.*a){3}(^|\\.)x$', ['aaa.x'], ['aaax', 'aa.x']],
    [`^${'a?'.repeat(30)}${'a'.repeat(30)}$`, ['a'.repeat(30), 'a'.repeat(60)], ['a'.repeat(29), 'a'.repeat(61)]],
  ] as const) {
    const regex = compileRegex(source);
    assert.ok(!(regex instanceof RegExp), source);
    for (const name of yes) assert.equal(regex.test(name), true, `${source} ${name}`);
    for (const name of no) assert.equal(regex.test(name), false, `${source} ${name}`);
  }
});

void t.test('what is slow and no regular language, or means something else here, is refused with a reason', async () => {
  for (const [source, message] of [
    ['(?!(a+)+b)', /the loop \(a\+\)\+ can read the same text in several ways: .* \(without look-arounds/],
    ['(?<=(b|ab|a)+)x', /several ways/],
    ['^(?=(a*)*b)', /the loop \(a\*\)\* has a body that may be empty/],
    ['\\b.*a.*b.*c', /it walks along the name too often: anchor it/],
    ['(?=a)(.*a){12}', /it walks along the name too often/],
    ['((a){60}){60}', /more than 2000 characters when its repetitions are written out/],
    ['^^(a+)+', /it|the loop \(a\+\)\+/],
    ['(a|b)\\1', /\\1 refers back to a group/],
    ['(?<x>a)\\k<x>', /\\k refers back to a group/],
    ['\\Aexample\\z', /\\A is not known here: use \^ and \$/],
    ['[[:alpha:]]+', /\[\[:class:\]\] of POSIX is not known here/],
    ['(?P<x>a)', /Invalid group/],
  ] as const) {
    assert.throws(() => compileRegex(source), { message }, source);
  }
  const begin = performance.now();
  for (const source of ['((){1000000}){1000000}x', '((a{0}){99999}){99999}', '((){9999}a?){9999}', '(((a{99}){99}){99}){99}', '(((^){99}){99}){99}']) {
    try {
      compileRegex(source);
    } catch (error) {
      assert.match(String(error), /is not accepted/);
    }
  }
  assert.ok(performance.now() - begin < 2_000, 'patterns that are slow to judge');
});

/** Small patterns over two letters, which is where the ways multiply. */
const { pattern } = fc.letrec<{ pattern: string }>((tie) => ({
  pattern: fc.oneof(
    { maxDepth: 5, withCrossShrink: true },
    fc.constantFrom('a', 'b', '.', '[ab]', '\\.', '^', '$', 'ab'),
    fc.tuple(tie('pattern'), tie('pattern')).map(([a, b]) => a + b),
    fc.tuple(tie('pattern'), tie('pattern')).map(([a, b]) => `(${a}|${b})`),
    fc.tuple(tie('pattern'), fc.constantFrom('*', '+', '?', '{2}', '{1,3}', '{20}', '*?', '{2,}')).map(([a, sign]) => `(${a})${sign}`),
    tie('pattern').map((a) => `(?=${a})`),
  ),
}));

const small = fc.string({ unit: fc.constantFrom('a', 'b', '.', '-'), maxLength: 8 });

void t.test('all patterns mean what they mean to Node, and no name makes them slow', async () => {
  const names = ['a', 'b', 'ab', 'ba', 'aab', 'a.', 'abb.'].flatMap((unit) => [unit.repeat(253).slice(0, 253), `${unit.repeat(252).slice(0, 252)}-`]);
  const count = { node: 0, own: 0, refused: 0 };
  let slowest = { ms: 0, source: '' };
  fc.assert(
    fc.property(pattern, fc.array(small, { minLength: 5, maxLength: 10 }), (source, texts) => {
      let regex: { test(name: string): boolean };
      try {
        regex = compileRegex(source);
      } catch (error) {
        assert.match(String(error), /is not accepted|needs a regular/);
        count.refused++;
        return;
      }
      if (regex instanceof RegExp) {
        count.node++;
        for (let i = 0; i < 3; i++) regex.test(''); // V8 compiles at the second use
      } else {
        count.own++;
        const node = new RegExp(source, 'i');
        for (const text of texts) assert.equal(regex.test(text), node.test(text), `${source} on ${text}`);
      }
      const begin = process.cpuUsage(); // other processes do not count
      for (const name of names) regex.test(name);
      const ms = process.cpuUsage(begin).user / 1_000 / names.length;
      if (ms > slowest.ms) slowest = { ms, source };
      assert.ok(ms < 200, `${source} took ${ms} ms a name`);
    }),
    { numRuns: 1500 },
  );
  t.comment(`${JSON.stringify(count)}, slowest ${slowest.ms.toFixed(1)} ms: ${slowest.source}`);
  assert.ok(count.node > 100 && count.own > 20);
});
