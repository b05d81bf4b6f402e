// Clients that take nothing, or little, of what they have asked for.
import type { Stream } from '@nekit/core';
import { eventually, FakeClock } from '@nekit/core/testing';
import t from 'tap';
import { always, ok } from './support/origins.js';
import { RawClient } from './support/raw-client.js';
import { get, scene } from './support/scene.js';

const timeouts = { idle: 10_000, firstByte: 10_000 };

/** The first client's connection takes one write after the other, each when it is told to. */
class Full {
  readonly waiting: (() => void)[] = [];
  #isFirst = true;

  readonly wrap = (stream: Stream): Stream => {
    if (!this.#isFirst) return stream;
    this.#isFirst = false;
    return {
      read: () => stream.read(),
      write: async (chunks) => {
        await stream.write(chunks);
        await new Promise<void>((resolve) => this.waiting.push(resolve));
      },
      closeWrite: () => stream.closeWrite(),
      abort: (reason) => stream.abort(reason),
    };
  };
}

t.test('a client that takes nothing of the end of a response', async (t) => {
  await t.test('is let go, and so is its session', async (t) => {
    const clock = new FakeClock();
    const full = new Full();
    const { inbound, host } = await scene(t, always(ok('hello')), { clock, timeouts, wrap: full.wrap });
    const client = await RawClient.say(inbound.port, get(host));
    await eventually(() => full.waiting.length === 1 && inbound.protocol.idleConnections === 1);
    await clock.advance(9_000);
    t.same([inbound.ended.length, inbound.connections()], [0, 1]);
    await clock.advance(1_200);
    await eventually(() => inbound.connections() === 0);
    t.match(inbound.ended, [{ error: { failure: 'timeout', code: 'HTTP_CLIENT_TIMEOUT' } }]);
    client.close();
  });

  await t.test('takes no connection from another client', async (t) => {
    const clock = new FakeClock();
    const full = new Full();
    const { inbound, origin, host } = await scene(t, (request) => (request.includes('/wait') ? null : request.includes('\r\n\r\n') ? ok('hello') : null), {
      clock,
      timeouts,
      wrap: full.wrap,
    });
    const slow = await RawClient.say(inbound.port, get(host));
    await eventually(() => full.waiting.length === 1 && inbound.protocol.idleConnections === 1);
    await clock.advance(5_000);
    const other = await RawClient.say(inbound.port, get(host, '', '/wait'));
    await eventually(() => origin.log().includes('/wait'));
    t.equal(origin.accepted(), 1, 'the connection of before');
    await clock.advance(5_200);
    t.equal(origin.connections(), 1);
    origin.sockets[0]?.write(ok('patience'));
    await other.until('patience');
    slow.close();
    other.close();
  });

  await t.test('may be slow', async (t) => {
    const clock = new FakeClock();
    const full = new Full();
    const chunked = (part: string): string => `${part.length.toString(16)}\r\n${part}\r\n`;
    const { inbound, origin, host } = await scene(t, always(`HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${chunked('one')}`), {
      clock,
      timeouts,
      wrap: full.wrap,
    });
    const client = await RawClient.say(inbound.port, get(host));
    await eventually(() => full.waiting.length === 1);
    origin.sockets[0]?.write(`${chunked('two')}0\r\n\r\n`);
    await eventually(() => inbound.protocol.idleConnections === 1);
    await clock.advance(9_000);
    full.waiting[0]?.();
    await eventually(() => full.waiting.length === 2);
    await clock.advance(9_000);
    t.same([inbound.ended.length, inbound.connections()], [0, 1], 'it has taken something meanwhile');
    full.waiting[1]?.();
    await eventually(() => inbound.ended.length === 1 || full.waiting.length === 3);
    full.waiting[2]?.();
    await eventually(() => inbound.ended.length === 1);
    t.equal(inbound.ended[0]?.error, null);
    client.close();
  });

  await t.test('is let go with an answer of ours, too', async (t) => {
    const clock = new FakeClock();
    const full = new Full();
    const { inbound } = await scene(t, undefined, { clock, timeouts, wrap: full.wrap });
    const client = await RawClient.say(inbound.port, 'OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n');
    await eventually(() => full.waiting.length === 1);
    await clock.advance(10_200);
    await eventually(() => inbound.connections() === 0);
    client.close();
  });
});
