import assert from 'node:assert/strict';
import t from 'tap';
import type { Session } from '../../dist/net/session.js';
import { builtinRules } from '../../dist/rule/builtin.js';
import { buildRule } from '../../dist/rule/parse.js';
import type { Facts, Rule, Verdict } from '../../dist/rule/rule.js';
import { FakeFacts, testSession } from '../../dist/testing.js';
import { knownRules } from '../support/known-rules.js';

const known = knownRules();

function rule(kind: string, payload: string, ...parameters: string[]): Rule {
  return buildRule(kind, payload, parameters, {}, known);
}

const noFacts: Facts = {
  addresses: () => assert.fail('asked for addresses'),
  knownAddresses: () => assert.fail('asked for known addresses'),
  process: () => assert.fail('asked for the process'),
  once: () => assert.fail('asked for a fact of its own'),
};

/** The verdict of a rule that needs no facts. */
function judge(built: Rule, partial: Partial<Session>): Verdict {
  const verdict = built.match(testSession(partial), noFacts);
  assert.ok(!(verdict instanceof Promise));
  return verdict;
}

const to = (host: string, port = 443): Partial<Session> => ({ destination: { host, port } });

function hosts(kind: string, payload: string, yes: readonly string[], no: readonly string[]): void {
  const built = rule(kind, payload);
  for (const host of yes) assert.equal(judge(built, to(host)), true, `${kind},${payload} matches ${host}`);
  for (const host of no) assert.equal(judge(built, to(host)), false, `${kind},${payload} does not match ${host}`);
}

void t.test('DOMAIN', async () => {
  for (const payload of ['www.example.com', 'WWW.Example.COM', 'www.example.com.', ' www.example.com ']) {
    hosts('DOMAIN', payload, ['www.example.com'], ['example.com', 'a.www.example.com', 'www.example.com.evil', '1.2.3.4', '::1']);
  }
  hosts('DOMAIN', 'bücher.example', ['xn--bcher-kva.example'], ['bcher.example']);
});

void t.test('DOMAIN-SUFFIX', async () => {
  for (const payload of ['example.com', '+.example.com', 'EXAMPLE.com.']) {
    hosts(
      'DOMAIN-SUFFIX',
      payload,
      ['example.com', 'www.example.com', 'a.b.example.com'],
      ['notexample.com', 'example.com.evil', 'example.co', 'com', '1.2.3.4', 'fe80::1%a.example.com', 'fd00::1%example.com'],
    );
  }
  for (const payload of ['.example.com', '*.example.com']) {
    hosts('DOMAIN-SUFFIX', payload, ['www.example.com', 'a.b.example.com'], ['example.com', 'notexample.com', 'xexample.com']);
  }
  hosts('DOMAIN-SUFFIX', 'cn', ['cn', 'example.cn'], ['xcn', 'cn.example']);
  hosts('DOMAIN-SUFFIX', 'テスト', ['xn--zckzah', 'a.xn--zckzah'], ['axn--zckzah']);
});

void t.test('DOMAIN-KEYWORD', async () => {
  hosts('DOMAIN-KEYWORD', 'Goo', ['google.com', 'agoob', 'a.goo.b'], ['example.com', 'g.oo', '1.2.3.4']);
  hosts('DOMAIN-KEYWORD', '1.2', ['a1.2b.example'], ['1.2.3.4', '::1.2']);
  hosts('DOMAIN-KEYWORD', '.google.', ['www.google.com'], ['google.com']);
  hosts('DOMAIN-KEYWORD', 'bücher', ['www.xn--bcher-kva.example'], ['bucher.example']);
});

void t.test('DOMAIN-WILDCARD', async () => {
  hosts('DOMAIN-WILDCARD', '*.Example.com', ['www.example.com', 'a.b.example.com', '.example.com'], ['example.com', 'www.example.com.evil', '1.2.3.4']);
  hosts('DOMAIN-WILDCARD', 'a?c.example', ['abc.example', 'a-c.example', 'a.c.example'], ['ac.example', 'abbc.example']);
  hosts('DOMAIN-WILDCARD', '*ads*', ['ads', 'x.ads.y', 'loads.example'], ['a.d.s']);
  hosts('DOMAIN-WILDCARD', 'www.example.com', ['www.example.com'], ['xwww.example.com', 'www.example.co']);
  hosts('DOMAIN-WILDCARD', '**.example', ['a.example'], ['example']);
  hosts('DOMAIN-WILDCARD', '*.bücher.example', ['a.xn--bcher-kva.example'], ['a.bcher.example']);
  hosts('DOMAIN-WILDCARD', 'a*b*c', ['abc', 'axxbxxc', 'abbcc', 'abcbc'], ['ab', 'acb', 'abcb']);
  // An address is no name; a pattern sees nothing there, and only one that matches nothing matches it. So does Clash.
  hosts('DOMAIN-WILDCARD', '*', ['a', '1.2.3.4', '::1'], []);
  hosts('DOMAIN-WILDCARD', '?*', ['a'], ['1.2.3.4', '::1']);
  hosts('DOMAIN-WILDCARD', '1.2.3.*', [], ['1.2.3.4']);
});

void t.test('DOMAIN-REGEX', async () => {
  hosts('DOMAIN-REGEX', '^ADS?[0-9]*\\.', ['ad.example', 'ads12.example'], ['load.example', '1.2.3.4']);
  hosts('DOMAIN-REGEX', 'google', ['www.google.com'], ['example.com']);
  hosts('DOMAIN-REGEX', '^a{1,2}\\.com$', ['a.com', 'aa.com'], ['aaa.com', 'a.com.evil']);
  hosts('DOMAIN-REGEX', '(?i)^WWW\\.', ['www.example'], ['ww.example']);
  hosts('DOMAIN-REGEX', '.*', ['a', '1.2.3.4'], []);
  hosts('DOMAIN-REGEX', '^(?!.*google).*\\.com$', ['example.com'], ['google.com', 'a.google.com', '1.2.3.4']);
  hosts('DOMAIN-REGEX', '^1\\.2', ['1.2.example'], ['1.2.3.4']);
  hosts('DOMAIN-REGEX', '^.*\\.cdn\\..*$', ['a.cdn.b'], ['a.cdn', 'cdn.b']);
  hosts('DOMAIN-REGEX', '^a\\.*$', ['a', 'a..'], ['ab']);
  // Left to Node's matcher this takes two minutes to compile.
  const chain = 'abcdefghijklmnopqrstuvwxyz'.replaceAll(/./g, '$&?');
  hosts('DOMAIN-REGEX', `^${`${chain}_`.repeat(5)}$`, ['_____', 'ace_bd_z__xyz_'], ['____', 'ca_____', `${'q'.repeat(240)}.test`]);
  hosts(
    'DOMAIN-REGEX',
    '^(?:ad|track(?:er|ing)?|stat[sz]?|metrics?|banners?|pixel)s?[0-9]{0,3}[.-]',
    ['tracking7.example', 'stats-12.test'],
    ['tracked.example'],
  );
});

void t.test('domain rules look at what was sniffed, if something was', async () => {
  const session = { ...to('1.2.3.4'), sniffed: 'www.example.com' };
  for (const [kind, payload] of [
    ['DOMAIN', 'www.example.com'],
    ['DOMAIN-SUFFIX', 'example.com'],
    ['DOMAIN-KEYWORD', 'exam'],
    ['DOMAIN-WILDCARD', 'www.*'],
    ['DOMAIN-REGEX', '^www'],
  ] as const) {
    assert.equal(judge(rule(kind, payload), session), true, kind);
    assert.equal(judge(rule(kind, payload), { ...to('www.example.com'), sniffed: 'other.test' }), false, kind);
  }
});

void t.test('IP-CIDR and IP-CIDR6 on addresses', async () => {
  for (const kind of ['IP-CIDR', 'IP-CIDR6']) {
    for (const [payload, yes, no] of [
      ['10.0.0.0/8', ['10.0.0.0', '10.255.255.255'], ['9.255.255.255', '11.0.0.0', '::a00:1', '2001:db8::1']],
      ['10.1.2.3/8', ['10.0.0.0'], ['11.0.0.0']], // host bits are cleared
      ['192.0.2.7', ['192.0.2.7'], ['192.0.2.6', '192.0.2.8']],
      ['0.0.0.0/0', ['0.0.0.0', '255.255.255.255'], ['::', '::1']],
      ['2001:db8::/32', ['2001:db8::1', '2001:db8:ffff:ffff:ffff:ffff:ffff:ffff'], ['2001:db9::', '2001:db7:ffff::', '1.2.3.4']],
      ['fe80::/10', ['fe80::1', 'fe80::1%eth0', 'febf::1'], ['fec0::']],
      ['::1', ['::1'], ['::2', '127.0.0.1']],
      ['::/0', ['::', 'ffff::'], ['1.2.3.4']],
      ['::ffff:10.0.0.0/104', ['10.1.2.3'], ['11.0.0.0']],
      ['::ffff:192.0.2.1', ['192.0.2.1'], ['192.0.2.2']],
    ] as const) {
      const built = rule(kind, payload);
      for (const host of yes) assert.equal(built.match(testSession(to(host)), new FakeFacts([host])), true, `${payload} ${host}`);
      for (const host of no) assert.equal(built.match(testSession(to(host)), new FakeFacts([host])), false, `${payload} ${host}`);
    }
  }
});

void t.test('IP-CIDR on names', async () => {
  const built = rule('IP-CIDR', '10.0.0.0/8');
  const session = testSession(to('example.com'));
  assert.deepEqual(await built.match(session, new FakeFacts(null, ['10.1.1.1', '192.0.2.1', '10.2.2.2'])), ['10.1.1.1', '10.2.2.2'], 'those that are in it');
  assert.equal(await built.match(session, new FakeFacts(null, ['10.1.1.1', '10.2.2.2'])), true);
  assert.equal(await built.match(session, new FakeFacts(null, ['192.0.2.1'])), false);
  assert.equal(await built.match(session, new FakeFacts(null, [])), false, 'a name that does not resolve');
  assert.equal(built.match(session, new FakeFacts(['10.1.1.1'])), true, 'synchronous once it is known');

  const noResolve = rule('IP-CIDR', '10.0.0.0/8', 'no-resolve');
  const unknown = new FakeFacts(null, ['10.1.1.1']);
  assert.equal(noResolve.match(session, unknown), false);
  assert.equal(unknown.lookups, 0);
  assert.deepEqual(noResolve.match(session, new FakeFacts(['10.1.1.1', '192.0.2.1'])), ['10.1.1.1'], 'what a rule in front looked up counts');

  const asOption = buildRule('IP-CIDR', '10.0.0.0/8', [], { 'no-resolve': true }, known);
  assert.equal(asOption.match(session, unknown), false);
  assert.equal(unknown.lookups, 0, 'object form');
});

void t.test('SRC-IP-CIDR, and IP-CIDR with src', async () => {
  for (const built of [rule('SRC-IP-CIDR', '192.168.0.0/16'), rule('IP-CIDR', '192.168.0.0/16', 'src'), rule('IP-CIDR', '192.168.0.0/16', 'SRC')]) {
    assert.equal(judge(built, { ...to('example.com'), source: { host: '192.168.7.7', port: 1 } }), true);
    assert.equal(judge(built, { ...to('192.168.7.7'), source: { host: '127.0.0.1', port: 1 } }), false);
  }
  assert.equal(judge(rule('SRC-IP-CIDR', 'fe80::/10'), { source: { host: 'fe80::1%eth0', port: 1 } }), true);
});

void t.test('IP-SUFFIX and SRC-IP-SUFFIX: the last bits', async () => {
  for (const [payload, yes, no] of [
    ['8.8.8.8/24', ['1.8.8.8', '8.8.8.8'], ['8.8.8.9', '8.8.9.8', '8.9.8.8', '::808:808', '64:ff9b::808:808']],
    ['0.0.0.5/3', ['192.0.2.5', '192.0.2.13', '192.0.2.253'], ['192.0.2.4', '192.0.2.1', '192.0.2.7']],
    ['0.0.1.0/9', ['10.0.3.0', '10.0.1.0'], ['10.0.2.0', '10.0.1.1']],
    ['1.2.3.4/32', ['1.2.3.4'], ['0.2.3.4', '1.2.3.5']],
    ['1.2.3.4/0', ['0.0.0.0', '255.255.255.255'], ['::']],
    ['::1:2/32', ['2001:db8::1:2', 'fe80::1:2%eth0'], ['2001:db8::2', '0.1.0.2']],
    ['::8000:0:0:1/64', ['2001:db8::8000:0:0:1'], ['2001:db8::1', '2001:db8::9000:0:0:1']],
    ['2001:db8::1/128', ['2001:db8::1'], ['2001:db8::2', '2001:db9::1', '3001:db8::1']],
    ['::/0', ['::', 'ffff::1'], ['1.2.3.4']],
    ['::ffff:0.0.0.7/8', ['192.0.2.7', '::ffff:192.0.2.7'], ['192.0.2.8', '::7']],
  ] as const) {
    for (const host of [...yes, ...no]) {
      const expected = (yes as readonly string[]).includes(host);
      assert.equal(rule('IP-SUFFIX', payload).match(testSession(to(host)), new FakeFacts([host])), expected, `${payload} ${host}`);
      for (const built of [rule('SRC-IP-SUFFIX', payload), rule('IP-SUFFIX', payload, 'src')])
        assert.equal(judge(built, { ...to('198.51.100.1'), source: { host, port: 1 } }), expected, `${payload} ${host}, of the client`);
    }
  }
  const session = testSession(to('example.com'));
  assert.deepEqual(await rule('IP-SUFFIX', '0.0.0.7/8').match(session, new FakeFacts(null, ['10.1.1.7', '192.0.2.1'])), ['10.1.1.7'], 'names are looked up');
  const unknown = new FakeFacts(null, ['10.1.1.7']);
  assert.equal(rule('IP-SUFFIX', '0.0.0.7/8', 'no-resolve').match(session, unknown), false);
  assert.equal(unknown.lookups, 0);
});

void t.test('ports', async () => {
  const at = (port: number): Partial<Session>[] => [{ destination: { host: 'a', port } }, { source: { host: '127.0.0.1', port } }, { inboundPort: port }];
  for (const [i, kind] of ['DST-PORT', 'SRC-PORT', 'IN-PORT'].entries()) {
    for (const payload of ['80/114-514/65530', '80,114-514,65530', ' 80 / 114 - 514 , 65530 ']) {
      const built = rule(kind, payload);
      for (const port of [80, 114, 300, 514, 65530]) assert.equal(judge(built, at(port)[i] ?? {}), true, `${kind} ${port}`);
      for (const port of [0, 79, 81, 113, 515, 65529, 65531]) assert.equal(judge(built, at(port)[i] ?? {}), false, `${kind} ${port}`);
    }
    assert.equal(judge(rule(kind, '0-65535'), at(0)[i] ?? {}), true);
  }
});

void t.test('NETWORK, IN-NAME, IN-TYPE, IN-USER, MATCH', async () => {
  assert.equal(judge(rule('NETWORK', 'UDP'), { network: 'udp' }), true);
  assert.equal(judge(rule('NETWORK', 'tcp'), { network: 'udp' }), false);
  assert.equal(judge(rule('IN-NAME', 'office/Home'), { inbound: 'Home' }), true);
  assert.equal(judge(rule('IN-NAME', 'office/Home'), { inbound: 'home' }), false);
  assert.equal(judge(rule('IN-USER', 'alice/bob'), { user: 'bob' }), true);
  assert.equal(judge(rule('IN-USER', 'alice'), { user: 'mallory' }), false);
  assert.equal(judge(rule('IN-USER', 'alice'), {}), false, 'nobody logged in');
  assert.equal(judge(rule('IN-USER', 'undefined'), {}), false);
  assert.equal(judge(rule('MATCH', ''), {}), true);
  for (const [payload, yes, no] of [
    ['SOCKS', ['SOCKS4', 'SOCKS5'], ['HTTP', 'HTTPS', 'SOCKS6']],
    ['socks5', ['SOCKS5'], ['SOCKS4']],
    ['HTTP', ['HTTP'], ['HTTPS', 'SOCKS5']],
    ['HTTPS / SOCKS4', ['HTTPS', 'SOCKS4'], ['HTTP', 'SOCKS5']],
    ['shadowsocks', ['SHADOWSOCKS', 'shadowsocks', 'ShadowSocks'], ['HTTP']],
  ] as const) {
    for (const inboundType of yes) assert.equal(judge(rule('IN-TYPE', payload), { inboundType }), true, `${payload} ${inboundType}`);
    for (const inboundType of no) assert.equal(judge(rule('IN-TYPE', payload), { inboundType }), false, `${payload} ${inboundType}`);
  }
});

void t.test('AND, OR, NOT', async () => {
  const session = (host: string, network: 'tcp' | 'udp' = 'tcp') => ({ ...to(host), network });
  const both = rule('AND', '((DOMAIN-SUFFIX,example.com),(NETWORK,UDP))');
  assert.equal(judge(both, session('a.example.com', 'udp')), true);
  assert.equal(judge(both, session('a.example.com')), false);
  const either = rule('OR', '( (DOMAIN,a.test) , (DOMAIN,b.test) , (DST-PORT,1/2) )');
  for (const [host, yes] of [
    ['a.test', true],
    ['b.test', true],
    ['c.test', false],
  ] as const)
    assert.equal(judge(either, session(host)), yes);
  assert.equal(judge(rule('NOT', '((NETWORK,UDP))'), session('a')), true);
  assert.equal(judge(rule('NOT', '((NETWORK,TCP))'), session('a')), false);
  assert.equal(judge(rule('and', '((not,((DOMAIN,a.test))),(OR,((NETWORK,TCP),(DST-PORT,53))))'), session('b.test')), true);
  assert.equal(judge(rule('AND', '((DOMAIN-REGEX,^(a|b)\\.t{1,4}est$),(NETWORK,TCP))'), session('b.test')), true, 'commas and parentheses in a regex');
  const first = rule('AND', '((NETWORK,UDP),(IP-CIDR,10.0.0.0/8))');
  assert.equal(first.match(testSession(session('a')), noFacts), false, 'what stands behind a miss is not evaluated');
  assert.equal(rule('OR', '((NETWORK,TCP),(IP-CIDR,10.0.0.0/8))').match(testSession(session('a')), noFacts), true);
  assert.equal(rule('AND', '((IP-CIDR,10.0.0.0/8,no-resolve),(NETWORK,TCP))').match(testSession(session('a')), new FakeFacts(null)), false);
});

void t.test('logic on addresses: intersection, union, complement', async () => {
  const addresses = ['10.1.1.1', '10.2.2.2', '192.0.2.1'];
  for (const [kind, payload, expected] of [
    ['NOT', '((IP-CIDR,10.0.0.0/8))', ['192.0.2.1']],
    ['NOT', '((IP-CIDR,0.0.0.0/0))', false],
    ['NOT', '((IP-CIDR,172.16.0.0/12))', true],
    ['AND', '((IP-CIDR,10.0.0.0/8),(IP-CIDR,10.2.0.0/16))', ['10.2.2.2']],
    ['AND', '((IP-CIDR,10.1.0.0/16),(IP-CIDR,192.0.2.0/24))', false], // no single address is in both
    ['AND', '((IP-CIDR,0.0.0.0/0),(NETWORK,TCP))', true],
    ['AND', '((NETWORK,TCP),(IP-CIDR,192.0.2.0/24))', ['192.0.2.1']],
    ['OR', '((IP-CIDR,10.1.0.0/16),(IP-CIDR,192.0.2.0/24))', ['10.1.1.1', '192.0.2.1']],
    ['OR', '((IP-CIDR,10.0.0.0/8),(IP-CIDR,192.0.2.0/24))', true], // all of them
    ['OR', '((IP-CIDR,10.0.0.0/8),(NETWORK,TCP))', true],
    ['OR', '((NETWORK,UDP),(IP-CIDR,172.16.0.0/12))', false],
    ['NOT', '((OR,((IP-CIDR,10.1.0.0/16),(IP-CIDR,192.0.2.0/24))))', ['10.2.2.2']],
    ['NOT', '((NOT,((IP-CIDR,10.0.0.0/8))))', ['10.1.1.1', '10.2.2.2']],
  ] as const) {
    const built = rule(kind, payload);
    assert.deepEqual(built.match(testSession(to('a')), new FakeFacts(addresses)), expected, `known: ${kind},${payload}`);
    const facts = new FakeFacts(null, addresses);
    assert.deepEqual(await built.match(testSession(to('a')), facts), expected, `looked up: ${kind},${payload}`);
    assert.ok(facts.lookups <= 1);
  }
  assert.equal(await rule('NOT', '((IP-CIDR,10.0.0.0/8))').match(testSession(to('a')), new FakeFacts(null, [])), true, 'a name without addresses');
});

void t.test('each bad payload says what is wrong with it', async () => {
  for (const [kind, payload, message] of [
    ['DOMAIN', '', /^DOMAIN needs a name, as in DOMAIN,www\.example\.com$/],
    ['DOMAIN', '*.example.com', /^DOMAIN takes a plain name, and "\*\.example\.com" is a pattern: use DOMAIN-WILDCARD$/],
    ['DOMAIN', 'exa mple.com', /^"exa mple\.com" is not a domain name, as www\.example\.com is$/],
    ['DOMAIN', 'http://example.com/', /is not a domain name/],
    ['DOMAIN', 'example.com:80', /is not a domain name/],
    ['DOMAIN', '1.2.3.4', /^"1\.2\.3\.4" is an address, which DOMAIN never matches: use IP-CIDR,1\.2\.3\.4\/32$/],
    ['DOMAIN', '[::1]', /use IP-CIDR,::1\/128$/],
    ['DOMAIN', `${'a'.repeat(64)}.com`, /is not a domain name/],
    ['DOMAIN-SUFFIX', '', /^DOMAIN-SUFFIX needs a name, as in DOMAIN-SUFFIX,example\.com$/],
    ['DOMAIN-SUFFIX', '+.', /needs a name/],
    ['DOMAIN-SUFFIX', '.', /needs a name/],
    ['DOMAIN-SUFFIX', 'a.*.com', /^DOMAIN-SUFFIX takes a plain name, and "a\.\*\.com" is a pattern/],
    ['DOMAIN-SUFFIX', '3.4', /^"3\.4" is an address, which DOMAIN-SUFFIX never matches/],
    ['DOMAIN-KEYWORD', '', /^DOMAIN-KEYWORD needs a text/],
    ['DOMAIN-KEYWORD', 'goo*', /^DOMAIN-KEYWORD takes plain text, and "goo\*" is a pattern: use DOMAIN-WILDCARD/],
    ['DOMAIN-KEYWORD', 'a b', /^"a b" is in no name/],
    ['DOMAIN-KEYWORD', '\u200b', /is in no name/],
    ['DOMAIN-WILDCARD', '', /^DOMAIN-WILDCARD needs a pattern/],
    ['DOMAIN-WILDCARD', '*.exa mple', /^"\*\.exa mple" matches no name/],
    ['DOMAIN-WILDCARD', 'bü*.example', /^"bü\*" mixes a wildcard with letters outside ASCII/],
    ['DOMAIN-REGEX', '', /^DOMAIN-REGEX needs a regular expression/],
    ['DOMAIN-REGEX', '(', /^the regular expression "\(" is not accepted: .*Unterminated group/],
    ['DOMAIN-REGEX', 'a'.repeat(1001), /has 1001 characters, 1000 are allowed/],
    ['IP-CIDR', '', /is no network: write an address and the length of its prefix/],
    ['IP-CIDR', 'example.com', /^"example\.com" is no network/],
    ['IP-CIDR', '10.0.0/8', /is no network/],
    ['IP-CIDR', '010.0.0.0/8', /is no network/],
    ['IP-CIDR', '10.0.0.0/33', /^"10\.0\.0\.0\/33" has a prefix of 33 bits: an IPv4 network has 0 to 32, as in 10\.0\.0\.0\/32$/],
    ['IP-CIDR6', '::/129', /an IPv6 network has 0 to 128, as in ::\/128$/],
    ['IP-CIDR', '10.0.0.0/', /has no prefix length behind the slash: write a number of bits, as in 10\.0\.0\.0\/24$/],
    ['IP-CIDR', '10.0.0.0/255.0.0.0', /has no prefix length behind the slash/],
    ['IP-CIDR', '10.0.0.0/-1', /has no prefix length behind the slash/],
    ['IP-CIDR6', 'fe80::1%eth0/64', /names an interface: a network has no zone/],
    ['SRC-IP-CIDR', '1.2.3', /is no network/],
    ['IP-SUFFIX', '', /^"" is no suffix: write an address and how many of its last bits count, as in 0\.0\.0\.7\/8 or ::1234:5678\/32$/],
    ['IP-SUFFIX', 'example.com/8', /is no suffix/],
    ['IP-SUFFIX', '8.8.8.8', /^"8\.8\.8\.8" does not say how many of its last bits count: write 0 to 32 behind a slash, as in 8\.8\.8\.8\/8$/],
    ['IP-SUFFIX', '8.8.8.8/33', /write 0 to 32/],
    ['IP-SUFFIX', '8.8.8.8/8/8', /write 0 to 32/],
    ['SRC-IP-SUFFIX', '::1/129', /write 0 to 128 behind a slash, as in ::1\/32$/],
    ['SRC-IP-SUFFIX', '::1/-1', /write 0 to 128/],
    ['SRC-IP-SUFFIX', 'fe80::1%eth0/64', /names an interface: a suffix has no zone/],
    ['DST-PORT', '', /^DST-PORT needs a value, as in DST-PORT,80\/443\/8000-8999$/],
    ['DST-PORT', 'http', /^"http" is neither a port \(0 to 65535\) nor a range of ports, as in DST-PORT,80\/443\/8000-8999$/],
    ['SRC-PORT', '65536', /^"65536" is neither a port/],
    ['SRC-PORT', '1-2-3', /^"1-2-3" is neither a port/],
    ['SRC-PORT', '1-', /^"1-" is neither a port/],
    ['IN-PORT', '80//81', /^"80\/\/81" has an empty item/],
    ['IN-PORT', '90-80', /^"90-80" is an empty range: write the lower port first, IN-PORT,80-90$/],
    ['IN-NAME', '', /^IN-NAME needs a value/],
    ['IN-USER', 'a/', /^"a\/" has an empty item/],
    ['IN-TYPE', '', /^IN-TYPE needs a value/],
    ['IN-TYPE', 'SOCKS 5', /^"SOCKS 5" is no inbound type/],
    ['NETWORK', 'icmp', /^"icmp" is no network: write NETWORK,TCP or NETWORK,UDP$/],
    ['NETWORK', '', /^"" is no network/],
    ['AND', '', /^AND: its rules stand in parentheses, as in AND,\(\(DOMAIN,a\.example\),\(NETWORK,UDP\)\),target$/],
    ['AND', '()', /^AND: it has no rules in it/],
    ['AND', '((NETWORK,UDP)', /^AND: a closing parenthesis is missing/],
    ['AND', '((NETWORK,UDP)))', /^AND: "\)" stands behind the closing parenthesis/],
    ['AND', '(NETWORK,UDP)', /^AND: each of its rules stands in parentheses of its own/],
    ['OR', '((NETWORK,UDP)(NETWORK,TCP))', /^OR: a comma stands between its rules/],
    ['OR', '((NETWORK,UDP),)', /^OR: each of its rules stands in parentheses of its own/],
    ['NOT', '((NETWORK,UDP),(NETWORK,TCP))', /^NOT takes exactly one rule/],
    ['AND', '((NETWORK))', /^"NETWORK" is no rule: write \(KIND,payload\), as in \(DOMAIN,www\.example\.com\)$/],
    ['AND', '((,x))', /has no kind/],
    ['AND', '((DOMIAN,a.test))', /^unknown rule kind "DOMIAN", did you mean DOMAIN\?$/],
    ['AND', '((MATCH,x))', /^MATCH cannot stand in another rule: leave it out$/],
    ['AND', '((MATCH))', /^MATCH cannot stand in another rule/],
    ['AND', '((DOMAIN,a.test,DIRECT))', /^unknown parameter "DIRECT" behind a DOMAIN rule: known are no-resolve, src$/],
    ['MATCH', 'x', /^MATCH has no payload, and "x" stands there: write MATCH,target$/],
  ] as const) {
    assert.throws(
      () => rule(kind, payload),
      (error) => {
        assert.ok(error instanceof Error);
        assert.match(error.message, message, `${kind},${payload}`);
        assert.equal('code' in error, false, 'a plain Error: the caller gives it a code and a place');
        return true;
      },
    );
  }
});

void t.test('every kind describes itself', async () => {
  const kinds = builtinRules.map(({ kind }) => kind);
  assert.equal(new Set(kinds).size, kinds.length);
  for (const { kind, description } of builtinRules) {
    assert.match(kind, /^[A-Z0-9-]+$/);
    assert.match(description, /^\S.*\S$/);
  }
});
