// Secrets in what a check tells: each is hidden, words of the messages are not, and many of either take little time.
import fc from 'fast-check';
import t from 'tap';
import { checkConfig } from '../../dist/config/check.js';
import { parseConfig } from '../../dist/config/load.js';
import { Scrubber } from '../../dist/config/secrets.js';
import { problemsOf, registry } from './checked.js';

const scrubber = (...secrets: readonly unknown[]): Scrubber => new Scrubber({ users: secrets });

t.test('every secret is hidden, wherever it stands', (t) => {
  const cases: readonly [secrets: readonly unknown[], text: string, shown: string][] = [
    [['hunter2'], 'hunter2', '***'],
    [['hunter2'], 'a hunter2, "hunter2" xhunter2x', 'a ***, "***" x***x'],
    [['hunter2', 'hunter2secret'], 'hunter2secret hunter2sec', '*** ***sec'],
    [['abcdef', 'defghi', 'bcde'], 'xabcdefghix', 'x***x'], // overlapping: no half is left
    [['abcd', 'efgh'], 'abcdefgh', '***'],
    [['aaaa'], 'aaaaaaaaa', '***'],
    [['me:hunter2'], 'hunter2 me:hunter2', '*** ***'],
    [[12345], 'port 12345', 'port ***'],
    [['abc'], 'abc', 'abc'], // too short
    [['hunter2'], 'ss://hunter2@a', 'ss://…'],
    [["hun'ter2"], `"ss://hun'ter2@a" b`, '"ss://…" b'],
    [[], 'abcd', 'abcd'],
  ];
  for (const [secrets, text, shown] of cases) t.equal(scrubber(...secrets).scrub(text), shown, text);
  const word = fc.stringMatching(/^[abc]{4,8}$/);
  fc.assert(
    fc.property(fc.array(word, { maxLength: 12 }), fc.stringMatching(/^[abc]{0,40}$/), (secrets, text) => {
      const shown = scrubber(...secrets).scrub(text);
      return !secrets.some((secret) => shown.includes(secret)) && secrets.some((secret) => text.includes(secret)) === (shown !== text);
    }),
  );
  t.end();
});

t.test('a secret that is a word of the messages does not spoil them', (t) => {
  const common = scrubber('password', 'pass', 'there', 'uuid', 'must');
  t.equal(common.scrub('"password": the key has 6 bytes'), '"password": the key has 6 bytes');
  t.equal(common.scrub('there is no "uuid": it must be given'), 'there is no "uuid": it must be given');
  t.equal(common.scrub('"there" and \'must\' and `there` are values'), '"***" and \'***\' and `***` are values');
  t.equal(common.scrub('password1 xpassword pass "pass" therefore Password'), '***1 x*** *** "***" ***fore Password');
  t.equal(scrubber('there must').scrub('there must'), '***', 'more than a word');
  t.equal(scrubber('there!').scrub('there!'), '***');
  t.match(problemsOf('proxies: [{ name: a, type: socks5, port: 1, username: u, password: server }]\n').join('\n'), /error: "server" is missing/);
  t.end();
});

t.test('many problems take time by their number alone', (t) => {
  const range = Array.from({ length: 3_000 }, (_, index) => index);
  const proxies = range.map((index) => `  - { name: node ${index}, type: vmess, uuid: 96c98faf-9b23-49d6-915d-${index}, psk: secret${index} }\n`);
  const same = range.map((index) => `  - DOMAIN,a${index}.example,nide 7\n`);
  const different = range.map((index) => `  - DOMAIN,b${index}.example,nod ${index}\n`);
  const source = parseConfig(`proxies:\n${proxies.join('')}rules:\n${[...same, ...different].join('')}`, 'c.yaml');
  const before = process.cpuUsage();
  const { problems } = checkConfig(source, registry);
  const seconds = process.cpuUsage(before).user / 1e6; // the machine may be busy with others
  t.equal(problems.length, 9_000);
  t.equal(problems.filter(({ message }) => message.includes('Did you mean "node 7"')).length, 3_001);
  t.equal(problems.filter(({ message }) => message.includes('Did you mean')).length, 3_199, 'no more guesses than for 200 names');
  t.ok(seconds < 8, `${seconds} s`);
  t.end();
});
