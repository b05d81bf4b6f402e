// How a connection ends of which a client is slow to take the last bytes, with each kind of sockets.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import t from 'tap';
import { finish } from '../../dist/net/linger.js';
import type { Stream } from '../../dist/net/stream.js';
import { putBack } from '../../dist/net/stream-reader.js';
import { TimerWheel } from '../../dist/net/timer-wheel.js';
import { allSockets, eventually, FakeClock, within } from '../../dist/testing.js';
import { type Accepted, Door, LOOPBACK, turns } from '../support/pairs.js';

const CHUNK = 64 * 1024;

/** A client that takes nothing until it is told to, and then a chunk at a time. */
class SlowClient {
  readonly socket: net.Socket;
  received = 0;
  ended = false;
  error: Error | null = null;
  #told: () => void = () => {};

  constructor(port: number) {
    this.socket = net.connect({ port, host: LOOPBACK, allowHalfOpen: true });
    this.socket.on('error', (error) => {
      this.error = error;
      this.#told();
    });
    this.socket.on('end', () => {
      this.ended = true;
      this.#told();
    });
    this.socket.on('data', (chunk: Uint8Array) => {
      this.received += chunk.length;
      this.socket.pause();
      this.#told();
    });
    this.socket.pause();
  }

  /** Takes a little, rests, takes a little, until `enough` or the end. */
  async take(enough: () => boolean = () => false): Promise<void> {
    while (!this.ended && this.error === null && !enough()) {
      await new Promise<void>((resolve) => {
        this.#told = resolve;
        this.socket.resume();
      });
      await turns(3);
    }
  }
}

/** Writes until a write has to wait, and gives that one. */
async function fill(stream: Stream): Promise<{ written: number; last: Promise<void> }> {
  for (let written = CHUNK; ; written += CHUNK) {
    const last = stream.write([new Uint8Array(CHUNK)]);
    const took = await Promise.race([last.then(() => true), turns(50).then(() => false)]);
    if (!took) return { written, last };
  }
}

for (const sockets of allSockets()) {
  void t.test(`finish, ${sockets.constructor.name}`, async (t) => {
    const clock = new FakeClock();
    const timers = new TimerWheel(clock);
    const door = await Door.open(sockets);
    const clients: SlowClient[] = [];
    t.teardown(() => {
      for (const { socket } of clients) socket.destroy();
      for (const { stream } of door.accepted) stream.abort(new Error('the test is over'));
      door.close();
      sockets.close();
    });
    const meet = async (): Promise<{ client: SlowClient; far: Accepted }> => {
      const client = new SlowClient(door.port);
      clients.push(client);
      const [far] = await Promise.all([door.next(), within(once(client.socket, 'connect'))]);
      return { client, far };
    };

    for (const wrapped of [false, true]) {
      await t.test(`a slow reader gets all that was written, however long after the end${wrapped ? ', through a wrapper' : ''}`, async () => {
        const { client, far } = await meet();
        const { written, last } = await fill(far.stream);
        let isTaken = false;
        void last.then(() => (isTaken = true));
        await within(
          client.take(() => isTaken),
          20_000,
        ); // all is the system's now
        assert.ok(written - client.received > 100_000, `${written - client.received} bytes are on their way`);
        const done = finish(wrapped ? putBack(withoutUnread(far.stream), []) : far.stream, null, timers);
        await clock.advance(2_200);
        await within(done);
        far.stream.abort(new Error('as who has served it does'));
        await within(client.take(), 20_000);
        assert.equal(client.error, null);
        assert.equal(client.received, written);
        await eventually(() => far.closes === 1);
        assert.deepEqual(far.aborts, []);
        assert.equal(timers.size, 0);
      });
    }

    await t.test('what has not found its way into the system yet has as long as a half-closed connection', async () => {
      const { client, far } = await meet();
      const { written } = await fill(far.stream);
      const done = finish(far.stream, null, timers, 10_000);
      await clock.advance(9_500);
      assert.equal(far.closes, 0);
      await within(client.take(), 20_000);
      assert.deepEqual([client.received, client.error], [written, null]);
      client.socket.end();
      await within(done);
      assert.equal(timers.size, 0);

      const other = await meet();
      const { written: more, last } = await fill(other.far.stream);
      last.catch(() => {});
      const cut = finish(other.far.stream, null, timers, 10_000);
      await clock.advance(10_200);
      await within(cut);
      await within(other.client.take(), 20_000);
      assert.ok(other.client.received < more); // to libuv a reset right behind bytes is an end
    });

    await t.test('a client that goes on sending is reset', async () => {
      const { client, far } = await meet();
      const done = finish(far.stream, Buffer.from('bye'), timers);
      await within(client.take());
      assert.deepEqual([client.received, client.ended], [3, true]);
      client.socket.write('still there');
      await turns(10);
      await clock.advance(2_200);
      await within(done);
      await eventually(() => {
        client.socket.write('and there');
        return client.error !== null;
      });
    });

    await t.test('a stream that is given up before its FIN is reset', async () => {
      const { client, far } = await meet();
      const reading = far.stream.read();
      far.stream.leave?.();
      far.stream.leave?.();
      await assert.rejects(within(reading), { code: 'LEFT' });
      await within(client.take());
      assert.match(String(client.error), /ECONNRESET/);
      assert.deepEqual([far.closes, far.aborts.length], [1, 0]);
    });
  });
}

/** A stream that gets a wrapper where bytes are put back. */
function withoutUnread(stream: Stream): Stream {
  return {
    read: () => stream.read(),
    write: (chunks) => stream.write(chunks),
    closeWrite: () => stream.closeWrite(),
    abort: (reason) => stream.abort(reason),
    leave: () => stream.leave?.(),
  };
}
