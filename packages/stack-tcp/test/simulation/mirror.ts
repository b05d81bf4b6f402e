import type { Stream } from '@nekit/core';
import { buildPacket, FaultInjector, FLAG, faultyPipe, packetAt, parsePacket, type TcpOptions, type TcpPacket } from '@nekit/core/ip';
import { SimClock } from '../support/sim-clock.js';
import { type StackUnderTest, stackOn } from '../support/stack-on.js';
import { Application, digestOf, pattern } from './application.js';
import { type BridgeEnd, turnRound } from './bridge.js';
import type { Outcome, Scenario } from './scenario.js';

/** Longer than any run needs that goes on at all, in virtual ms. */
const LIMIT_MS = 4 * 3_600_000;

/** Our stack against itself: what the model peer is too simple for (SACK, RACK, probes and windows of ours on both sides) meets what it was made for. */
export async function simulateMirror(scenario: Scenario): Promise<Outcome> {
  const { seed, up, down, serverPauseMs, readDelayMs, waitsForEnd, abortAt, aborter } = scenario;
  const clock = new SimClock();
  const problems: string[] = [];
  const a = new Side(scenario, clock, 0);
  const b = new Side(scenario, clock, 1);
  const left = new Application({ clock, problems, bytes: pattern(up, seed), seed: seed ^ 0x55aa, pauseMs: readDelayMs, waitsForEnd: false });
  const right = new Application({ clock, problems, bytes: pattern(down, seed + 1), seed: seed ^ 0xaa55, pauseMs: serverPauseMs, waitsForEnd });
  await Promise.all([a.open(), b.open()]);
  const faults = { ...scenario, reorderMs: 30, queueBytes: 64 * 1024 };
  const there = new FaultInjector({ ...faults, seed: seed * 2 + 1 }, clock, (packet) => b.take(turnRound(packet, a.end, b.end)));
  const back = new FaultInjector({ ...faults, seed: seed * 2 + 2 }, clock, (packet) => a.take(turnRound(packet, b.end, a.end)));
  const start = clock.now();
  a.send = (packet) => there.send(packet);
  b.send = (packet) => back.send(packet);
  void left.run(a.answer());
  void right.run(b.answer());
  const isCut = aborter === 'client' || aborter === 'server';
  if (isCut) clock.after(abortAt, () => (aborter === 'client' ? left : right).abort());
  const isDone = await clock.runUntil(() => left.isDone && right.isDone, LIMIT_MS);
  const ms = clock.now() - start;
  if (!isCut) {
    if (!isDone)
      problems.push(`deadlock: left read ${left.received} of ${down}, done=${left.isDone}; right read ${right.received} of ${up}, done=${right.isDone}`);
    for (const { error } of [left, right]) if (error !== null) problems.push(`failed: ${error.code} ${error.message}`);
    if (isDone && left.digest() !== digestOf([pattern(down, seed + 1)]))
      problems.push(`left has read ${left.received} bytes of ${down}, and not the right ones`);
    if (isDone && right.digest() !== digestOf([pattern(up, seed)])) problems.push(`right has read ${right.received} bytes of ${up}, and not the right ones`);
  }
  left.abort();
  right.abort();
  await clock.runUntil(() => a.isGone && b.isGone, LIMIT_MS);
  await clock.run(10_000);
  problems.push(...a.leftovers(), ...b.leftovers());
  const counters = { ...a.parts.stack.info.counters };
  for (const [name, count] of Object.entries(b.parts.stack.info.counters)) counters[name] = (counters[name] ?? 0) + count;
  there.stop();
  back.stop();
  a.close();
  b.close();
  return { problems, bytes: left.received + right.received, ms, aborted: isCut, counters };
}

/** One stack, and the handshake that it is led through. */
class Side {
  readonly parts: StackUnderTest;
  /** Where its packets go. */
  send: (packet: Uint8Array) => void = () => {};
  readonly #scenario: Scenario;
  readonly #clock: SimClock;
  readonly #number: number;
  readonly #wire: ReturnType<typeof faultyPipe>;
  #end: BridgeEnd | null = null;
  #stream: Stream | null = null;

  constructor(scenario: Scenario, clock: SimClock, number: number) {
    const { mtu, arenaBytes, seed, congestion, initialWindow, receiveBuffer } = scenario;
    const path = { seed: 1 };
    this.#scenario = scenario;
    this.#clock = clock;
    this.#number = number;
    const key = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8);
    this.#wire = faultyPipe({ clock, mtu, arenaBytes, key, defer: (run) => void clock.after(0, run), there: path, back: path });
    this.parts = stackOn({
      device: this.#wire[0],
      clock,
      seed: seed * 2 + number,
      // One side has a window as tiny as the scenario's buffer.
      settings: {
        congestion,
        initialWindow: number === 0 ? Math.max(300, receiveBuffer) : initialWindow,
        windowBudget: 4 << 20,
        timeWaitMs: 1_000,
        giveUpMs: 7_200_000,
      },
      handleStream: async (request) => {
        this.#stream = await request.accept();
      },
    });
    this.#wire[1].start({
      packets: (batch) => {
        for (let i = 0; i < batch.length; i++) {
          const packet = packetAt(batch, i);
          if (packet.kind === 'tcp') this.send(buildPacket(packet));
        }
      },
      failed: () => {},
    });
  }

  get end(): BridgeEnd {
    if (this.#end === null) throw new Error('the handshake was not finished');
    return this.#end;
  }

  get isGone(): boolean {
    const { info } = this.parts.stack;
    return info.connections === 0 && info.timeWait === 0 && info.pending === 0;
  }

  async answer(): Promise<Stream> {
    if (this.#stream === null) throw new Error('the handshake was not finished');
    return this.#stream;
  }

  /** null, what the path has broken: dropped by the checksum. */
  take(packet: Uint8Array | null): void {
    if (packet !== null) this.#wire[1].inject(packet);
  }

  async open(): Promise<void> {
    const { isIPv6, isn, mss, windowScale, hasTimestamps, hasSack, seed } = this.#scenario;
    const client = isIPv6 ? 'fd00::2' : '10.0.0.2';
    const target = isIPv6 ? '2001:db8::1' : '192.0.2.1';
    const addresses = { source: client, destination: target, sourcePort: 1_024 + (seed % 60_000), destinationPort: 443 };
    const first = (isn + this.#number * 77) >>> 0;
    const timestamp = 0xffff_fe00; // it wraps soon
    const options: TcpOptions = {
      mss,
      ...(windowScale === null ? {} : { windowScale: 5 }),
      ...(hasSack ? { sackPermitted: true } : {}),
      ...(hasTimestamps ? { timestamps: { value: timestamp, echo: 0 } } : {}),
    };
    let synAck: TcpPacket | null = null;
    this.send = (bytes) => {
      const packet = parsePacket(bytes);
      if (packet?.kind === 'tcp' && (packet.flags & FLAG.syn) !== 0) synAck = packet;
    };
    const segment = { kind: 'tcp', ...addresses, window: 300, payload: new Uint8Array(0) } as const;
    this.take(buildPacket({ ...segment, sequence: first, acknowledgment: 0, flags: FLAG.syn, options }));
    await this.#clock.runUntil(() => synAck !== null, 10_000);
    const answer = synAck as TcpPacket | null;
    if (answer === null) throw new Error('no SYN-ACK came');
    const ownTimestamp = answer.options?.timestamps?.value ?? 0;
    this.#end = { client, clientPort: addresses.sourcePort, target, targetPort: 443, isn: first, timestamp, iss: answer.sequence, ownTimestamp };
    const stamped = hasTimestamps ? { timestamps: { value: timestamp, echo: ownTimestamp } } : {};
    // No more than the smallest of the windows: two sides that were both told of a larger one would drop each other's ACKs as lying behind theirs.
    const window = windowScale === null ? 300 : 300 >> 5;
    this.take(buildPacket({ ...segment, window, sequence: (first + 1) >>> 0, acknowledgment: (answer.sequence + 1) >>> 0, flags: FLAG.ack, options: stamped }));
    await this.#clock.runUntil(() => this.#stream !== null, 10_000);
  }

  /** What must not be there at the end. */
  leftovers(): string[] {
    const { info } = this.parts.stack;
    const problems: string[] = [];
    if (!this.isGone || info.halfOpen !== 0) problems.push(`left behind: ${JSON.stringify({ ...info, counters: undefined })}`);
    if (info.timers !== 0) problems.push(`${info.timers} timers are left`);
    if (info.memory !== 0) problems.push(`${info.memory} bytes of the arena are left`);
    return problems;
  }

  close(): void {
    this.parts.driver.close();
    this.#wire[0].close();
  }
}
