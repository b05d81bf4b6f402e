// Relays under random ends: chunks of any size, FINs in every order, resets by either side, slow readers, aborts at any time, and what must have
// arrived by a plain model. A failure prints its seed; NEKIT_SEED runs that one again.
import assert from 'node:assert/strict';
import { findAddon } from '../../dist/native/load.js';
import { openSockets } from '../../dist/native/open-sockets.js';
import { CancelSource } from '../../dist/net/cancel.js';
import { systemClock } from '../../dist/net/clock.js';
import { isNetError, NetError } from '../../dist/net/errors.js';
import { relay } from '../../dist/net/relay.js';
import type { Sockets } from '../../dist/net/sockets.js';
import type { Stream, Totals } from '../../dist/net/stream.js';
import { StreamReader } from '../../dist/net/stream-reader.js';
import { TimerWheel } from '../../dist/net/timer-wheel.js';
import { pattern } from '../../dist/testing/stream-conformance.js';
import { eventually, within } from '../../dist/testing/wait.js';
import { connectPair, LOOPBACK, openDescriptors, turns } from '../support/pairs.js';
import { chance, pick, type Random, randomFrom, upTo } from '../support/random.js';
import { testBinding } from './binding.js';

/** What peers may take for what is in their sockets when the relay has ended, in ms; the sanitizers make all slower. */
const PEERS_MS = process.env.ASAN_OPTIONS === undefined ? 10_000 : 60_000;

const full = process.env.NEKIT_FULL === '1';
const runs = full ? 1_000 : 60;
const given = process.env.NEKIT_SEED;
const firstSeed = given === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(given);

/** What both directions carry: read from any place, it goes round. Its length is a prime, so that no chunk size is in step with it. */
const CONTENT = pattern(1_000_003, 9);
const LONGEST_CHUNK = 300 * 1024;

function contentAt(position: number, length: number): Buffer {
  const at = position % CONTENT.length;
  if (at + length <= CONTENT.length) return Buffer.from(CONTENT.subarray(at, at + length));
  const head = CONTENT.subarray(at);
  return Buffer.concat([head, CONTENT.subarray(0, length - head.length)]);
}

/** What one peer of a relay will do. */
interface Plan {
  readonly bytes: number;
  /** Where in the content its bytes begin. */
  readonly from: number;
  readonly longestChunk: number;
  /** It says FIN only when it has seen the other's. */
  readonly answers: boolean;
  /** It resets when it has sent, or received, so many bytes; null: never. */
  readonly resetSent: number | null;
  readonly resetReceived: number | null;
  /** Turns of the loop between two reads. */
  readonly slow: number;
  /** It reads nothing before it has sent everything. */
  readonly readsLast: boolean;
}

/** What became of it. */
interface Peer {
  readonly plan: Plan;
  sent: number;
  finished: boolean;
  received: number;
  fin: boolean;
  resets: boolean;
  error: unknown;
}

function planOf(random: Random, calm: boolean): Plan {
  const bytes = pick(random, [0, 1, upTo(random, 100), upTo(random, 20_000), upTo(random, 400_000), upTo(random, 3_000_000)]);
  return {
    bytes,
    from: upTo(random, CONTENT.length),
    longestChunk: pick(random, bytes > 50_000 ? [20_000, 64 * 1024, LONGEST_CHUNK] : [1 + Math.ceil(bytes / 60), 5_000, LONGEST_CHUNK]),
    answers: chance(random, 0.4),
    resetSent: !calm && chance(random, 0.25) ? upTo(random, bytes) : null,
    resetReceived: !calm && chance(random, 0.2) ? upTo(random, 500_000) : null,
    slow: chance(random, 0.25) ? 1 + upTo(random, 4) : 0,
    readsLast: chance(random, 0.1),
  };
}

const enough = (): NetError => new NetError('aborted', 'the peer resets', { code: 'PEER' });

/** Runs a peer to its end. */
async function act(stream: Stream, other: Plan, peer: Peer, random: Random): Promise<void> {
  const { plan } = peer;
  let seenFin = (): void => {};
  const fin = new Promise<void>((resolve) => {
    seenFin = resolve;
  });
  let sentAll = (): void => {};
  const all = new Promise<void>((resolve) => {
    sentAll = resolve;
  });
  const reset = (): void => {
    peer.resets = true;
    stream.abort(enough());
    seenFin();
    sentAll();
  };
  const writing = async (): Promise<void> => {
    while (peer.sent < plan.bytes) {
      if (plan.resetSent !== null && peer.sent >= plan.resetSent) return reset();
      const length = Math.min(plan.bytes - peer.sent, 1 + upTo(random, plan.longestChunk));
      const chunk = contentAt(plan.from + peer.sent, length);
      peer.sent += length;
      await stream.write(chance(random, 0.2) && length > 2 ? [chunk.subarray(0, 2), chunk.subarray(2)] : [chunk]);
    }
    if (plan.resetSent !== null) return reset();
    if (plan.answers && !other.answers) await fin; // two that wait for each other would wait for ever
    sentAll();
    await stream.closeWrite();
    peer.finished = true;
  };
  const reading = async (): Promise<void> => {
    if (plan.readsLast && !other.readsLast && !plan.answers) await all;
    for (let chunks = await stream.read(); chunks !== null; chunks = await stream.read()) {
      for (const chunk of chunks) {
        const wanted = contentAt(other.from + peer.received, chunk.length);
        assert.ok(wanted.equals(chunk), `bytes from ${peer.received} on are not what was sent`);
        peer.received += chunk.length;
      }
      if (plan.resetReceived !== null && peer.received >= plan.resetReceived) return reset();
      await turns(plan.slow);
    }
    peer.fin = true;
    seenFin();
  };
  const ended = await Promise.allSettled([
    writing().catch((error: unknown) => {
      sentAll();
      throw error;
    }),
    reading().catch((error: unknown) => {
      seenFin();
      if (!isNetError(error)) stream.abort(enough()); // a failed assertion must not leave the others waiting
      throw error;
    }),
  ]);
  for (const end of ended) {
    if (end.status === 'fulfilled') continue;
    if (!isNetError(end.reason)) throw end.reason;
    peer.error ??= end.reason;
  }
}

/** A stream that says nothing of a kernel socket: the relay's other way. */
function plain(stream: Stream): Stream {
  return {
    read: () => stream.read(),
    write: (chunks) => stream.write(chunks),
    closeWrite: () => stream.closeWrite(),
    abort: (reason) => stream.abort(reason),
  };
}

interface Context {
  readonly sockets: Sockets;
  /** Of the peers: not those under test. */
  readonly world: Sockets;
  /**
   * False with libuv, which takes bytes with RST behind them for bytes with FIN behind them (uv__stream_io: POLLHUP after a partial read is EOF), and
   * nobody above can tell.
   */
  readonly exact: boolean;
  readonly timers: TimerWheel;
  readonly refused: number;
  readonly counters: Float64Array;
  readonly outcomes: Record<string, number>;
}

/** A port where nothing listens and nobody else can: it is the near end of a connection that stays. */
async function held(world: Sockets): Promise<{ port: number; release: () => void }> {
  const { incoming, near, stream } = await connectPair(world, world);
  return {
    port: incoming.source.port,
    release: () => {
      near.abort(enough());
      stream.abort(enough());
    },
  };
}

async function flow(context: Context, random: Random, slot: number): Promise<void> {
  const { sockets, world, timers, counters, outcomes } = context;
  const client = await connectPair(world, sockets);
  if (chance(random, 0.06)) return noTarget(context, client.near, client.stream, random);
  const server = await connectPair(sockets, world);
  const calm = chance(random, 0.45);
  const [planA, planB] = [planOf(random, calm), planOf(random, calm)];
  const peer = (plan: Plan): Peer => ({ plan, sent: 0, finished: false, received: 0, fin: false, resets: false, error: null });
  const [a, b] = [peer(planA), peer(planB)];
  const signal = new CancelSource();
  const cancels = !calm && chance(random, 0.25);
  const seeds = [upTo(random, 2 ** 31), upTo(random, 2 ** 31)] as const;
  const cancelling = async (wait: number): Promise<void> => {
    await turns(wait);
    signal.cancel(new NetError('aborted', 'the signal', { code: 'CANCELLED' }));
  };

  const acting = Promise.all([act(client.near, planB, a, randomFrom(seeds[0])), act(server.stream, planA, b, randomFrom(seeds[1]))]);
  acting.catch(() => {}); // looked at below
  // Some bytes are read before the relay begins, as a handshake does.
  let left: Stream = client.stream;
  let right: Stream = server.near;
  if (chance(random, 0.4)) left = await peeked(left);
  if (chance(random, 0.2)) right = await peeked(right);
  if (chance(random, 0.15)) right = plain(right);
  counters[slot] = counters[slot + 1] = 0;
  if (cancels) void cancelling(upTo(random, 60));
  const relaying = relay(left, right, { signal, idleMs: 20_000, halfCloseMs: 15_000, counters, slot }, timers);
  const totals = await within(relaying, 40_000, 'the relay');
  const story = (): string =>
    JSON.stringify([a, b].map(({ plan, error, ...told }) => ({ ...told, of: plan.bytes, slow: plan.slow, error: isNetError(error) ? error.code : null })));
  // The relay is over: what is left is in the kernel, and a slow reader takes its time for it.
  await within(acting, PEERS_MS, 'the peers').catch((error: unknown) => {
    throw new Error(`the relay ended with ${totals.error?.code ?? 'FIN'}; the peers: ${story()}`, { cause: error });
  });
  check(totals, a, b, calm, context.exact);
  assert.deepEqual([counters[slot], counters[slot + 1]], [totals.up, totals.down]);
  if (cancels && totals.error !== null && signal.reason !== null && !a.resets && !b.resets) assert.equal(totals.error.code, 'CANCELLED');
  const outcome = totals.error?.code ?? 'clean';
  outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
  for (const stream of [client.near, client.stream, server.near, server.stream]) stream.abort(enough());
}

/** One read, put back. A peer that resets, or says nothing for long, is left to the relay. */
async function peeked(stream: Stream): Promise<Stream> {
  const reader = new StreamReader(stream);
  const looked = reader.peek(1).catch((error: unknown) => assert.ok(isNetError(error)));
  const silent = turns(30).then(() => 'silent' as const);
  // A read that is under way cannot be taken back, so a silent stream is waited for to its first byte, FIN or reset: each peer's plan has one,
  // unless both wait for the other. Those have said a byte or FIN at the latest when the relay has begun, so give up the test of it then.
  return (await Promise.race([looked, silent])) === 'silent' ? late(stream, reader, looked) : reader.release();
}

/** A read is pending that nobody took: everything goes through the reader. */
function late(stream: Stream, reader: StreamReader, looked: Promise<unknown>): Stream {
  let rest: Stream | null = null;
  return {
    read: async () => {
      if (rest === null) {
        await looked;
        rest = reader.release();
      }
      return rest.read();
    },
    write: (chunks) => stream.write(chunks),
    closeWrite: () => stream.closeWrite(),
    abort: (reason) => stream.abort(reason),
  };
}

/** The target refuses, or the client's connection is given up while it is being made. */
async function noTarget({ sockets, refused, outcomes, world }: Context, near: Stream, far: Stream, random: Random): Promise<void> {
  const givesUp = chance(random, 0.5);
  let told = 0;
  if (givesUp) {
    const door = await world.listen({ host: LOOPBACK, port: 0, backlog: 4 }, { connection: (incoming) => incoming.refuse(), failed: () => {} });
    const giveUp = sockets.connect(
      LOOPBACK,
      door.port,
      {},
      (stream) => {
        told++;
        stream.abort(enough());
      },
      () => told++,
    );
    await turns(upTo(random, 3));
    const before = told;
    giveUp();
    await turns(5);
    assert.equal(told, before, 'nothing is told of a connection that was given up');
    door.close();
  } else {
    const error = await new Promise<NetError>((resolve, reject) => {
      sockets.connect(LOOPBACK, refused, {}, () => reject(new Error('nothing listens there')), resolve);
    });
    assert.equal(error.code, 'ECONNREFUSED');
  }
  far.abort(enough());
  await assert.rejects(within(near.read()), isNetError);
  near.abort(enough());
  const outcome = givesUp ? 'given up' : 'refused';
  outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
}

/** The model. */
function check(totals: Totals, a: Peer, b: Peer, calm: boolean, exact: boolean): void {
  const story = JSON.stringify({ totals: { ...totals, error: totals.error?.code }, a: { ...a, error: String(a.error) }, b: { ...b, error: String(b.error) } });
  const whole = (receiver: Peer, sender: Peer): boolean => sender.finished && receiver.received === sender.plan.bytes;
  const blurred = !exact && !calm;
  for (const [receiver, sender, moved] of [
    [b, a, totals.up],
    [a, b, totals.down],
  ] as const) {
    assert.ok(moved <= sender.sent, `more was moved than sent: ${story}`);
    assert.ok(receiver.received <= moved, `more arrived than was counted: ${story}`);
    if (receiver.fin) assert.ok(whole(receiver, sender) || blurred, `FIN after a part: ${story}`);
    else if (!receiver.resets) assert.ok(receiver.error !== null, `neither FIN nor an error: ${story}`);
  }
  if (calm) assert.equal(totals.error, null, story);
  if (totals.error === null && !blurred) {
    assert.ok(a.finished && b.finished, `a clean end needs both FINs: ${story}`);
    assert.equal(totals.up, a.plan.bytes, story);
    assert.equal(totals.down, b.plan.bytes, story);
    // Each that did not reset itself afterwards has everything.
    for (const [receiver, sender] of [
      [b, a],
      [a, b],
    ] as const)
      if (!receiver.resets) assert.ok(receiver.fin && receiver.received === sender.plan.bytes, story);
  }
}

for (const binding of ['ts', 'native'] as const) {
  testBinding(binding, async (t, sockets) => {
    const world = openSockets(findAddon().addon);
    const timers = new TimerWheel(systemClock, 20);
    const refused = await held(world);
    const context: Context = { sockets, world, timers, exact: binding === 'native', refused: refused.port, counters: new Float64Array(16), outcomes: {} };
    const run = async (seed: number): Promise<void> => {
      const random = randomFrom(seed);
      const flows = Array.from({ length: 1 + upTo(random, 5) }, (_, index) => flow(context, randomFrom(upTo(random, 2 ** 31)), index * 2));
      const failure = (await Promise.allSettled(flows)).find((one) => one.status === 'rejected');
      if (failure !== undefined) throw failure.reason;
    };
    await run(1);
    const batch = 20;
    for (let done = 0; done < runs; done += batch) {
      const before = openDescriptors();
      for (let i = done; i < done + batch; i++) {
        const seed = firstSeed + i;
        try {
          await run(seed);
        } catch (error) {
          t.fail(`NEKIT_SEED=${seed}: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
          return;
        }
        if (given !== undefined) break;
      }
      await eventually(() => openDescriptors() <= before, 5_000, `${openDescriptors()} descriptors to be ${before} again`);
      await eventually(() => timers.size === 0, 1_000, 'no timer');
      if (given !== undefined) break;
    }
    t.pass(`${runs} runs from seed ${firstSeed}: ${JSON.stringify(context.outcomes)}`);
    refused.release();
    world.close();
  });
}
