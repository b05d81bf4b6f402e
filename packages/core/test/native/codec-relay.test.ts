// app -> relay that seals -> relay that opens -> app, with the codecs inside of the addon's conns.
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import t from 'tap';
import { addonCiphers } from '../../dist/native/addon-ciphers.js';
import type { Ciphers, CodecSpec } from '../../dist/native/cipher.js';
import { fallbackCiphers } from '../../dist/native/fallback/ciphers.js';
import { findAddon } from '../../dist/native/load.js';
import { openSockets } from '../../dist/native/open-sockets.js';
import { CancelSource } from '../../dist/net/cancel.js';
import { systemClock } from '../../dist/net/clock.js';
import { streamFromConn } from '../../dist/net/conn-stream.js';
import { toNodeSocket } from '../../dist/net/duplex.js';
import { isNetError, NetError } from '../../dist/net/errors.js';
import { relay } from '../../dist/net/relay.js';
import type { Sockets } from '../../dist/net/sockets.js';
import type { NativeConn, NativeConnListener, RelayOptions, Stream, Totals } from '../../dist/net/stream.js';
import { TimerWheel } from '../../dist/net/timer-wheel.js';
import { collect, pattern, send, within } from '../../dist/testing.js';

const { addon } = findAddon();
const ciphers = addonCiphers(addon);
const skip = addon === null || ciphers === null ? 'the addon is not built' : false;

/** A target of SOCKS5's form, which a server's codec gives back in front of the payload. */
const HEADER = Buffer.from([1, 192, 0, 2, 1, 0, 80]);

const SPECS: readonly { readonly name: string; client(): CodecSpec; server(): CodecSpec }[] = [
  ...(['aes-256-gcm', 'chacha20-ietf-poly1305', 'xchacha20-ietf-poly1305'] as const).map((method) => ({
    name: method,
    client: (): CodecSpec => ({ kind: 'aead', method, key: Buffer.alloc(32, 7), header: HEADER }),
    server: (): CodecSpec => ({ kind: 'aead', method, key: Buffer.alloc(32, 7) }),
  })),
  {
    name: 'aes-256-cfb',
    client: () => ({ kind: 'stream', method: 'aes-256-cfb', key: Buffer.alloc(32, 7), header: HEADER }),
    server: () => ({ kind: 'stream', method: 'aes-256-cfb', key: Buffer.alloc(32, 7) }),
  },
  {
    name: '2022-blake3-aes-256-gcm',
    client: () => ({ kind: '2022', role: 'client', method: '2022-blake3-aes-256-gcm', keys: [Buffer.alloc(32, 7)], header: HEADER }),
    server: () => ({ kind: '2022', role: 'server', method: '2022-blake3-aes-256-gcm', keys: [Buffer.alloc(32, 7)] }),
  },
];

interface Pair {
  readonly a: Stream;
  readonly b: Stream;
}

async function connectedPair(sockets: Sockets): Promise<Pair> {
  let accepted: (stream: Stream) => void = () => {};
  const b = new Promise<Stream>((resolve) => (accepted = resolve));
  const listener = await sockets.listen(
    { host: '127.0.0.1', port: 0, backlog: 1 },
    {
      connection: (incoming) =>
        accepted(
          incoming.open(
            () => {},
            () => {},
          ),
        ),
      failed: (error) => assert.fail(error),
    },
  );
  const a = await new Promise<Stream>((resolve, reject) => sockets.connect('127.0.0.1', listener.port, {}, resolve, reject));
  const pair = { a, b: await b };
  listener.close();
  return pair;
}

const detach = async (stream: Stream): Promise<NativeConn> => (await stream.native?.detach([])) ?? assert.fail('not native');

const options = (over: Partial<RelayOptions> = {}): RelayOptions => ({
  signal: new CancelSource(),
  idleMs: 20_000,
  halfCloseMs: 20_000,
  counters: new Float64Array(2),
  slot: 0,
  ...over,
});

interface Tunnel {
  readonly app: Stream;
  readonly target: Stream;
  readonly sealed: Promise<Totals>;
  readonly opened: Promise<Totals>;
}

/** Two relays with a sealed connection between them. */
async function tunnel(sockets: Sockets, makers: Ciphers, client: CodecSpec, server: CodecSpec): Promise<Tunnel> {
  const [left, middle, right] = [await connectedPair(sockets), await connectedPair(sockets), await connectedPair(sockets)];
  const [l, m1, m2, r] = [await detach(left.b), await detach(middle.a), await detach(middle.b), await detach(right.a)];
  assert.equal(m1.useCodec?.(makers.createCodec(client)), true);
  assert.equal(m2.useCodec?.(makers.createCodec(server)), true);
  const sealed = l.relay(m1, options()) ?? assert.fail('no relay');
  const opened = m2.relay(r, options()) ?? assert.fail('no relay');
  return { app: left.a, target: right.b, sealed, opened };
}

/** The same but for its last byte. */
function altered(wire: Uint8Array): Uint8Array {
  const copy = Uint8Array.from(wire);
  copy[copy.length - 1] = (copy.at(-1) ?? 0) ^ 1;
  return copy;
}

const digest = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

if (skip === false && ciphers !== null) {
  for (const { name, client, server } of SPECS) {
    void t.test(`relay with codecs inside: ${name}`, async (t) => {
      const sockets = openSockets(addon);
      t.teardown(() => sockets.close());

      for (const length of [1, 1000, 70_000, 5_000_000]) {
        await t.test(`${length} bytes each way, FIN each way`, async () => {
          const { app, target, sealed, opened } = await tunnel(sockets, ciphers, client(), server());
          const [up, down] = [pattern(length, 1), pattern(length + 3, 2)];
          const sending = send(app, up);
          const first = Buffer.concat((await within(target.read())) ?? []); // a server answers nobody whose request it has not opened
          const [rest, gotDown] = await within(Promise.all([collect(target), collect(app), sending, send(target, down)]), 20_000);
          const gotUp = Buffer.concat([first, rest]);
          assert.equal(digest(gotUp), digest(Buffer.concat([HEADER, up])));
          assert.equal(digest(gotDown), digest(down));
          assert.deepEqual(await within(sealed), { up: length, down: length + 3, error: null });
          assert.deepEqual(await within(opened), { up: length + HEADER.length, down: length + 3, error: null });
        });
      }

      await t.test('a target that speaks first is reached though the client says nothing', async () => {
        const { app, target, sealed } = await tunnel(sockets, ciphers, client(), server());
        const hello = await within(target.read());
        assert.deepEqual(Buffer.concat(hello ?? []), HEADER);
        await target.write([Buffer.from('220 ready')]);
        assert.equal(Buffer.concat((await within(app.read())) ?? []).toString(), '220 ready');
        app.abort(new NetError('aborted', 'enough'));
        assert.equal((await within(sealed)).error?.code, 'ECONNRESET');
      });
    });
  }

  const AES: CodecSpec = { kind: 'aead', method: 'aes-256-gcm', key: Buffer.alloc(32, 7) };
  const server2022 = (over: { readonly clockOffset?: number } = {}): CodecSpec => ({
    kind: '2022',
    role: 'server',
    method: '2022-blake3-aes-256-gcm',
    keys: [Buffer.alloc(32, 7)],
    ...over,
  });
  const client2022: CodecSpec = { ...server2022(), role: 'client', header: HEADER } as CodecSpec;
  const reset = async (peer: Stream): Promise<void> => peer.abort(new NetError('aborted', 'enough'));
  const sealedAs =
    (spec: CodecSpec, bytes = Buffer.from('hello')) =>
    (): Uint8Array =>
      fallbackCiphers().createCodec(spec).seal(bytes);
  const whole = sealedAs({ ...AES, header: HEADER });
  /** What a peer does to a connection whose other end has the codec `own`, and what that end then says. */
  interface Ending {
    readonly name: string;
    readonly own: CodecSpec;
    readonly wire: () => Uint8Array;
    /** After it has written that. */
    readonly end: (peer: Stream) => Promise<void>;
    /** Null: a clean end. */
    readonly error: { readonly code: string; readonly failure: string; readonly message: RegExp } | null;
  }
  const none = (): Uint8Array => new Uint8Array(0);
  const stay = async (): Promise<void> => undefined;
  const fin = (peer: Stream): Promise<void> => peer.closeWrite();
  const truncated = { code: 'CIPHER_TRUNCATED', failure: 'aborted', message: /^the sealed connection ended in the middle of a record$/ };
  const noReply = { code: 'SEALED_NO_REPLY', failure: 'aborted', message: /^the other end of the sealed connection reset it before .* a target that refused$/ };
  const plainReset = { code: 'ECONNRESET', failure: 'aborted', message: /^the peer reset the connection$/ };
  const auth = { code: 'CIPHER_AUTH', failure: 'auth', message: /^authentication failed: wrong password or cipher, or altered bytes$/ };
  const ENDINGS: readonly Ending[] = [
    { name: 'noise', own: AES, wire: () => randomBytes(500), end: stay, error: auth },
    { name: 'an altered last byte', own: AES, wire: () => altered(whole()), end: stay, error: auth },
    {
      name: 'altered bulk, on the relay thread',
      own: AES,
      wire: () => altered(sealedAs({ ...AES, header: HEADER }, Buffer.alloc(1_000_000))()),
      end: stay,
      error: auth,
    },
    {
      name: 'a clock that differs',
      own: server2022({ clockOffset: -43 }),
      wire: sealedAs(client2022),
      end: stay,
      error: { code: 'CIPHER_CLOCK', failure: 'protocol', message: /^the peer's clock differs by 4[23] s, more than the 30 s .* set the clocks$/ },
    },
    { name: 'a reset before anything', own: AES, wire: none, end: reset, error: noReply },
    { name: 'a reset behind half a record', own: AES, wire: () => whole().subarray(0, 40), end: reset, error: noReply },
    { name: 'a reset after a record', own: AES, wire: whole, end: reset, error: plainReset },
    { name: 'FIN before anything', own: AES, wire: none, end: fin, error: null },
    { name: 'FIN in the salt', own: AES, wire: () => whole().subarray(0, 31), end: fin, error: truncated },
    { name: 'FIN behind the salt', own: AES, wire: () => whole().subarray(0, 32), end: fin, error: null },
    { name: 'FIN in a length', own: AES, wire: () => whole().subarray(0, 40), end: fin, error: truncated },
    { name: 'FIN behind a length', own: AES, wire: () => whole().subarray(0, 50), end: fin, error: truncated },
    { name: 'FIN in a payload', own: AES, wire: () => whole().subarray(0, -1), end: fin, error: truncated },
    { name: 'FIN behind a record', own: AES, wire: whole, end: fin, error: null },
    { name: 'FIN behind the salt of SIP022', own: server2022(), wire: () => sealedAs(client2022)().subarray(0, 32), end: fin, error: truncated },
    { name: 'FIN behind a request of SIP022', own: server2022(), wire: sealedAs(client2022), end: fin, error: null },
  ];

  for (const { name, own, wire, end, error } of ENDINGS) {
    const check = (found: NetError | null): void => {
      if (error === null) assert.equal(found, null);
      else {
        assert.equal(found?.code, error.code);
        assert.equal(found.failure, error.failure);
        assert.match(found.message, error.message);
      }
    };

    void t.test(`why a sealed relay ended: ${name}`, async (t) => {
      const sockets = openSockets(addon);
      t.teardown(() => sockets.close());
      for (const through of ['engine', 'JavaScript'] as const) {
        const [outside, inside] = [await connectedPair(sockets), await connectedPair(sockets)];
        const [sealedEnd, plainEnd] = [await detach(outside.b), await detach(inside.a)];
        assert.equal(sealedEnd.useCodec?.(ciphers.createCodec(own)), true);
        const done =
          through === 'engine'
            ? (sealedEnd.relay(plainEnd, options()) ?? assert.fail('no relay'))
            : relay(streamFromConn(sealedEnd), streamFromConn(plainEnd), options(), new TimerWheel(systemClock));
        const bytes = wire();
        const writing = bytes.length > 0 ? outside.a.write([bytes]).catch(() => undefined) : Promise.resolve();
        await Promise.all([writing, end(outside.a)]);
        if (error === null) {
          await within(collect(inside.b));
          await inside.b.closeWrite();
          await within(collect(outside.a));
          check((await within(done)).error);
        } else {
          check((await within(done)).error);
          await assert.rejects(within(collect(inside.b)), isNetError, 'what is truncated looks truncated');
          if (end !== reset) await assert.rejects(within(collect(outside.a)), isNetError);
        }
      }
    });

    void t.test(`why a conn with a codec failed: ${name}`, async (t) => {
      const sockets = openSockets(addon);
      t.teardown(() => sockets.close());
      const { a, b } = await connectedPair(sockets);
      const conn = await detach(b);
      assert.equal(conn.useCodec?.(ciphers.createCodec(own)), true);
      const bytes = wire();
      const writing = bytes.length > 0 ? a.write([bytes]).catch(() => undefined) : Promise.resolve();
      const ended = new Promise<NetError | null>((resolve) => {
        const into = Buffer.alloc(64 * 1024);
        const readable = (): void => {
          for (;;) {
            const count = conn.receive(into, 0, into.length);
            if (count < 0) resolve(null);
            if (count <= 0) return;
          }
        };
        conn.listener = { readable, writable: () => undefined, closed: resolve };
        readable();
      });
      await Promise.all([writing, end(a)]);
      check(await within(ended));
      conn.abort(new NetError('aborted', 'enough'));
    });
  }

  void t.test('its own salt played back', async (t) => {
    const sockets = openSockets(addon);
    t.teardown(() => sockets.close());
    const [outside, inside] = [await connectedPair(sockets), await connectedPair(sockets)];
    const [sealedEnd, plainEnd] = [await detach(outside.b), await detach(inside.a)];
    assert.equal(sealedEnd.useCodec?.(ciphers.createCodec({ ...AES, header: HEADER })), true);
    const done = sealedEnd.relay(plainEnd, options()) ?? assert.fail('no relay');
    await outside.a.write((await within(outside.a.read())) ?? []);
    const { error } = await within(done);
    assert.deepEqual([error?.code, error?.failure, error?.message], ['CIPHER_PROTOCOL', 'protocol', 'the peer sent our own salt back']);
  });

  void t.test('the plain end of a sealed relay is reset', async (t) => {
    const sockets = openSockets(addon);
    t.teardown(() => sockets.close());
    const [outside, inside] = [await connectedPair(sockets), await connectedPair(sockets)];
    const [sealedEnd, plainEnd] = [await detach(outside.b), await detach(inside.a)];
    assert.equal(sealedEnd.useCodec?.(ciphers.createCodec(AES)), true);
    const done = sealedEnd.relay(plainEnd, options()) ?? assert.fail('no relay');
    await reset(inside.b);
    assert.equal((await within(done)).error?.code, 'ECONNRESET');
    await assert.rejects(within(collect(outside.a)), isNetError);
  });

  void t.test('a conn with a codec takes all that there is room for, and says when there is room again', async (t) => {
    const sockets = openSockets(addon);
    t.teardown(() => sockets.close());
    const key = Buffer.alloc(32, 7);
    const { a, b } = await connectedPair(sockets);
    const [conn, reader] = [await detach(a), await detach(b)];
    assert.equal(conn.useCodec?.(ciphers.createCodec({ kind: 'aead', method: 'aes-256-gcm', key })), true);
    assert.equal(reader.useCodec?.(ciphers.createCodec({ kind: 'aead', method: 'aes-256-gcm', key })), true);
    const plain = pattern(20_000_000, 3);
    const got: Buffer[] = [];
    const into = Buffer.alloc(256 * 1024);
    const deaf: NativeConnListener = { readable: () => undefined, writable: () => undefined, closed: () => undefined };
    let at = 0;
    const sent = new Promise<void>((resolve) => {
      const more = (): void => {
        // Once each time, as who waits for the edge does.
        if (at < plain.length) at += conn.send(plain, at, plain.length);
        if (at === plain.length && conn.pending === 0) {
          conn.closeWrite();
          resolve();
        }
      };
      conn.listener = { ...deaf, writable: more };
      more();
      assert.ok(at > 64 * 1024, 'a socket with room is not left waiting');
    });
    const ended = new Promise<void>((resolve) => {
      const readable = (): void => {
        for (;;) {
          const count = reader.receive(into, 0, into.length);
          if (count > 0) got.push(Buffer.from(into.subarray(0, count)));
          else {
            if (count < 0) resolve();
            return;
          }
        }
      };
      reader.listener = { ...deaf, readable };
      readable();
    });
    await within(Promise.all([sent, ended]), 20_000);
    assert.equal(digest(Buffer.concat(got)), digest(plain));
    for (const end of [conn, reader]) end.abort(new NetError('aborted', 'over'));
  });

  /** Both ends of a connection with codecs inside. */
  const sealedPair = async (sockets: Sockets): Promise<[NativeConn, NativeConn]> => {
    const { a, b } = await connectedPair(sockets);
    const ends: [NativeConn, NativeConn] = [await detach(a), await detach(b)];
    for (const end of ends) assert.equal(end.useCodec?.(ciphers.createCodec({ kind: 'aead', method: 'aes-256-gcm', key: Buffer.alloc(32, 7) })), true);
    return ends;
  };

  void t.test('the FIN of a stream is behind sealed bytes that wait for room', async (t) => {
    const sockets = openSockets(addon);
    t.teardown(() => sockets.close());
    const [conn, far] = await sealedPair(sockets);
    const stream = streamFromConn(conn);
    let sent = 0;
    for (; conn.pending === 0; sent += 65_536) await within(stream.write([pattern(65_536, 1)]));
    const closing = stream.closeWrite();
    const reader = streamFromConn(far);
    assert.equal((await within(collect(reader))).length, sent);
    await within(closing);
    await reader.closeWrite();
    assert.equal(await within(stream.read()), null);
  });

  void t.test('a FIN that waits for room fails with its conn', async (t) => {
    const sockets = openSockets(addon);
    t.teardown(() => sockets.close());
    const [conn, far] = await sealedPair(sockets);
    const stream = streamFromConn(conn);
    while (conn.pending === 0) await within(stream.write([pattern(65_536, 1)]));
    const closing = stream.closeWrite();
    far.abort(new NetError('aborted', 'enough'));
    await assert.rejects(within(closing), isNetError);
  });

  void t.test('a stream with a codec inside becomes a Duplex for Node', async (t) => {
    const sockets = openSockets(addon);
    t.teardown(() => sockets.close());
    const [conn, far] = await sealedPair(sockets);
    const stream: Stream = { ...streamFromConn(conn), native: { detach: () => Promise.resolve(conn) } };
    const node = await toNodeSocket(stream);
    node.end('hello');
    assert.equal((await within(collect(streamFromConn(far)))).toString(), 'hello');
    node.destroy();
  });

  void t.test('send and receive of a conn with a codec speak plain bytes', async (t) => {
    const sockets = openSockets(addon);
    t.teardown(() => sockets.close());
    const { a, b } = await connectedPair(sockets);
    const conn = await detach(b);
    const key = Buffer.alloc(32, 7);
    const peer = fallbackCiphers().createCodec({ kind: 'aead', method: 'aes-256-gcm', key, header: HEADER });
    assert.equal(conn.useCodec?.(ciphers.createCodec({ kind: 'aead', method: 'aes-256-gcm', key })), true);
    assert.equal(conn.useCodec?.(ciphers.createCodec({ kind: 'aead', method: 'aes-256-gcm', key })), false);
    await a.write([peer.seal(Buffer.from('hello'))]);
    const got = Buffer.alloc(100);
    let length = 0;
    while (length < HEADER.length + 5) {
      const count = conn.receive(got, length, got.length);
      if (count > 0) length += count;
      else
        await within(
          new Promise<void>((resolve) => {
            conn.listener = { readable: resolve, writable: () => undefined, closed: () => resolve() };
          }),
        );
    }
    assert.equal(got.subarray(HEADER.length, length).toString(), 'hello');
    assert.equal(conn.send(Buffer.from('answer'), 0, 6), 6);
    assert.equal(conn.pending, 0);
    let answer = '';
    while (answer.length < 6) answer += Buffer.from(peer.open(Buffer.concat((await within(a.read())) ?? []))).toString();
    assert.equal(answer, 'answer');
    conn.abort(new NetError('aborted', 'enough'));
    await assert.rejects(within(a.read()), isNetError);
  });
} else {
  void t.test('relay with codecs inside', { skip }, () => {});
}
