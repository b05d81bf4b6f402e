// v2ray-plugin's WebSocket: against `ws` as a server, and against Debian's v2ray set up as v2ray-plugin sets it up.
import { CancelSource, type Chunks, isNetError, NetError, type Stream, TimerWheel } from '@nekit/core';
import {
  collect,
  dialOptions,
  eventually,
  FakeClock,
  pattern,
  pipePair,
  send,
  startEcho,
  startSilent,
  startTarget,
  streamConformance,
  testContext,
  within,
} from '@nekit/core/testing';
import fc from 'fast-check';
import t, { type Test } from 'tap';
import { linkOf } from '../../dist/plugin/link.js';
import type { PluginOptions } from '../../dist/plugin/plugin-config.js';
import { LateFin } from '../../dist/plugin/websocket/late-fin.js';
import { MuxReader } from '../../dist/plugin/websocket/mux-reader.js';
import { MuxStream } from '../../dist/plugin/websocket/mux-stream.js';
import { openWebSocket } from '../../dist/plugin/websocket/open-websocket.js';
import { makeCertificate } from './support/certificate.js';
import { startProgram, unlessInstalled } from './support/programs.js';
import { MuxServer, muxFrame, serverStream, startWebSocketServer, type WebSocketPeer } from './support/websocket-server.js';

const certificate = makeCertificate('DNS:proxy.test');
const { context } = testContext();
const direct = context.base.stream;
if (direct === undefined) throw new Error('DIRECT carries connections');

async function failure(promise: Promise<unknown>): Promise<NetError> {
  const error = await within(
    promise.then(
      () => 'it did not fail',
      (thrown: unknown) => thrown,
    ),
  );
  if (isNetError(error)) return error;
  throw error instanceof Error ? error : new Error(String(error));
}

async function take(stream: Stream, length: number): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for (let got = 0; got < length; ) {
    const chunks: Chunks | null = await within(stream.read(), 10_000);
    if (chunks === null) break;
    for (const part of chunks) {
      parts.push(part);
      got += part.length;
    }
  }
  return Buffer.concat(parts);
}

async function peerFor(t: Test, tls?: { readonly key: string; readonly cert: string }): Promise<WebSocketPeer> {
  const peer = await startWebSocketServer(tls);
  t.teardown(() => peer.close());
  return peer;
}

function dial(port: number, options: PluginOptions, signal?: CancelSource): Promise<Stream> {
  const link = linkOf({ server: '127.0.0.1', port, plugin: 'v2ray-plugin', 'plugin-opts': { path: '/ws', ...options } }, context);
  return link.dial(signal === undefined ? dialOptions() : dialOptions(undefined, { signal }));
}

/** Both ends of one WebSocket, with nothing around it. */
async function pair(): Promise<{ a: Stream; b: Stream; close(): Promise<void> }> {
  const peer = await startWebSocketServer();
  const host = { host: '127.0.0.1', port: peer.port };
  const base = (await direct?.dialStream(host, dialOptions(host))) ?? t.fail('no stream');
  if (typeof base === 'boolean') throw new Error('no stream');
  const [a, socket] = await Promise.all([openWebSocket(base, { host: 'x', path: '/ws', headers: {} }), peer.next()]);
  return { a, b: serverStream(socket), close: () => peer.close() };
}

/** What WebSocket cannot do: a peer that has read Close sends nothing more. */
const NEEDS_HALF_CLOSE = /^(?:half-close|carries bytes both ways)/;

void t.test('a WebSocket as a stream', (t) => {
  streamConformance((name, run) => t.test(name, { skip: NEEDS_HALF_CLOSE.test(name) && 'WebSocket has no half-close' }, run), pair);
  void t.test('carries bytes both ways, unchanged and in order', async (t) => {
    const { a, b, close } = await pair();
    const [up, down] = [pattern(1_000_003, 1), pattern(700_001, 2)];
    const give = async (stream: Stream, bytes: Buffer): Promise<void> => {
      for (let at = 0; at < bytes.length; at += 10_007) await stream.write([Uint8Array.from(bytes.subarray(at, at + 10_007))]);
    };
    const [gotUp, gotDown] = await Promise.all([take(b, up.length), take(a, down.length), give(a, up), give(b, down)]);
    t.ok(gotUp.equals(up) && gotDown.equals(down));
    await a.closeWrite();
    t.equal(await b.read(), null);
    t.equal(await a.read(), null, 'Close is answered by Close');
    await b.closeWrite();
    await close();
  });
  t.end();
});

void t.test('Mux.Cool on a WebSocket, and on a pipe', (t) => {
  streamConformance(
    (name, run) => t.test(name, run),
    async () => {
      const { a, b, close } = await pair();
      return { a: new MuxStream(a), b: new MuxServer(b), close };
    },
  );
  streamConformance(
    (name, run) => t.test(`pipe: ${name}`, run),
    () => {
      const [near, far] = pipePair();
      return Promise.resolve({ a: new MuxStream(near), b: new MuxServer(far) });
    },
  );
  t.end();
});

void t.test('a late FIN keeps all promises of a stream', (t) => {
  streamConformance(
    (name, run) => t.test(name, run),
    () => {
      const [near, far] = pipePair();
      return Promise.resolve({ a: new LateFin(near, testContext().timers, 20), b: far });
    },
  );
  t.end();
});

void t.test('a late FIN waits for silence, or for the peer', async (t) => {
  const clock = new FakeClock();
  const [near, far] = pipePair();
  const stream = new LateFin(near, new TimerWheel(clock, 10), 2_000);
  let ended = false;
  void far.read().then((chunks) => {
    ended = chunks === null;
  });
  await stream.closeWrite();
  await stream.closeWrite();
  t.equal((await failure(stream.write([Buffer.from('x')]))).code, 'WRITE_AFTER_END');
  for (let i = 0; i < 5; i++) {
    await clock.advance(1_500);
    await far.write([Buffer.from('still talking')]);
    await stream.read();
  }
  t.notOk(ended, 'the peer goes on');
  await clock.advance(2_100);
  t.ok(ended);
  t.equal(clock.pending, 0, 'no timer is left');

  const [near2, far2] = pipePair();
  const other = new LateFin(near2, new TimerWheel(clock, 10), 2_000);
  await other.closeWrite();
  await far2.closeWrite();
  t.equal(await other.read(), null);
  t.equal(await far2.read(), null, 'with the FIN of the peer at once');
  t.equal(clock.pending, 0);
});

void t.test('the request: host, path, fields, and no extension', async (t) => {
  const peer = await peerFor(t);
  const stream = await dial(peer.port, {
    host: 'cdn.example.com',
    path: '/ws/a?b=c',
    headers: { 'X-Token': 'abc', HOST: 'other.example.com:8080' },
    mux: false,
  });
  const request = peer.request();
  t.equal(request?.url, '/ws/a?b=c');
  t.equal(request?.headers.host, 'other.example.com:8080');
  t.equal(request?.headers['x-token'], 'abc');
  t.equal(request?.headers['sec-websocket-extensions'], undefined);
  stream.abort(new Error('done'));
  (await dial(peer.port, { mux: false })).abort(new Error('done'));
  t.equal(peer.request()?.headers.host, 'bing.com', "Clash's default");
});

void t.test('Close codes, a cut, and a ping', async (t) => {
  const peer = await peerFor(t);
  const both = async (): Promise<[Stream, Awaited<ReturnType<WebSocketPeer['next']>>]> => {
    const made = await Promise.all([dial(peer.port, { mux: false }), peer.next()]);
    made[1].resume();
    return made;
  };
  for (const [code, wanted] of [
    [1000, null],
    [1001, null],
    [1005, null],
    [1011, 'SS_WEBSOCKET_CLOSED'],
    [4000, 'SS_WEBSOCKET_CLOSED'],
  ] as const) {
    const [stream, socket] = await both();
    socket.send('text counts as bytes');
    if (code === 1005) socket.close();
    else socket.close(code);
    t.equal((await take(stream, 20)).toString(), 'text counts as bytes');
    if (wanted === null) t.equal(await within(stream.read()), null, `${code} is FIN`);
    else t.equal((await failure(stream.read())).code, wanted, `${code} is RST`);
    if (wanted === null) t.equal((await failure(stream.write([Buffer.from('x')]))).code, 'EPIPE');
    stream.abort(new Error('done'));
  }
  const [stream, socket] = await both();
  const pong = new Promise<string>((resolve) => socket.once('pong', (data) => resolve(data.toString())));
  socket.ping('are you there');
  t.equal(await within(pong), 'are you there');
  socket.terminate();
  t.equal((await failure(stream.read())).failure, 'aborted', 'an end without Close is no end');
  const [big, sender] = await both();
  sender.send(Buffer.alloc(5 * 1024 * 1024));
  t.equal((await failure(big.read())).code, 'SS_WEBSOCKET', 'a message beyond the bound');
  t.equal((await failure(big.read())).failure, 'protocol');
});

void t.test('servers that are none', async (t) => {
  const peer = await peerFor(t);
  const missing = await failure(dial(peer.port, { path: '/nothing' }));
  t.equal(missing.code, 'SS_WEBSOCKET');
  t.match(missing.message, /HTTP 404 Not Found \(are "path"/);
  for (const said of [
    'SSH-2.0-OpenSSH_9\r\n',
    'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: no\r\n\r\n',
    'HTTP/1.1 200 OK\r\n\r\n',
  ]) {
    const target = await startTarget((socket) => socket.once('data', () => socket.end(said)));
    const error = await failure(dial(target.port, {}));
    t.equal(error.code, 'SS_WEBSOCKET', error.message);
    t.equal(error.failure, 'protocol');
    await eventually(() => target.connections() === 0);
    await target.close();
  }
  const mute = await startSilent();
  const { context: hasty } = testContext({ timeouts: { handshake: 50 } });
  const link = linkOf({ server: '127.0.0.1', port: mute.port, plugin: 'v2ray-plugin' }, hasty);
  t.equal((await failure(link.dial(dialOptions()))).failure, 'timeout');
  const source = new CancelSource();
  const leaving = failure(dial(mute.port, {}, source));
  await eventually(() => mute.connections() > 0);
  source.cancel(new NetError('aborted', 'the client has left', { code: 'CLIENT_LEFT' }));
  t.equal((await leaving).code, 'CLIENT_LEFT');
  await eventually(() => mute.connections() === 0);
  await mute.close();
  const closing = await startTarget((socket) => socket.destroy());
  t.ok(await failure(dial(closing.port, {})));
  await closing.close();
});

void t.test('TLS: the certificate is checked before a byte is said', { skip: certificate === null && 'no openssl' }, async (t) => {
  if (certificate === null) return;
  const peer = await peerFor(t, certificate);
  const ok = await dial(peer.port, { tls: true, host: 'proxy.test', ca: certificate.cert, mux: false });
  await ok.write([Buffer.from('hello')]);
  t.equal((await take(serverStream(await peer.next()), 5)).toString(), 'hello');
  ok.abort(new Error('done'));
  t.equal((await failure(dial(peer.port, { tls: true, host: 'proxy.test' }))).failure, 'protocol');
  t.equal((await failure(dial(peer.port, { tls: true, host: 'other.test', ca: certificate.cert }))).code, 'ERR_TLS_CERT_ALTNAME_INVALID');
  (await dial(peer.port, { tls: true, host: 'other.test', sni: 'proxy.test', ca: certificate.cert })).abort(new Error('done'));
  (await dial(peer.port, { tls: true, 'skip-cert-verify': true })).abort(new Error('done'));
  t.equal((await failure(dial(peer.port, { tls: true, fingerprint: '00'.repeat(32) }))).code, 'TLS_FINGERPRINT');
});

void t.test('Mux.Cool: frames cut anywhere, and frames that are none', async (t) => {
  const long = Buffer.concat([Buffer.from([0, 10, 0, 1, 2, 1]), Buffer.alloc(6), Buffer.from([0, 1, 33])]);
  const good = Buffer.concat([
    muxFrame(2, Buffer.from('first')),
    muxFrame(4, Buffer.from('dropped'), { id: 7 }),
    muxFrame(2, new Uint8Array(0)),
    long,
    muxFrame(2),
    muxFrame(3, Buffer.from('last')),
  ]);
  const all = (bytes: Uint8Array, cuts: readonly number[]): { text: string; error: NetError | null; ended: boolean } => {
    const reader = new MuxReader();
    const payload: Uint8Array[] = [];
    let error: NetError | null = null;
    let start = 0;
    for (const cut of [...cuts, bytes.length].sort((a, b) => a - b)) {
      error ??= reader.open(bytes.subarray(start, cut), payload);
      start = Math.max(start, cut);
    }
    return { text: Buffer.concat(payload).toString(), error, ended: reader.ended };
  };
  for (let cut = 0; cut <= good.length; cut++) t.same(all(good, [cut]), { text: 'first!last', error: null, ended: true }, `cut at ${cut}`);
  t.same(
    all(
      good,
      Array.from({ length: good.length }, (_, index) => index),
    ),
    { text: 'first!last', error: null, ended: true },
    'byte by byte',
  );
  t.match(all(Buffer.from('HTTP/1.1 400'), []).error?.message, /mux: false/);
  t.match(all(muxFrame(1), []).error?.message, /status 1/);
  t.match(all(muxFrame(2, undefined, { id: 2 }), []).error?.message, /never opened/);
  t.equal(all(muxFrame(3, undefined, { option: 2 }), []).error?.failure, 'aborted');
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), fc.array(fc.nat(100)), (bytes, cuts) => {
      const { error } = all(bytes, cuts);
      return error === null || error.code === 'SS_MUX';
    }),
    { numRuns: process.env.NEKIT_FULL === undefined ? 1_000 : 200_000 },
  );
  const [near, far] = pipePair();
  const stream = new MuxStream(near);
  await far.write([Buffer.from([0, 4, 0])]);
  await far.closeWrite();
  t.equal((await failure(stream.read())).code, 'SS_MUX', 'an end in the middle of a frame');
  const [near2, far2] = pipePair();
  await far2.closeWrite();
  t.equal(await new MuxStream(near2).read(), null);
});

const v2ray = { skip: unlessInstalled('v2ray') };

/** As v2ray-plugin sets v2ray up: WebSocket in, one fixed target out, and the name v1.mux.cool where Mux.Cool is to be spoken. */
function v2rayConfig(target: number, mux: boolean, tls: boolean): string {
  const lines = (text: string): string[] => text.trim().split('\n');
  const tlsSettings = { certificates: [{ certificate: lines(certificate?.cert ?? ''), key: lines(certificate?.key ?? '') }] };
  const streamSettings = { network: 'ws', wsSettings: { path: '/ws' }, ...(tls ? { security: 'tls', tlsSettings } : {}) };
  const settings = { address: mux ? 'v1.mux.cool' : '127.0.0.1', port: 1, network: 'tcp' };
  const inbound = { listen: '127.0.0.1', port: '$PORT', protocol: 'dokodemo-door', settings, streamSettings };
  const outbound = { protocol: 'freedom', settings: { redirect: `127.0.0.1:${target}` } };
  return JSON.stringify({ log: { loglevel: 'warning' }, inbounds: [inbound], outbounds: [outbound] }).replace('"$PORT"', '$PORT');
}

for (const mux of [true, false]) {
  for (const tls of [false, true]) {
    const name = `v2ray ${mux ? 'with' : 'without'} mux, ${tls ? 'with' : 'without'} TLS`;
    void t.test(name, tls && certificate === null ? { skip: 'no openssl' } : v2ray, async (t) => {
      const echo = await startEcho();
      t.teardown(() => echo.close());
      const server = await startProgram('v2ray', () => ['-config=stdin:'], v2rayConfig(echo.port, mux, tls));
      t.teardown(() => server.stop());
      const options: PluginOptions = { mux, host: 'proxy.test', ...(tls ? { tls, ca: certificate?.cert } : {}) };
      const stream = await within(dial(server.port, options));
      const bytes = pattern(2_000_003, 3);
      const sending = (async () => {
        for (let at = 0; at < bytes.length; at += 100_000) await stream.write([Uint8Array.from(bytes.subarray(at, at + 100_000))]);
      })();
      t.ok((await take(stream, bytes.length)).equals(bytes), 'there and back');
      await sending;
      stream.abort(new Error('done'));
      await eventually(() => echo.connections() === 0);

      const talker = await startTarget((socket) => {
        socket.once('data', () => setTimeout(() => socket.end('an answer that takes its time'), 300));
      });
      t.teardown(() => talker.close());
      const other = await startProgram('v2ray', () => ['-config=stdin:'], v2rayConfig(talker.port, mux, tls));
      t.teardown(() => other.stop());
      const asking = await within(dial(other.port, options));
      const [back] = await within(Promise.all([collect(asking), send(asking, Buffer.from('question'))]), 10_000);
      t.equal(back.toString(), 'an answer that takes its time', 'arrives although we ended before');
      await eventually(() => talker.connections() === 0);
    });
  }
}

void t.test('a server that expects mux and one that does not are told apart', v2ray, async (t) => {
  const echo = await startEcho();
  t.teardown(() => echo.close());
  const server = await startProgram('v2ray', () => ['-config=stdin:'], v2rayConfig(echo.port, false, false));
  t.teardown(() => server.stop());
  const stream = await dial(server.port, { mux: true });
  await stream.write([Buffer.from('x')]);
  t.equal((await failure(stream.read())).code, 'SS_MUX');
});
