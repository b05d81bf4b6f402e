/** The protocol on streams in memory, with a clock that stands still, and a prober who writes down what it sees. */
import assert from 'node:assert/strict';
import {
  CancelSource,
  type Ciphers,
  EVENTS,
  type InboundContext,
  type KernelEvents,
  NetError,
  never,
  type Stream,
  type StreamRequest,
  type TimerWheel,
} from '@nekit/core';
import { eventually, FakeClock, pipePair, settle, testContext, testInboundContext } from '@nekit/core/testing';
import { type Secret, secretOf } from '../../dist/method.js';
import { ShadowsocksProtocol } from '../../dist/server/protocol.js';
import { type ReplayFilter, replayFilter } from '../../dist/server/replay-filter.js';
import { Keyring } from '../../dist/server/request-opener.js';

export interface User {
  readonly username: string;
  readonly password: string;
}

export interface ListenerOptions {
  readonly ciphers: Ciphers;
  readonly cipher: string;
  readonly password: string;
  readonly users?: readonly User[];
  readonly filter?: (secret: Secret) => ReplayFilter;
  /** What is done with a request; default: its bytes come back. */
  readonly handle?: (request: StreamRequest) => Promise<void>;
}

export interface MemoryListener {
  readonly secret: Secret;
  readonly clock: FakeClock;
  readonly timers: TimerWheel;
  readonly context: InboundContext;
  readonly protocol: ShadowsocksProtocol;
  readonly filter: ReplayFilter;
  readonly requests: StreamRequest[];
  readonly failed: KernelEvents['request.failed'][];
  /** `serve` calls that have not settled. */
  serving(): number;
  /** What `serve` threw: always a bug. */
  readonly thrown: unknown[];
  /** A new connection; the client's end of it. */
  connect(from?: string): Stream;
  probe(from?: string): Prober;
}

export function secretFor(ciphers: Ciphers, cipher: string, password: string): Secret {
  return secretOf(ciphers, { cipher, password, allowInsecure: true });
}

export function listenInMemory(options: ListenerOptions): MemoryListener {
  const { ciphers, cipher, password } = options;
  const clock = new FakeClock();
  const { context: base, timers } = testContext({ clock, ciphers });
  const secret = secretFor(ciphers, cipher, password);
  const users = (options.users ?? []).map((user) => ({ username: user.username, key: Uint8Array.from(Buffer.from(user.password, 'base64')) }));
  const filter = options.filter?.(secret) ?? replayFilter(secret.method, clock);
  const [requests, failed, thrown]: [StreamRequest[], KernelEvents['request.failed'][], unknown[]] = [[], [], []];
  base.get(EVENTS).on('request.failed', (event) => failed.push(event));
  const context = testInboundContext({
    get: base.get,
    type: 'shadowsocks',
    handleStream: (request) => {
      requests.push(request);
      return (options.handle ?? echo)(request);
    },
  });
  const protocol = new ShadowsocksProtocol(new Keyring(ciphers, secret, users, filter), clock, context, () => null);
  let serving = 0;
  const connect = (from = '192.0.2.1'): Stream => {
    const [client, server] = pipePair();
    serving++;
    protocol
      .serve(
        {
          stream: server,
          source: { host: from, port: 50_000 },
          local: { host: '127.0.0.1', port: 8388 },
          port: 8388,
          signal: new CancelSource(),
          retired: never,
          users: null,
        },
        context,
      )
      .catch((error: unknown) => thrown.push(error))
      .finally(() => {
        serving--;
        server.abort(OVER); // as core's listener does
      });
    return client;
  };
  return {
    ...{ secret, clock, timers, context, protocol, filter, requests, failed, thrown },
    serving: () => serving,
    connect,
    probe: (from) => new Prober(connect(from), clock),
  };
}

const OVER = new NetError('aborted', 'served');

/** Sends back what comes, FIN after FIN. */
export async function echo(request: StreamRequest): Promise<void> {
  const stream = await request.accept();
  try {
    for (let chunks = await stream.read(); chunks !== null; chunks = await stream.read()) await stream.write(chunks);
    await stream.closeWrite();
  } catch (error) {
    stream.abort(error instanceof Error ? error : new NetError('aborted', 'the echo failed'));
  }
}

export interface Seen {
  /** Bytes that came. */
  readonly bytes: number;
  readonly end: 'open' | 'fin' | 'reset';
  /** When the end came, in ms from the connection's beginning, null if it has not. */
  readonly at: number | null;
}

/** What somebody without the password can see of a connection. */
export class Prober {
  readonly #stream: Stream;
  readonly #clock: FakeClock;
  readonly #began: number;
  #seen: Seen = { bytes: 0, end: 'open', at: null };

  constructor(stream: Stream, clock: FakeClock) {
    this.#stream = stream;
    this.#clock = clock;
    this.#began = clock.now();
    void this.#watch();
  }

  get seen(): Seen {
    return this.#seen;
  }

  /** In pieces of `size` bytes. */
  async send(bytes: Uint8Array, size = bytes.length): Promise<void> {
    for (let at = 0; at < bytes.length; at += size) {
      await this.#stream.write([Uint8Array.from(bytes.subarray(at, at + size))]);
      if (size < bytes.length) await new Promise<void>((resolve) => setImmediate(resolve));
    }
  }

  finish(): Promise<void> {
    return this.#stream.closeWrite();
  }

  async #watch(): Promise<void> {
    let end: Seen['end'] = 'fin';
    try {
      for (let chunks = await this.#stream.read(); chunks !== null; chunks = await this.#stream.read())
        this.#seen = { ...this.#seen, bytes: this.#seen.bytes + chunks.reduce((sum, chunk) => sum + chunk.length, 0) };
    } catch {
      end = 'reset';
    }
    this.#seen = { ...this.#seen, end, at: this.#clock.now() - this.#began };
  }
}

/** Nothing is left of any connection. */
export async function assertClean(listener: MemoryListener): Promise<void> {
  await settle();
  await eventually(() => listener.serving() === 0);
  assert.equal(listener.protocol.strangers.size, 0);
  assert.equal(listener.timers.size, 0, 'timers');
  assert.equal(listener.clock.pending, 0, 'timers of the clock');
  assert.deepEqual(listener.thrown, []);
}
