// The commands that end by themselves: exit codes, exact lines, no stack traces, no secrets.
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseConfig } from '@nekit/core';
import { Ajv2020 } from 'ajv/dist/2020.js';
import tap from 'tap';
import { type Result, run } from './command.js';

const EXAMPLES = fileURLToPath(new URL('../../../examples/', import.meta.url));
/** Each test starts the command several times, which takes seconds each when the machine is busy. */
const TIMEOUT_MS = 180_000;
const TRY = '\nTry: nekit-kernel --help\n';

/** Two at a time: start-up is all that these cost, and it is CPU time. */
async function runAll(calls: readonly string[][], options?: Parameters<typeof run>[1]): Promise<Result[]> {
  const results: Result[] = [];
  const next = calls.entries();
  const worker = async (): Promise<void> => {
    for (const [index, args] of next) results[index] = await run(args, options);
  };
  await Promise.all([worker(), worker()]);
  return results;
}

async function folder(t: { teardown(run: () => unknown): void }, files: Record<string, string>): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'nekit-cli-'));
  t.teardown(() => rm(path, { recursive: true, force: true }));
  for (const [name, text] of Object.entries(files)) await writeFile(join(path, name), text);
  return path;
}

tap.test('a Node that is too old is one clear line and exit code 1, whatever it is asked', { timeout: TIMEOUT_MS }, async (t) => {
  for (const [version, isOld] of [
    ['18.20.8', true],
    ['20.19.1', true],
    ['9.99.99', true],
    ['20.20.0', false],
    ['22.0.0', false],
  ] as const) {
    const old = `Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '${version}' } })`;
    const { code, stdout, stderr } = await run(['--version'], { env: { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(old)}` } });
    t.equal(code, isOld ? 1 : 0, version);
    t.equal(stderr, isOld ? `nekit-kernel needs Node.js 20.19.2 or newer, this is ${version}\n` : '');
    t.equal(stdout === '', isOld);
  }
});

tap.test('a wrong command line is one clear line and exit code 2', { timeout: TIMEOUT_MS }, async (t) => {
  const cases: [args: string[], line: string][] = [
    [['chekc'], 'nekit-kernel: there is no command "chekc": run, check, explain, rules, import, plugins, schema are known'],
    [['--frob'], "nekit-kernel: Unknown option '--frob'; known are --config, --plugins, --proxy, --strict, --mixed-port, --log-level, --tun, --dry-run"],
    [
      ['run', '--tun'],
      'nekit-kernel: --tun needs the plugins tcp and dns: --plugins tcp,dns (what is not there comes by: npm install @nekit/stack-tcp @nekit/stack-dns)',
    ],
    [
      ['--plugins', 'ss,tcp', '--tun', '--dry-run'],
      'nekit-kernel: --tun needs the plugin dns: --plugins ss,tcp,dns (what is not there comes by: npm install @nekit/stack-dns)',
    ],
    [['config.yaml'], 'nekit-kernel: there is no command "config.yaml": run, check, explain, rules, import, plugins, schema are known'],
    [['run', 'config.yaml'], 'nekit-kernel: "config.yaml" is not expected here; a config is named by -c config.yaml'],
    [['-c'], "nekit-kernel: Option '-c, --config <value>' argument missing"],
    [['--mixed-port', '70000'], 'nekit-kernel: --mixed-port must be a port, 0 to 65535'],
    [['--log-level', 'loud'], 'nekit-kernel: --log-level must be silent, error, warning, info or debug'],
    [['check'], 'nekit-kernel: name the config to check: nekit-kernel check -c FILE'],
    [['explain'], 'nekit-kernel: name a destination: nekit-kernel explain -c FILE HOST[:PORT]'],
    [['explain', 'a b'], 'nekit-kernel: "a b" is no HOST or HOST:PORT'],
    [['explain', 'a.example', '--source', 'x y'], 'nekit-kernel: --source: "x y" is no address'],
    [
      ['--proxy', 'example.com:80x'],
      'nekit-kernel: --proxy: no loaded plugin takes example.com:// (http, https, socks5, socks5h, socks, socks5+tls are known); is it missing in --plugins?',
    ],
  ];
  const results = await runAll(cases.map(([args]) => args));
  for (const [index, [args, line]] of cases.entries()) t.same(results[index], { code: 2, stdout: '', stderr: line + TRY }, args.join(' '));
  for (const { code, stderr } of await runAll(['socks5://user:hunter2secret@h:99999', 'http://user:hunter2secret@'].map((uri) => ['--proxy', uri]))) {
    t.equal(code, 2);
    t.match(stderr, /^nekit-kernel: --proxy: bad (?:http|socks5):\/\/ URI: /);
    t.notMatch(stderr, /hunter2/);
  }
  const unsupported = await run(['--plugins', 'ss', '--proxy', 'ss://rc4-md5:hunter2secret@192.0.2.1:8388']);
  t.match(unsupported, { code: 2, stderr: /^nekit-kernel: --proxy: "cipher": rc4-md5 is broken: / }, 'a file may have such a proxy beside others');
  t.notMatch(unsupported.stderr, /hunter2/);
});

tap.test('version and help', { timeout: TIMEOUT_MS }, async (t) => {
  const { version } = JSON.parse(await readFile(new URL('../package.json', import.meta.url), 'utf8')) as { version: string };
  for (const { code, stdout, stderr } of await runAll([['--version'], ['-v'], ['run', '--version']])) {
    t.same({ code, stderr }, { code: 0, stderr: '' });
    t.ok(stdout.startsWith(`nekit-kernel ${version} (native: `), stdout);
    t.match(stdout, /^[^\n]+\)\n$/, 'one line');
  }
  const nowhere = join(EXAMPLES, 'nekit.node');
  const [off, absent] = await Promise.all([
    run(['--version'], { env: { NEKIT_NATIVE: 'off' } }),
    run(['--version'], { env: { NEKIT_NATIVE: 'on', NEKIT_NATIVE_PATH: nowhere } }),
  ]);
  t.equal(off.stdout, `nekit-kernel ${version} (native: none, TypeScript fallback: NEKIT_NATIVE=off)\n`);
  t.match(absent.stdout, `nekit-kernel ${version} (native: none, TypeScript fallback: `);
  t.match(absent.stdout, /nekit\.node: not there\)\n$/);
  const commands = ['run', 'check', 'explain', 'rules', 'import', 'plugins', 'schema'];
  const [general, ...own] = await runAll([['--help'], ...commands.map((command) => [command, '--help'])]);
  for (const [index, { code, stdout }] of own.entries()) {
    t.equal(code, 0);
    t.match(stdout, new RegExp(`^Usage: nekit-kernel \\[?${commands[index]}`));
    t.match(general?.stdout, new RegExp(`^ {2}${commands[index]} `, 'm'));
    t.ok(
      stdout.split('\n').every((line) => line.length <= 100),
      'no line is too long for a terminal',
    );
  }
});

tap.test('check', { timeout: TIMEOUT_MS }, async (t) => {
  const cwd = await folder(t, {
    'good.yaml': 'mixed-port: 7890\nproxies: [{ name: up, type: socks5, server: 192.0.2.1, port: "1080" }]\nrules: ["MATCH,up"]\n',
    'warn.yaml': 'mixed-prot: 7890\n',
    'bad.yaml':
      'authentication: ["me:hunter2secret"]\nproxies:\n  - { name: up, type: socks5, server: 192.0.2.1, prot: 1080, password: hunter2secret }\nrules:\n  - DOMAIN-SUFIX,a.example,up\n',
    'broken.yaml': 'mixed-port: 1\n\trules: [\n',
    'plugin.yaml': 'plugins:\n  - http\n  - no-such-plugin-here\n',
  });
  t.same(await run(['check', '-c', 'good.yaml'], { cwd }), { code: 0, stdout: 'good.yaml: 0 errors, 0 warnings\n', stderr: '' });
  const warning = 'warn.yaml:1:1 XX: "mixed-prot" is no key that we know, and has no effect. Did you mean "mixed-port"?\n';
  t.same(await run(['check', '-c', 'warn.yaml'], { cwd }), {
    code: 0,
    stdout: `${warning.replace('XX', 'warning')}warn.yaml: 0 errors, 1 warning\n`,
    stderr: '',
  });
  t.same(await run(['check', '-c', 'warn.yaml', '--strict'], { cwd }), {
    code: 1,
    stdout: `${warning.replace('XX', 'error')}warn.yaml: 1 error, 0 warnings\n`,
    stderr: '',
  });
  const bad = await run(['check', '-c', 'bad.yaml'], { cwd });
  t.same(
    [bad.code, bad.stdout.split('\n')],
    [
      1,
      [
        'bad.yaml:3:5 error: "port" is missing',
        'bad.yaml:3:50 warning: "prot" is no key of a socks5 proxy. Did you mean "port"?',
        'bad.yaml:5:5 error: there is no rule kind "DOMAIN-SUFIX". Did you mean "DOMAIN-SUFFIX"?',
        '    DOMAIN-SUFIX,a.example,up',
        'bad.yaml: 2 errors, 1 warning',
        '',
      ],
    ],
  );
  t.match(await run(['check', '-c', 'broken.yaml'], { cwd }), { code: 1, stdout: /^broken\.yaml:2:1 error: a tab is used for indentation/ });
  t.match(await run(['check', '-c', 'none.yaml'], { cwd }), { code: 1, stdout: /^none\.yaml: error: the config file does not exist\n/ });
  t.match(await run(['check', '-c', 'plugin.yaml'], { cwd }), { code: 1, stdout: /^plugin\.yaml:3:5 error: .*npm install.* no-such-plugin-here/ });

  // The same files given to `run`: the same lines, on stderr, and exit code 2.
  const ran = await run(['-c', 'bad.yaml'], { cwd });
  t.same([ran.code, ran.stdout], [2, '']);
  t.match(ran.stderr, /^bad\.yaml:3:5 error: "port" is missing\nbad\.yaml:5:5 error/);
  t.notMatch(bad.stdout + ran.stderr, /hunter2/);
  t.match(await run(['-c', 'warn.yaml', '--strict'], { cwd }), { code: 2, stderr: /^warn\.yaml:1:1 error/ });
  t.match(await run(['--plugins', 'no-such-plugin-here'], { cwd }), { code: 2, stderr: /^nekit-kernel: .*npm install.* no-such-plugin-here\n$/ });
});

tap.test('NEKIT_DEBUG shows the stack, and nothing else does', { timeout: TIMEOUT_MS }, async (t) => {
  const silent = await run(['-c', 'none.yaml']);
  t.same(silent, { code: 2, stdout: '', stderr: 'none.yaml: error: the config file does not exist\n' });
  const loud = await run(['-c', 'none.yaml'], { env: { NEKIT_DEBUG: '1' } });
  t.match(loud.stderr, /\n {4}at .*\n(?:.*\n)*caused by Error: ENOENT/);
});

tap.test('explain', { timeout: TIMEOUT_MS }, async (t) => {
  const cwd = await folder(t, {
    'c.yaml':
      'proxies: [{ name: up, type: socks5, server: 192.0.2.1, port: 1, udp: true }, { name: tcp, type: socks5, server: 192.0.2.1, port: 1 }]\nproxy-groups: [{ name: g, type: select, proxies: [up] }]\n' +
      'hosts: { box.example: 10.0.0.7 }\nrules:\n  - DOMAIN,a.example,tcp\n  - SRC-IP-CIDR,172.16.0.0/12,REJECT\n  - IP-CIDR,10.0.0.0/8,DIRECT\n  - MATCH,g\n',
  });
  const ask = async (...args: string[]): Promise<unknown> => JSON.parse((await run(['explain', '-c', 'c.yaml', '--json', ...args], { cwd })).stdout);
  t.match(await ask('a.example'), {
    destination: 'a.example:443',
    adapter: 'tcp',
    chain: [],
    rule: 'DOMAIN,a.example,tcp',
    tried: [{ verdict: 'match' }],
    lookups: [],
  });
  t.match(await ask('a.example:53', '--udp', '--source', '172.16.0.1'), { adapter: 'REJECT', tried: [{ verdict: 'not-carried' }, { verdict: 'match' }] });
  t.match(await ask('box.example:80'), { adapter: 'DIRECT', lookups: [{ name: 'box.example', from: 'hosts', addresses: ['10.0.0.7'] }] });
  t.match(await ask('[2001:db8::1]:80'), { destination: '[2001:db8::1]:80', adapter: 'up', chain: ['g'], rule: 'MATCH,g' });
  const { code, stdout } = await run(['explain', '-c', 'c.yaml', '192.0.2.9'], { cwd });
  t.equal(code, 0);
  t.match(stdout, / matches \(\d+ (?:us|ms)\)\n$/, 'with what it cost');
  t.same(stdout.replace(/ \(\d+ (?:us|ms)\)$/gm, '').split('\n'), [
    '192.0.2.9:443 -> g -> up',
    'because: MATCH,g',
    'rules tried:',
    '    1  DOMAIN,a.example,tcp              no',
    '    2  SRC-IP-CIDR,172.16.0.0/12,REJECT  no',
    '    3  IP-CIDR,10.0.0.0/8,DIRECT         no',
    '    4  MATCH,g                           matches',
    '',
  ]);
  t.match(await run(['explain', 'a.example', '--proxy', 'socks5://u:p@192.0.2.1:1080#my%20box'], { cwd }), {
    code: 0,
    stdout: /^a\.example:443 -> my box\nbecause: MATCH,my box\n/,
  });
  t.match(await run(['explain', 'a.example', '--proxy', 'socks5://u:p@192.0.2.1:1080'], { cwd }), { stdout: /^a\.example:443 -> 192\.0\.2\.1:1080\n/ });
});

tap.test('explain, with the sniffer', { timeout: TIMEOUT_MS }, async (t) => {
  const cwd = await folder(t, {
    'c.yaml': 'sniffer: { enable: true, sniff: { TLS: {}, QUIC: {} } }\nrules:\n  - DOMAIN,a.example,REJECT\n  - MATCH,DIRECT\n',
  });
  const ask = (...args: string[]) => run(['explain', '-c', 'c.yaml', ...args], { cwd });
  t.match(await ask('192.0.2.9'), { code: 0, stdout: /-> DIRECT\nthe first bytes are looked at \(TLS\) and may show a name: --sniffed NAME / });
  t.match(await ask('192.0.2.9', '--sniffed', 'A.example'), {
    code: 0,
    stdout: /-> REJECT\nseen in the first bytes: a\.example\nbecause: DOMAIN,a\.example,REJECT\n/,
  });
  t.match(JSON.parse((await ask('192.0.2.9', '--udp', '--json')).stdout), { sniffed: null, sniffer: ['QUIC'] });
  t.match(JSON.parse((await ask('192.0.2.9:80', '--json')).stdout), { sniffed: null, sniffer: [] });
  t.match(await ask('192.0.2.9', '--sniffed', '192.0.2.1'), { code: 2, stderr: /--sniffed: "192\.0\.2\.1" is no name/ });
});

tap.test('plugins', { timeout: TIMEOUT_MS }, async (t) => {
  const cwd = await folder(t, {});
  const { code, stdout } = await run(['plugins'], { cwd });
  t.equal(code, 0);
  t.match(stdout, /^@nekit\/adapter-http \d+\.\d+\.\d+ {2}\(http\)\n {2}\/.*adapter-http\n/m);
  const list = JSON.parse((await run(['plugins', '--json'], { cwd })).stdout) as { name: string; problem: unknown }[];
  t.match(
    list.find(({ name }) => name === '@nekit/adapter-socks5'),
    { alias: ['socks5', 'socks'], problem: null },
  );
});

tap.test('the schema takes the examples, and they have no problems', { timeout: TIMEOUT_MS }, async (t) => {
  const { code, stdout } = await run(['schema', '--plugins', 'tcp,udp']);
  t.equal(code, 0);
  const ajv = new Ajv2020({ strict: true, strictTypes: false, strictRequired: false, allErrors: true });
  const validate = ajv.compile(JSON.parse(stdout) as object);
  const names = (await readdir(EXAMPLES)).filter((name) => name.endsWith('.yaml'));
  t.ok(names.includes('config.yaml'));
  for (const name of names) {
    const file = join(EXAMPLES, name);
    const { value, problems } = parseConfig(await readFile(file, 'utf8'), name);
    t.same(problems, []);
    t.ok(validate(value), `${name}: ${ajv.errorsText(validate.errors)}`);
  }
  const checked = await runAll(
    names.map((name) => ['check', '--strict', '-c', name]),
    { cwd: EXAMPLES },
  );
  for (const [index, result] of checked.entries())
    t.same(result, { code: 0, stdout: `${names[index]}: 0 errors, 0 warnings\n`, stderr: '' }, String(names[index]));
  t.notOk(validate({ proxies: [{ name: 'a', type: 'socks5', server: 'x', port: 1, prot: 2 }] }), 'it is not a schema of everything');
});
