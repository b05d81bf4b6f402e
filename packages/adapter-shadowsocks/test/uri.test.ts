// ss:// links of every form that programs write, what is wrong with broken ones, and that no error repeats a secret.
import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import tap from 'tap';
import { METHODS } from '../dist/method.js';
import { parseSsUri, ssUri } from '../dist/uri.js';

const RUNS = process.env.NEKIT_FULL === '1' ? 100_000 : 2_000;
const base64 = (text: string): string => Buffer.from(text).toString('base64');
const base64url = (text: string): string => Buffer.from(text).toString('base64url');

const HOME = { type: 'ss', server: '192.168.100.1', port: 8888, cipher: 'aes-128-gcm', password: 'test', udp: true };
const KEY_256 = 'YctPZ6U7xPPcU+gp3u+0tx/tRizJN9K8y+uKlW2qjlI=';
const KEY_128 = 'oOUsZ1FxpkFbdMPjQlU6bA==';

tap.test('links', async (t) => {
  const odd = 'p@ss:w/or?d#+=é';
  const cases: [uri: string, entry: Record<string, unknown>][] = [
    // SIP002, in base64
    ['ss://YWVzLTEyOC1nY206dGVzdA@192.168.100.1:8888#Example1', HOME],
    ['ss://YWVzLTEyOC1nY206dGVzdA==@192.168.100.1:8888', HOME],
    ['ss://YWVzLTEyOC1nY206dGVzdA%3D%3D@192.168.100.1:8888/#x', HOME],
    ['SS://YWVzLTEyOC1nY206dGVzdA@192.168.100.1:8888?', HOME],
    [`ss://${base64(`aes-256-gcm:${odd}~~~???`)}@example.com:1`, { ...HOME, server: 'example.com', port: 1, cipher: 'aes-256-gcm', password: `${odd}~~~???` }],
    [
      `ss://${base64url(`aes-256-gcm:${odd}~~~???`)}@Example.COM.:1`,
      { ...HOME, server: 'example.com', port: 1, cipher: 'aes-256-gcm', password: `${odd}~~~???` },
    ],
    [`ss://${base64url('AES-128-GCM:test')}@[2001:DB8::0:1]:8888`, { ...HOME, server: '2001:db8::1' }],
    [`ss://${base64url('aes-128-gcm:test')}@2001:db8::1:8888`, { ...HOME, server: '2001:db8::1' }],
    [`ss://${base64url('aes-128-gcm:test')}@b%C3%BCcher.example:8888`, { ...HOME, server: 'xn--bcher-kva.example' }],
    [`ss://${base64url('plain:')}@192.168.100.1:8888`, { ...HOME, cipher: 'none', password: '' }],
    // SIP002, plain
    ['ss://aes-128-gcm:test@192.168.100.1:8888', HOME],
    ['ss://aes-128-gcm%3Atest@192.168.100.1:8888', HOME],
    [`ss://aes-128-gcm:${encodeURIComponent(odd)}@192.168.100.1:8888#a%20b`, { ...HOME, password: odd }],
    [
      'ss://2022-blake3-aes-256-gcm:YctPZ6U7xPPcU%2Bgp3u%2B0tx%2FtRizJN9K8y%2BuKlW2qjlI%3D@192.168.100.1:8888#Example3',
      { ...HOME, cipher: '2022-blake3-aes-256-gcm', password: KEY_256 },
    ],
    [
      `ss://2022-blake3-aes-128-gcm:${KEY_128}:${encodeURIComponent(KEY_128)}@192.168.100.1:8888`,
      { ...HOME, cipher: '2022-blake3-aes-128-gcm', password: `${KEY_128}:${KEY_128}` },
    ],
    [`ss://${base64(`2022-blake3-aes-256-gcm:${KEY_256}`)}@192.168.100.1:8888`, { ...HOME, cipher: '2022-blake3-aes-256-gcm', password: KEY_256 }],
    // Before SIP002
    [`ss://${base64('aes-128-gcm:test@192.168.100.1:8888')}#old%20one`, HOME],
    [`ss://${base64('aes-128-gcm:test@192.168.100.1:8888').replaceAll('=', '')}`, HOME],
    [`ss://${base64url('aes-128-gcm:te@st:@:@192.168.100.1:8888')}`, { ...HOME, password: 'te@st:@:' }],
    [
      `ss://${base64('bf-cfb:test@[2001:db8::1]:8888').replace(/^.*$/, base64('rc4-md5:test@[2001:db8::1]:8888'))}`,
      { ...HOME, server: '2001:db8::1', cipher: 'rc4-md5' },
    ],
    [`ss://${base64('aes-128-gcm:???>>>@192.168.100.1:8888')}/`, { ...HOME, password: '???>>>' }],
    // Plugins and parameters
    [
      'ss://cmM0LW1kNTpwYXNzd2Q@192.168.100.1:8888/?plugin=obfs-local%3Bobfs%3Dhttp#Example2',
      { ...HOME, cipher: 'rc4-md5', password: 'passwd', plugin: 'obfs', 'plugin-opts': { mode: 'http' } },
    ],
    [
      'ss://aes-128-gcm:test@192.168.100.1:8888?plugin=obfs-local;obfs=tls;obfs-host=www.example.com',
      { ...HOME, plugin: 'obfs', 'plugin-opts': { mode: 'tls', host: 'www.example.com' } },
    ],
    [
      `ss://aes-128-gcm:test@192.168.100.1:8888/?plugin=${encodeURIComponent('v2ray-plugin;tls;host=cdn.example.com;path=/a\\;b\\=c;mux=0')}`,
      { ...HOME, plugin: 'v2ray-plugin', 'plugin-opts': { mode: 'websocket', tls: true, host: 'cdn.example.com', path: '/a;b=c', mux: false } },
    ],
    ['ss://aes-128-gcm:test@192.168.100.1:8888/?plugin=', HOME],
    ['ss://aes-128-gcm:test@192.168.100.1:8888/?plugin=none&&', HOME],
    ['ss://aes-128-gcm:test@192.168.100.1:8888/?outline=1', HOME],
    ['ss://aes-128-gcm:test@192.168.100.1:8888?uot=1', { ...HOME, 'udp-over-tcp': true }],
    ['ss://aes-128-gcm:test@192.168.100.1:8888?uot=2', { ...HOME, 'udp-over-tcp': true, 'udp-over-tcp-version': 2 }],
    ['ss://aes-128-gcm:test@192.168.100.1:8888?udp-over-tcp=false', HOME],
  ];
  for (const [uri, entry] of cases) {
    const told: string[] = [];
    t.same(
      parseSsUri(uri, (what) => told.push(what)),
      entry,
      uri,
    );
    t.same(told, [], uri);
  }
});

tap.test('what an entry cannot say is told', async (t) => {
  const told = (query: string): string[] => {
    const lines: string[] = [];
    t.same(parseSsUri(`ss://aes-128-gcm:test@192.168.100.1:8888/?${query}`, (what) => lines.push(what)).password, 'test');
    return lines;
  };
  t.match(told('outline=1&prefix=%16%03%01'), [/^"prefix" .* not supported/]);
  t.match(told('prefix=%C2%A8%3C'), [/^"prefix" .* not supported/]);
  t.match(told('group=abc&tfo=1'), ['the parameter "group" has no effect here', 'the parameter "tfo" has no effect here']);
  t.match(told('type=ws'), [/"type" is not supported/]);
  t.same(told('hunter2=1'), ['a parameter that is not known has no effect here']);
  t.match(told('plugin=obfs-local;obfs=http;fast-open'), [/plugin options that have no effect here: fast-open/]);
  t.same(parseSsUri('ss://aes-128-gcm:test@192.168.100.1:8888/?group=x'), HOME, 'nobody has to listen');
});

tap.test('broken links', async (t) => {
  const cases: [uri: string, message: RegExp][] = [
    ['http://x', /starts with ss:\/\//],
    ['ss://', /neither of the form/],
    ['ss://#name', /neither of the form/],
    ['ss://hunter2', /neither of the form/],
    ['ss://hunter2secret:8388', /neither of the form/],
    ['ss://aes-128-gcm:hunter2#secret@192.0.2.1:1', /neither of the form/],
    ['ss://aes-128-gcm:hunter2?secret@192.0.2.1:1', /neither of the form/],
    [`ss://${base64('aes-128-gcm:hunter2secret')}`, /neither of the form/],
    ['ss://hunter2secret@192.0.2.1:1', /is no method and password/],
    [`ss://${base64('hunter2secret')}@192.0.2.1:1`, /is no method and password/],
    ['ss://////@192.0.2.1:1', /is no method and password/],
    ['ss://gIGC@192.0.2.1:1', /is no method and password/ /* no UTF-8 */],
    [`ss://${base64('hunter2secret:aes-128-gcm')}@192.0.2.1:1`, /there is no such method: write/],
    ['ss://hunter2:secret@192.0.2.1:1', /there is no such method: write/],
    ['ss://:hunter2@192.0.2.1:1', /there is no such method: write/],
    ['ss://aes-256-gmc:hunter2@192.0.2.1:1', /there is no such method\. Did you mean aes-256-gcm\?/],
    ['ss://bf-cfb:hunter2@192.0.2.1:1', /bf-cfb is a broken cipher of the past/],
    ['ss://rc4-md5-auth:hunter2@192.0.2.1:1', /one-time auth/],
    ['ss://aes-128-gcm:hunter2%@192.0.2.1:1', /method or password.*percent-encoding is broken/],
    ['ss://aes-128-gcm:hunter2%FF@192.0.2.1:1', /percent-encoding is broken/],
    ['ss://aes-128-gcm:hunter2@', /no port/],
    ['ss://aes-128-gcm:hunter2@192.0.2.1', /no port/],
    ['ss://aes-128-gcm:hunter2@192.0.2.1:', /no port/],
    ['ss://aes-128-gcm:hunter2@192.0.2.1:0', /no port/],
    ['ss://aes-128-gcm:hunter2@192.0.2.1:65536', /no port/],
    ['ss://aes-128-gcm:hunter2@192.0.2.1:80x', /no port/],
    ['ss://aes-128-gcm:hunter2@192.0.2.1:80/path', /no port/],
    ['ss://aes-128-gcm:hunter2@:80', /neither an address/],
    ['ss://aes-128-gcm:hunter2@a b:80', /neither an address/],
    ['ss://aes-128-gcm:hunter2@[192.0.2.1]:80', /neither an address/],
    ['ss://aes-128-gcm:hunter2@[::1:80', /neither an address/],
    [`ss://${base64('aes-128-gcm:hunter2@192.0.2.1')}`, /no port/],
    ['ss://aes-128-gcm:hunter2@h:1?plugin=%2Fbin%2Fsh', /the plugin "\/bin\/sh" is not built in/],
    ['ss://aes-128-gcm:hunter2@h:1?plugin=xray-plugin%3Btls', /the plugin "xray-plugin" is not built in/],
    ['ss://aes-128-gcm:hunter2@h:1?plugin=v2ray-plugin%3Bcert%3D%2Fetc%2Fpasswd', /names? a file of this machine/],
    ['ss://aes-128-gcm:hunter2@h:1?plugin=%', /percent-encoding is broken/],
    ['ss://aes-128-gcm:hunter2@h:1?uot=yes', /"uot" is 1/],
    [`ss://aes-128-gcm:hunter2@h:1#${'x'.repeat(70_000)}`, /at most 65536 characters/],
  ];
  for (const [uri, message] of cases) {
    t.throws(() => parseSsUri(uri), { message }, uri.slice(0, 80));
    try {
      parseSsUri(uri);
    } catch (error) {
      t.notMatch(error instanceof Error ? `${error.message} ${String(error.cause)}` : '', /hunter2|secret/, uri.slice(0, 80));
    }
  }
});

tap.test('what a link cannot say is refused', async (t) => {
  const entry = { server: 'h', port: 1, cipher: 'aes-128-gcm', password: 'hunter2' };
  t.throws(() => ssUri({ ...entry, plugin: '/usr/bin/some-plugin' }), /a link cannot say this plugin/);
  t.throws(() => ssUri({ ...entry, plugin: 'v2ray-plugin', 'plugin-opts': { headers: { a: 'b' } } }), /a link cannot say this plugin/);
  t.throws(() => ssUri({ ...entry, port: '1' }), /needs server, port, cipher and password/);
  t.equal(ssUri({ ...entry, server: '2001:db8::1', name: 'a b/c' }), `ss://${base64url('aes-128-gcm:hunter2')}@[2001:db8::1]:1#a%20b%2Fc`);
  t.equal(ssUri({ ...entry, cipher: '2022-blake3-aes-128-gcm', password: `${KEY_128}:${KEY_128}` }).includes('%3D%3D:'), true, 'written out, joined by colons');
});

const text = fc.oneof(
  fc.string({ unit: 'binary', minLength: 1, maxLength: 30 }),
  fc.string({ unit: fc.constantFrom(...Array.from(':@/?#%+=;\\[] é𝄞a')), minLength: 1 }),
);
const method = fc.constantFrom(...METHODS.keys());
const host = fc.oneof(
  fc.constantFrom('example.com', '192.0.2.1', '2001:db8::1', '::1', 'xn--bcher-kva.example'),
  fc.ipV6().map((address) => new URL(`http://[${address}]`).hostname.slice(1, -1)),
);
const plugin = fc.oneof(
  fc.record({
    plugin: fc.constant('obfs'),
    'plugin-opts': fc.record({ mode: fc.constantFrom('http', 'tls'), host: text, path: text }, { requiredKeys: ['mode'], noNullPrototype: true }),
  }),
  fc.record({
    plugin: fc.constant('v2ray-plugin'),
    'plugin-opts': fc.record(
      { mode: fc.constant('websocket'), tls: fc.constant(true), host: text, path: text, mux: fc.constant(false) },
      { requiredKeys: ['mode'], noNullPrototype: true },
    ),
  }),
  fc.constant({}),
);
const entries = fc
  .tuple(
    fc.record({ server: host, port: fc.integer({ min: 1, max: 65_535 }), cipher: method, password: text }, { noNullPrototype: true }),
    plugin,
    fc.constantFrom({}, { 'udp-over-tcp': true }, { 'udp-over-tcp': true, 'udp-over-tcp-version': 2 }),
  )
  .map(([server, disguise, udp]) => ({ type: 'ss', ...server, udp: true, ...disguise, ...udp }));

tap.test('an entry is the same after a round trip', async () => {
  fc.assert(
    fc.property(entries, text, (entry, name) => {
      const uri = ssUri({ ...entry, name });
      const told: string[] = [];
      const read = parseSsUri(uri, (what) => told.push(what));
      return isDeepStrictEqual(read, entry) && told.length === 0 && decodeURIComponent(uri.slice(uri.indexOf('#') + 1)) === name && /^[\x21-\x7e]+$/.test(uri);
    }),
    { numRuns: RUNS / 2 },
  );
});

tap.test('whatever comes in: an entry or an error that keeps the secret', async () => {
  const SECRET = 'Zq7hunter2Kx';
  const forms = [
    `ss://aes-256-gcm:${SECRET}@example.com:8388/?plugin=obfs-local%3Bobfs%3Dhttp&group=x#name`,
    `ss://${base64url(`aes-256-gcm:${SECRET}`)}@[2001:db8::1]:8388?prefix=%16#name`,
    `ss://${base64(`aes-256-gcm:${SECRET}@example.com:8388`)}#name`,
    `ss://2022-blake3-aes-128-gcm:${SECRET}%3D%3D:${SECRET}@example.com:8388`,
  ];
  const letter = fc.oneof(fc.constantFrom(...Array.from(':@/?#%+=;\\[] &é\u0000\n\ud800')), fc.string({ unit: 'binary', minLength: 1, maxLength: 1 }));
  const edits = fc.array(fc.tuple(fc.nat(200), fc.constantFrom('put', 'cut', 'change'), letter), { maxLength: 6 });
  const mutated = fc.tuple(fc.constantFrom(...forms), edits).map(([form, changes]) =>
    changes.reduce((link, [at, what, sign]) => {
      const index = at % (link.length + 1);
      return link.slice(0, index) + (what === 'cut' ? '' : sign) + link.slice(what === 'put' ? index : index + 1);
    }, form),
  );
  fc.assert(
    fc.property(
      fc.oneof(
        mutated,
        text.map((tail) => `ss://${tail}`),
        fc.string(),
      ),
      (uri) => {
        const told: string[] = [];
        try {
          const entry = parseSsUri(uri, (what) => told.push(what));
          if (typeof entry.password !== 'string' || typeof entry.server !== 'string' || !METHODS.has(String(entry.cipher))) return false;
        } catch (error) {
          if (!(error instanceof Error) || error.constructor !== Error) return false;
          told.push(error.message, String(error.cause));
        }
        return !told.some((line) => /hunter2|aHVudGVyM/.test(line));
      },
    ),
    { numRuns: RUNS * 5 },
  );
});
