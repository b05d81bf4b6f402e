import assert from 'node:assert/strict';
import { domainToASCII } from 'node:url';
import fc from 'fast-check';
import t from 'tap';
import { closest } from '../../dist/net/closest.js';
import { formatEndpoint, normaliseHost, parseEndpoint, parsePort } from '../../dist/net/endpoint.js';

/** What the URL standard makes of a host, without the final dot, or null. Not by URL.canParse: once hot, that of Node 20 takes no umlauts. */
function urlHost(host: string): string | null {
  try {
    return new URL(`http://${host}/`).hostname.replace(/\.$/, '');
  } catch (error) {
    assert.ok(error instanceof TypeError);
    return null;
  }
}

void t.test('normaliseHost: names', async () => {
  const long = `${'a'.repeat(63)}.${'b'.repeat(63)}.${'c'.repeat(63)}.${'d'.repeat(61)}`;
  for (const [text, host] of [
    ['example.com', 'example.com'],
    ['EXAMPLE.Com', 'example.com'],
    ['example.com.', 'example.com'],
    ['localhost', 'localhost'],
    ['_dmarc.example.com', '_dmarc.example.com'],
    ['a-b.example', 'a-b.example'],
    ['xn--bcher-kva.example', 'xn--bcher-kva.example'],
    ['bücher.example', 'xn--bcher-kva.example'],
    ['BÜCHER.example.', 'xn--bcher-kva.example'],
    ['例え.テスト', 'xn--r8jz45g.xn--zckzah'],
    ['example。com。', 'example.com'], // ideographic full stops
    ['ｅｘａｍｐｌｅ．com', 'example.com'],
    ['faß.example', 'xn--fa-hia.example'],
    ['1.example', '1.example'],
    ['1.2.3.4.example', '1.2.3.4.example'],
    ['0x7f.example', '0x7f.example'],
    [long, long],
    [`${long}.`, long],
  ] as const) {
    assert.equal(normaliseHost(text), host, text);
  }
});

void t.test('normaliseHost: addresses in any dress', async () => {
  for (const [text, host] of [
    ['127.0.0.1', '127.0.0.1'],
    ['0x7f.1', '127.0.0.1'],
    ['2130706433', '127.0.0.1'],
    ['0177.0.0.1', '127.0.0.1'],
    ['127.1', '127.0.0.1'],
    ['1.2.3.4.', '1.2.3.4'],
    ['１２７.0.0.1', '127.0.0.1'],
    ['１２７。０。０。１', '127.0.0.1'],
    ['0ｘ7f.1', '127.0.0.1'],
    ['①②⑦.0.0.1', '127.0.0.1'],
    ['127.0.0.1。', '127.0.0.1'],
    ['[::1]', '::1'],
    ['::1', '::1'],
    ['[::ffff:127.0.0.1]', '127.0.0.1'],
    ['::ffff:7f00:1', '127.0.0.1'],
    ['[FE80::1%eth0]', 'fe80::1%eth0'],
    ['[fe80::1%25eth0]', 'fe80::1%eth0'], // as in a URI (RFC 6874)
    ['fe80::1%25', 'fe80::1%25'], // zone 25
  ] as const) {
    assert.equal(normaliseHost(text), host, text);
  }
});

void t.test('normaliseHost: what is no host', async () => {
  const label = 'a'.repeat(64);
  for (const text of [
    ...['', '.', '..', 'a..b', '.example.com', 'example.com..', `${label}.com`, `${'a.'.repeat(127)}ab`, 'a b', 'a/b', 'a@b', 'a:80', 'a\0b', 'a\nb', 'a%2eb'],
    ...['[127.0.0.1]', '[example.com]', '[::1', '::1]', '[]', '[[::1]]', '[::1]x', 'a[::1]', '::1:', 'http://a', 'a?b', 'a#b', 'a\\b', 'ü/b', 'ü%2eb', 'ü?b'],
    ...['1.2.3.256', '1.2.3.4.5', '4294967296', 'foo.0x4', 'foo.123', '1.2.3.08', '0xzz.1', 'example.1', 'x.0x'],
    ...['xn--\u0000.com', '\u200b', '\u00ad', '℀.example', 'a\uff0fb', 'a\uff05b', '\ud800.com', 'ü'.repeat(2000)],
  ]) {
    assert.equal(normaliseHost(text), null, JSON.stringify(text.slice(0, 80)));
  }
});

void t.test('normaliseHost agrees with the URL standard, and what it gives is canonical', async (t) => {
  /** Hosts that URL takes and we do not: characters that no resolver would be asked for. */
  const plain = /^[a-z0-9._-]+$/;
  const texts = fc.oneof(
    fc.domain(),
    fc.string({ unit: fc.constantFrom(...Array.from('aZ019.-_xX例ü。１ß')), maxLength: 20 }),
    fc.array(fc.constantFrom('0x7f', '127', '0', '1', '00', '08', 'com', 'a1', '１', '4294967295', ''), { maxLength: 5 }).map((parts) => parts.join('.')),
  );
  await t.test('URL', async () => {
    fc.assert(
      fc.property(texts, (text) => {
        const ours = normaliseHost(text);
        const url = urlHost(text);
        if (ours !== null) assert.equal(url, ours, text);
        else if (url !== null) {
          const labels = url.split('.');
          const beyondDns = labels.some((label) => label === '' || label.length > 63) || url.length > 253 || !plain.test(url);
          assert.ok(beyondDns, `${JSON.stringify(text)} is ${url} for URL`);
        }
      }),
      { numRuns: 3000 },
    );
  });
  await t.test('idempotent, lower-case ASCII', async () => {
    fc.assert(
      fc.property(fc.oneof(texts, fc.ipV4(), fc.ipV6(), fc.ipV4Extended(), fc.string()), (text) => {
        const host = normaliseHost(text);
        if (host === null) return;
        assert.equal(normaliseHost(host), host, text);
        assert.match(host, /^[a-z0-9._:%-]+$/i);
        if (!host.includes('%')) assert.equal(host, host.toLowerCase());
      }),
      { numRuns: 3000 },
    );
  });
  await t.test('IDNA', async () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom(...Array.from('äöüßçéñ例文字кириллица')), minLength: 1, maxLength: 10 }), (label) => {
        assert.equal(normaliseHost(`${label}.example`), domainToASCII(`${label}.example`) || null);
      }),
    );
  });
});

void t.test('parsePort', async () => {
  for (const [text, port] of [
    ['0', 0],
    ['80', 80],
    ['65535', 65535],
    ['00080', 80],
  ] as const)
    assert.equal(parsePort(text), port);
  for (const text of ['', '-1', '65536', '+80', '8 0', ' 80', '80\n', '1e3', '0x50', '000080', '８０', '99999']) assert.equal(parsePort(text), null, text);
});

void t.test('parseEndpoint and formatEndpoint', async () => {
  assert.deepEqual(parseEndpoint('example.com:80'), { host: 'example.com', port: 80 });
  assert.deepEqual(parseEndpoint('EXAMPLE.com.:80'), { host: 'example.com', port: 80 });
  assert.deepEqual(parseEndpoint('[::1]:443'), { host: '::1', port: 443 });
  assert.deepEqual(parseEndpoint('[::1]', 1080), { host: '::1', port: 1080 });
  assert.deepEqual(parseEndpoint('::1', 1080), { host: '::1', port: 1080 });
  assert.deepEqual(parseEndpoint('0x7f.1:22'), { host: '127.0.0.1', port: 22 });
  assert.deepEqual(parseEndpoint('[fe80::1%25eth0]:22'), { host: 'fe80::1%eth0', port: 22 });
  assert.deepEqual(parseEndpoint('example.com', 8080), { host: 'example.com', port: 8080 });
  for (const text of [
    '',
    ':80',
    'example.com',
    'example.com:',
    'example.com:x',
    'example.com:65536',
    '[::1]',
    '[::1]80',
    '[::1]x:80',
    '[::1:80',
    '::1',
    'a:1:2',
    'a:80:',
  ]) {
    assert.equal(parseEndpoint(text), null, text);
  }
  assert.equal(parseEndpoint('example.com:', 80), null, 'an empty port is not a missing one');
  assert.equal(formatEndpoint({ host: '::1', port: 443 }), '[::1]:443');
  fc.assert(
    fc.property(fc.oneof(fc.ipV4(), fc.ipV6(), fc.domain()), fc.nat({ max: 65535 }), (text, port) => {
      const host = normaliseHost(text) ?? '';
      assert.deepEqual(parseEndpoint(formatEndpoint({ host, port })), { host, port });
    }),
  );
});

void t.test('closest finds what a person meant', async () => {
  const kinds = ['DOMAIN', 'DOMAIN-SUFFIX', 'DOMAIN-KEYWORD', 'IP-CIDR', 'IP-CIDR6', 'MATCH', 'DST-PORT'];
  for (const [word, meant] of [
    ['DOMIAN', 'DOMAIN'],
    ['domain-sufix', 'DOMAIN-SUFFIX'],
    ['IP-CDIR', 'IP-CIDR'],
    ['IPCIDR', 'IP-CIDR'],
    ['MTACH', 'MATCH'],
    ['DOMAIN-KEYWORDS', 'DOMAIN-KEYWORD'],
    ['match', 'MATCH'],
    ['GEOSITE', null],
    ['x', null],
    ['', null],
    ['q'.repeat(100_000), null],
  ] as const) {
    assert.equal(closest(word, kinds), meant, word.slice(0, 30));
  }
  assert.equal(closest('a', []), null);
  assert.equal(closest('ab', ['ba']), 'ba', 'a swap is one slip');
});
