// `--tun` and `--dry-run`: the config that is made of them, and what is said where a TUN cannot be had. That it works is shown by test/netns/home.test.ts.
import { spawnSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseConfig } from '@nekit/core';
import tap from 'tap';
import { startFailure } from '../dist/start-failure.js';
import { run } from './command.js';

const TIMEOUT_MS = 120_000;
const BIN = fileURLToPath(new URL('../bin/nekit-kernel.js', import.meta.url));
const URI = `ss://${Buffer.from('aes-256-gcm:hunter2').toString('base64url')}@proxy.example:8388#home`;
const QUICK_START = ['--plugins', 'ss,tcp,dns', '--proxy', URI, '--tun'];

const CONFIG = `plugins: [ss, tcp, dns]
tun:
  enable: true
  auto-route: true
  auto-detect-interface: true
  dns-hijack: ["any:53"]
dns:
  enable: true
  ipv6: true
  enhanced-mode: fake-ip
  fake-ip-range: "198.18.0.1/16"
  fake-ip-range6: "fdfe:dcba:9876::1/64"
  nameserver: ["tcp://1.1.1.1#home", "tcp://8.8.8.8#home"]
  proxy-server-nameserver: [system]
  direct-nameserver: [system]
proxies:
  - { type: ss, server: proxy.example, port: 8388, cipher: aes-256-gcm, password: hunter2, udp: true, name: home }
rules:
  - MATCH,home
`;

async function folder(t: { teardown(run: () => unknown): void }, files: Record<string, string>): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'nekit-cli-'));
  t.teardown(() => rm(path, { recursive: true, force: true }));
  for (const [name, text] of Object.entries(files)) await writeFile(join(path, name), text);
  return path;
}

tap.test('the quick start is a config like any other', { timeout: TIMEOUT_MS }, async (t) => {
  const { code, stdout, stderr } = await run([...QUICK_START, '--dry-run']);
  t.same({ code, stderr }, { code: 0, stderr: '' });
  t.ok(stdout.startsWith(`${CONFIG}# Nothing was started or set. With this config:\n`), stdout);
  const effects = stdout.slice(CONFIG.length).split('\n');
  for (const line of [
    '#   ip tuntap add tun0 mode tun',
    '#   ip address add 198.18.0.1/30 dev tun0',
    '#   ip -6 address add fdfe:dcba:9876::1/126 dev tun0',
    "#   DNS: the names of proxies' servers are asked of: system",
  ])
    t.ok(effects.includes(line), line);
  for (const line of [/^# {3}ip route add default dev tun0 table \d+/, /^# {3}ip -6 route add default dev tun0 table \d+/, /^# {3}ip rule add .* fwmark /])
    t.ok(
      effects.some((effect) => line.test(effect)),
      String(line),
    );

  const cwd = await folder(t, { 'printed.yaml': stdout });
  t.same(await run(['check', '-c', 'printed.yaml', '--strict'], { cwd }), { code: 0, stdout: 'printed.yaml: 0 errors, 0 warnings\n', stderr: '' });
  const again = await run(['-c', 'printed.yaml', '--dry-run'], { cwd });
  t.equal(again.stdout, stdout, 'what it prints is the same config');
});

tap.test('check --tun without a config lists what the quick start would set', { timeout: TIMEOUT_MS }, async (t) => {
  const [bare, same, missing] = await Promise.all([
    run(['check', '--tun']),
    run(['check', ...QUICK_START]),
    run(['check', '--tun', '--plugins', 'no-such-plugin-here']),
  ]);
  t.equal(bare.stdout, same.stdout, 'whatever the proxy');
  t.same({ code: bare.code, stderr: bare.stderr }, { code: 0, stderr: '' });
  const lines = bare.stdout.split('\n');
  t.equal(lines[0], 'no config, a TUN: 0 errors, 0 warnings');
  t.ok(lines.includes('not set  ip address add 198.18.0.1/30 dev tun0'), bare.stdout);
  t.notMatch(same.stdout, 'hunter2');
  t.match(missing, { code: 2, stderr: /no-such-plugin-here/ });
});

tap.test('without a proxy, and with odd names', { timeout: TIMEOUT_MS }, async (t) => {
  const [direct, odd, proxyOnly] = await Promise.all([
    run(['--plugins', 'tcp,dns', '--tun', '--dry-run']),
    run(['--plugins', 'ss,tcp,dns', '--proxy', URI.replace('#home', '#a%20%26b%3D1%2C%25'), '--tun', '--dry-run', '--mixed-port', '7891']),
    run(['--proxy', 'socks5://192.0.2.1:1080', '--dry-run']),
  ]);
  t.match(configOf(direct.stdout), { rules: ['MATCH,DIRECT'], dns: { nameserver: ['system'], 'proxy-server-nameserver': undefined } });
  t.match(configOf(odd.stdout), {
    'mixed-port': 7891,
    rules: [{ type: 'MATCH', to: 'a &b=1,%' }],
    dns: { nameserver: ['tcp://1.1.1.1#a%20%26b%3D1,%25', 'tcp://8.8.8.8#a%20%26b%3D1,%25'] },
  });
  t.same([odd.code, odd.stderr], [0, '']);
  t.match(odd.stdout, '#   listens: mixed on 127.0.0.1:7891 (DEFAULT-MIXED)\n');
  t.same(configOf(proxyOnly.stdout), {
    'mixed-port': 7890,
    proxies: [{ name: '192.0.2.1:1080', type: 'socks5', server: '192.0.2.1', port: 1080 }],
    rules: ['MATCH,192.0.2.1:1080'],
  });
});

tap.test('with a file its keys win', { timeout: TIMEOUT_MS }, async (t) => {
  const cwd = await folder(t, {
    'own.yaml': 'plugins: [tcp, dns]\ntun: { enable: false, device: nekit7, auto-route: false, mtu: 1400 }\ndns: { enable: false }\nrules: ["MATCH,DIRECT"]\n',
    'bare.yaml': 'plugins: [tcp]\nmixed-port: 7890\n',
    'wrong.yaml': 'plugins: [tcp]\ntun:\n  mtu: 12\n',
    'none.yaml': 'mixed-port: 7890\n',
  });
  const own = await run(['-c', 'own.yaml', '--tun', '--dry-run'], { cwd });
  t.match(configOf(own.stdout), { tun: { enable: true, device: 'nekit7', 'auto-route': false, mtu: 1400 }, dns: { enable: false }, rules: ['MATCH,DIRECT'] });
  t.notMatch(own.stdout, /ip rule/);
  const bare = await run(['-c', 'bare.yaml', '--plugins', 'ss,dns', '--proxy', URI, '--tun', '--dry-run'], { cwd });
  t.match(configOf(bare.stdout), { plugins: ['tcp', 'ss', 'dns'], 'mixed-port': 7890, tun: { enable: true }, dns: { enable: true }, rules: ['MATCH,home'] });
  const wrong = await run(['-c', 'wrong.yaml', '--tun', '--dry-run'], { cwd });
  t.equal(wrong.code, 2);
  t.match(wrong.stderr, /^wrong\.yaml:3:8 error: "mtu" must be at least 1280/);
  const none = await run(['-c', 'none.yaml', '--tun'], { cwd });
  t.same([none.code, none.stdout], [2, '']);
  t.match(none.stderr, /^nekit-kernel: --tun needs the plugin tcp: --plugins tcp \(/);
});

tap.test('without rights: one line with what helps, and no secret in it', { skip: whyNotNobody(), timeout: TIMEOUT_MS }, (t) => {
  const nobody = ['--reuid=65534', '--regid=65534', '--clear-groups', '--inh-caps=-all', '--bounding-set=-all'];
  const { status, stdout, stderr } = spawnSync('setpriv', [...nobody, process.execPath, BIN, ...QUICK_START], {
    encoding: 'utf8',
    env: { PATH: process.env.PATH, XDG_CACHE_HOME: '/nowhere' },
    timeout: 60_000,
  });
  t.equal(status, 1, stderr);
  t.notMatch(stdout + stderr, 'hunter2');
  const line = stderr.split('\n').find((text) => text.startsWith('nekit-kernel: '));
  t.match(line, `: sudo ${process.execPath} ${BIN} --plugins ss,tcp,dns --proxy 'ss://…' --tun, or once for all: sudo setcap cap_net_admin+ep /`);
  t.end();
});

tap.test('which failures are told with command lines', (t) => {
  const failed = (code: string, cause: Record<string, unknown>): Error =>
    Object.assign(new Error('listener tun: …', { cause: Object.assign(new Error('…'), cause) }), { code });
  const told = (error: unknown): string => {
    const failure = startFailure(error, ['/usr/bin/node', '/a b/cli.js', '--proxy=ss://secret@h:1', '--tun']);
    return failure instanceof Error ? failure.message : '';
  };
  const denied = Object.assign(new Error('TUN: EPERM'), { code: 'EPERM' });
  t.match(
    told(failed('LISTEN_FAILED', { code: 'TUN_UNAVAILABLE', cause: denied })),
    /^a TUN needs rights: sudo \/usr\/bin\/node '\/a b\/cli\.js' '--proxy=ss:\/\/…' --tun, or/,
  );
  t.match(told(failed('LISTEN_FAILED', { code: 'AUTO_ROUTE_FAILED', cause: denied })), /^a TUN needs rights/);
  const busy = failed('LISTEN_FAILED', { code: 'EADDRINUSE' });
  t.equal(startFailure(busy), busy);
  t.equal(startFailure('no error'), 'no error');
  t.end();
});

function configOf(printed: string): unknown {
  return parseConfig(printed, 'printed').value;
}

function whyNotNobody(): string | false {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return 'needs root, to be nobody';
  if (spawnSync('setpriv', ['--version']).status !== 0) return 'not installed: setpriv';
  return (
    spawnSync('setpriv', ['--reuid=65534', '--regid=65534', '--clear-groups', process.execPath, BIN, '--version']).status !== 0 &&
    'nobody may not read this checkout'
  );
}
