import { checkConfig, configFromObject, createKernel, definePlugin } from '@nekit/core';
import t from 'tap';
import { z } from 'zod';
import { createDnsPlugin } from '../dist/dns-plugin.js';
import { parseServer } from '../dist/upstream/server-spec.js';

/** Something with a server, as proxies have. */
const proxies = definePlugin({
  name: 'test-proxies',
  api: 1,
  setup: (context) =>
    context.adapter({ type: 'test-proxy', config: z.object({ server: z.string() }), create: (_config, { tag }) => ({ tag, type: 'test-proxy' }) }),
});

const { registry } = createKernel({}, { plugins: [createDnsPlugin(), proxies] });

function problems(dns: Record<string, unknown>, more: Record<string, unknown> = {}): string[] {
  const source = configFromObject({ dns: { enable: true, ...dns }, ...more });
  return checkConfig(source, registry).problems.map(({ severity, path, message }) => `${severity} ${path.join('.')}: ${message}`);
}

void t.test('servers, as Clash writes them', async (t) => {
  t.match(parseServer('1.1.1.1'), { transport: 'udp', endpoint: { host: '1.1.1.1', port: 53 }, adapter: null });
  t.match(parseServer('[2001:db8::1]:5353'), { transport: 'udp', endpoint: { host: '2001:db8::1', port: 5353 } });
  t.match(parseServer('2001:db8::1'), { endpoint: { host: '2001:db8::1', port: 53 } });
  t.match(parseServer('tcp://dns.example'), { transport: 'tcp', endpoint: { host: 'dns.example', port: 53 } });
  t.match(parseServer('tls://dns.example#home&skip-cert-verify=true'), { transport: 'tls', endpoint: { port: 853 }, adapter: 'home', skipVerify: true });
  t.match(parseServer('https://dns.example/dns-query#A%20B&h3=true&disable-ipv6=true'), {
    transport: 'https',
    adapter: 'A B',
    without6: true,
    ignored: ['h3'],
  });
  t.match(parseServer('system'), { transport: 'system' });
  t.match(parseServer('rcode://name_error'), { transport: 'rcode', rcode: 3 });
  for (const [text, words] of [
    ['quic://dns.example', /QUIC/],
    ['dhcp://en0', /DHCP/],
    ['http://dns.example', /https/],
    ['rcode://what', /refused/],
    ['1.1.1.1#a&nope=1', /"nope"/],
    ['not a server', /no name server/],
    ['https://user:secret@dns.example/', /no user/],
    ['', /no name server/],
  ] as const)
    t.throws(() => parseServer(text), words, text);
});

void t.test('a right section has no problems', async (t) => {
  t.same(
    problems({
      listen: '127.0.0.1:0',
      ipv6: true,
      'enhanced-mode': 'fake-ip',
      'fake-ip-range6': 'fd00::1/64',
      'fake-ip-filter': ['*.lan', '+.local'],
      'default-nameserver': ['192.0.2.53', 'tls://192.0.2.53'],
      nameserver: ['https://dns.example/dns-query', '192.0.2.1#DIRECT'],
      'nameserver-policy': { '+.example,a.test': ['192.0.2.2'], 'b.test': 'rcode://refused' },
      'proxy-server-nameserver': '192.0.2.3',
      'direct-nameserver': 'system',
    }),
    [],
  );
  t.same(problems({}), []);
});

void t.test('mistakes are told at their key', async (t) => {
  for (const [dns, words] of [
    [{ nameserver: ['1.1.1.1', 'quic://x'] }, /error dns\.nameserver\.1: .*QUIC/],
    [{ nameserver: ['foo://x'] }, /error dns\.nameserver\.0: .*unknown scheme foo:/],
    [{ nameserver: '1.1.1.1#hoem' }, /error dns\.nameserver: .*no proxy or group "hoem"\. Did you mean "home"/],
    [{ 'default-nameserver': ['dns.example'] }, /error dns\.default-nameserver\.0: .*has a name/],
    [{ 'fake-ip-range': '198.18.0.1' }, /error dns\.fake-ip-range: .*198\.18\.0\.1/],
    [{ 'enhanced-mod': 'fake-ip' }, /warning dns\.enhanced-mod: .*Did you mean "enhanced-mode"/],
    [{ 'enhanced-mode': 'fake' }, /error dns\.enhanced-mode: .*"fake-ip"/],
    [{ 'fallback-filter': { ipcidr: ['x'] } }, /error dns\.fallback-filter\.ipcidr\.0/],
    [{ 'fake-ip-filter': ['+.lan', 'Mijia Cloud'] }, /warning dns\.fake-ip-filter\.1: "Mijia Cloud" is not a domain name.* matches nothing and is left out/],
    [{ 'fallback-filter': { domain: ['192.0.2.1'] } }, /warning dns\.fallback-filter\.domain\.0: "192\.0\.2\.1" is an address/],
    [{ 'nameserver-policy': { 'a.example,b c': '192.0.2.1' } }, /warning dns\.nameserver-policy\.a\.example,b c: "b c"/],
    [{ 'proxy-server-nameserver-policy': { 'a b': '192.0.2.1' } }, /warning dns\.proxy-server-nameserver-policy\.a b: "a b"/],
    [{ listen: 'dns.example:53' }, /error dns\.listen/],
    [{ listen: ':5353', nameserver: '127.0.0.1:5353' }, /error dns\.nameserver: .*ask itself/],
    [{ 'respect-rules': 'yes' }, /error dns\.respect-rules: .*needs "proxy-server-nameserver"/],
    [{ nameserver: '1.1.1.1#h3=true' }, /warning dns\.nameserver: "h3"/],
    [{ 'proxy-server-nameserver': '1.1.1.1#home' }, /error dns\.proxy-server-nameserver: .*home\.example.*a loop/],
    [{ 'default-nameserver': ['1.1.1.1#group'] }, /error dns\.default-nameserver\.0: .*home\.example.*a loop/],
  ] as const) {
    const [problem, ...more] = problems(dns, {
      proxies: [{ name: 'home', type: 'test-proxy', server: 'home.example' }],
      'proxy-groups': [{ name: 'group', type: 'select', proxies: ['home'] }],
    }).filter((text) => text.includes(' dns.'));
    t.match(problem, words, JSON.stringify(dns));
    t.same(more, []);
  }
});

void t.test('a section that is off is checked and has no effect', async (t) => {
  t.match(problems({ enable: false, nameserver: 'quic://x' }), [/QUIC/]);
  t.match(checkConfig(configFromObject({ dns: { listen: '127.0.0.1:53' } }), registry).config, { listeners: [] });
});
