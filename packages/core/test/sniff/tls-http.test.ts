// The names in a ClientHello and in the head of an HTTP request, as they come and as they should not.
import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { sniffHttp } from '../../dist/sniff/http.js';
import { sniffTls } from '../../dist/sniff/tls.js';
import { clientHello, extension, helloFor, OUTER_ECH, records, serverName, uint, vector } from './client-hellos.js';

const runs = { numRuns: process.env.NEKIT_FULL === '1' ? 100_000 : 2_000 };

void t.test('TLS', async (t) => {
  const hello = helloFor('www.example.com');
  const found = { host: 'www.example.com', ech: false };

  await t.test('in one record and in many, and not before the last byte', () => {
    for (const size of [16_384, 100, 7, 1]) {
      const bytes = records(hello, size);
      assert.deepEqual(sniffTls(bytes), found);
      assert.deepEqual(sniffTls(Buffer.concat([bytes, Buffer.from('0-RTT data')])), found, 'something behind it');
      for (let length = 0; length < bytes.length; length++) assert.equal(sniffTls(bytes.subarray(0, length)), 'more', `${length} bytes`);
    }
    return Promise.resolve();
  });

  await t.test('names', () => {
    const name = (text: string): unknown => sniffTls(records(helloFor(text)));
    assert.deepEqual(name('WWW.Example.COM'), found);
    assert.deepEqual(name('xn--bcher-kva.example'), { host: 'xn--bcher-kva.example', ech: false });
    assert.deepEqual(name('a_b.example'), { host: 'a_b.example', ech: false });
    for (const text of ['', '192.0.2.1', '::1', '[::1]', '0x7f.1', 'a b', 'a\0b', 'bücher.example', 'a..b', `${'a'.repeat(64)}.example`, 'example.com/']) {
      assert.equal(name(text), 'none', text);
    }
    return Promise.resolve();
  });

  await t.test('a hello with keys of 12 KiB in records of 1,200 bytes', () => {
    assert.deepEqual(sniffTls(records(helloFor('pq.example.com', 12_000), 1_200)), { host: 'pq.example.com', ech: false });
    return Promise.resolve();
  });

  await t.test('an outer hello says that it is one', () => {
    assert.deepEqual(sniffTls(records(helloFor('provider.example', 36, OUTER_ECH))), { host: 'provider.example', ech: true });
    return Promise.resolve();
  });

  await t.test('what is none, at the first byte that tells', () => {
    const cases: [string, Uint8Array][] = [
      ['SSH', Buffer.from('S')],
      ['an alert', Buffer.from([21, 3, 1, 0, 2])],
      ['a hello of SSL 2', Buffer.from([0x80, 0x2e, 1])],
      ['a version of TLS that is none', Buffer.from([22, 2])],
      ['an empty record', Buffer.from([22, 3, 1, 0, 0])],
      ['a record that is too long', Buffer.from([22, 3, 1, 0x40, 1])],
      ['a ServerHello', Buffer.from([22, 3, 3, 0, 4, 2])],
      ['a hello that is too long', records(Buffer.concat([uint(1, 1), uint(16_384, 3)]))],
      ['another record within the hello', Buffer.concat([records(hello.subarray(0, 50)), Buffer.from([23, 3, 3, 0, 1])])],
      ['without extensions', records(clientHello())],
      ['without a name', records(clientHello(extension(43)))],
      ['two names in two extensions', records(clientHello(serverName('a.example'), serverName('b.example')))],
      [
        'two names in one',
        records(clientHello(extension(0, vector(2, ...['a.example', 'b.example'].map((name) => Buffer.concat([uint(0, 1), vector(2, Buffer.from(name))])))))),
      ],
      ['a name of another kind', records(clientHello(extension(0, vector(2, uint(1, 1), vector(2, Buffer.from('a.example'))))))],
      ['an empty list of names', records(clientHello(extension(0, vector(2))))],
      ['a list shorter than its extension', records(clientHello(extension(0, vector(2, uint(0, 1), vector(2, Buffer.from('a.example'))), uint(0, 1))))],
      ['an extension longer than all', records(clientHello(Buffer.concat([uint(0, 2), uint(500, 2), Buffer.alloc(20)])))],
    ];
    for (const [what, bytes] of cases) assert.equal(sniffTls(bytes), 'none', what);
    return Promise.resolve();
  });

  await t.test('whatever comes: an answer, and no throw', () => {
    const bytes = records(hello);
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (random) => void sniffTls(random)),
      runs,
    );
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(bytes.length - 1), fc.nat(255)), { minLength: 1, maxLength: 6 }), fc.nat(bytes.length), (changes, length) => {
        const mutated = Buffer.from(bytes);
        for (const [at, value] of changes) mutated[at] = value;
        const finding = sniffTls(mutated.subarray(0, length));
        if (typeof finding === 'object') assert.match(finding.host, /^[a-z0-9._-]+$/);
      }),
      runs,
    );
    return Promise.resolve();
  });
});

void t.test('HTTP', async (t) => {
  const request = (...lines: readonly string[]): Buffer => Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1');
  const found = { host: 'www.example.com', ech: false };

  await t.test('the Host, and the authority of an absolute target before it', () => {
    assert.deepEqual(sniffHttp(request('GET / HTTP/1.1', 'Host: www.example.com')), found);
    assert.deepEqual(sniffHttp(request('GET /a?b HTTP/1.0', 'Accept: */*', 'hOsT:\tWWW.example.com:8080 \t', 'X:')), found);
    assert.deepEqual(sniffHttp(request('OPTIONS * HTTP/1.1', 'Host: www.example.com')), found);
    assert.deepEqual(sniffHttp(request('M-SEARCH /x HTTP/1.1', 'Host: www.example.com')), found);
    assert.deepEqual(sniffHttp(Buffer.concat([request('POST / HTTP/1.1', 'Host: www.example.com'), Buffer.from('body')])), found);
    for (const target of ['http://www.example.com', 'http://www.example.com:80/x', 'HTTPS://www.example.com?x', 'http://www.example.com#x'])
      assert.deepEqual(sniffHttp(request(`GET ${target} HTTP/1.1`, 'Host: other.example')), found, target);
    assert.deepEqual(sniffHttp(request('GET http://www.example.com/ HTTP/1.0')), found);
    return Promise.resolve();
  });

  await t.test('not before the head is whole', () => {
    const bytes = request('GET / HTTP/1.1', 'Host: www.example.com', `Cookie: ${'x'.repeat(500)}`);
    for (let length = 0; length < bytes.length; length++) assert.equal(sniffHttp(bytes.subarray(0, length)), 'more', `${length} bytes`);
    return Promise.resolve();
  });

  await t.test('what is none', () => {
    const cases: [string, Uint8Array][] = [
      ['two Hosts', request('GET / HTTP/1.1', 'Host: a.example', 'Host: b.example')],
      ['the same Host twice', request('GET / HTTP/1.1', 'Host: a.example', 'Host: a.example')],
      ['two Hosts behind an absolute target', request('GET http://a.example/ HTTP/1.1', 'Host: a.example', 'Host: b.example')],
      ['no Host', request('GET / HTTP/1.1', 'Accept: */*')],
      ['an empty Host', request('GET / HTTP/1.1', 'Host:')],
      ['an address', request('GET / HTTP/1.1', 'Host: 192.0.2.1:80')],
      ['an address of IPv6', request('GET / HTTP/1.1', 'Host: [2001:db8::1]:80')],
      ['a list of Hosts', request('GET / HTTP/1.1', 'Host: a.example, b.example')],
      ['a port that is none', request('GET / HTTP/1.1', 'Host: a.example:80:90')],
      ['userinfo', request('GET http://a.example@b.example/ HTTP/1.1', 'Host: b.example')],
      ['a blank in front of the colon', request('GET / HTTP/1.1', 'Host : a.example')],
      ['a folded line', request('GET / HTTP/1.1', 'X: y', ' Host: a.example', 'Host: b.example')],
      ['a bare CR within a line', request('GET / HTTP/1.1', 'Host: a.example\rX: y')],
      ['CONNECT', request('CONNECT a.example:443 HTTP/1.1', 'Host: a.example:443')],
      ['a target of another form', request('GET a.example HTTP/1.1', 'Host: a.example')],
      ['HTTP/2', Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')],
      ['HTTP/2, its first line', Buffer.from('PRI * HTTP/2.0\r\n')],
      ['HTTP/0.9', Buffer.from('GET /\r\n')],
      ['lines without CR', Buffer.from('GET / HTTP/1.1\nHost: a.example\n')],
      ['two blanks', Buffer.from('GET  / HTTP/1.1\r\n')],
      ['SSH', Buffer.from('SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n')],
      ['SSH without a blank', Buffer.from('SSH-2.0-OpenSSH_9.6\r\n')],
      ['BitTorrent', Buffer.from('\x13BitTorrent protocol')],
      ['a long word', Buffer.from('A'.repeat(25))],
      ['a blank first', Buffer.from(' GET')],
      ['TLS', records(helloFor('a.example'))],
    ];
    for (const [what, bytes] of cases) assert.equal(sniffHttp(bytes), 'none', what);
    return Promise.resolve();
  });

  await t.test('nothing that takes long', () => {
    const begin = performance.now();
    for (const filler of [' ', '\t', ':', 'a', '\r\n', '\r', 'a: b\r\n', 'Host: \t']) {
      const bytes = Buffer.from(`GET / HTTP/1.1\r\nX: ${filler.repeat(16_000 / filler.length)}y\r\n\r\n`);
      for (let i = 0; i < 20; i++) sniffHttp(bytes);
    }
    assert.ok(performance.now() - begin < 2_000);
    return Promise.resolve();
  });

  await t.test('whatever comes: an answer, and no throw', () => {
    const bytes = request('GET http://www.example.com/ HTTP/1.1', 'Host: www.example.com', 'Accept: */*');
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 100 }), (random) => void sniffHttp(Buffer.from(`GET ${random}\r\n\r\n`, 'latin1'))),
      runs,
    );
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(bytes.length - 1), fc.nat(255)), { minLength: 1, maxLength: 6 }), fc.nat(bytes.length), (changes, length) => {
        const mutated = Buffer.from(bytes);
        for (const [at, value] of changes) mutated[at] = value;
        const finding = sniffHttp(mutated.subarray(0, length));
        if (typeof finding === 'object') assert.match(finding.host, /^[a-z0-9._-]+$/);
      }),
      runs,
    );
    return Promise.resolve();
  });
});
