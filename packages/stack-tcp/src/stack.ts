import type { StackContext } from '@nekit/core';
import { FLAG, type IpStack, isHostPair, type PacketBatch, PROTOCOL, read16 } from '@nekit/core/ip';
import { localEndpoint, OwnAddresses, remoteEndpoint } from './addresses.js';
import { arrive } from './arrival.js';
import { BulkTurns } from './bulk-turns.js';
import { Connection, FAILURE, STATE } from './connection.js';
import { COUNT, type Counters } from './counters.js';
import { hasDeadline, nextDeadline, rearm, runTimers } from './deadline.js';
import { Departure } from './departure.js';
import { TcpEnvironment } from './environment.js';
import { type Flow, FlowTable, flowOf } from './flow.js';
import type { ConnectionHost } from './host.js';
import { receiveIcmp } from './icmp.js';
import { SequenceNumbers } from './isn.js';
import { Listener } from './listener.js';
import { Pending } from './pending.js';
import { Quotation } from './quotation.js';
import { Replies } from './replies.js';
import { Segment } from './segment.js';
import { before, distance } from './sequence.js';
import type { TcpSettings } from './settings.js';
import { Resting, TimeWait } from './time-wait.js';
import { Timers } from './timers.js';

/** The sink was full, or memory was: try again after so long, in ms. */
const RETRY_MS = 1;
const STARVED_MS = 20;
/** So much of one connection is acknowledged in the middle of a batch, in bytes: a sender whose window is used up would wait for the batch's end. */
const ACK_AT_ONCE = 128 * 1024;
/** What one flush takes out of sockets, in bytes, where the device takes more than IP's 64 KiB in one packet and where it does not: about a millisecond of the event loop, on a busy machine some. */
const MOST_PER_FLUSH = 1 << 20;
const MOST_PER_FLUSH_IN_SEGMENTS = 512 * 1024;
/** Windows are taken back at most so often, from connections that were idle for so long, in ms. */
const SWEEP_MS = 1_000;
const IDLE_MS = 2_000;

/** What can be seen of a stack from outside. */
export interface StackInfo {
  readonly connections: number;
  readonly halfOpen: number;
  readonly pending: number;
  readonly timeWait: number;
  readonly timers: number;
  /** Bytes of the arena that are in use. */
  readonly memory: number;
  readonly counters: Record<string, number>;
}

/**
 * All TCP flows of one device. `input` finds the connection of a packet and lets it take in the segment; at the end of the batch `flush` lets each connection that has changed move
 * its bytes, say what it has to, and set its timer. What happens on a packet's way is a call forward with numbers in it.
 */
export class TcpStack implements IpStack, ConnectionHost {
  readonly timers = new Timers();
  flushRoom: number;
  readonly #mostPerFlush: number;
  readonly #context: StackContext;
  readonly #env: TcpEnvironment;
  readonly #table = new FlowTable();
  readonly #segment = new Segment();
  readonly #departure = new Departure();
  readonly #quotation = new Quotation();
  readonly #listener: Listener;
  readonly #timeWait: TimeWait;
  /** Those that the next flush looks at, and the list that it had before. */
  #dirty: Connection[] = [];
  #served: Connection[] = [];
  readonly #starved = new Set<Connection>();
  /** Those that have ended, with bytes that their reader has not taken. */
  readonly #unread = new Set<Connection>();
  /** The clock's milliseconds, as they are and as int32. */
  #flushedAt = 0;
  #now = 0;
  #isTimeKnown = false;
  #isClosed = false;
  readonly #bulk = new BulkTurns();
  /** Int32 ms, while `#hasRetry`: what was left over waits for it. */
  #retryAt = 0;
  #hasRetry = false;
  #sweptAt = 0;

  constructor(settings: TcpSettings, context: StackContext) {
    const { output } = context;
    this.#context = context;
    this.#mostPerFlush = (output.sink.largestLent ?? 0) > output.sink.largest ? MOST_PER_FLUSH : MOST_PER_FLUSH_IN_SEGMENTS;
    this.flushRoom = this.#mostPerFlush;
    this.#env = new TcpEnvironment(settings, output.arena, output.sink, new Replies(), new OwnAddresses(context.networks), (flow) => this.#touchFlow(flow));
    this.#timeWait = new TimeWait(this.#env, this.#table);
    this.#listener = new Listener({
      env: this.#env,
      host: this,
      table: this.#table,
      numbers: new SequenceNumbers((length) => context.random(length)),
      handleStream: (request) => context.handleStream(request),
      openSession: (flow, pending) => context.openSession('tcp', remoteEndpoint(flow), localEndpoint(flow), pending.signal),
      wake: () => output.wake(),
      clock: () => output.now(),
    });
    this.#env.identification = read16(context.random(2), 0);
  }

  get now(): number {
    return this.#isTimeKnown ? this.#now : Math.floor(this.#context.output.now()) | 0;
  }

  get counters(): Counters {
    return this.#env.counters;
  }

  get info(): StackInfo {
    return {
      connections: this.#listener.openCount,
      halfOpen: this.#listener.halfOpenCount,
      pending: this.#listener.pendingCount,
      timeWait: this.#timeWait.size,
      timers: this.timers.size,
      memory: this.#env.arena.used,
      counters: this.#env.counters.snapshot(),
    };
  }

  input(batch: PacketBatch, index: number): boolean {
    const protocol = batch.protocol[index];
    if (protocol !== PROTOCOL.tcp)
      return (protocol === PROTOCOL.icmp || protocol === PROTOCOL.icmpv6) && receiveIcmp(batch, index, this.#table, this.#quotation, this);
    if (this.#isClosed) return true;
    if (!this.#isTimeKnown) this.#setTime(this.#context.output.now()); // once per batch: until the flush
    const segment = this.#segment;
    let flow = this.#table.find(batch, index);
    if (flow instanceof Connection && isOver(flow)) {
      this.#remove(flow); // by what came before in this batch; its owner is told at the flush
      flow = this.#table.find(batch, index); // its TIME-WAIT
    }
    segment.read(batch, index);
    if (flow instanceof Connection) {
      arrive(flow, segment, this.#now);
      this.#touch(flow);
      if (flow.unackedBytes >= ACK_AT_ONCE) this.#departure.acknowledge(flow, this.#env.sink, this.#now);
    } else if (flow instanceof Pending) this.#listener.receivePending(flow, segment);
    else if (flow instanceof Resting) {
      if (this.#timeWait.arrive(flow, segment, this.#now) && this.#receiveStray(batch, index, flow.sndNxt)) this.#timeWait.delete(flow);
    } else this.#receiveStray(batch, index, null);
    return true;
  }

  flush(now: number): void {
    this.#setTime(now);
    this.#env.measurePressure();
    this.flushRoom = this.#mostPerFlush;
    this.timers.run(this.#now);
    if (this.#timeWait.size > 0) this.#timeWait.expire(this.#now);
    this.#retry();
    if (this.#env.isSweepDue) this.#sweep();
    const dirty = this.#dirty;
    this.#dirty = this.#served;
    this.#served = dirty;
    this.#env.replies.flush(this.#env.sink);
    for (const connection of dirty) {
      connection.isDirty = false;
      this.#serve(connection);
    }
    while (dirty.length > 0) dirty.pop(); // to set the length would give its memory away, for the next flush to allocate
    if (this.#env.replies.count > 0) {
      this.#env.replies.flush(this.#env.sink);
      if (this.#env.replies.count > 0) this.#tryAgain(RETRY_MS);
    }
    this.#isTimeKnown = false;
  }

  nextDeadline(): number {
    let wait = Number.POSITIVE_INFINITY;
    if (this.timers.size > 0) wait = distance(this.#now, this.timers.first);
    if (this.#hasRetry) wait = Math.min(wait, distance(this.#now, this.#retryAt));
    if (this.#timeWait.size > 0) wait = Math.min(wait, distance(this.#now, this.#timeWait.nextExpiry));
    return wait === Number.POSITIVE_INFINITY ? wait : Math.floor(this.#flushedAt) + Math.max(0, wait);
  }

  close(): void {
    if (this.#isClosed) return;
    this.#listener.close();
    for (const flow of this.#table) {
      if (!(flow instanceof Connection)) continue;
      flow.abort(FAILURE.aborted);
      this.#touch(flow);
    }
    for (const connection of this.#unread) connection.abort(FAILURE.aborted);
    this.#unread.clear();
    this.#timeWait.clear();
    this.#isClosed = true;
    this.#context.output.wake();
  }

  wake(connection: Connection): void {
    this.#touch(connection);
    this.#context.output.wake();
  }

  isAlone(connection: Connection): boolean {
    return this.#bulk.isAlone(connection, this.#now);
  }

  starve(connection: Connection): void {
    this.#starved.add(connection);
    this.#tryAgain(STARVED_MS);
  }

  #setTime(now: number): void {
    this.#flushedAt = now;
    this.#now = Math.floor(now) | 0;
    this.#isTimeKnown = true;
  }

  #touch(connection: Connection): void {
    if (connection.isDirty) return;
    connection.isDirty = true;
    this.#dirty.push(connection);
  }

  #touchFlow(flow: Flow): void {
    if (flow instanceof Connection) this.#touch(flow);
  }

  /** What a connection has to do at the end of a batch. */
  #serve(c: Connection): void {
    const now = this.#now;
    if (c.isRemoved) {
      c.owner?.serve(now); // what came before the end may still be read
      if (c.receive.readable === 0) this.#unread.delete(c);
      return;
    }
    runTimers(c, now);
    if (c.isSynchronized) this.#listener.established(c);
    c.owner?.serve(now);
    if (!this.#departure.dispatch(c, this.#env.sink, now)) {
      this.#touch(c);
      this.#tryAgain(RETRY_MS);
    }
    rearm(c, now);
    if (isOver(c)) this.#remove(c);
    else if (hasDeadline(c)) this.timers.set(c, nextDeadline(c)); // one that is gone stays until its time: most have another soon
  }

  /** Nothing more is to be said; a tuple that we closed first rests. */
  #remove(c: Connection): void {
    if (c.isRemoved) return;
    c.isRemoved = true;
    this.timers.delete(c);
    this.#table.delete(c);
    this.#starved.delete(c);
    this.#bulk.delete(c);
    this.#env.shrinkWindow(c.rcvLimit - c.firstLimit);
    this.#env.count(COUNT.closed);
    this.#listener.closed(c);
    c.send.clear();
    if (c.receive.readable > 0) this.#unread.add(c);
    else c.receive.clear();
    if (c.state === STATE.timeWait && !this.#isClosed) this.#timeWait.add(c, this.#now);
  }

  /** Takes windows back from those that have not used theirs for a while. */
  #sweep(): void {
    if (distance(this.#sweptAt, this.#now) < SWEEP_MS) return;
    this.#sweptAt = this.#now;
    this.#env.isSweepDue = false;
    for (const flow of this.#table) if (flow instanceof Connection) flow.shrink(this.#now, IDLE_MS);
  }

  #tryAgain(wait: number): void {
    const at = (this.#now + wait) | 0;
    if (this.#hasRetry && !before(at, this.#retryAt)) return;
    this.#retryAt = at;
    this.#hasRetry = true;
  }

  #retry(): void {
    if (!this.#hasRetry || before(this.#now, this.#retryAt)) return;
    this.#hasRetry = false;
    for (const connection of this.#starved) this.#touch(connection);
    this.#starved.clear();
  }

  /** RFC 9293 sections 3.10.7.1 and 3.10.7.2: every port listens. Whether something begins. */
  #receiveStray(batch: PacketBatch, index: number, lastSndNxt: number | null): boolean {
    const s = this.#segment;
    const env = this.#env;
    env.received(s.length);
    if (!isHostPair(batch, index)) {
      env.count(COUNT.dropAddress); // a reset would come from a group, or go to one (RFC 1122 section 4.2.3.10)
      return false;
    }
    if ((batch.sourcePort[index] ?? 0) === 0 || (batch.destinationPort[index] ?? 0) === 0) {
      env.count(COUNT.dropPort);
      return false;
    }
    if (s.has(FLAG.rst)) {
      env.count(COUNT.dropStray);
      return false;
    }
    if (s.has(FLAG.ack)) {
      env.count(COUNT.dropStray);
      env.refuseAck(flowOf(batch, index), s.acknowledgment);
    } else if (!s.has(FLAG.syn)) env.count(COUNT.dropStray);
    else if (s.has(FLAG.fin)) env.count(COUNT.dropFlags);
    else return this.#listener.receiveSyn(batch, index, s, this.now, lastSndNxt);
    return false;
  }
}

/** Nothing more is to be said. */
function isOver(c: Connection): boolean {
  return c.state === STATE.closed ? !c.isResetDue : c.state === STATE.timeWait && !c.isAckDue;
}
