import { allCiphers } from '@nekit/core/testing';
import t from 'tap';
import { clientCodec, isPlain, METHODS, methodOf, secretOf, secretProblem, serverCodec } from '../dist/method.js';
import { whyNotSsr } from '../dist/refused-names.js';

const source = (cipher: string, password = 'secret', allowInsecure = false): Parameters<typeof secretProblem>[0] => ({ cipher, password, allowInsecure });
const textOf = (cipher: string, password?: string, allowInsecure?: boolean): string => secretProblem(source(cipher, password, allowInsecure))?.text ?? 'fine';
const key = (length: number, filled: number): string => Buffer.alloc(length, filled).toString('base64');

t.test('names: as everybody writes them', async (t) => {
  for (const [written, meant] of [
    ['AES-256-CFB', 'aes-256-cfb'],
    ['RC4-MD5', 'rc4-md5'],
    ['chacha20-poly1305', 'chacha20-ietf-poly1305'],
    ['AEAD_CHACHA20_POLY1305', 'chacha20-ietf-poly1305'],
    ['AEAD_AES_128_GCM', 'aes-128-gcm'],
    ['xChaCha20-IETF-Poly1305', 'xchacha20-ietf-poly1305'],
    ['2022-BLAKE3-AES-128-GCM', '2022-blake3-aes-128-gcm'],
    ['plain', 'none'],
    ['dummy', 'none'],
  ] as const) {
    t.equal(methodOf(written)?.name, meant, written);
  }
  t.equal(methodOf('toString'), null);
  t.equal(METHODS.size, 19);
});

t.test('a name that is none', async (t) => {
  t.match(textOf('aes-256-gmc'), /^"aes-256-gmc" is no cipher of Shadowsocks\. Did you mean "aes-256-gcm"\? Known: 2022-blake3-aes-128-gcm, /);
  t.match(textOf('2022-blake3-aes-256-gm'), /Did you mean "2022-blake3-aes-256-gcm"/);
  t.notMatch(textOf('something else entirely'), /Did you mean/);
  t.notMatch(textOf('x'.repeat(1_000)), /x{65}/, 'not all of it');
  t.match(textOf('aes-256-gcm\n'), /^"aes-256-gcm\\n" is no cipher/);
  for (const [name, why] of [
    ['verify_sha1', /ShadowsocksR.* Use aes-256-gcm/],
    ['auth_aes128_md5', /ShadowsocksR/],
    ['tls1.2_ticket_auth', /ShadowsocksR/],
    ['aes-256-cfb-auth', /one-time auth.* Use aes-256-gcm/],
    ['camellia-256-cfb', /broken cipher of the past\. Use/],
    ['aes-256-ccm', /no cipher of the Shadowsocks specifications\. Use/],
    ['2022-blake3-chacha8-poly1305', /Use 2022-blake3-chacha20-poly1305 on both sides$/],
  ] as const) {
    t.match(textOf(name), why, name);
  }
});

t.test('ciphers that do not protect are taken from who insists', async (t) => {
  for (const { name, family } of METHODS.values()) {
    if (family !== 'stream' || name === 'none') continue;
    t.equal(secretProblem(source(name))?.code, 'SS_INSECURE', name);
    t.match(textOf(name), /broken: .*aes-256-gcm or 2022-blake3-aes-256-gcm, or accept that with "allow-insecure-ciphers: true"$/);
    t.equal(secretProblem(source(name, 'secret', true)), null, name);
  }
  t.equal(secretProblem(source('none', '')), null, 'whoever writes none knows');
});

t.test('passwords', async (t) => {
  t.strictSame(secretProblem(source('aes-256-gcm', '')), { key: 'password', code: 'SS_PASSWORD', text: 'must be given (it is empty)' });
  t.equal(secretProblem(source('chacha20-ietf-poly1305', 'a:b c')), null);
});

t.test('keys of SIP022', async (t) => {
  const name = '2022-blake3-aes-128-gcm';
  t.equal(secretProblem(source(name, key(16, 1))), null);
  t.equal(secretProblem(source(name, key(16, 1).replace(/=+$/, ''))), null, 'without padding');
  t.equal(secretProblem(source(name, `${key(16, 1)}:${key(16, 2)}:${key(16, 3)}`)), null);
  const advice = 'make one with: openssl rand -base64 16';
  t.equal(textOf(name, ''), `must be a key (it is empty); ${advice}`);
  t.equal(textOf(name, key(32, 1)), `the key has 32 bytes, ${name} needs 16; ${advice}`);
  t.equal(textOf('2022-blake3-aes-256-gcm', key(16, 1)), 'the key has 16 bytes, 2022-blake3-aes-256-gcm needs 32; make one with: openssl rand -base64 32');
  t.equal(textOf(name, 'correct horse'), `the key is not base64: ${name} takes no passwords but random bytes; ${advice}`);
  t.equal(textOf(name, Buffer.alloc(16, 0xfb).toString('base64url')), `the key is not base64: ${name} takes no passwords but random bytes; ${advice}`);
  t.equal(textOf(name, `${key(16, 1)}:${key(15, 1)}`), `key 2 of 2 has 15 bytes, ${name} needs 16; ${advice}`);
  t.equal(textOf(name, `${key(16, 1)}:`), `key 2 of 2 has 0 bytes, ${name} needs 16; ${advice}`);
  const chacha = '2022-blake3-chacha20-poly1305';
  t.equal(secretProblem(source(chacha, key(32, 1))), null);
  t.match(textOf(chacha, `${key(32, 1)}:${key(32, 2)}`), /takes one key: identity keys .* need one of the AES methods/);
  t.equal(secretProblem(source(chacha, key(31, 1)))?.code, 'SS_KEY');
});

t.test('no text repeats what may be a password', async (t) => {
  for (const cipher of [...METHODS.keys(), 'unknown', 'verify_sha1']) {
    for (const password of ['hunter2!hunter2!', key(24, 7), `${key(16, 7)}:hunter2!`]) {
      const text = textOf(cipher, password);
      for (const part of password.split(':')) t.notOk(text.includes(part), cipher);
    }
  }
});

t.test('what is left of ShadowsocksR in a file', async (t) => {
  t.equal(whyNotSsr('protocol', 'origin'), null);
  t.equal(whyNotSsr('obfs', 'plain'), null);
  t.match(whyNotSsr('protocol', 'verify_sha1') ?? '', /ShadowsocksR.*aes-256-gcm.*leave this out/);
  t.match(whyNotSsr('obfs', 'http_simple') ?? '', /ShadowsocksR.*a plugin.*obfs or v2ray-plugin/);
  t.match(whyNotSsr('obfs', 'TLS') ?? '', /plugin: obfs, plugin-opts: \{ mode: tls/);
});

for (const ciphers of allCiphers()) {
  t.test(`${ciphers.kind}: secrets`, async (t) => {
    // EVP_BytesToKey of "foobar", as NEKit's tests had it (D1 = MD5(pw), D2 = MD5(D1 | pw)).
    const { keys } = secretOf(ciphers, source('AES-256-CFB', 'foobar', true));
    t.strictSame(
      keys.map((bytes) => Buffer.from(bytes).toString('hex')),
      ['3858f62230ac3c915f300c664312c63f568378529614d22ddb49237d2f60bfdf'],
    );
    const short = secretOf(ciphers, source('aes-128-gcm', 'foobar'));
    t.equal(Buffer.from(short.keys[0] ?? []).toString('hex'), '3858f62230ac3c915f300c664312c63f', 'MD5 of the password');
    const unicode = secretOf(ciphers, source('aes-128-gcm', 'pässwörd'));
    t.equal(Buffer.from(unicode.keys[0] ?? []).toString('hex'), '12841e4ba5e37d2fbfc78458c6714ade', 'of its UTF-8');
    t.strictSame(secretOf(ciphers, source('none', 'whatever')).keys, []);
    const many = secretOf(ciphers, source('2022-blake3-aes-256-gcm', `${key(32, 1)}:${key(32, 2)}`));
    t.strictSame(
      many.keys.map((bytes) => Buffer.from(bytes)),
      [Buffer.alloc(32, 1), Buffer.alloc(32, 2)],
    );
    t.throws(() => secretOf(ciphers, source('aes-256-cfb')), { code: 'SS_INSECURE', message: /^cipher: aes-256-cfb is broken/ });
    t.throws(() => secretOf(ciphers, source('aes-256-gcn')), { code: 'SS_CIPHER' });
    t.throws(() => secretOf(ciphers, source('2022-blake3-aes-128-gcm')), { code: 'SS_KEY', message: /^password: the key has 4 bytes/ });
  });

  t.test(`${ciphers.kind}: every method, there and back`, async (t) => {
    const header = Buffer.from([1, 192, 0, 2, 1, 0, 80]);
    for (const method of METHODS.values()) {
      const password = method.family === '2022' ? key(method.keyLength, 9) : 'secret';
      const secret = secretOf(ciphers, source(method.name, password, true));
      const client = clientCodec(ciphers, secret, header);
      const salts: Uint8Array[] = [];
      const server = serverCodec(ciphers, secret, [], (_header, salt) => salts.push(salt) > 0);
      const wire = client.seal(Buffer.from('question'));
      t.equal(Buffer.from(server.open(wire)).toString('latin1'), `${header.toString('latin1')}question`, method.name);
      t.equal(salts.length, method.family === '2022' ? 1 : 0, 'only SIP022 has a header to check');
      t.equal(Buffer.from(client.open(server.seal(Buffer.from('answer')))).toString(), 'answer');
      if (isPlain(method)) t.equal(Buffer.from(wire).toString('latin1'), `${header.toString('latin1')}question`);
    }
  });

  t.test(`${ciphers.kind}: a codec knows when a record is not whole`, async (t) => {
    const cases = [
      { name: 'aes-256-gcm', from: 0, whole: [0, 32, 76, 113] }, // salt 32; lengths 18; address and "one" 26, "two" 19
      { name: '2022-blake3-aes-128-gcm', from: 0, whole: [0, 71, 108] }, // salt 16, fixed 27, variable 28
      { name: 'aes-256-cfb', from: 16, whole: null }, // nothing but the IV has an end
      { name: 'none', from: 1, whole: null },
    ];
    for (const { name, from, whole } of cases) {
      const secret = secretOf(ciphers, source(name, name.startsWith('2022') ? key(16, 9) : 'secret', true));
      const client = clientCodec(ciphers, secret, Buffer.from([1, 192, 0, 2, 1, 0, 80]));
      const server = serverCodec(ciphers, secret, [], null);
      const wire = Buffer.concat([client.seal(Buffer.from('one')), client.seal(Buffer.from('two'))]);
      const found = server.midRecord ? [] : [0];
      for (let at = 1; at <= wire.length; at++) {
        server.open(wire.subarray(at - 1, at));
        if (!server.midRecord) found.push(at);
      }
      t.strictSame(found, whole ?? [0, ...Array.from({ length: wire.length - from + 1 }, (_, i) => from + i)], name);
    }
  });
}
