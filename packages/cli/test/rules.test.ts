// `nekit-kernel rules FILE`: what is in a list, what is wrong in it and where.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import tap from 'tap';
import { run } from './command.js';

const TIMEOUT_MS = 180_000;

tap.test('lists of rules', { timeout: TIMEOUT_MS }, async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'nekit-rules-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  await writeFile(join(folder, 'good.yaml'), "payload:\n  - '+.a.com'\n  - b.com\n");
  await writeFile(join(folder, 'bad.txt'), 'DOMAIN,a.com\nDOMAIN-SUFFIX,b.com\n# x\nDOMAIN,a b\u202e\nFROB,x\n');
  await writeFile(join(folder, 'binary.srs'), 'SRS\x01');
  const cwd = { cwd: folder };

  t.same(await run(['rules', 'good.yaml'], cwd), {
    code: 0,
    stdout: 'good.yaml: format yaml, behavior domain\n2 entries\n  1  suffix (+.)\n  1  exact\n',
    stderr: '',
  });
  const bad = await run(['rules', 'bad.txt'], cwd);
  t.equal(bad.code, 1);
  t.match(bad.stdout, /^bad\.txt:4: DOMAIN,a b\\u202e: "a b\\u202e" is not a domain name, .*\nbad\.txt:5: FROB,x: unknown rule kind "FROB"/m);
  t.match(bad.stdout, /\nbad\.txt: format text, behavior classical\n2 entries, 2 more that were not understood\n {2}1 {2}DOMAIN\n {2}1 {2}DOMAIN-SUFFIX\n$/);
  const json = await run(['rules', 'bad.txt', '--json'], cwd);
  t.equal(json.code, 1);
  t.match(JSON.parse(json.stdout), {
    file: 'bad.txt',
    format: 'text',
    behavior: 'classical',
    entries: 2,
    kinds: { DOMAIN: 1, 'DOMAIN-SUFFIX': 1 },
    problems: [{ line: 4 }, { line: 5, text: 'FROB,x' }],
    problemCount: 2,
  });
  t.match(await run(['rules', 'bad.txt', '--behavior', 'domain'], cwd), { code: 1, stdout: /behavior domain\n0 entries, 4 more/ });

  const failures: [args: string[], code: number, line: RegExp][] = [
    [['rules'], 2, /name the list: nekit-kernel rules FILE/],
    [['rules', 'x', '--behavior', 'names'], 2, /--behavior must be domain, ipcidr or classical/],
    [['rules', 'x', '--format', 'mrs'], 2, /--format must be yaml, text, sing-box or nekit/],
    [['rules', 'nowhere'], 1, /nowhere cannot be read: ENOENT/],
    [['rules', 'binary.srs'], 1, /binary\.srs: this is a compiled rule-set of sing-box \(\.srs\)/],
    [['rules', 'bad.txt', '--format', 'yaml'], 1, /bad\.txt: a YAML list has its entries under "payload:"/],
  ];
  for (const [args, code, line] of failures) {
    const result = await run(args, cwd);
    t.equal(result.code, code, args.join(' '));
    t.equal(result.stdout, '', args.join(' '));
    t.match(result.stderr, line);
  }

  await writeFile(
    join(folder, 'long.txt'),
    Array.from({ length: process.env.NEKIT_FULL === '1' ? 1_000_000 : 100_000 }, (_, i) => `host${i}.example.com\n`).join(''),
  );
  t.match(await run(['rules', 'long.txt'], cwd), { code: 0, stdout: /^long\.txt: format text, behavior domain\n1?000000? entries\n/ });
});
