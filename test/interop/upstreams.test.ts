// app -> kernel -> adapter -> tinyproxy, squid, microsocks, dante, stunnel (Debian's) -> target
import type { EntryInput, Stream } from '@nekit/core';
import { closedPort, collect, send, startEcho, type Target, within } from '@nekit/core/testing';
import t, { type Test } from 'tap';
import { makeCertificate } from '../../packages/adapter-socks5/dist-test/certificate.js';
import { throughConnect, throughSocks5 } from '../helpers/apps.js';
import { startKernel, type TestKernel } from '../helpers/kernel.js';
import { startOrigin } from '../helpers/origin.js';
import { makeFolder, type Program, run, unlessInstalled } from '../helpers/programs.js';
import { canBindFiles, startDante, startMicrosocks, startSquid, startStunnel, startTinyproxy } from '../helpers/proxies.js';
import { bytesOf, rejection, sha256, startAnswerAfterEnd, startExchange } from '../helpers/targets.js';
import { UdpApp, UdpPeer } from '../helpers/udp.js';

const server = '127.0.0.1';
const login = { username: 'nekit', password: 'let-me-in' };
const certificate = makeCertificate('proxy.test');
const stranger = makeCertificate('proxy.test');
const folder = makeFolder();
const programs: Program[] = [];
t.teardown(async () => {
  for (const program of programs.reverse()) await program.stop();
  folder.remove();
});

async function started(program: Promise<Program>): Promise<number> {
  const running = await program;
  programs.push(running);
  return running.port;
}

/** A kernel whose every connection goes through one adapter. */
async function kernelWith(t: Test, entry: Record<string, unknown> & { readonly type: string }): Promise<TestKernel> {
  const proxy: EntryInput = { name: 'up', server, ...entry };
  const kernel = await startKernel({ proxies: [proxy], rules: ['MATCH,up'] }, { timeouts: { handshake: 8_000 } });
  t.teardown(() => kernel.stop());
  return kernel;
}

interface Expected {
  /** Session error when the target refuses. */
  readonly refused: string;
  /** false: this proxy ends the whole connection at the first FIN (the proxy's own shortcoming). */
  readonly halfCloses?: boolean;
}

const bytes = bytesOf(4_000_001, 11);

async function give(stream: Stream, all: Uint8Array): Promise<void> {
  for (let at = 0; at < all.length; at += 100_000) await stream.write([all.subarray(at, at + 100_000)]);
}

async function take(stream: Stream, length: number): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for (let left = length; left > 0; ) {
    const chunks = await stream.read();
    if (chunks === null) break;
    parts.push(...chunks);
    for (const chunk of chunks) left -= chunk.length;
  }
  return Buffer.concat(parts);
}

/** What every upstream must do for us. */
async function check(t: Test, entry: Record<string, unknown> & { readonly type: string }, { refused, halfCloses = true }: Expected): Promise<void> {
  const kernel = await kernelWith(t, entry);
  const on = async (made: Promise<Target>, use: (target: { host: string; port: number }) => Promise<void>): Promise<void> => {
    const target = await made;
    try {
      await within(use({ host: server, port: target.port }), 20_000, 'the upstream');
    } finally {
      await target.close();
    }
  };
  for (const [name, app] of [
    ['SOCKS5', throughSocks5],
    ['CONNECT', throughConnect],
  ] as const) {
    await on(startEcho(), async (target) => {
      const stream = await app(kernel.port, target);
      const [back] = await Promise.all([take(stream, bytes.length), give(stream, bytes)]);
      t.equal(sha256(back), sha256(bytes), `${name}: 4 MB there and back`);
      stream.abort(new Error('done'));
    });
  }
  if (halfCloses) {
    await on(startAnswerAfterEnd(), async (target) => {
      const stream = await throughSocks5(kernel.port, target);
      const [back] = await Promise.all([collect(stream), send(stream, Buffer.from('question'))]);
      t.equal(back.toString(), 'you said: question', 'half-close');
    });
  }
  const origin = await startOrigin();
  const answer = await run('curl', [
    '-q',
    '-sS',
    '-x',
    `http://127.0.0.1:${kernel.port}`,
    `http://127.0.0.1:${origin.port}/hello`,
    `http://127.0.0.1:${origin.port}/hello`,
  ]);
  t.equal(answer.stdout.toString(), `hello from 127.0.0.1:${origin.port}`.repeat(2), `a plain request of curl ${answer.stderr}`);
  t.equal(origin.connections(), 1, 'the second request went through the same tunnel');
  await origin.close();

  t.ok(await rejection(throughSocks5(kernel.port, { host: server, port: await closedPort() })), 'a refused target');
  t.match(await kernel.last(), { adapter: 'up', error: { code: refused } });
}

async function refuses(t: Test, entry: Record<string, unknown> & { readonly type: string }, code: string | RegExp): Promise<void> {
  const kernel = await kernelWith(t, entry);
  await rejection(throughSocks5(kernel.port, { host: server, port: 9 }));
  t.match((await kernel.last()).error?.code, code);
}

t.test('tinyproxy', { skip: unlessInstalled('tinyproxy', 'curl') }, async (t) => {
  await check(t, { type: 'http', port: await started(startTinyproxy(folder.path)) }, { refused: 'HTTP_PROXY_STATUS', halfCloses: false });
  const port = await started(startTinyproxy(folder.path, login));
  await check(t, { type: 'http', port, ...login }, { refused: 'HTTP_PROXY_STATUS', halfCloses: false });
  await refuses(t, { type: 'http', port }, 'HTTP_PROXY_AUTH');
  await refuses(t, { type: 'http', port, ...login, password: 'wrong' }, /^HTTP_PROXY_(?:AUTH|STATUS)$/); // it says 401
});

t.test('squid', { skip: unlessInstalled('squid', 'curl', 'openssl') }, async (t) => {
  await check(t, { type: 'http', port: await started(startSquid(folder.path)) }, { refused: 'HTTP_PROXY_STATUS', halfCloses: false });
  const port = await started(startSquid(folder.path, login));
  await check(t, { type: 'http', port, ...login }, { refused: 'HTTP_PROXY_STATUS', halfCloses: false });
  await refuses(t, { type: 'http', port }, 'HTTP_PROXY_AUTH');
  await refuses(t, { type: 'http', port, ...login, password: 'wrong' }, 'HTTP_PROXY_AUTH');
});

t.test('microsocks', { skip: unlessInstalled('microsocks', 'curl') }, async (t) => {
  await check(t, { type: 'socks5', port: await started(startMicrosocks()) }, { refused: 'SOCKS5_REP_5', halfCloses: false });
  const port = await started(startMicrosocks(login));
  await check(t, { type: 'socks5', port, ...login }, { refused: 'SOCKS5_REP_5', halfCloses: false });
  await refuses(t, { type: 'socks5', port }, 'SOCKS5_NO_METHOD');
  await refuses(t, { type: 'socks5', port, ...login, password: 'wrong' }, 'SOCKS5_AUTH');
});

t.test('dante', { skip: unlessInstalled('danted', 'curl') }, async (t) => {
  const port = await started(startDante(folder.path));
  await check(t, { type: 'socks5', port }, { refused: 'SOCKS5_REP_5' });

  await t.test('UDP ASSOCIATE', async (t) => {
    const kernel = await kernelWith(t, { type: 'socks5', port, udp: true });
    const echo = await UdpPeer.echo();
    const app = await UdpApp.open(kernel.port);
    t.teardown(async () => {
      await app.close();
      await echo.close();
    });
    for (const size of [1, 1_200, 8_000]) {
      const bytes = bytesOf(size, size);
      app.send({ host: server, port: echo.port }, bytes);
      t.same(await app.next(), { bytes, from: { host: server, port: echo.port } }, `${size} bytes`);
    }
    t.not(echo.received[0]?.from.port, app.relay.port, 'dante sent them, not we');
    t.match(kernel.kernel.sessions(), [{ network: 'udp', adapter: 'up' }]);
  });

  const skip = canBindFiles() ? unlessInstalled('openssl') : 'no mount namespaces here (dante takes its users from the system)';
  await t.test('with a password', { skip }, async (t) => {
    const port = await started(startDante(folder.path, login));
    await check(t, { type: 'socks5', port, ...login }, { refused: 'SOCKS5_REP_5' });
    await refuses(t, { type: 'socks5', port }, 'SOCKS5_NO_METHOD');
    await refuses(t, { type: 'socks5', port, ...login, password: 'wrong' }, 'SOCKS5_AUTH');
  });
});

t.test('TLS: stunnel', { skip: unlessInstalled('stunnel4', 'tinyproxy', 'microsocks', 'curl') }, async (t) => {
  for (const { type, behind, refused } of [
    { type: 'https', behind: startTinyproxy(folder.path), refused: 'HTTP_PROXY_STATUS' },
    { type: 'socks5', behind: startMicrosocks(), refused: 'SOCKS5_REP_5' },
  ]) {
    const port = await started(startStunnel(folder.path, await started(behind), certificate));
    const tls = { type, port, tls: true };
    await t.test(`${type} with its authority`, (t) => check(t, { ...tls, sni: 'proxy.test', ca: certificate.cert }, { refused, halfCloses: false }));
    await t.test(`${type}, other ways to trust it`, async (t) => {
      for (const trust of [{ fingerprint: certificate.fingerprint }, { 'skip-cert-verify': true }, { ca: certificate.cert }]) {
        const kernel = await kernelWith(t, { ...tls, ...trust });
        const target = await startExchange(Buffer.from('hello'));
        const stream = await throughSocks5(kernel.port, { host: server, port: target.port });
        t.equal(Buffer.concat((await stream.read()) ?? []).toString(), 'hello', Object.keys(trust).join());
        stream.abort(new Error('done'));
        await target.close();
      }
    });
    await t.test(`${type}, no trust`, async (t) => {
      await refuses(t, tls, 'DEPTH_ZERO_SELF_SIGNED_CERT');
      await refuses(
        t,
        { ...tls, sni: 'proxy.test', ca: stranger.cert },
        /^(?:DEPTH_ZERO_SELF_SIGNED_CERT|CERT_SIGNATURE_FAILURE|UNABLE_TO_VERIFY_LEAF_SIGNATURE)$/,
      );
      await refuses(t, { ...tls, sni: 'other.test', ca: certificate.cert }, 'ERR_TLS_CERT_ALTNAME_INVALID');
      await refuses(t, { ...tls, fingerprint: stranger.fingerprint }, /FINGERPRINT/);
    });
  }
});
