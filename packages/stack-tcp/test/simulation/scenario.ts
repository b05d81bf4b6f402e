import { NetError, type StreamRequest } from '@nekit/core';
import { type FaultyEnd, faultyPipe, packetAt, SeededRandom } from '@nekit/core/ip';
import { ModelPeer } from '../support/model-peer.js';
import { SimClock } from '../support/sim-clock.js';
import { stackOn } from '../support/stack-on.js';
import { Application, digestOf, pattern } from './application.js';

/** What came of one run. */
export interface Outcome {
  /** Empty: all is well. */
  readonly problems: string[];
  /** Bytes that went through, both ways. */
  readonly bytes: number;
  /** Virtual milliseconds. */
  readonly ms: number;
  readonly aborted: boolean;
  readonly counters: Record<string, number>;
}

/** Everything about a run, drawn from its seed. */
export interface Scenario {
  readonly seed: number;
  readonly isIPv6: boolean;
  readonly up: number;
  readonly down: number;
  readonly loss: number;
  readonly duplicate: number;
  readonly corrupt: number;
  readonly reorder: number;
  readonly delayMs: number;
  readonly jitterMs: number;
  readonly rate: number;
  readonly receiveBuffer: number;
  readonly readDelayMs: number;
  /** How long our application pauses between two reads, in ms. */
  readonly serverPauseMs: number;
  readonly mss: number;
  readonly mtu: number;
  readonly windowScale: number | null;
  readonly hasTimestamps: boolean;
  readonly hasSack: boolean;
  readonly delayedAckMs: number;
  readonly congestionWindow: number;
  readonly dialMs: number;
  readonly acceptFirst: boolean;
  readonly congestion: 'cubic' | 'reno';
  readonly initialWindow: number;
  readonly isn: number;
  /** ms after the start, who cuts it off. */
  readonly abortAt: number;
  readonly aborter: 'client' | 'server' | 'dial' | null;
  /** Our application writes only after it has read everything. */
  readonly waitsForEnd: boolean;
  readonly arenaBytes: number;
}

export function scenarioOf(seed: number): Scenario {
  const random = new SeededRandom(seed);
  const pick = <T>(...values: readonly T[]): T => values[random.below(values.length)] as T;
  const isRough = random.chance(0.6);
  const receiveBuffer = pick(300, 1_460, 5_000, 65_535, 200_000);
  const scale = pick(null, 0, 2, 7, 14);
  return {
    seed,
    isIPv6: random.chance(0.3),
    up: pick(0, 1, 1_000, 30_000, random.below(120_000)),
    down: pick(0, 1, 1_000, 30_000, random.below(120_000)),
    loss: isRough ? pick(0, 0.01, 0.05, 0.1, 0.2, 0.3) : 0,
    duplicate: isRough ? pick(0, 0.02, 0.1) : 0,
    corrupt: isRough ? pick(0, 0.01, 0.05) : 0,
    reorder: isRough ? pick(0, 0.05, 0.3) : 0,
    delayMs: pick(0, 1, 10, 80),
    jitterMs: pick(0, 0, 2, 20),
    rate: pick(0, 0, 100, 1_000),
    receiveBuffer,
    readDelayMs: pick(0, 0, 5, 300),
    serverPauseMs: pick(0, 0, 0, 20, 400),
    mss: pick(100, 536, 1_220, 1_460, 8_960),
    mtu: pick(1_280, 1_500, 9_000),
    // A buffer must be some steps of its scale, or no window could ever be told.
    windowScale: scale === null ? null : Math.min(scale, Math.floor(Math.log2(receiveBuffer / 64))),
    hasTimestamps: random.chance(0.6),
    hasSack: random.chance(0.7),
    delayedAckMs: pick(0, 40, 200),
    congestionWindow: pick(1, 4, 20, 100),
    dialMs: pick(0, 0, 30, 2_500),
    acceptFirst: random.chance(0.2),
    congestion: pick('cubic', 'reno'),
    initialWindow: pick(4_096, 65_536, 256 * 1024),
    isn: pick(0, 0xffff_ff00, 0x7fff_ff00, random.next()),
    abortAt: random.below(3_000),
    aborter: pick(null, null, null, null, null, null, 'client', 'server', 'dial'),
    waitsForEnd: random.chance(0.3),
    arenaBytes: pick(1 << 20, 8 << 20, 64 * 1024),
  };
}

/** Longer than any run needs that goes on at all, in virtual ms. */
const LIMIT_MS = 4 * 3_600_000;

export async function simulate(scenario: Scenario): Promise<Outcome> {
  const { seed, isIPv6 } = scenario;
  const clock = new SimClock();
  const faults = { ...scenario, reorderMs: 30, queueBytes: 64 * 1024 };
  const [ours, theirs] = faultyPipe({
    clock,
    mtu: scenario.mtu,
    arenaBytes: scenario.arenaBytes,
    key: Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8),
    defer: (run) => void clock.after(0, run),
    there: { ...faults, seed: seed * 2 + 1 },
    back: { ...faults, seed: seed * 2 + 2 },
  });
  const problems: string[] = [];
  const server = new Application({
    clock,
    problems,
    bytes: pattern(scenario.down, seed + 1),
    seed: seed ^ 0x55aa,
    pauseMs: scenario.serverPauseMs,
    waitsForEnd: scenario.waitsForEnd,
  });
  const { congestion, acceptFirst, initialWindow } = scenario;
  const { stack, driver } = stackOn({
    device: ours,
    clock,
    seed,
    settings: { congestion, acceptFirst, initialWindow, windowBudget: 4 << 20, timeWaitMs: 1_000, giveUpMs: 7_200_000 },
    handleStream: (request) => handle(request, scenario, server),
  });
  const peer = new ModelPeer({
    clock,
    send: (packet) => theirs.inject(packet),
    address: isIPv6 ? 'fd00::2' : '10.0.0.2',
    port: 1_024 + (seed % 60_000),
    server: isIPv6 ? '2001:db8::1' : '192.0.2.1',
    serverPort: 443,
    isn: scenario.isn,
    mss: scenario.mss,
    windowScale: scenario.windowScale,
    hasTimestamps: scenario.hasTimestamps,
    hasSack: scenario.hasSack,
    receiveBuffer: scenario.receiveBuffer,
    readDelayMs: scenario.readDelayMs,
    delayedAckMs: scenario.delayedAckMs,
    congestionWindow: scenario.congestionWindow,
    isOrdered: scenario.reorder === 0 && scenario.jitterMs === 0,
  });
  listen(theirs, peer);
  const start = clock.now();
  let isAborted = false;
  if (scenario.aborter === 'client' || scenario.aborter === 'server') {
    clock.after(scenario.abortAt, () => {
      isAborted = true;
      if (scenario.aborter === 'client') peer.abort();
      else server.abort();
    });
  }
  peer.write(pattern(scenario.up, seed));
  peer.close();
  peer.connect();
  const isOver = (): boolean => (peer.hasEnded && peer.isFinAcked && server.isDone) || (peer.isReset && server.isDone);
  const isDone = await clock.runUntil(isOver, LIMIT_MS);
  await clock.run(scenario.readDelayMs * 2);
  const ms = clock.now() - start;
  const wasCut = isAborted || scenario.aborter === 'dial';
  if (!wasCut) {
    if (!isDone)
      problems.push(
        `deadlock: client ended=${peer.hasEnded} finAcked=${peer.isFinAcked} reset=${peer.isReset}, server done=${server.isDone} read=${server.received} of ${scenario.up}, client read ${peer.receivedLength} of ${scenario.down}`,
      );
    else {
      if (server.error !== null) problems.push(`the server failed: ${server.error.code} ${server.error.message}`);
      if (digestOf(peer.received) !== digestOf([pattern(scenario.down, seed + 1)]))
        problems.push(`the client has read ${peer.receivedLength} bytes of ${scenario.down}, and not the right ones`);
      if (server.digest() !== digestOf([pattern(scenario.up, seed)]))
        problems.push(`the server has read ${server.received} bytes of ${scenario.up}, and not the right ones`);
    }
  }
  problems.push(...new Set(peer.faults));
  // What an end leaves behind has to go by itself: the peer says no more in some of the aborted runs, so timeouts must do it.
  peer.abort();
  server.abort();
  const isGone = (): boolean => stack.info.connections === 0 && stack.info.timeWait === 0 && stack.info.pending === 0;
  await clock.runUntil(isGone, LIMIT_MS);
  await clock.run(10_000);
  const { info } = stack;
  if (!isGone()) problems.push(`left behind: ${JSON.stringify({ ...info, counters: undefined })}`);
  if (info.timers !== 0) problems.push(`${info.timers} timers are left`);
  if (info.memory !== 0) problems.push(`${info.memory} bytes of the arena are left`);
  if (info.halfOpen !== 0) problems.push(`${info.halfOpen} handshakes are left`);
  driver.close();
  ours.close();
  return { problems, bytes: server.received + peer.receivedLength, ms, aborted: wasCut, counters: info.counters };
}

function listen(end: FaultyEnd, peer: ModelPeer): void {
  end.start({
    packets: (batch) => {
      for (let i = 0; i < batch.length; i++) {
        const packet = packetAt(batch, i);
        if (packet.kind === 'tcp') peer.receive(packet);
      }
    },
    failed: () => {},
  });
}

/** What our side does with the request: dials, or what passes for it, and lets the application have the stream. */
async function handle(request: StreamRequest, scenario: Scenario, server: Application): Promise<void> {
  const { dialMs, aborter, seed } = scenario;
  if (server.isDone) return request.reject(new NetError('refused', 'a SYN that came late')); // a duplicate of the first, after all was over
  if (dialMs > 0) await server.pause(dialMs);
  if (aborter === 'dial') {
    request.reject(new NetError(seed % 2 === 0 ? 'refused' : 'unreachable', 'nobody is there'));
    server.isDone = true;
    return;
  }
  await server.run(request.accept());
}
