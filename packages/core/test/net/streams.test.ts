import assert from 'node:assert/strict';
import net from 'node:net';
import { PassThrough } from 'node:stream';
import t from 'tap';
import { duplexFromStream, streamFromDuplex } from '../../dist/net/duplex.js';
import { isNetError, NetError } from '../../dist/net/errors.js';
import { streamFromSocket } from '../../dist/net/socket-stream.js';
import type { Stream } from '../../dist/net/stream.js';
import { StreamReader } from '../../dist/net/stream-reader.js';
import { collect, pipePair, startTarget, streamConformance, within } from '../../dist/testing.js';
import { brokenStream } from '../support/broken-streams.js';

/** Both ends of a TCP connection over loopback, as sockets. */
async function sockets(): Promise<{ client: net.Socket; server: net.Socket; close(): Promise<void> }> {
  let accepted: (socket: net.Socket) => void = () => {};
  const server = new Promise<net.Socket>((resolve) => (accepted = resolve));
  const target = await startTarget((socket) => accepted(socket));
  const client = net.connect({ port: target.port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true });
  await new Promise<void>((resolve, reject) => client.once('connect', resolve).once('error', reject));
  return { client, server: await server, close: () => target.close() };
}

void t.test('streamFromSocket', async (t) => {
  const register = (name: string, run: () => Promise<void>): unknown => t.test(name, run);
  streamConformance(register, async () => {
    const { client, server, close } = await sockets();
    return { a: streamFromSocket(client), b: streamFromSocket(server), close };
  });

  await t.test('tells once when the peer resets, with nobody reading', async () => {
    const { client, server, close } = await sockets();
    const gone = new Promise<NetError>((resolve) => streamFromSocket(server, resolve));
    client.resetAndDestroy();
    assert.equal((await within(gone)).failure, 'aborted');
    await close();
  });

  await t.test('bytes with a reset right behind them are bytes and an error, and with FIN bytes and the end', async () => {
    for (const cut of [true, false]) {
      for (const late of [true, false]) {
        const { client, server, close } = await sockets();
        const aborts: NetError[] = [];
        const stream = streamFromSocket(server, (error) => aborts.push(error));
        const first = late ? null : within(stream.read());
        client.on('error', () => {});
        client.write('x'.repeat(5_000));
        if (cut) client.resetAndDestroy();
        else client.end();
        await new Promise((resolve) => setTimeout(resolve, 50));
        const reads = first === null ? stream.read() : first;
        assert.equal(Buffer.concat((await reads) ?? []).length, 5_000);
        if (cut) {
          await assert.rejects(within(stream.read()), (error) => isNetError(error) && error.code === 'ECONNRESET');
          assert.equal(aborts.length, 1);
        } else {
          assert.equal(await within(stream.read()), null);
          stream.abort(new NetError('aborted', 'done'));
        }
        await close();
      }
    }
  });

  await t.test('does not tell after FIN from both sides', async () => {
    const { client, server, close } = await sockets();
    let told = false;
    const stream = streamFromSocket(server, () => (told = true));
    const closed = new Promise<void>((resolve) => server.once('close', () => resolve()));
    client.end();
    assert.equal(await stream.read(), null);
    await stream.closeWrite();
    client.resume();
    await within(closed);
    assert.equal(told, false);
    await close();
  });

  await t.test('an abort after both FINs loses nothing of what was written', async () => {
    const { client, server, close } = await sockets();
    const stream = streamFromSocket(server);
    const bytes = Buffer.alloc(300_000, 7); // fits the kernel's buffers: written, not yet read by the client
    client.pause();
    client.end();
    await stream.write([bytes]);
    assert.equal(await stream.read(), null);
    await stream.closeWrite();
    stream.abort(new NetError('aborted', 'done'));
    const received = await within(collect(streamFromSocket(client.resume())));
    assert.equal(received.length, bytes.length);
    await close();
  });

  await t.test('an abort while the FIN is on its way closes the socket all the same', async () => {
    for (let i = 0; i < 50; i++) {
      const { client, server, close } = await sockets();
      client.on('error', () => client.destroy());
      const closed = new Promise<void>((resolve) => server.once('close', () => resolve()));
      const stream = streamFromSocket(server);
      const finishing = stream.closeWrite();
      stream.abort(new NetError('aborted', 'in the same turn'));
      await assert.rejects(finishing, isNetError);
      await within(closed, 5_000, "the socket's close");
      await close();
    }
  });

  await t.test('a socket that is closed already fails at once', async () => {
    const { client, server, close } = await sockets();
    const closed = new Promise<void>((resolve) => client.once('close', () => resolve()));
    client.destroy();
    server.destroy();
    await within(closed);
    await assert.rejects(within(streamFromSocket(client).read()), isNetError);
    await close();
  });

  await t.test('reads ahead no more than its bound', async () => {
    const { client, server, close } = await sockets();
    streamFromSocket(server);
    let flushed = 0;
    const chunk = Buffer.alloc(64 * 1024);
    const writer = streamFromSocket(client);
    void (async () => {
      for (let i = 0; i < 1024; i++) {
        await writer.write([chunk]);
        flushed += chunk.length;
      }
    })().catch((error: unknown) => assert.ok(isNetError(error)));
    let before = -1;
    while (before !== flushed) {
      before = flushed;
      await new Promise<void>((resolve) => setTimeout(resolve, 50));
    }
    assert.ok(server.bytesRead < 1024 * 1024, `${server.bytesRead} bytes were read ahead`);
    await close();
  });
});

void t.test('streamFromDuplex', async (t) => {
  const register = (name: string, run: () => Promise<void>): unknown => t.test(name, run);
  streamConformance(register, async () => {
    const { client, server, close } = await sockets();
    return { a: streamFromDuplex(client), b: streamFromDuplex(server), close };
  });

  await t.test('an error of the duplex becomes a NetError', async () => {
    const duplex = new PassThrough({ allowHalfOpen: true });
    const stream = streamFromDuplex(duplex);
    const reading = stream.read();
    duplex.destroy(Object.assign(new Error('broken'), { code: 'ECONNREFUSED' }));
    await assert.rejects(reading, (error) => isNetError(error) && error.failure === 'refused');
  });
});

void t.test('duplexFromStream', async (t) => {
  const register = (name: string, run: () => Promise<void>): unknown => t.test(name, run);
  // There and back again: a Stream as a Duplex as a Stream.
  streamConformance(register, async () => {
    const [a, b] = pipePair();
    return { a: streamFromDuplex(duplexFromStream(a)), b };
  });

  await t.test('destroying the duplex aborts the stream', async () => {
    const [a, b] = pipePair();
    const duplex = duplexFromStream(a);
    duplex.on('error', () => {});
    duplex.destroy();
    await assert.rejects(within(b.read()), isNetError);
  });
});

void t.test('pipePair', async (t) => {
  streamConformance(
    (name, run) => t.test(name, run),
    async () => {
      const [a, b] = pipePair();
      return { a, b };
    },
  );
});

void t.test('StreamReader', async (t) => {
  const fed = async (...parts: string[]): Promise<{ reader: StreamReader; stream: Stream; far: Stream }> => {
    const [far, stream] = pipePair();
    for (const part of parts) await far.write([Buffer.from(part)]);
    return { reader: new StreamReader(stream), stream, far };
  };
  const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString();

  await t.test('exactly, byte and until across any fragmentation', async () => {
    const [far, stream] = pipePair();
    const reader = new StreamReader(stream);
    void (async () => {
      for (const byte of Buffer.from('abcXline one\r\n\r\nrest')) await far.write([Uint8Array.of(byte)]);
    })();
    assert.equal(text(await reader.exactly(3)), 'abc');
    assert.equal(await reader.byte(), 'X'.charCodeAt(0));
    assert.equal(text(await reader.until(Buffer.from('\r\n\r\n'), 100)), 'line one\r\n\r\n');
    assert.equal(text(await reader.exactly(4)), 'rest');
  });

  await t.test('peek takes nothing, and is content with less at the end of the stream', async () => {
    const { reader, far } = await fed('ab');
    await far.closeWrite();
    assert.equal(text(await reader.peek(1)), 'ab');
    assert.equal(text(await reader.peek(64)), 'ab');
    assert.equal(text(await reader.exactly(2)), 'ab');
    assert.equal((await reader.peek(1)).length, 0);
  });

  await t.test('an end in the middle of a message is an error with a code', async () => {
    const { reader, far } = await fed('ab');
    await far.closeWrite();
    await assert.rejects(reader.exactly(3), (error) => isNetError(error) && error.code === 'UNEXPECTED_END');
  });

  await t.test('a message longer than the limit is an error, even if its end has come', async () => {
    const { reader } = await fed('0123456789\n');
    await assert.rejects(reader.until(Buffer.from('\n'), 10), (error) => isNetError(error) && error.code === 'TOO_LONG');
    const exact = await fed('0123456789\n');
    assert.equal(text(await exact.reader.until(Buffer.from('\n'), 11)), '0123456789\n');
  });

  await t.test('unread goes in front; release gives the same stream when nothing is left', async () => {
    const { reader, stream } = await fed('world');
    reader.unread(Buffer.from('hello '));
    assert.equal(text(await reader.exactly(11)), 'hello world');
    assert.equal(reader.release(), stream);
  });

  await t.test('a released stream keeps its native end, and detach puts the unread bytes in front', async () => {
    const [far, plain] = pipePair();
    await far.write([Buffer.from('headtail')]);
    const seen: Uint8Array[][] = [];
    const native = {
      detach(unread: readonly Uint8Array[]) {
        seen.push([...unread]);
        return Promise.reject(new Error('no socket here'));
      },
    };
    const reader = new StreamReader(Object.assign(Object.create(plain) as Stream, { read: () => plain.read(), native }));
    await reader.exactly(4);
    const released = reader.release();
    assert.ok(released.native !== undefined);
    await assert.rejects(released.native.detach([]));
    assert.deepEqual(
      seen.map((chunks) => Buffer.concat(chunks).toString()),
      ['tail'],
    );
  });
});

void t.test('duplexFromStream: a stream that throws at once is a duplex that fails', async () => {
  for (const call of ['read', 'write', 'closeWrite'] as const) {
    const duplex = duplexFromStream(brokenStream(call, 'abort'));
    const failed = new Promise<Error>((resolve) => duplex.once('error', resolve));
    if (call === 'read') duplex.resume();
    else if (call === 'write') duplex.write('x');
    else duplex.end();
    assert.match(String(await within(failed)), new RegExp(`${call} threw`));
    assert.ok(duplex.destroyed);
  }
});
