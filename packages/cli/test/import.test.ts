// `nekit-kernel import`: every kind of input to a config that `check --strict` takes, and what could not be taken over, line by line.
import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseConfig } from '@nekit/core';
import tap, { type Test } from 'tap';
import { makeCertificate } from './certificate.js';
import { Command, type Result, run } from './command.js';

/** Each test starts the command several times, which takes seconds each when the machine is busy. */
const TIMEOUT_MS = 180_000;
const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const SECRET = /hunter2|aHVudGVyM/;

async function folder(t: { teardown(run: () => unknown): void }, files: Record<string, string>): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'nekit-import-'));
  t.teardown(() => rm(path, { recursive: true, force: true }));
  for (const [name, text] of Object.entries(files)) await writeFile(join(path, name), text);
  return path;
}

/** What is printed passes `check --strict`. */
async function checked(t: Test, result: Result, cwd: string): Promise<Record<string, unknown>> {
  t.notMatch(result.stderr, SECRET, 'no secret on stderr');
  await writeFile(join(cwd, 'made.yaml'), result.stdout);
  t.same(await run(['check', '--strict', '-c', 'made.yaml'], { cwd }), { code: 0, stdout: 'made.yaml: 0 errors, 0 warnings\n', stderr: '' });
  return parseConfig(result.stdout, 'made.yaml').value as Record<string, unknown>;
}

const base64 = (text: string): string => Buffer.from(text).toString('base64');

const LINKS = `# a list
ss://${base64('aes-256-gcm:hunter2secret').replaceAll('=', '')}@192.0.2.1:8388#HK%201
ss://2022-blake3-aes-128-gcm:${encodeURIComponent('oOUsZ1FxpkFbdMPjQlU6bA==')}@[2001:db8::1]:8388#HK%201
ss://${base64('chacha20-ietf-poly1305:hunter2@:secret@192.0.2.3:8388')}#Proxy
ss://${base64('aes-256-cfb:hunter2secret')}@192.0.2.4:8388/?plugin=${encodeURIComponent('obfs-local;obfs=http;obfs-host=a.example')}&group=abc#DIRECT

socks5://me:hunter2secret@192.0.2.5:1080#five
http://me:hunter2secret@proxy.example:3128
vmess://eyJhZGQiOiIxOTIuMC4yLjEifQ==
vmess://eyJhZGQiOiIxOTIuMC4yLjEifQ==
ssr://aHVudGVyMg
ss://aes-256-gcm:hunter2secret@192.0.2.6:8388/?plugin=xray-plugin#no
ss://2022-blake3-aes-256-gcm:aHVudGVyMg==@192.0.2.7:8388#short
hunter2secret
`;

tap.test('a list of links', { timeout: TIMEOUT_MS }, async (t) => {
  const cwd = await folder(t, { 'links.txt': LINKS, 'packed.txt': base64(LINKS).replace(/.{76}/g, '$&\r\n'), 'bare.txt': base64(LINKS).replace(/=+$/, '') });
  const result = await run(['import', 'links.txt'], { cwd });
  t.equal(result.code, 0);
  const notes = result.stderr.split('\n');
  t.match(notes, [
    /^links\.txt:5: the parameter "group" has no effect here$/,
    /^links\.txt:5: aes-256-cfb is a broken cipher .*allow-insecure-ciphers/,
    /^links\.txt: lines 9-10: no loaded plugin takes vmess:\/\/ links/,
    /^links\.txt:11: ssr:\/\/ is left out: ShadowsocksR/,
    /^links\.txt:12: this ss:\/\/ link is left out: the plugin "xray-plugin" is not built in/,
    /^links\.txt:13: "short" is left out: .*needs 32/,
    /^links\.txt:14: this is no link/,
    /^links\.txt: a list of links: 6 proxies, 1 group, 1 rule$/,
    /^$/,
  ]);
  t.equal(notes.length, 9);
  for (const note of notes.slice(0, 7))
    t.ok(result.stdout.includes(note.replace(/^links\.txt:? ?(?=lines)/, '#   ').replace(/^links\.txt:(\d+)/, '#   line $1')), note);
  t.same(await checked(t, result, cwd), {
    plugins: ['ss'],
    'mixed-port': 7890,
    proxies: [
      { name: 'HK 1', type: 'ss', server: '192.0.2.1', port: 8388, cipher: 'aes-256-gcm', password: 'hunter2secret', udp: true },
      { name: 'HK 1-2', type: 'ss', server: '2001:db8::1', port: 8388, cipher: '2022-blake3-aes-128-gcm', password: 'oOUsZ1FxpkFbdMPjQlU6bA==', udp: true },
      { name: 'Proxy-2', type: 'ss', server: '192.0.2.3', port: 8388, cipher: 'chacha20-ietf-poly1305', password: 'hunter2@:secret', udp: true },
      {
        ...{ name: 'DIRECT-2', type: 'ss', server: '192.0.2.4', port: 8388, cipher: 'aes-256-cfb', password: 'hunter2secret', udp: true },
        ...{ plugin: 'obfs', 'plugin-opts': { mode: 'http', host: 'a.example' }, 'allow-insecure-ciphers': true },
      },
      { name: 'five', type: 'socks5', server: '192.0.2.5', port: 1080, username: 'me', password: 'hunter2secret' },
      { name: 'proxy.example:3128', type: 'http', server: 'proxy.example', port: 3128, username: 'me', password: 'hunter2secret' },
    ],
    'proxy-groups': [{ name: 'Proxy', type: 'select', proxies: ['HK 1', 'HK 1-2', 'Proxy-2', 'DIRECT-2', 'five', 'proxy.example:3128'] }],
    rules: ['MATCH,Proxy'],
  });
  t.match(await run(['explain', '-c', 'made.yaml', 'a.example'], { cwd }), { code: 0, stdout: /^a\.example:443 -> Proxy -> HK 1\n/ });
  const same = result.stdout.replace(/^# From.*/, '');
  for (const file of ['packed.txt', 'bare.txt']) {
    const unpacked = await run(['import', file], { cwd });
    t.equal(unpacked.stdout.replace(/^# From.*/, ''), same, file);
    t.match(unpacked.stdout, `# From ${file} (a list of links in base64), by nekit-kernel import.\n`);
  }
});

tap.test('lists that are not quite in order', { timeout: TIMEOUT_MS }, async (t) => {
  const link = `ss://${base64('aes-256-gcm:hunter2secret')}@192.0.2.1:8388`;
  const cwd = await folder(t, {
    'line.txt': `${link}#x ${link}#y|${link}#z | socks5://192.0.2.2:1080#w https://t.example/hunter2\n`,
    'note.txt': `Note: my server\n\n${link}#x\n`,
  });
  const line = await run(['import', 'line.txt'], { cwd });
  const names = ['x', 'y', 'z', 'w'].map((name) => ({ name }));
  t.match(await checked(t, line, cwd), { proxies: names });
  t.equal(line.stderr, 'line.txt: the name is cut off where a link or an address begins in it\nline.txt: a list of links: 4 proxies, 1 group, 1 rule\n');
  const note = await run(['import', 'note.txt'], { cwd });
  t.match(await checked(t, note, cwd), { proxies: [{ name: 'x' }] });
  t.equal(note.stderr, 'note.txt:1: this is no link (scheme://…)\nnote.txt: a list of links: 1 proxy, 1 group, 1 rule\n');
});

tap.test('one link', { timeout: TIMEOUT_MS }, async (t) => {
  const cwd = await folder(t, {});
  const link = `ss://${base64('aes-256-gcm:hunter2secret')}@192.0.2.1:8388?prefix=%16#home`;
  const result = await run(['import', link], { cwd });
  t.equal(result.code, 0);
  t.match(result.stderr, /^the link: "prefix" .* is not supported/);
  t.match(await checked(t, result, cwd), { plugins: ['ss'], proxies: [{ name: 'home' }], rules: ['MATCH,Proxy'] });
  t.match(parseConfig((await run(['import', 'http://192.0.2.1:3128'], { cwd })).stdout, '').value, { 'mixed-port': 7890, proxies: [{ type: 'http' }] });

  // The same link as --proxy.
  const explained = await run(['explain', 'a.example', '--plugins', 'ss', '--proxy', link]);
  t.match(explained, { code: 0, stdout: /^a\.example:443 -> home\n/, stderr: /^nekit-kernel: --proxy: "prefix" .* is not supported/ });
  const proxy = new Command(['--plugins', 'ss', '--proxy', link, '--mixed-port', '0']);
  t.ok((await proxy.port('mixed')) > 0);
  t.match(await proxy.stop(), { code: 0 });
  t.notMatch(proxy.stdout + proxy.stderr + explained.stdout + explained.stderr, SECRET);
  t.match(await run(['--proxy', link]), { code: 2, stderr: /no loaded plugin takes ss:\/\// });
  const broken = await run(['--plugins', 'ss', '--proxy', 'ss://aes-256-gcm:hunter2secret@h']);
  t.match(broken, { code: 2, stderr: /^nekit-kernel: --proxy: bad ss:\/\/ URI: the link has no port/ });
  t.notMatch(broken.stderr, SECRET);
});

const SIP008 = {
  version: 1,
  servers: [
    {
      ...{ id: '27b8a625-4f4b-4428-9f0f-8a2317db7c79', remarks: 'Zürich', server: 'example.com', server_port: 8388 },
      ...{ password: 'hunter2:@/%', method: 'chacha20-ietf-poly1305', plugin: 'v2ray-plugin', plugin_opts: 'tls;host=cdn.example.com' },
    },
    { id: 'x', remarks: 'v6', server: '2001:db8::1', server_port: '443', password: 'hunter2', method: 'aes-256-gcm', plugin: '', plugin_opts: '' },
    { server: 'evil.example', server_port: 1, password: 'hunter2', method: 'aes-256-gcm', plugin: '/bin/sh', plugin_opts: '-c;reboot' },
    { server: 'h', server_port: 70_000, password: 'hunter2', method: 'aes-256-gcm' },
    { server: 'h', server_port: 1, method: 'aes-256-gcm' },
    'hunter2',
  ],
  bytes_used: 1,
  bytes_remaining: 2,
};
const SERVERS = [
  { name: 'Zürich', type: 'ss', server: 'example.com', cipher: 'chacha20-ietf-poly1305', password: 'hunter2:@/%', plugin: 'v2ray-plugin' },
  { name: 'v6', server: '2001:db8::1', port: 443, password: 'hunter2', plugin: undefined },
];

tap.test('SIP008 and other lists of servers', { timeout: TIMEOUT_MS }, async (t) => {
  const cwd = await folder(t, {
    'sip008.json': JSON.stringify(SIP008, null, '\t'),
    'ss-local.json': '{"server":"192.0.2.1","server_port":8388,"local_port":1080,"password":"hunter2","method":"aes-256-gcm"}',
    'sing-box.json': '{"outbounds":[{"type":"shadowsocks","password":"hunter2"}]}',
  });
  const result = await run(['import', 'sip008.json'], { cwd });
  t.equal(result.code, 0);
  for (const line of [/server 4: .*port/, /server 5: .*"password" must be a text/, /server 6: .*not a set of keys/, /server 3: .*"\/bin\/sh" is not built in/])
    t.match(result.stderr, line);
  const config = await checked(t, result, cwd);
  t.match(config, { proxies: SERVERS });
  t.equal((config.proxies as unknown[]).length, 2);
  t.match((await run(['import', 'ss-local.json'], { cwd })).stdout, /- \{ name: "192\.0\.2\.1:8388", type: ss/);
  const other = await run(['import', 'sing-box.json'], { cwd });
  t.same(other, {
    code: 1,
    stdout: '',
    stderr: 'nekit-kernel: sing-box.json is a config of sing-box or v2ray, which is not read; links (ss://…) of the same servers are\n',
  });
});

tap.test('fetching', { timeout: TIMEOUT_MS }, async (t) => {
  const { key, cert } = makeCertificate('localhost');
  const cwd = await folder(t, { 'ca.pem': cert });
  const server = createServer({ key, cert }, (request, response) => {
    const path = request.url ?? '';
    if (path.startsWith('/moved')) response.writeHead(302, { location: '/sip008?token=hunter2' }).end();
    else if (path.startsWith('/down')) response.writeHead(302, { location: 'http://127.0.0.1:1/hunter2' }).end();
    else if (path.startsWith('/round')) response.writeHead(307, { location: '/round' }).end();
    else if (path.startsWith('/sip008')) response.end(JSON.stringify(SIP008));
    else if (path.startsWith('/links')) response.end(base64(LINKS));
    else if (path.startsWith('/clash')) response.end('plugins: [./evil.mjs]\nproxies: []\n');
    else if (path.startsWith('/nekit')) response.end('adapter: []\nrule: [{ type: domainlist, file: /etc/passwd, adapter: direct }]\n');
    else if (path.startsWith('/large')) {
      const chunk = Buffer.alloc(2 ** 20, 'x');
      const more = (): void => {
        if (!response.destroyed) response.write(chunk, more);
      };
      more();
    } else response.writeHead(404).end('hunter2');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  const secure = `https://localhost:${(server.address() as AddressInfo).port}`;
  const options = { cwd, env: { NODE_EXTRA_CA_CERTS: join(cwd, 'ca.pem') } };
  const fetched = await run(['import', `${secure.replace('https', 'ssconf')}/moved?token=hunter2#name`], options);
  t.equal(fetched.code, 0, fetched.stderr);
  t.match(fetched.stdout, /^# From https:\/\/localhost:\d+\/… \(a SIP008 document\)/);
  t.match(await checked(t, fetched, cwd), { proxies: SERVERS });
  t.match(await run(['import', `${secure}/links`], options), { code: 0, stdout: /name: "HK 1"/ });

  const failures: [path: string, line: RegExp][] = [
    ['/down?hunter2', /^nekit-kernel: the redirect of localhost:\d+ begins with http:\/\/: servers and their passwords are fetched by https only\n$/],
    ['/round', /redirects more than 5 times/],
    ['/hunter2', /^nekit-kernel: fetching from localhost:\d+: the server answers with status 404\n$/],
    ['/large', /the answer has more than 16 MiB/],
    ['/clash', /is Clash's config, which would run as it is: fetch it with another program, look it over/],
    ['/nekit', /must not name a file of this machine/],
  ];
  for (const [path, line] of failures) {
    const { code, stdout, stderr } = await run(['import', secure + path], options);
    t.same([code, stdout], [1, ''], path);
    t.match(stderr, line);
    t.notMatch(stderr, SECRET);
  }
  // Nobody vouches for the certificate, and no variable of the environment replaces that.
  t.match(await run(['import', `${secure}/sip008`], { cwd, env: { NODE_TLS_REJECT_UNAUTHORIZED: '0' } }), {
    code: 1,
    stdout: '',
    stderr: /the certificate is not valid \(DEPTH_ZERO_SELF_SIGNED_CERT\)/,
  });
  t.match(await run(['import', 'http://localhost/servers.json'], options), { code: 2, stderr: /fetched by https only/ });
});

const NEKIT = `port: 8118
adapter:
  - {id: office, type: http, host: proxy.example.net, port: 3128, auth: true, username: ann, password: 0123}
  - {id: tlsproxy, type: SHTTP, host: edge.example.net, port: 443, username: hunter2}
  - {id: home, type: socks5, host: 192.0.2.10, port: 1080, hunter2secret: 1}
  - id: ssr
    type: ss
    host: ss.example.org
    port: 8388
    method: aes-256-cfb
    password: hunter2secret
    protocol: origin
    obfs: http_simple
    obfs_param: "cdn.example.com,img.example.com"
  - {id: ota, type: ss, host: ss.example.org, port: 8388, method: RC4-MD5, password: hunter2secret, protocol: verify_sha1}
  - {id: ss, type: ss, host: ss.example.org, port: 8388, method: CHACHA20, password: hunter2secret, obfs: origin}
  - id: fast
    type: speed
    adapters:
      - {id: direct, delay: 0}
      - {id: ssr, delay: 250}
      - {id: office, delay: 500}
  - {id: slow, type: speed, adapters: [{id: ota, delay: 0}, {id: later, delay: 1}]}
  - {id: block, type: reject, delay: 90000}
  - {id: REJECT, type: socks5, host: 192.0.2.11, port: 1080}
  - {id: strange, type: snell}
rule:
  - {type: domainlist, file: ads.txt, adapter: block}
  - {type: list, file: ads.txt, adapter: slow}
  - {type: iplist, file: lan.txt, adapter: direct}
  - {type: iplist, file: none.txt, adapter: home}
  - {type: country, country: DE, match: true, adapter: direct}
  - {type: country, country: "--", match: false, adapter: ss}
  - {type: country, country: CN, adapter: ss}
  - {type: dnsfail, adapter: ssr}
  - {type: dnsfail, adapter: nobody}
  - {type: all, adapter: fast}
  - {type: all, adapter: home}
`;

tap.test("NEKit's config", { timeout: TIMEOUT_MS }, async (t) => {
  const cwd = await folder(t, {
    'nekit.yaml': NEKIT,
    'ads.txt': '\\.ads\\.example$\n',
    'lan.txt': '10.0.0.0/8\n192.168.0.0+255\n',
    'empty.yaml': 'adapter: []\nrule: []\n',
  });
  const result = await run(['import', 'nekit.yaml'], { cwd });
  t.equal(result.code, 0);
  const lines = result.stderr.trim().split('\n');
  t.match(lines, [
    /^nekit\.yaml:4: username and password are left out/,
    /^nekit\.yaml:5: the key "hunter2secret"|^nekit\.yaml:5: a key has no meaning here/,
    /^nekit\.yaml:6: the adapter is left out: its "obfs" is http_simple: that is ShadowsocksR/,
    /^nekit\.yaml:15: the adapter is left out: its "protocol" is verify_sha1/,
    /^nekit\.yaml:16: chacha20 is a broken cipher/,
    /^nekit\.yaml:21: "ssr" is no member, because it could not be taken over/,
    /^nekit\.yaml:23: "ota" is no member/,
    /^nekit\.yaml:23: there is no adapter "later" before this one/,
    /^nekit\.yaml:23: the adapter is left out: it has no member/,
    /^nekit\.yaml:24: the delay is 60000 ms/,
    /^nekit\.yaml:25: "REJECT" is called "REJECT-2" here/,
    /^nekit\.yaml:26: the adapter is left out: its type is none of/,
    /^nekit\.yaml:29: the rule leads to REJECT, because "slow" could not be taken over/,
    /^nekit\.yaml:31: the rule is left out: there is no file .*none\.txt/,
    /^nekit\.yaml:34: the rule is left out: "match" must be true or false/,
    /^nekit\.yaml:35: the rule leads to REJECT, because "ssr" could not be taken over/,
    /^nekit\.yaml:36: the rule is left out: there is no adapter "nobody"/,
    /^nekit\.yaml:38: the rule is left out: the one of type "all" before takes everything/,
    /^nekit\.yaml: NEKit's config: 6 proxies, 1 group, 7 rules/,
  ]);
  t.equal(lines.length, 19);
  t.same(await checked(t, result, cwd), {
    plugins: ['ss', 'geoip'],
    port: 8118,
    'socks-port': 8119,
    proxies: [
      { name: 'office', type: 'http', server: 'proxy.example.net', port: 3128, username: 'ann', password: '0123' },
      { name: 'tlsproxy', type: 'http', server: 'edge.example.net', port: 443, tls: true },
      { name: 'home', type: 'socks5', server: '192.0.2.10', port: 1080 },
      { name: 'ss', type: 'ss', server: 'ss.example.org', port: 8388, cipher: 'chacha20', password: 'hunter2secret', 'allow-insecure-ciphers': true },
      { name: 'block', type: 'reject', delay: 60_000 },
      { name: 'REJECT-2', type: 'socks5', server: '192.0.2.11', port: 1080 },
    ],
    'proxy-groups': [{ name: 'fast', type: 'race', proxies: ['DIRECT', 'office'], delays: [0, 500] }],
    'rule-providers': {
      ads: { type: 'file', behavior: 'domain', format: 'nekit', path: join(cwd, 'ads.txt') },
      lan: { type: 'file', behavior: 'ipcidr', format: 'nekit', path: join(cwd, 'lan.txt') },
    },
    rules: [
      'RULE-SET,ads,block',
      'RULE-SET,ads,REJECT',
      'RULE-SET,lan,DIRECT',
      'COUNTRY,DE,DIRECT',
      { type: 'COUNTRY', value: '--', match: false, to: 'ss' },
      'DNSFAIL,REJECT',
      'MATCH,fast',
    ],
  });
  t.match(result.stdout, '  # led to "ssr", which could not be taken over: REJECT until you choose another\n  - DNSFAIL,REJECT\n');
  t.match(await run(['explain', '-c', 'made.yaml', 'www.ads.example'], { cwd }), {
    code: 0,
    stdout: /^www\.ads\.example:443 -> block\nbecause: RULE-SET,ads,block/,
  });
  t.match(await run(['explain', '-c', 'made.yaml', '192.168.0.255'], { cwd }), { code: 0, stdout: /-> DIRECT\nbecause: RULE-SET,lan,DIRECT/ });
  t.match(await run(['import', 'empty.yaml'], { cwd }), { code: 1, stdout: '', stderr: /nothing could be taken over/ });
});

tap.test("Clash's config is passed on", { timeout: TIMEOUT_MS }, async (t) => {
  const clash =
    '# mine\nmixed-port: 7890\nsniffer: { enable: true, sniff: { TLS: { ports: [443] } } }\nproxies:\n  - { name: a, type: ss, server: h, port: 1, cipher: aes-256-gcm, password: hunter2 }\nrules: ["GEOIP,CN,DIRECT", "MATCH,a"]\n';
  const cwd = await folder(t, {
    'clash.yaml': clash,
    'ready.yaml': `plugins: [ss, geoip]\n${clash}`,
    'clash.json': JSON.stringify(parseConfig(clash, '').value),
  });
  const result = await run(['import', 'clash.yaml'], { cwd });
  t.match(result, {
    code: 0,
    stdout: `plugins: [ss, geoip]\n${clash}`,
    stderr: "clash.yaml is Clash's config, which can be used as it is, with --plugins ss,geoip (or as printed): nekit-kernel -c FILE\n",
  });
  await checked(t, result, cwd);
  t.match(await run(['import', 'ready.yaml'], { cwd }), {
    code: 0,
    stdout: `plugins: [ss, geoip]\n${clash}`,
    stderr: /can be used as it is: nekit-kernel -c FILE\n$/,
  });
  t.match(await run(['import', 'clash.json'], { cwd }), { code: 0, stdout: /^\{"mixed-port"/ });
});

tap.test("plugins of Clash's config, wherever it needs them", { timeout: TIMEOUT_MS }, async (t) => {
  const places: Readonly<Record<string, readonly [text: string, plugins: string]>> = {
    'dns.yaml': ['dns: { enable: true, nameserver: [192.0.2.1] }\nrules: ["MATCH,DIRECT"]\n', 'dns'],
    'tun.yaml': ['tun: { enable: true, stack: system, dns-hijack: ["any:53"] }\ndns: { enable: true, nameserver: [192.0.2.1] }\n', 'dns, tcp, udp'],
    'listener.yaml': ['listeners: [{ name: a, type: shadowsocks, port: 1, password: hunter2, cipher: aes-256-gcm }]\n', 'ss'],
    'logic.yaml': ['rules: ["AND,((NETWORK,UDP),(GEOIP,CN)),REJECT"]\n', 'geoip'],
    'sub.yaml': ['rules: ["SUB-RULE,(NETWORK,TCP),s"]\nsub-rules: { s: ["GEOIP,CN,DIRECT"] }\n', 'geoip'],
    'object.yaml': ['rules: [{ type: NOT, value: "((GEOIP,CN))", to: DIRECT }]\n', 'geoip'],
    'list.yaml': ['rule-providers: { x: { type: inline, behavior: classical, payload: ["GEOIP,CN"] } }\nrules: ["RULE-SET,x,DIRECT"]\n', 'geoip'],
  };
  const cwd = await folder(t, {
    ...Object.fromEntries(Object.entries(places).map(([name, [text]]) => [name, text])),
    'bad.yaml': 'proxies:\n  - { name: a, type: ss, server: h, port: 1, cipher: aes-256-gcm, password: hunter2 }\nrules: ["MATCH,hunter"]\n',
    'foreign.yaml': 'plugins: [./hunter.mjs]\nrules: ["STRANGE,DIRECT"]\n',
    'list-of-proxies.yaml':
      'proxies:\n  - { name: a, type: ss, server: h, port: 1, cipher: aes-256-gcm, password: hunter2, client-fingerprint: chrome }\n  - { name: b, type: vmess, server: h }\n  - 5\n',
  });
  for (const [name, [text, plugins]] of Object.entries(places)) {
    const result = await run(['import', name], { cwd });
    t.equal(result.stdout, `plugins: [${plugins}]\n${text}`, name);
    t.match(result.stderr, /can be used as it is, with --plugins .* \(or as printed\): nekit-kernel -c FILE\n$/, name);
    await writeFile(join(cwd, 'made.yaml'), result.stdout);
    t.match(await run(['check', '-c', 'made.yaml'], { cwd }), { code: 0 }, name);
  }
  t.match(await run(['import', 'bad.yaml'], { cwd }), {
    code: 0,
    stdout: /^plugins: \[ss\]\n/,
    stderr: /^bad\.yaml:3: there is no proxy or group "hunter".*\nbad\.yaml is Clash's config, with 1 error: when mended it can be used, with --plugins ss/,
  });
  t.match(await run(['import', 'foreign.yaml'], { cwd }), { code: 0, stderr: /^foreign\.yaml is Clash's config, of which check tells whether it can be used/ });

  const list = await run(['import', 'list-of-proxies.yaml'], { cwd });
  t.match(await checked(t, list, cwd), {
    plugins: ['ss'],
    'mixed-port': 7890,
    proxies: [{ name: 'a', type: 'ss', 'client-fingerprint': undefined }],
    'proxy-groups': [{ name: 'Proxy', proxies: ['a'] }],
    rules: ['MATCH,Proxy'],
  });
  t.match(list.stderr.split('\n'), [
    /:2: "client-fingerprint" is not supported/,
    /:3: "b" is left out: no loaded plugin has such a type/,
    /:4: the proxy is left out/,
    /1 proxy, 1 group, 1 rule/,
  ]);
});

tap.test(
  'a list of proxies chooses no program and no file of this machine, and keeps its passwords and who goes through whom',
  { timeout: TIMEOUT_MS },
  async (t) => {
    const node = 'type: ss, server: h.example, port: 8388, cipher: aes-256-gcm';
    const cwd = await folder(t, {
      'list.yaml': [
        'proxies:',
        `  - { name: evil, ${node}, password: hunter2, plugin: ./evil.sh }`,
        `  - { name: worse, ${node}, password: hunter2, plugin: obfs, plugin-external: true, plugin-opts: "obfs=http" }`,
        '  - { name: file, type: http, server: h.example, port: 443, tls: true, ca: /etc/passwd }',
        `  - { name: Proxy, ${node}, password: 0123456, plugin: obfs, plugin-opts: { mode: http } }`,
        `  - { name: "a |", ${node}, password: 1e5 }`,
        `  - { name: a, ${node}, password: 12345678901234567890 }`,
        `  - { name: 0123, type: socks5, server: h.example, port: 1080, username: 007, password: 1, dialer-proxy: a }`,
        `  - { name: last, type: socks5, server: h.example, port: 1080, dialer-proxy: Proxy }`,
        '',
      ].join('\n'),
    });
    const result = await run(['import', 'list.yaml'], { cwd });
    const left = result.stderr.split('\n').slice(0, 3);
    t.match(left, [/^list\.yaml:.*2-3.*must not choose a program/, /^list\.yaml:4: .*must not name a file/, /5 proxies/]);
    t.match(await checked(t, result, cwd), {
      proxies: [
        { name: 'Proxy', password: '0123456', plugin: 'obfs' },
        { name: 'a', password: '1e5' },
        { name: 'a-2', password: '12345678901234567890' },
        { name: '0123', username: '007', 'dialer-proxy': 'a-2' },
        { name: 'last', 'dialer-proxy': 'Proxy' },
      ],
      'proxy-groups': [{ name: 'Proxy-2', proxies: ['Proxy', 'a', 'a-2', '0123', 'last'] }],
      rules: ['MATCH,Proxy-2'],
    });
  },
);

tap.test('what is nothing of it', { timeout: TIMEOUT_MS }, async (t) => {
  const cwd = await folder(t, {
    'empty.txt': '\n\n',
    'text.txt': 'hunter2\n',
    'other.yaml': 'a: 1\nb: [\n',
    'broken.yaml': 'port: 1\nadapter: [\n',
    'binary.bin': 'x',
    'unknown.txt': 'vmess://hunter2\n',
  });
  await writeFile(join(cwd, 'binary.bin'), Buffer.from([0xff, 0xfe, 0x00]));
  const cases: [args: string[], code: number, line: RegExp][] = [
    [['import'], 2, /^nekit-kernel: name what to import: nekit-kernel import FILE/],
    [['import', 'a', 'b'], 2, /"b" is not expected here/],
    [['import', 'none.txt'], 1, /^nekit-kernel: none\.txt cannot be read: ENOENT/],
    [['import', '.'], 1, /\. cannot be read: it is a folder/],
    [['import', 'empty.txt'], 1, /empty\.txt is empty/],
    [['import', 'text.txt'], 1, /text\.txt is nothing that is known: links/],
    [['import', 'other.yaml'], 1, /other\.yaml is nothing that is known.*line/],
    [['import', 'broken.yaml'], 1, /broken\.yaml is .*line/],
    [['import', 'binary.bin'], 1, /binary\.bin is not UTF-8 text/],
    [['import', 'unknown.txt'], 1, /^unknown\.txt: no loaded plugin takes vmess.*\nunknown\.txt: a list of links, of which nothing could be taken over\n$/],
    [['import', '-'], 1, /^nekit-kernel: the standard input is empty/],
    [['import', 'ss://hunter2'], 1, /^the link: this ss:\/\/ link is left out: .*\nthe link: a list of links, of which nothing could be taken over\n$/],
  ];
  for (const [args, code, line] of cases) {
    const result = await run(args, { cwd });
    t.equal(result.code, code, args.join(' '));
    t.equal(result.stdout, '', args.join(' '));
    t.match(result.stderr, line);
    t.notMatch(result.stderr, SECRET);
  }
});

tap.test('without the plugin of ss://', { timeout: TIMEOUT_MS }, async (t) => {
  // An installation that lacks it: the command itself, and links to everything else.
  const cwd = await folder(t, { 'links.txt': LINKS, 'one.txt': 'ss://aes-256-gcm:hunter2@h:1\n', 'nekit.yaml': NEKIT, 'package.json': '{}' });
  const modules = join(cwd, 'node_modules');
  await mkdir(join(modules, '@nekit'), { recursive: true });
  for (const name of await readdir(join(ROOT, 'node_modules')))
    if (name !== '@nekit' && name !== 'nekit-kernel' && !name.startsWith('.')) await symlink(join(ROOT, 'node_modules', name), join(modules, name));
  for (const name of ['core', 'adapter-http', 'adapter-socks5', 'native'])
    await symlink(join(ROOT, 'node_modules/@nekit', name), join(modules, '@nekit', name));
  for (const name of ['bin', 'dist', 'package.json']) await cp(join(ROOT, 'packages/cli', name), join(modules, 'nekit-kernel', name), { recursive: true });
  const bin = join(modules, 'nekit-kernel/bin/nekit-kernel.js');

  const result = await run(['import', 'links.txt'], { cwd, bin });
  t.equal(result.code, 0, result.stderr);
  t.match(
    result.stderr,
    /^links\.txt: plugin "ss" is not installed; install it with: npm install @nekit\/adapter-shadowsocks\nlinks\.txt: lines 2-5, 12-13: ss:\/\/ is left out: the plugin for it is not installed\n/,
  );
  const made = parseConfig(result.stdout, '').value;
  t.match(made, { plugins: undefined, proxies: [{ name: 'five' }, { name: 'proxy.example:3128' }] });
  t.match(await run(['import', 'one.txt'], { cwd, bin }), { code: 1, stdout: '', stderr: /npm install @nekit\/adapter-shadowsocks\n/ });
  const nekit = await run(['import', 'nekit.yaml'], { cwd, bin });
  t.match(nekit, { code: 0, stderr: /"ss" is left out: no loaded plugin has such a type/ });
  t.match(nekit.stderr, /npm install @nekit\/rule-geoip/);
  t.notMatch(nekit.stdout, /^plugins:|- COUNTRY/m);
  t.equal((await readFile(join(cwd, 'links.txt'), 'utf8')).length, LINKS.length);
});
