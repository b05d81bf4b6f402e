// PROCESS-… and UID rules, and what their regular expressions may be run on: any text, at a bounded cost.
import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { buildRule, parseRuleText } from '../../dist/rule/parse.js';
import { RegexAutomaton } from '../../dist/rule/regex-automaton.js';
import { PATHS, parseRegex } from '../../dist/rule/regex-syntax.js';
import type { ProcessInfo, Rule } from '../../dist/rule/rule.js';
import { FakeFacts, testSession } from '../../dist/testing.js';
import { knownRules } from '../support/known-rules.js';

const known = knownRules();

function rule(kind: string, payload: string): Rule {
  return buildRule(kind, payload, [], {}, known);
}

function program(path: string, uid: number | null = 1000): ProcessInfo {
  return { name: path.slice(path.lastIndexOf('/') + 1), path, uid };
}

async function matches(built: Rule, info: ProcessInfo | null): Promise<unknown> {
  return await built.match(testSession(), new FakeFacts([], [], info));
}

void t.test('PROCESS-NAME and PROCESS-PATH', async () => {
  for (const [kind, payload, yes, no] of [
    ['PROCESS-NAME', 'curl', ['/usr/bin/curl', '/opt/CURL'], ['/usr/bin/curl2', '/curl/wget']],
    ['PROCESS-NAME', 'Пуск.sh', ['/home/пуск.SH'], ['/home/пуск']],
    ['PROCESS-PATH', '/usr/bin/curl', ['/usr/bin/curl', '/USR/bin/Curl'], ['/usr/bin/curl/', '/bin/curl', 'curl']],
    ['PROCESS-NAME-WILDCARD', 'c?rl*', ['/bin/curl', '/bin/CARL-7.1'], ['/bin/crl', '/bin/xcurl']],
    ['PROCESS-PATH-WILDCARD', '/opt/**/*.AppImage', ['/opt/a/b/x.appimage', '/opt/a/y.AppImage'], ['/opt/x', '/usr/opt/a/x.appimage']],
    ['PROCESS-NAME-REGEX', '^(curl|wget)$', ['/bin/curl', '/bin/WGET'], ['/bin/curls']],
    ['PROCESS-PATH-REGEX', '(?i)^/home/[^/]+/\\.local/', ['/home/me/.local/bin/x', '/HOME/Ü ser/.local/x'], ['/home/a/b/.local/x']],
    ['PROCESS-PATH-REGEX', '[А-Я]+ль$', ['/opt/руль', '/opt/РУЛЬ'], ['/opt/ль', '/opt/рулет']],
    ['PROCESS-PATH-REGEX', '^(?!/usr/).*\\bcurl', ['/opt/x-curl'], ['/usr/bin/curl', '/opt/xcurl']],
    ['PROCESS-PATH-REGEX', 'steam.*runtime.*wine', [`/${'steam'.repeat(700)}/runtime/wine`], [`/${'steam'.repeat(700)}/runtime`]],
  ] as const) {
    const built = rule(kind, payload);
    for (const path of yes) assert.equal(await matches(built, program(path)), true, `${kind},${payload} ${path}`);
    for (const path of no) assert.equal(await matches(built, program(path)), false, `${kind},${payload} ${path}`);
    assert.equal(await matches(built, null), false, 'nobody knows');
    assert.equal(await matches(built, { name: '', path: '', uid: 1000 }), false, "another user's process");
  }
  assert.equal(await matches(rule('PROCESS-NAME-WILDCARD', '*'), null), false);
  assert.equal(await matches(rule('NOT', '((PROCESS-NAME,curl))'), null), true);
  assert.equal(await matches(rule('AND', '((PROCESS-NAME,curl),(UID,1000))'), program('/bin/curl')), true);
  const { payload, target } = parseRuleText('PROCESS-PATH-REGEX,^/a{1,3}$,DIRECT');
  assert.deepEqual([payload, target], ['^/a{1,3}$', 'DIRECT']);
});

void t.test('UID', async () => {
  for (const payload of ['0/1000/2000-2999', '0, 1000, 2000 - 2999']) {
    const built = rule('UID', payload);
    for (const uid of [0, 1000, 2000, 2500, 2999]) assert.equal(await matches(built, program('', uid)), true, String(uid));
    for (const uid of [1, 999, 1001, 1999, 3000, null]) assert.equal(await matches(built, program('/bin/curl', uid)), false, String(uid));
    assert.equal(await matches(built, null), false);
  }
  assert.equal(await matches(rule('UID', '0-4294967294'), program('', 4_294_967_294)), true);
});

void t.test('each bad payload says what is wrong with it', async () => {
  for (const [kind, payload, message] of [
    ['PROCESS-NAME', '', /^PROCESS-NAME needs a value, as in PROCESS-NAME,curl$/],
    ['PROCESS-NAME', '/usr/bin/curl', /^"\/usr\/bin\/curl" is a path: use PROCESS-PATH,\/usr\/bin\/curl$/],
    ['PROCESS-PATH', '', /^PROCESS-PATH needs a value, as in PROCESS-PATH,\/usr\/bin\/curl$/],
    ['PROCESS-NAME-WILDCARD', '', /^PROCESS-NAME-WILDCARD needs a value, as in PROCESS-NAME-WILDCARD,curl\*$/],
    ['PROCESS-PATH-REGEX', '', /^PROCESS-PATH-REGEX needs a value/],
    ['PROCESS-NAME-REGEX', '(', /^the regular expression "\(" is not accepted: .*Unterminated group/],
    ['PROCESS-NAME-REGEX', 'a'.repeat(1001), /has 1001 characters, 1000 are allowed/],
    ['PROCESS-PATH-REGEX', '(?=x)(\\/+)+$', /the loop \(\\\/\+\)\+ can read the same text in several ways/],
    ['PROCESS-PATH-REGEX', '(?=x)( |\\s)+$', /the loop \( \|\\s\)\+ can read the same text in several ways/],
    ['PROCESS-PATH-REGEX', '(?=x)(é|[à-ü])+$', /can read the same text in several ways/],
    ['PROCESS-PATH-REGEX', '(?=x)([^a]|[^b])+$', /can read the same text in several ways/],
    ['UID', '', /^UID needs a value, as in UID,1000\/2000-2999$/],
    ['UID', 'root', /^"root" is neither a number of a user \(0 to 4294967294, "id -u" tells yours\) nor a range, as in UID,1000\/2000-2999$/],
    ['UID', '4294967295', /is neither a number of a user/],
    ['UID', '1-2-3', /is neither a number of a user/],
    ['UID', '-1', /is neither a number of a user/],
    ['UID', '2-1', /^"2-1" is an empty range: write the lower number first, UID,1-2$/],
  ] as const) {
    assert.throws(() => rule(kind, payload), { message }, `${kind},${payload.slice(0, 40)}`);
  }
});

void t.test('no path makes a pattern slow', async () => {
  for (const [payload, path] of [
    ['(a+)+$', `/${'a'.repeat(4_000)}!`],
    ['(/+)+$', `${'/'.repeat(4_000)}!`],
    ['( |\\s)*\\s*x$', `/${' '.repeat(4_000)}!`],
    ['(é|[à-ü]|É)+$', `/${'é'.repeat(4_000)}!`],
    ['([^/]*[^/]*)*x$', `/${'é'.repeat(4_000)}`],
    ['.*a.*b.*c.*d.*e', `/${'abcd'.repeat(1_000)}`],
    ['^(?!.*x).*a.*', `/${'a'.repeat(4_000)}`],
  ] as const) {
    const built = rule('PROCESS-PATH-REGEX', payload);
    const begin = performance.now();
    assert.equal(await matches(built, program(path)), false, payload);
    assert.ok(performance.now() - begin < 1_000, `${payload} took ${performance.now() - begin} ms`);
  }
  assert.equal(await matches(rule('PROCESS-PATH-REGEX', 'a'), program(`/${'a'.repeat(5_000)}`)), false, 'longer than any path');
});

void t.test('the automaton says what Node says, on any text', async () => {
  const atom = fc.constantFrom(
    'a',
    'K',
    's',
    '.',
    '/',
    ' ',
    'é',
    'É',
    'ſ',
    '\u212a',
    '\\w',
    '\\W',
    '\\s',
    '\\S',
    '\\d',
    '[^/]',
    '[à-ü]',
    '[^é]',
    '[K-s]',
    '\\u00e9',
    '\\xe9',
    '\\.',
    '[\\s/]',
    '\u{1f600}',
    'İ',
    'ß',
  );
  const counted = fc.tuple(atom, fc.constantFrom('', '*', '+', '?', '{2}', '{1,3}', '*?')).map((parts) => parts.join(''));
  const sequence = fc.array(counted, { minLength: 1, maxLength: 4 }).map((parts) => parts.join(''));
  const group = fc.tuple(sequence, sequence, fc.constantFrom('', '*', '+')).map(([a, b, count]) => `(?:${a}|${b})${count}`);
  const source = fc
    .tuple(fc.constantFrom('', '^'), fc.array(fc.oneof(sequence, group), { minLength: 1, maxLength: 3 }), fc.constantFrom('', '$'))
    .map(([start, parts, end]) => `${start}${parts.join('')}${end}`);
  const text = fc
    .array(fc.constantFrom(...Array.from('aAkKsS. /\n\t9_éÉàÀüſ\u212aİıßẞ\u00a0\u2028\u{1f600}')), { maxLength: 12 })
    .map((characters) => characters.join(''));
  fc.assert(
    fc.property(source, fc.array(text, { minLength: 1, maxLength: 8 }), (pattern, texts) => {
      const automaton = new RegexAutomaton(parseRegex(pattern, PATHS), PATHS);
      const regex = new RegExp(pattern, 'i');
      for (const one of texts) {
        const lower = one.replace(/[A-Z]/g, (letter) => letter.toLowerCase());
        assert.equal(automaton.test(lower), regex.test(one), `${pattern} on ${JSON.stringify(one)}`);
      }
    }),
    { numRuns: 2_000 },
  );
});

void t.test('sets of which nothing outside of ASCII is asked hold nothing there', async () => {
  const atoms = [
    'a',
    'k',
    'S',
    'i',
    '/',
    '\\d',
    '\\w',
    '\\.',
    '[a-z]',
    '[K-s]',
    '[^a]',
    '\\W',
    '.',
    '[\\w.-]',
    '[\\]a]',
    '[é]',
    '\\x41',
    '[\\x41-Z]',
    '\\s',
    '\\S',
    '\\D',
  ];
  for (const atom of atoms) {
    const [node] = [parseRegex(atom, PATHS)].flatMap((root) => (root.type === 'sequence' ? root.parts : [root]));
    assert.ok(node?.type === 'set', atom);
    if (node.others !== null) continue;
    const one = new RegExp(`^(?:${atom})$`, 'i');
    for (let code = 0x80; code < 0x1_0000; code++) assert.equal(one.test(String.fromCharCode(code)), false, `${atom} ${code.toString(16)}`);
  }
});
