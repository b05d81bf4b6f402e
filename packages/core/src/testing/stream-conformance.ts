import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { isNetError, NetError } from '../net/errors.js';
import type { NativeConn, Stream } from '../net/stream.js';
import { StreamReader } from '../net/stream-reader.js';
import { collect, send, within } from './wait.js';

/** Registers one test with whatever runner the author uses: `(name, run) => t.test(name, run)`. */
export type RegisterTest = (name: string, run: () => Promise<void>) => unknown;

export interface StreamPair {
  readonly a: Stream;
  readonly b: Stream;
  /** Whatever must be closed after the test. */
  close?(): Promise<void> | void;
}

/**
 * What every Stream promises (contract: net/stream.ts), on a connected pair. Each test makes a pair of its own. `a` and `b` are
 * tried in both roles.
 */
export function streamConformance(test: RegisterTest, makePair: () => Promise<StreamPair>): void {
  const on = (name: string, run: (pair: StreamPair) => Promise<void>): void => {
    for (const swapped of [false, true]) {
      test(`${name}${swapped ? ' (other way round)' : ''}`, async () => {
        const made = await makePair();
        try {
          await within(run(swapped ? { a: made.b, b: made.a } : made), 20_000, name);
        } finally {
          made.a.abort(new NetError('aborted', 'the test is over'));
          made.b.abort(new NetError('aborted', 'the test is over'));
          await made.close?.();
        }
      });
    }
  };

  on('carries bytes both ways, unchanged and in order', async ({ a, b }) => {
    const up = pattern(1_000_003, 1);
    const down = pattern(700_001, 2);
    const [gotUp, gotDown] = await Promise.all([collect(b), collect(a), send(a, up), send(b, down)]);
    assert.equal(digest(gotUp), digest(up));
    assert.equal(digest(gotDown), digest(down));
  });

  on('a vector of chunks arrives as their bytes', async ({ a, b }) => {
    await a.write([Buffer.from('one '), Buffer.from('two '), Buffer.from('three')]);
    await a.closeWrite();
    assert.equal((await collect(b)).toString(), 'one two three');
  });

  on('half-close: after FIN the other direction goes on', async ({ a, b }) => {
    await a.write([Buffer.from('request')]);
    await a.closeWrite();
    assert.equal((await collect(b)).toString(), 'request');
    await b.write([Buffer.from('response after FIN')]);
    await b.closeWrite();
    assert.equal((await collect(a)).toString(), 'response after FIN');
  });

  on('read gives null again and again after FIN', async ({ a, b }) => {
    await a.closeWrite();
    assert.equal(await b.read(), null);
    assert.equal(await b.read(), null);
  });

  on('closeWrite is idempotent', async ({ a, b }) => {
    await Promise.all([a.closeWrite(), a.closeWrite()]);
    await a.closeWrite();
    assert.equal(await b.read(), null);
  });

  on('read never gives an empty result', async ({ a, b }) => {
    await a.write([new Uint8Array(0)]);
    await a.write([Buffer.from('x')]);
    const chunks = await b.read();
    assert.ok(chunks !== null && chunks.reduce((sum, chunk) => sum + chunk.length, 0) > 0);
  });

  on('writing stalls while nobody reads, and goes on when somebody does', async ({ a, b }) => {
    const total = 64 * 1024 * 1024; // more than any kernel buffers on loopback
    const chunk = 256 * 1024;
    let sent = 0;
    const writing = (async () => {
      for (; sent < total; sent += chunk) await a.write([new Uint8Array(chunk)]);
      await a.closeWrite();
    })();
    writing.catch(() => {}); // looked at below
    let before = -1;
    while (before !== sent) {
      before = sent;
      await new Promise<void>((resolve) => setTimeout(resolve, 100));
    }
    assert.ok(sent < total, `all of ${total} bytes were taken without a reader`);
    let received = 0;
    for (let chunks = await b.read(); chunks !== null; chunks = await b.read()) for (const part of chunks) received += part.length;
    await writing;
    assert.equal(received, total);
  });

  on('abort rejects what is pending with a NetError, here and there', async ({ a, b }) => {
    const here = a.read();
    const there = b.read();
    a.abort(new NetError('aborted', 'enough'));
    await assert.rejects(here, (error) => isNetError(error));
    await assert.rejects(there, (error) => isNetError(error));
    await assert.rejects(a.write([Buffer.from('x')]), (error) => isNetError(error));
    await assert.rejects(a.read(), (error) => isNetError(error));
  });

  on('abort is idempotent and never throws', async ({ a }) => {
    a.abort(new NetError('aborted', 'once'));
    a.abort(new Error('twice, and not even a NetError'));
    await assert.rejects(a.read(), (error) => isNetError(error));
  });

  on('abort ends a write that waits', async ({ a }) => {
    let failed: unknown = null;
    const writing = (async () => {
      for (;;) await a.write([new Uint8Array(1024 * 1024)]);
    })().catch((error: unknown) => {
      failed = error;
    });
    await new Promise<void>((resolve) => setTimeout(resolve, 100));
    a.abort(new NetError('aborted', 'enough'));
    await writing;
    assert.ok(isNetError(failed));
  });

  on('a chunk that was read belongs to the reader', async ({ a, b }) => {
    await a.write([Buffer.from('first')]);
    const chunks = await b.read();
    const kept = chunks?.[0];
    assert.ok(kept !== undefined);
    const before = Buffer.from(kept).toString();
    await Promise.all([a.write([pattern(100_000, 3)]), b.read()]);
    assert.equal(Buffer.from(kept).toString(), before);
  });

  on('StreamReader gives the stream back with what it read too far in front', async ({ a, b }) => {
    await a.write([Buffer.from('hello world')]);
    await a.closeWrite();
    const reader = new StreamReader(b);
    assert.equal(Buffer.from(await reader.exactly(5)).toString(), 'hello');
    const rest = reader.release();
    assert.equal(rest.native !== undefined, b.native !== undefined);
    assert.equal((await collect(rest)).toString(), ' world');
  });

  on('a read that is stopped takes nothing (streams that can)', async ({ a, b }) => {
    if (b.stopReading === undefined) return;
    b.stopReading(); // nothing is pending
    const read = b.read();
    b.stopReading();
    assert.deepEqual(await read, []);
    await a.write([Buffer.from('later')]);
    assert.equal(Buffer.concat((await b.read()) ?? []).toString(), 'later');
    const second = b.read();
    b.stopReading();
    assert.deepEqual(await second, []);
    await a.write([Buffer.from('and ')]);
    await a.write([Buffer.from('the end')]);
    await a.closeWrite();
    if (b.native === undefined) assert.equal((await collect(b)).toString(), 'and the end');
    else assert.equal((await drain(await b.native.detach([]))).toString(), 'and the end');
  });

  on('detachNow gives the socket away as detach does (streams with a native end)', async ({ a, b }) => {
    if (b.native?.detachNow === undefined) return;
    const conn = b.native.detachNow([Buffer.from('unread, ')]) ?? assert.fail('nothing is under way');
    assert.equal(b.native.detachNow([]), null); // once
    await a.write([Buffer.from('and the rest')]);
    await a.closeWrite();
    assert.equal((await drain(conn)).toString(), 'unread, and the rest');
    conn.abort(new NetError('aborted', 'the test is over'));
  });

  for (const unread of [0, 1, 64 * 1024]) {
    on(`detach with ${unread} bytes unread loses none (streams with a native end)`, async ({ a, b }) => {
      if (b.native === undefined) return; // bytes pass through JavaScript: there is nothing to detach
      const bytes = pattern(unread + 100_000, 4);
      const writing = send(a, bytes);
      const taken: Uint8Array[] = [];
      let length = 0;
      while (length < unread) {
        const chunks = (await b.read()) ?? assert.fail('ended early');
        for (const chunk of chunks) {
          taken.push(chunk);
          length += chunk.length;
        }
      }
      const conn = await b.native.detach(taken);
      assert.equal(digest(await drain(conn)), digest(bytes));
      await writing;
      conn.abort(new NetError('aborted', 'the test is over'));
    });
  }
}

/** Reads a native connection to its end. */
async function drain(conn: NativeConn): Promise<Buffer> {
  const all: Buffer[] = [];
  const slab = new Uint8Array(64 * 1024);
  for (;;) {
    const count = conn.receive(slab, 0, slab.length);
    if (count < 0) return Buffer.concat(all);
    if (count > 0) all.push(Buffer.from(slab.subarray(0, count)));
    else
      await new Promise<void>((resolve) => {
        conn.listener = { readable: resolve, writable: () => undefined, closed: () => resolve() };
      });
  }
}

/** Bytes that never repeat in step with a chunk size. */
export function pattern(length: number, seed: number): Buffer {
  const bytes = Buffer.alloc(length);
  let state = (seed * 2654435761) >>> 0 || 1;
  for (let i = 0; i < length; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    bytes[i] = state & 0xff;
  }
  return bytes;
}

function digest(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
