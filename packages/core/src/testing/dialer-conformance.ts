import assert from 'node:assert/strict';
import { CancelSource } from '../net/cancel.js';
import type { StreamDialer } from '../net/dialer.js';
import { isNetError, NetError } from '../net/errors.js';
import { dialOptions } from './context.js';
import { pattern, type RegisterTest } from './stream-conformance.js';
import { closedPort, startEcho, startTarget, type Target } from './targets.js';
import { collect, eventually, send, within } from './wait.js';

export interface DialerUnderTest {
  readonly dialer: StreamDialer;
  close(): Promise<void> | void;
}

export interface DialerExpectations {
  /** false: a refused target shows only as a reset stream (Shadowsocks); default true: the dial itself rejects. */
  readonly reportsRefusal?: boolean;
}

/** What every StreamDialer promises (contract: net/dialer.ts), against targets of its own on 127.0.0.1. */
export function dialerConformance(test: RegisterTest, makeDialer: () => Promise<DialerUnderTest>, expectations: DialerExpectations = {}): void {
  const on = (name: string, makeTarget: () => Promise<Target>, run: (dialer: StreamDialer, target: Target) => Promise<void>): void => {
    test(name, async () => {
      const target = await makeTarget();
      const made = await makeDialer();
      try {
        await within(run(made.dialer, target), 20_000, name);
      } finally {
        await made.close();
        await target.close();
      }
    });
  };
  const dial = (dialer: StreamDialer, port: number, host = '127.0.0.1'): ReturnType<StreamDialer['dialStream']> =>
    dialer.dialStream({ host, port }, dialOptions({ host, port }));

  on('connects and moves data intact', startEcho, async (dialer, target) => {
    const stream = await dial(dialer, target.port);
    const bytes = pattern(2_000_003, 5);
    const [back] = await Promise.all([collect(stream), send(stream, bytes)]);
    assert.ok(back.equals(bytes));
  });

  on('reaches a target by name', startEcho, async (dialer, target) => {
    const stream = await dial(dialer, target.port, 'localhost');
    const [back] = await Promise.all([collect(stream), send(stream, Buffer.from('by name'))]);
    assert.equal(back.toString(), 'by name');
  });

  on(
    'half-closes: the answer to an ended request arrives',
    () => startTarget(answerAfterEnd),
    async (dialer, target) => {
      const stream = await dial(dialer, target.port);
      const [back] = await Promise.all([collect(stream), send(stream, Buffer.from('question'))]);
      assert.equal(back.toString(), 'you said: question');
    },
  );

  on(
    'keeps bytes that the target sends first',
    () => startTarget((socket) => socket.end('220 ready\r\n')),
    async (dialer, target) => {
      const stream = await dial(dialer, target.port);
      await stream.closeWrite();
      assert.equal((await collect(stream)).toString(), '220 ready\r\n');
    },
  );

  on(
    'shows a reset of the target as an error, not as an end',
    () => startTarget((socket) => socket.once('data', () => socket.resetAndDestroy())),
    async (dialer, target) => {
      const stream = await dial(dialer, target.port);
      await stream.write([Buffer.from('reset me')]);
      await assert.rejects(async () => {
        while ((await stream.read()) !== null);
      }, isNetError);
    },
  );

  on('passes our abort on to the target', startEcho, async (dialer, target) => {
    const stream = await dial(dialer, target.port);
    await stream.write([Buffer.from('x')]);
    await stream.read();
    stream.abort(new NetError('aborted', 'enough'));
    await eventually(() => target.connections() === 0);
  });

  on('a refused target is an error', startEcho, async (dialer) => {
    const port = await closedPort();
    if (expectations.reportsRefusal ?? true) {
      await assert.rejects(dial(dialer, port), (error) => isNetError(error) && (error.failure === 'refused' || error.failure === 'unreachable'));
    } else {
      const stream = await dial(dialer, port);
      await stream.write([Buffer.from('anybody?')]);
      await assert.rejects(async () => {
        if ((await stream.read()) === null) throw new NetError('aborted', 'ended at once');
      }, isNetError);
    }
  });

  on('does not dial when it is already cancelled', startEcho, async (dialer, target) => {
    const source = new CancelSource();
    const reason = new NetError('aborted', 'the client has left', { code: 'CLIENT_LEFT' });
    source.cancel(reason);
    const options = dialOptions({ host: '127.0.0.1', port: target.port }, { signal: source });
    await assert.rejects(dialer.dialStream({ host: '127.0.0.1', port: target.port }, options), isNetError);
    assert.equal(target.connections(), 0);
  });

  on('cancelled while dialling: rejects, and leaves no connection behind', startEcho, async (dialer, target) => {
    const source = new CancelSource();
    const options = dialOptions({ host: '127.0.0.1', port: target.port }, { signal: source });
    const dialling = dialer.dialStream({ host: '127.0.0.1', port: target.port }, options).then(
      (stream) => stream.abort(new NetError('aborted', 'it was faster')),
      (error: unknown) => assert.ok(isNetError(error)),
    );
    source.cancel(new NetError('aborted', 'the client has left', { code: 'CLIENT_LEFT' }));
    await dialling;
    await eventually(() => target.connections() === 0);
  });
}

function answerAfterEnd(socket: import('node:net').Socket): void {
  const parts: Buffer[] = [];
  socket.on('data', (part: Buffer) => parts.push(part));
  socket.on('end', () => socket.end(`you said: ${Buffer.concat(parts).toString()}`));
}
