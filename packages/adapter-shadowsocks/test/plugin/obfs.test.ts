// A stream in simple-obfs' disguise: http and tls, against the servers' halves and against Debian's obfs-server.
import { type Chunks, isNetError, type NetError, type Stream } from '@nekit/core';
import { collect, dialOptions, eventually, pattern, pipePair, send, startEcho, startTarget, streamConformance, testContext, within } from '@nekit/core/testing';
import fc from 'fast-check';
import t from 'tap';
import { linkOf } from '../../dist/plugin/link.js';
import { clientHello, MAX_TICKET } from '../../dist/plugin/obfs/client-hello.js';
import { HttpObfsStream, httpObfs } from '../../dist/plugin/obfs/http-obfs.js';
import { RecordReader } from '../../dist/plugin/obfs/record-reader.js';
import { TlsObfsStream } from '../../dist/plugin/obfs/tls-obfs.js';
import { HttpObfsServer, parseHello, record, serverHello, TlsObfsServer } from './support/obfs-server.js';
import { startProgram, unlessInstalled } from './support/programs.js';

const HTTP = httpObfs('example.com', 8388, '/');
const MODES = ['http', 'tls'] as const;
type Mode = (typeof MODES)[number];

function client(mode: Mode, base: Stream): Stream {
  return mode === 'http' ? new HttpObfsStream(base, HTTP) : new TlsObfsStream(base, 'example.com');
}

/** What a server of this mode sends that has `bytes` to say. */
function answer(mode: Mode, ...parts: readonly Uint8Array[]): Buffer {
  if (mode === 'http') return Buffer.concat([Buffer.from('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n'), ...parts]);
  return Buffer.concat([...serverHello(), ...parts.map((part, index) => record(index === 0 ? 0x16 : 0x17, 0x0303, part))]);
}

async function failure(reading: Promise<unknown>): Promise<NetError> {
  try {
    await reading;
  } catch (error) {
    if (isNetError(error)) return error;
    throw error;
  }
  throw new Error('it did not fail');
}

for (const mode of MODES) {
  void t.test(`${mode}: a stream`, (t) => {
    streamConformance(
      (name, run) => t.test(name, run),
      () => {
        const [near, far] = pipePair();
        return Promise.resolve({ a: client(mode, near), b: mode === 'http' ? new HttpObfsServer(far) : new TlsObfsServer(far) });
      },
    );
    t.end();
  });

  void t.test(`${mode}: an answer cut at every byte`, async (t) => {
    const said = answer(mode, Buffer.from('first'), Buffer.from('second'), Buffer.from('third'));
    for (let cut = 1; cut < said.length; cut++) {
      const [near, far] = pipePair();
      const stream = client(mode, near);
      const all = collect(stream);
      await far.write([Uint8Array.from(said.subarray(0, cut))]);
      await far.write([Uint8Array.from(said.subarray(cut))]);
      await far.closeWrite();
      if ((await all).toString() !== 'firstsecondthird') t.fail(`cut at ${cut}`);
    }
    const [near, far] = pipePair();
    const all = collect(client(mode, near));
    for (const byte of said) await far.write([Uint8Array.of(byte)]);
    await far.closeWrite();
    t.equal((await all).toString(), 'firstsecondthird', 'byte by byte');
  });

  void t.test(`${mode}: an answer that ends early is an error, unless nothing was said at all`, async (t) => {
    const said = answer(mode, Buffer.from('first'), Buffer.from('second'));
    // Ends that cut nothing: behind the first bytes (http), between records (tls).
    const whole = new Set(
      mode === 'http' ? Array.from({ length: 'firstsecond'.length + 1 }, (_, index) => said.length - index) : [said.length, said.length - 'second'.length - 5],
    );
    for (let cut = 1; cut < said.length; cut++) {
      const [near, far] = pipePair();
      const reading = collect(client(mode, near));
      await far.write([Uint8Array.from(said.subarray(0, cut))]);
      await far.closeWrite();
      if (whole.has(cut)) await reading;
      else {
        const error = await failure(reading);
        if (error.code !== 'SS_OBFS' || error.failure !== 'aborted') t.fail(`cut at ${cut}: ${error.code}`);
      }
    }
    const [near, far] = pipePair();
    await far.closeWrite();
    t.equal(await client(mode, near).read(), null, 'a target that closed without a word');
  });

  void t.test(`${mode}: whatever a server says, nothing throws or hangs, and what is no answer is SS_OBFS`, async () => {
    const good = answer(mode, Buffer.from('first'), Buffer.from('second'));
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(
          fc.uint8Array({ maxLength: 300 }),
          fc.tuple(fc.nat(good.length - 1), fc.integer({ min: 1, max: 255 })).map(([at, mask]) => {
            const bytes = Uint8Array.from(good);
            bytes[at] = (bytes[at] ?? 0) ^ mask;
            return bytes;
          }),
        ),
        fc.array(fc.nat(300), { maxLength: 6 }),
        async (bytes, cuts) => {
          const [near, far] = pipePair();
          const reading = within(
            collect(client(mode, near)).then(
              () => null,
              (error: unknown) => error,
            ),
          );
          let start = 0;
          try {
            for (const cut of [...cuts, bytes.length].sort((a, b) => a - b)) {
              await far.write([bytes.slice(start, cut)]);
              start = Math.max(start, cut);
            }
            await far.closeWrite();
          } catch (error) {
            if (!isNetError(error)) throw error; // it was aborted: fine
          }
          const error = await reading;
          return error === null || (isNetError(error) && error.code === 'SS_OBFS');
        },
      ),
      { numRuns: process.env.NEKIT_FULL === undefined ? 500 : 50_000 },
    );
  });

  void t.test(`${mode}: the error of a broken answer ends both directions, and is told again`, async (t) => {
    const [near, far] = pipePair();
    const stream = client(mode, near);
    await stream.write([Buffer.from('x')]);
    await far.write([Buffer.from('220 mail.example.com ESMTP\r\n')]);
    const error = await failure(stream.read());
    t.equal(error.failure, 'protocol');
    t.equal(error.code, 'SS_OBFS');
    t.equal((await failure(stream.read())).code, 'SS_OBFS');
    t.ok(await failure(stream.write([Buffer.from('y')])));
    t.ok(isNetError(await failure(far.read().then(() => far.read()))));
  });
}

void t.test('http: the request carries the first bytes; those after it go as they are', async (t) => {
  const [near, far] = pipePair();
  const server = new HttpObfsServer(far);
  const stream = new HttpObfsStream(near, httpObfs('example.com', 8388, '/a?b=c'));
  await stream.write([Buffer.from('one '), Buffer.from('two')]);
  t.equal(Buffer.concat((await server.read()) ?? []).toString(), 'one two');
  t.match(server.request ?? '', /^GET \/a\?b=c HTTP\/1\.1\r\nHost: example\.com:8388\r\nUser-Agent: curl\/7\.\d+\.\d\r\n/);
  t.match(server.request ?? '', /\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: [A-Za-z0-9+/]{22}==\r\nContent-Length: 7\r\n\r\n$/);
  await stream.write([Buffer.from('three')]);
  t.equal(Buffer.concat((await far.read()) ?? []).toString(), 'three');
  t.equal(httpObfs('example.com', 80, '/').host, 'example.com', 'without the usual port');
});

void t.test('http: what a server may answer', async (t) => {
  const read = async (head: string): Promise<string> => {
    const [near, far] = pipePair();
    await far.write([Buffer.from(`${head}\r\n\r\nbytes`)]);
    await far.closeWrite();
    return collect(new HttpObfsStream(near, HTTP)).then(String, (error: unknown) => (isNetError(error) ? error.message : 'something else'));
  };
  t.equal(await read('HTTP/1.1 101 Switching Protocols\r\nServer: x'), 'bytes');
  t.equal(await read('HTTP/1.0 200 OK'), 'bytes');
  t.match(await read('HTTP/1.1 404 Not \u001b[31mFound'), /it answers "HTTP\/1\.1 404 Not \\u\{1b\}\[31mFound"/);
  t.match(await read('SSH-2.0-OpenSSH'), /does not answer in HTTP/);
  t.match(await read(`HTTP/1.1 101 ${'x'.repeat(9_000)}`), /longer than/);
});

void t.test('http: gives the kernel socket away once both heads are through', async (t) => {
  const { context } = testContext();
  const target = await startTarget((socket) => socket.once('data', () => socket.write(answer('http', Buffer.from('early')))));
  t.teardown(() => target.close());
  const stream = await linkOf({ server: '127.0.0.1', port: target.port, plugin: 'obfs', 'plugin-opts': { mode: 'http' } }, context).dial(dialOptions());
  t.equal(stream.native, undefined, 'nothing was said yet');
  await stream.write([Buffer.from('hello')]);
  const chunks: Chunks = (await stream.read()) ?? [];
  t.equal(Buffer.concat(chunks).toString(), 'early');
  if (stream.native === undefined) {
    t.comment('no addon: a socket of Node is not given away');
    stream.abort(new Error('done'));
    return;
  }
  stream.unread?.(chunks);
  const conn = await stream.native.detach([Buffer.from('in front, ')]);
  const slab = new Uint8Array(100);
  let text = '';
  await eventually(() => {
    const count = conn.receive(slab, 0, slab.length);
    if (count > 0) text += Buffer.from(slab.subarray(0, count)).toString();
    return text === 'in front, early';
  });
  conn.abort(new Error('done'));
});

void t.test('tls: the hello is one that adds up, with the first bytes in its ticket', async (t) => {
  fc.assert(
    fc.property(fc.domain(), fc.uint8Array({ maxLength: 2_000 }), (host, ticket) => {
      const bytes = Buffer.from(clientHello(host, ticket));
      const hello = parseHello(bytes.subarray(5));
      return bytes.readUInt16BE(3) === bytes.length - 5 && hello.host === host && Buffer.from(hello.ticket).equals(ticket);
    }),
  );
  const [near, far] = pipePair({ highWaterMark: 1024 * 1024 });
  const server = new TlsObfsServer(far);
  const stream = new TlsObfsStream(near, 'x'.repeat(255));
  const bytes = pattern(100_000, 7);
  await send(stream, bytes, bytes.length);
  t.ok((await collect(server)).equals(bytes));
  t.equal(server.hello?.ticket.length, MAX_TICKET, 'as much as fits');
  t.equal(server.longest, 0x4000, 'no record is longer than those of TLS');
});

void t.test('tls: empty records, and more than one in a chunk', (t) => {
  const reader = new RecordReader();
  const payload: Uint8Array[] = [];
  const bytes = Buffer.concat([
    ...serverHello(),
    record(0x16, 0x0303, new Uint8Array(0)),
    record(0x17, 0x0303, new Uint8Array(0)),
    record(0x17, 0x0303, Buffer.from('ab')),
  ]);
  t.equal(reader.open(bytes, payload), null);
  t.equal(Buffer.concat(payload).toString(), 'ab');
  t.ok(reader.atBoundary);
  t.match(reader.open(Uint8Array.of(0x15), payload)?.message, /type 23 was due, not of type 21/, 'told at its first byte');
  t.end();
});

for (const mode of MODES) {
  void t.test(`${mode}: Debian's obfs-server`, { skip: unlessInstalled('obfs-server') }, async (t) => {
    const echo = await startEcho();
    t.teardown(() => echo.close());
    const server = await startProgram('obfs-server', (port) => ['-s', '127.0.0.1', '-p', String(port), '-r', `127.0.0.1:${echo.port}`, '--obfs', mode]);
    t.teardown(() => server.stop());
    const { context } = testContext();
    const config = { server: '127.0.0.1', port: server.port, plugin: 'obfs', 'plugin-opts': { mode, host: 'example.com' } };
    for (const [size, chunk] of [
      [1, 1],
      [1_000_003, 16_384],
      [300_000, 300_000],
    ] as const) {
      const stream = await within(linkOf(config, context).dial(dialOptions()));
      const bytes = pattern(size, size);
      const sending = (async () => {
        for (let at = 0; at < size; at += chunk) await stream.write([Uint8Array.from(bytes.subarray(at, at + chunk))]);
      })();
      const parts: Uint8Array[] = [];
      for (let got = 0; got < size; ) {
        const chunks = await within(stream.read());
        if (chunks === null) throw new Error('it ended early');
        for (const part of chunks) {
          parts.push(part);
          got += part.length;
        }
      }
      await sending;
      t.ok(Buffer.concat(parts).equals(bytes), `${size} bytes there and back`);
      await stream.closeWrite();
      t.equal(await within(stream.read()), null, 'FIN comes back (obfs-server has no half-close)');
    }
    await eventually(() => echo.connections() === 0);
  });

  void t.test(`${mode}: the server of the other mode is told apart`, { skip: unlessInstalled('obfs-server') }, async (t) => {
    const echo = await startEcho();
    t.teardown(() => echo.close());
    const other = mode === 'http' ? 'tls' : 'http';
    const server = await startProgram('obfs-server', (port) => ['-s', '127.0.0.1', '-p', String(port), '-r', `127.0.0.1:${echo.port}`, '--obfs', other]);
    t.teardown(() => server.stop());
    const { context } = testContext();
    const stream = await linkOf({ server: '127.0.0.1', port: server.port, plugin: 'obfs', 'plugin-opts': { mode } }, context).dial(dialOptions());
    await stream.write([Buffer.from('hello')]);
    await stream.closeWrite();
    const ended = await within(
      collect(stream).then(
        (bytes) => bytes.length,
        (error: unknown) => (isNetError(error) ? 'an error' : error),
      ),
    );
    t.ok(ended === 'an error' || ended === 0, 'nothing of it is taken for data');
  });
}
