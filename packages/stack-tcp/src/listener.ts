/**
 * From a SYN to a connection, in two phases: the SYN becomes a StreamRequest, and is answered when the target was reached (SYN-ACK) or was not (RST, ICMP). So a client sees a
 * refusal as one, and its Happy Eyeballs works. A flood of SYNs makes dials, and no memory without bound:
 *
 *     being dialled   `maxPending`      one more ends the oldest that has not asked again for 1.5 s; else it is dropped, and its client asks again
 *     half open       `maxHalfOpen`     one more ends the oldest
 *     open            `maxConnections`  one more is answered with RST
 *
 * SYN cookies (RFC 4987 section 3.6) are no way out: the target is dialled before there is an answer that could carry one. What is done instead: while those that have not been
 * answered yet are more than half of what may be, there is a crowd. Then those that are silent for too long make room, a new SYN is dropped, and let in when it comes again: a
 * flood with false sources does not. So nobody who was let in is thrown out for one who was not, and a client that comes in the middle of it waits for one retransmission.
 */
import { type CancelSource, type HandleStream, type NetError, repliesTo, type Session, type Stream, type StreamRequest, toNetError } from '@nekit/core';
import { ErrorRate, FLAG, type PacketBatch } from '@nekit/core/ip';
import { remoteEndpoint } from './addresses.js';
import { Connection, FAILURE } from './connection.js';
import { COUNT } from './counters.js';
import type { TcpEnvironment } from './environment.js';
import { errorOf } from './errors.js';
import { type FlowAddress, type FlowTable, flowOf } from './flow.js';
import { Greylist } from './greylist.js';
import type { ConnectionHost } from './host.js';
import type { SequenceNumbers } from './isn.js';
import { Pending, type PendingHost, synFacts } from './pending.js';
import type { Segment } from './segment.js';
import { before, distance } from './sequence.js';
import { TcpStream } from './stream.js';

/** A client that lives sends its SYN again after one second (RFC 6298). */
const PATIENCE_MS = 1_500;
/** In a crowd, a client that has not answered our SYN-ACK (which was sent again after one second) for so long makes room. */
const HALF_OPEN_MS = 3_000;
/** Between the numbers of two connections of one tuple, as Linux has it. */
const REUSE_GAP = 0x1_0001;
/** Those that have asked again, at the head of what is pending, are passed over up to here. */
const MOST_LOOKED_AT = 64;

export interface ListenerParts {
  readonly env: TcpEnvironment;
  readonly host: ConnectionHost;
  readonly table: FlowTable;
  readonly numbers: SequenceNumbers;
  readonly handleStream: HandleStream;
  /** null: refuse it (an address that stands for no name). */
  readonly openSession: (flow: FlowAddress, pending: Pending) => Session | null;
  /** A reply waits. */
  readonly wake: () => void;
  /** Milliseconds, with fractions: the clock of initial sequence numbers is finer than the others. */
  readonly clock: () => number;
}

export class Listener implements PendingHost {
  readonly #parts: ListenerParts;
  /** In the order of their SYNs. */
  readonly #pending = new Set<Pending>();
  readonly #halfOpen = new Set<Connection>();
  readonly #perSource = new Map<string, number>();
  readonly #greylist = new Greylist();
  readonly #errors = new ErrorRate();
  /** So many, pending and half open, are a crowd. */
  readonly #crowd: number;
  #open = 0;

  constructor(parts: ListenerParts) {
    this.#parts = parts;
    const { maxPending, maxHalfOpen } = parts.env.settings;
    this.#crowd = Math.max(1, Math.min(maxPending, maxHalfOpen) >> 1);
  }

  get pendingCount(): number {
    return this.#pending.size;
  }

  get halfOpenCount(): number {
    return this.#halfOpen.size;
  }

  /** Connections, half open ones among them. */
  get openCount(): number {
    return this.#open;
  }

  /** A SYN of no connection. `lastSndNxt`: see Pending. Whether it is dialled for. */
  receiveSyn(batch: PacketBatch, index: number, s: Segment, now: number, lastSndNxt: number | null): boolean {
    const { env, table, openSession } = this.#parts;
    if (!this.#isWelcome((batch.flow[index] ?? 0) | 0, s.sequence, now)) {
      env.count(COUNT.dropCrowd);
      return false;
    }
    const flow = flowOf(batch, index);
    if (this.#open >= env.settings.maxConnections) {
      env.count(COUNT.dropConnections);
      this.#sendReset(flow, s.sequence, s.length);
      return false;
    }
    if (!this.#hasRoom(flow, now)) {
      env.count(COUNT.dropPending);
      return false;
    }
    const pending = new Pending(this, flow, synFacts(s, env.ownAddresses.haveSent(batch, index)), now, lastSndNxt);
    const session = openSession(flow, pending);
    env.count(COUNT.opened);
    if (session === null) {
      env.count(COUNT.refused);
      this.#sendReset(flow, s.sequence, s.length);
      return false;
    }
    pending.session = session;
    this.#pending.add(pending);
    this.#countSource(flow, 1);
    table.add(pending);
    if (env.settings.acceptFirst) void this.#connect(pending);
    else this.#handle(pending);
    return true;
  }

  /** A segment for a SYN that was not answered yet. */
  receivePending(pending: Pending, s: Segment): void {
    const { env } = this.#parts;
    if (s.has(FLAG.rst)) {
      // The client has given up. It knows no number of ours; its own is the one of its SYN, or one more.
      const isExact = s.sequence === pending.syn.sequence || s.sequence === ((pending.syn.sequence + 1) | 0);
      if (!isExact) {
        env.count(COUNT.dropReset);
        return;
      }
      env.count(COUNT.resetByPeer);
      this.#drop(pending, 'the client left while its target was dialled', 'ECONNRESET');
    } else if (s.has(FLAG.syn) && !s.has(FLAG.ack)) pending.ask(s);
    else {
      env.count(COUNT.dropStray);
      // Of nothing that we sent: late, or forged. The client is in SYN-SENT, where a RST without ACK is ignored (RFC 9293 section 3.10.7.3), so its dial goes on.
      if (s.has(FLAG.ack)) env.refuseAck(pending, s.acknowledgment);
    }
  }

  accept(pending: Pending): Promise<Stream> {
    if (pending.isSettled) return Promise.reject(toNetError(pending.signal.reason ?? new Error('the request was answered already')));
    const { env } = this.#parts;
    if (this.#open >= env.settings.maxConnections) {
      env.count(COUNT.dropConnections);
      this.#sendReset(pending, pending.syn.sequence, pending.syn.text);
      this.#drop(pending, 'too many connections', 'TOO_MANY_CONNECTIONS');
      return Promise.reject(toNetError(pending.signal.reason));
    }
    return this.#connect(pending);
  }

  refuse(pending: Pending, error: NetError): void {
    if (pending.isSettled) return;
    const { env, clock } = this.#parts;
    const answer = repliesTo(error).packet;
    env.count(COUNT.refused);
    if (answer === 'reset') this.#sendReset(pending, pending.syn.sequence, pending.syn.text);
    else if (this.#errors.take(clock())) env.count(env.replies.icmp(pending, pending.syn.sequence, answer) ? COUNT.icmpSent : COUNT.dropReply);
    else {
      env.count(COUNT.icmpWithheld); // a reset is no ICMP, and the client knows at once all the same
      this.#sendReset(pending, pending.syn.sequence, pending.syn.text);
    }
    pending.isSettled = true;
    this.#forget(pending);
    this.#parts.wake();
  }

  /** The connection stands. */
  established(c: Connection): void {
    if (!this.#halfOpen.delete(c)) return;
    this.#parts.env.count(COUNT.accepted);
  }

  /** The connection is gone. */
  closed(c: Connection): void {
    this.#halfOpen.delete(c);
    this.#open--;
    if (c.failure !== FAILURE.none) c.signal?.cancel(errorOf(c));
    c.signal = null;
  }

  /** Nothing more is answered. */
  close(): void {
    for (const pending of [...this.#pending]) {
      this.#sendReset(pending, pending.syn.sequence, pending.syn.text);
      this.#drop(pending, 'the stack was closed', 'STACK_CLOSED');
    }
  }

  /** Whether a new SYN is looked at: always, but in a crowd. */
  #isWelcome(hash: number, sequence: number, now: number): boolean {
    if (!this.#isCrowded) {
      if (this.#pending.size + this.#halfOpen.size === 0) this.#greylist.release();
      return true;
    }
    while (this.#isCrowded && this.#evictPending(now)) {}
    for (const oldest of this.#halfOpen) {
      if (!this.#isCrowded || distance(oldest.heardAt, now) < HALF_OPEN_MS) break;
      this.#evictHalfOpen(oldest);
    }
    return !this.#isCrowded || this.#greylist.hasAsked(hash, sequence, now);
  }

  get #isCrowded(): boolean {
    return this.#pending.size + this.#halfOpen.size >= this.#crowd;
  }

  /** Room for one more dial. */
  #hasRoom(flow: FlowAddress, now: number): boolean {
    const { settings } = this.#parts.env;
    const { maxPending, maxPendingPerSource } = settings;
    if (maxPendingPerSource > 0 && (this.#perSource.get(sourceOf(flow)) ?? 0) >= maxPendingPerSource) return false;
    return this.#pending.size < maxPending || this.#evictPending(now);
  }

  /** Ends the oldest dial whose client has not asked again as it should have. false: there is none. */
  #evictPending(now: number): boolean {
    let looked = 0;
    for (const oldest of this.#pending) {
      if (distance(oldest.since, now) < PATIENCE_MS || ++looked > MOST_LOOKED_AT) return false;
      if (oldest.hasAskedAgain) continue;
      this.#parts.env.count(COUNT.evictedPending);
      this.#drop(oldest, 'too many targets are being dialled', 'TOO_MANY_PENDING');
      return true;
    }
    return false;
  }

  /** SYN-ACK. */
  #connect(pending: Pending): Promise<Stream> {
    const { env, host, table, numbers, clock } = this.#parts;
    this.#forget(pending);
    pending.isSettled = true;
    for (const oldest of this.#halfOpen) {
      if (this.#halfOpen.size < env.settings.maxHalfOpen) break;
      this.#evictHalfOpen(oldest);
    }
    numbers.mix(pending);
    const iss = behind(pending.lastSndNxt, numbers.initial(clock()));
    const c = new Connection(env, pending, pending.syn, iss, numbers.timestampOffset(), host.now);
    this.#halfOpen.add(c);
    this.#open++;
    c.signal = pending.signal;
    table.add(c);
    const opening = new Promise<Stream>((resolve, reject) => new TcpStream(host, c, { resolve, reject }));
    host.wake(c);
    if (!env.settings.acceptFirst) return opening;
    opening.then(
      (stream) => this.#handleAccepted(pending, stream),
      () => {}, // the client left before there was anything to handle; `closed` counts it
    );
    return opening;
  }

  #evictHalfOpen(c: Connection): void {
    this.#parts.env.count(COUNT.evictedHalfOpen);
    this.#halfOpen.delete(c);
    c.abort(FAILURE.aborted);
    this.#parts.host.wake(c);
  }

  #handle(pending: Pending): void {
    this.#run(pending, pending.signal);
  }

  #handleAccepted(pending: Pending, stream: Stream): void {
    const request = {
      session: pending.session,
      accept: () => Promise.resolve(stream),
      reject: (error: NetError) => stream.abort(error),
    };
    this.#run(request, pending.signal);
  }

  /** Keeps nothing but the signal for as long as the session lasts. */
  #run(request: StreamRequest, signal: CancelSource): void {
    this.#parts.handleStream(request).catch((thrown: unknown) => this.#failed(signal, toNetError(thrown)));
  }

  /** Handlers do not throw; one that does is answered for, whatever it takes to find its flow. */
  #failed(signal: CancelSource, error: NetError): void {
    for (const flow of this.#parts.table) {
      if (flow instanceof Pending && flow.signal === signal) this.refuse(flow, error);
      else if (flow instanceof Connection && flow.signal === signal) {
        flow.abort(FAILURE.aborted);
        this.#parts.host.wake(flow);
      }
    }
    signal.cancel(error);
  }

  #drop(pending: Pending, message: string, code: string): void {
    this.#forget(pending);
    pending.giveUp(message, code);
  }

  #forget(pending: Pending): void {
    if (!this.#pending.delete(pending)) return;
    this.#parts.table.delete(pending);
    this.#countSource(pending, -1);
  }

  #countSource(flow: FlowAddress, change: number): void {
    if (this.#parts.env.settings.maxPendingPerSource === 0) return;
    const source = sourceOf(flow);
    const count = (this.#perSource.get(source) ?? 0) + change;
    if (count === 0) this.#perSource.delete(source);
    else this.#perSource.set(source, count);
  }

  /** RFC 9293 section 3.10.7.1: it acknowledges the SYN and the text that came with it. */
  #sendReset(flow: FlowAddress, sequence: number, text: number): void {
    const { env } = this.#parts;
    env.count(env.replies.segment(flow, 0, (sequence + 1 + text) | 0, FLAG.rst | FLAG.ack) ? COUNT.resetsSent : COUNT.dropReply);
  }
}

/**
 * The clock of initial sequence numbers is slower than a fast connection: where the tuple had one just now, we begin behind all that it has sent, or what is late of that would fit
 * into the new one (RFC 1122 section 4.2.2.13; RFC 9293 section 3.6.1).
 */
function behind(lastSndNxt: number | null, initial: number): number {
  return lastSndNxt === null || before(lastSndNxt, initial) ? initial : (lastSndNxt + REUSE_GAP) | 0;
}

function sourceOf(flow: FlowAddress): string {
  return remoteEndpoint(flow).host;
}
