/**
 * One connection: what it knows. What it does is in files of their own, each a set of functions on it:
 *
 *     arrival.ts         a segment has come in: RFC 9293 section 3.10.7.4, step by step
 *     acknowledgment.ts  its ACK field: what has arrived, the window, what is lost
 *     text.ts            its bytes and its FIN
 *     departure.ts       what is to be sent now: lost bytes, new ones, a FIN, a probe, an ACK
 *     deadline.ts        timers: which one is set, and what it does
 *
 * It is pure: the clock, the sink and the random numbers come from outside, it waits for nothing and calls nobody. Sequence numbers and times are int32, see sequence.ts.
 *
 *     sent:      sndUna ...... sndNxt ...... sndUna + sndWnd           received:      rcvNxt ........ rcvEdge
 *                  | in flight  |  may go     |                                         |  the window  |
 *
 * We are never the one that opens: states begin with SYN-RECEIVED, and an opening from both sides cannot happen.
 */
import type { CancelSource } from '@nekit/core';
import { IPV4_HEADER, IPV6_HEADER, TCP_HEADER } from '@nekit/core/ip';
import type { Congestion } from './congestion/congestion.js';
import { Cubic } from './congestion/cubic.js';
import { Reno } from './congestion/reno.js';
import type { TcpEnvironment } from './environment.js';
import { FLOW, Flow, type FlowAddress } from './flow.js';
import { ReceiveQueue } from './receive-queue.js';
import { RoundTrip } from './rtt.js';
import { SendBuffer } from './send-buffer.js';
import { distance } from './sequence.js';
import type { Timed } from './timers.js';
import { TransmitLog } from './transmit-log.js';

export const STATE = {
  closed: 0,
  synReceived: 1,
  established: 2,
  finWait1: 3,
  finWait2: 4,
  closing: 5,
  closeWait: 6,
  lastAck: 7,
  timeWait: 8,
} as const;

/** Why a connection has failed. */
export const FAILURE = { none: 0, reset: 1, timeout: 2, aborted: 3 } as const;

/** How the loss of something is being made good. */
export const MODE = { open: 0, recovery: 1, loss: 2 } as const;

/** Whether a timeout may have been too early: nobody has answered since; or two new segments were sent to find out (RFC 5682). */
export const DOUBT = { none: 0, unanswered: 1, tried: 2 } as const;

/** What the retransmission timer stands for. */
export const RTX = { none: 0, synAck: 1, timeout: 2, tailProbe: 3, reordering: 4, persist: 5 } as const;

/** Longer shifts are taken for this one (RFC 7323 section 2.3). */
const MOST_SHIFT = 14;
/** The smallest payload we cut data into, whatever the peer says: with less, headers are all we would send (CVE-2019-11479). */
const LEAST_MSS = 48;
/** Without the option (RFC 9293 section 3.7.1). */
const DEFAULT_MSS_IPV4 = 536;
const DEFAULT_MSS_IPV6 = 1220;
/** Timestamps in every segment, padding included. */
export const TIMESTAMP_BYTES = 12;
/** A challenge, and an answer to what is out of the window and carries nothing, at most so often per flow, in ms. */
const CHALLENGE_MS = 500;

/** What the client's SYN said. */
export interface SynFacts {
  /** Its sequence number. */
  readonly sequence: number;
  /** Bytes of text that came with it: they are not kept (RFC 9293 section 3.10.7.2), but a refusal has to count them. */
  readonly text: number;
  readonly window: number;
  readonly mss: number;
  readonly windowScale: number;
  readonly sackPermitted: boolean;
  readonly hasTimestamps: boolean;
  readonly timestamp: number;
  /** A program of this host has sent it: there is no network between it and us. */
  readonly isFromHost: boolean;
}

/** Who takes what comes in and brings what goes out. Called at the end of a batch, never from inside of the arrival of a segment, but for `take`. */
export interface Owner {
  /** Moves bytes: out of `receive`, into `send`; looks at `state` and `failure`. */
  serve(now: number): void;
  /** Bytes in order, lent: how many of them were taken at once, behind all that was unread. Only called if `takesAtOnce`. */
  take(bytes: Uint8Array, start: number, end: number): number;
  readonly takesAtOnce: boolean;
}

export class Connection extends Flow implements Timed {
  readonly kind = FLOW.connection;
  readonly env: TcpEnvironment;
  state: number = STATE.synReceived;
  failure: number = FAILURE.none;
  owner: Owner | null = null;
  /** Of the request that it was: cancelled with the reason if it fails. */
  signal: CancelSource | null = null;

  // What we send.
  readonly iss: number;
  sndUna: number;
  sndNxt: number;
  /** Behind the last byte that was ever sent: a window probe goes one beyond sndNxt. */
  sndMax: number;
  sndWnd: number;
  sndWl1: number;
  sndWl2: number;
  maxSndWnd: number;
  readonly sndScale: number;
  /** The payload of a full segment, timestamps taken off. */
  mss: number;
  readonly send: SendBuffer;
  isFinQueued = false;
  isFinSent = false;

  // What we receive.
  readonly irs: number;
  rcvNxt: number;
  /** Behind the last byte that the peer was ever allowed to send; never retreats. */
  rcvEdge: number;
  readonly rcvScale: number;
  /** The window we would like to offer, in bytes. */
  rcvLimit: number;
  /** The largest payload that came in one packet. */
  rcvMss = DEFAULT_MSS_IPV4;
  readonly receive: ReceiveQueue;
  hasFinSequence = false;
  finSequence = 0;
  isFinReceived = false;
  /** For the tuning of the window: bytes taken since `tunedAt`. */
  tunedBytes = 0;
  tunedAt = 0;

  // Options.
  readonly hasTimestamps: boolean;
  readonly hasSack: boolean;
  readonly timestampOffset: number;
  tsRecent: number;
  tsRecentAt: number;

  // Acknowledgments that we owe.
  lastAckSent: number;
  isAckDue = false;
  isSynAckDue = true;
  isResetDue = false;
  unackedBytes = 0;
  isAckDelayed = false;
  ackAt = 0;
  challengedAt = 0;
  wasChallenged = false;
  /** Segments out of order that no ACK has answered yet, where the peer can only count ACKs. */
  repeatsDue = 0;
  /** What arrived twice (RFC 2883), for the next ACK. */
  hasDuplicate = false;
  duplicateLeft = 0;
  duplicateRight = 0;

  // Round trip, loss, congestion.
  readonly rtt = new RoundTrip();
  readonly log: TransmitLog;
  readonly congestion: Congestion;
  mode: number = MODE.open;
  recoveryPoint = 0;
  /** When this has arrived, a round trip is over (RFC 9406). */
  roundEnd: number;
  /** Loss was found just now: its first segment goes at once, whatever is in flight (RFC 6675 section 5, 4.3). */
  isHeadDue = false;
  dupAcks = 0;
  rackSentAt = 0;
  rackEnd = 0;
  rackRtt = 0;
  hasRack = false;
  isReordering = false;
  /** The reordering window, in quarters of the shortest round trip, and after how many more recoveries it is the least again. */
  reorderSteps = 1;
  reorderPersist = 0;
  /** It has grown already, until this has arrived (RFC 8985: RACK.dsack_round). */
  hasDuplicateRound = false;
  duplicateRound = 0;
  isWindowLimited = false;
  /** As far as can be told nothing but our device is between us and the peer, and nothing has been lost on the way (a packet filter may not know packets whose length field says 0). */
  takesLarge: boolean;
  /** Some link on the way takes less than we can cut text into: routers may (RFC 1191 section 3). */
  isFragmentable = false;

  // Timers.
  timerAt = 0;
  timerSlot = -1;
  rtxKind: number = RTX.none;
  rtxAt = 0;
  /** Set the retransmission timer anew: there was progress, or something new was sent. */
  isRearmDue = false;
  isTailProbeDue = false;
  isTailProbeOut = false;
  tailProbeEnd = 0;
  isTailProbeRepeat = false;
  /** What was in flight before it, in bytes. */
  tailProbeFlight = 0;
  isWindowProbeDue = false;
  persistBackoff = 0;
  /** When the timer of a retransmission ran out last, while `hasTimedOut`. */
  timedOutAt = 0;
  hasTimedOut = false;
  doubt: number = DOUBT.none;
  /** When the first timeout ran out that is in doubt. */
  doubtedAt = 0;
  /** Behind what was sent before the two new segments (RFC 5682: RecoveryPoint). */
  doubtEnd = 0;
  /** Since when the peer leaves everything unanswered. */
  isStalled = false;
  stalledAt = 0;
  synTries = 0;
  /** Those of them that nobody had asked for again. */
  synTimeouts = 0;
  heardAt: number;
  sentAt: number;
  keepAliveTries = 0;
  isKeepAliveDue = false;

  /** What the window was offered at first, in bytes: the rest was granted by `growWindow`. */
  readonly firstLimit: number;
  /** The stack has let go of it. */
  isRemoved = false;
  /** In the stack's list of those that `flush` has to look at. */
  isDirty = false;

  constructor(env: TcpEnvironment, address: FlowAddress, syn: SynFacts, iss: number, timestampOffset: number, now: number) {
    super(address);
    const { settings, arena, sink } = env;
    const header = address.version === 4 ? IPV4_HEADER : IPV6_HEADER;
    const own = sink.mtu - header - TCP_HEADER;
    const asked = syn.mss > 0 ? syn.mss : address.version === 4 ? DEFAULT_MSS_IPV4 : DEFAULT_MSS_IPV6;
    const hasScale = syn.windowScale >= 0;
    this.env = env;
    this.hasTimestamps = syn.hasTimestamps;
    this.hasSack = syn.sackPermitted;
    this.timestampOffset = timestampOffset;
    this.tsRecent = syn.timestamp;
    this.tsRecentAt = now;
    this.mss = Math.max(LEAST_MSS, Math.min(asked, own) - (syn.hasTimestamps ? TIMESTAMP_BYTES : 0));
    this.iss = iss;
    this.sndUna = iss;
    this.sndNxt = (iss + 1) | 0;
    this.sndMax = this.sndNxt;
    this.roundEnd = this.sndNxt;
    this.sndWnd = syn.window;
    this.sndWl1 = syn.sequence;
    this.sndWl2 = iss;
    this.maxSndWnd = syn.window;
    this.sndScale = hasScale ? Math.min(MOST_SHIFT, syn.windowScale) : 0;
    this.irs = syn.sequence;
    this.rcvNxt = (syn.sequence + 1) | 0;
    this.rcvScale = hasScale ? env.windowShift : 0;
    this.rcvLimit = hasScale ? settings.initialWindow : Math.min(settings.initialWindow, 0xffff);
    this.firstLimit = this.rcvLimit;
    this.rcvEdge = (this.rcvNxt + Math.min(this.rcvLimit, 0xffff)) | 0;
    this.lastAckSent = this.rcvNxt;
    this.send = new SendBuffer(arena);
    this.send.reset(this.sndNxt);
    this.receive = new ReceiveQueue(arena);
    this.receive.reset(this.rcvNxt);
    this.log = new TransmitLog(env.ranges);
    this.log.reset(this.sndNxt);
    this.takesLarge = syn.isFromHost;
    // Within a host there is no queue that grows: what looks like one are busy cores, and whose window stays small by that gets less, for seconds.
    this.congestion = settings.congestion === 'cubic' ? new Cubic(this.mss, !syn.isFromHost) : new Reno(this.mss, !syn.isFromHost);
    this.heardAt = now;
    this.sentAt = now;
    this.tunedAt = now;
  }

  /** IP and TCP header without options, in bytes. */
  get headerBytes(): number {
    return (this.version === 4 ? IPV4_HEADER : IPV6_HEADER) + TCP_HEADER;
  }

  get isSynchronized(): boolean {
    return this.state >= STATE.established;
  }

  /** Whether our FIN has been acknowledged. */
  get isFinAcked(): boolean {
    return this.isFinQueued && distance(this.send.end, this.sndUna) > 0;
  }

  /** What the peer may be offered now, beyond rcvNxt. */
  get freeWindow(): number {
    const limit = Math.min(this.rcvLimit, Math.max(this.env.bufferCap, this.receive.capacity >> 1));
    return Math.max(0, limit - this.receive.readable);
  }

  /** How much may be written now. */
  get sendLimit(): number {
    return Math.min(this.env.settings.maxSendBuffer, Math.max(65_536, 2 * this.congestion.window), Math.max(this.env.bufferCap, 4_096));
  }

  /** Room for more, in bytes. 0 after `finish`. */
  get sendRoom(): number {
    return this.isFinQueued || this.failure !== FAILURE.none ? 0 : Math.max(0, this.sendLimit - this.send.length);
  }

  /** Takes what fits. The bytes stay the caller's. */
  write(bytes: Uint8Array, start: number, end: number): number {
    return this.sendRoom === 0 ? 0 : this.send.write(bytes, start, end, this.sendLimit);
  }

  /** FIN, after everything that was written. */
  finish(): void {
    if (this.isFinQueued) return;
    this.isFinQueued = true;
    if (this.state === STATE.established) this.state = STATE.finWait1;
    else if (this.state === STATE.closeWait) this.state = STATE.lastAck;
  }

  /** The first `length` unread bytes were taken: the window may open. */
  consumed(length: number, now: number): void {
    this.receive.consume(length);
    this.taken(length, now);
  }

  /** Bytes were taken, wherever they were: see whether a larger window would help, and whether the peer must hear of the one there is. */
  taken(length: number, now: number): void {
    this.tunedBytes += length;
    const elapsed = distance(this.tunedAt, now);
    if (this.tunedBytes * 2 >= this.rcvLimit || elapsed > 1_000) this.#tune(now, elapsed);
    if (this.isWindowUpdateDue()) this.isAckDue = true;
  }

  /**
   * Silly window syndrome: the right edge moves by a segment or half of the window at least (RFC 9293 section 3.8.6.2.2).
   */
  isWindowUpdateDue(): boolean {
    if (this.isFinReceived) return false;
    const offered = distance(this.rcvNxt, this.rcvEdge);
    const gain = this.freeWindow - offered;
    const most = this.mostFree;
    return gain > 0 && (gain >= most >> 1 || (gain >= this.rcvMss && (offered < 2 * this.rcvMss || gain >= most >> 2)));
  }

  /** What the window can be while memory is as short as it is: half of that is worth telling, be it less than a segment. */
  get mostFree(): number {
    return Math.min(this.rcvLimit, this.env.bufferCap);
  }

  /** A window that had grown and is not used any more becomes what it was; its edge stays, so that takes effect with what comes next. */
  shrink(now: number, idleMs: number): void {
    if (this.rcvLimit <= this.firstLimit || distance(this.tunedAt, now) < idleMs) return;
    this.env.shrinkWindow(this.rcvLimit - this.firstLimit);
    this.rcvLimit = this.firstLimit;
  }

  /** RST, now; whatever is in the buffers is gone. */
  abort(failure: number): void {
    if (this.state === STATE.closed || this.state === STATE.timeWait) {
      if (this.receive.readable > 0) this.failure = failure; // a reader must not take what is left for the end
      this.receive.clear();
      return;
    }
    this.isResetDue = true;
    this.#end(failure);
  }

  /** The other side said RST, or nothing for too long. */
  fail(failure: number): void {
    if (this.state === STATE.closed) return;
    this.isResetDue = failure === FAILURE.timeout && this.state !== STATE.synReceived; // who never answered is told nothing
    this.#end(failure);
  }

  /** Both FINs have been acknowledged, or it has failed: buffers go back. */
  #end(failure: number): void {
    this.failure = failure;
    this.state = STATE.closed;
    this.rtxKind = RTX.none;
    this.isAckDelayed = false;
    this.isAckDue = false;
    this.receive.clear();
    this.send.clear();
  }

  /** Whether an answer that carries nothing may be sent now; if so it counts. */
  mayChallenge(now: number): boolean {
    const since = distance(this.challengedAt, now); // negative after 24.8 days
    if (this.wasChallenged && since >= 0 && since < CHALLENGE_MS) return false;
    this.wasChallenged = true;
    this.challengedAt = now;
    return true;
  }

  /** The heap calls this: `flush` will look at it. */
  due(): void {
    this.env.touch(this);
  }

  /** Dynamic right-sizing: if half of the window is taken within one round trip, it is what holds the peer back. */
  #tune(now: number, elapsed: number): void {
    const trip = this.rtt.isKnown ? Math.max(1, this.rtt.smoothed) : 10;
    const { settings } = this.env;
    if (elapsed <= 2 * trip && this.tunedBytes * 2 >= this.rcvLimit && this.rcvScale > 0) {
      const grown = Math.min(settings.maxWindow, this.rcvLimit * 2);
      if (this.env.growWindow(grown - this.rcvLimit)) this.rcvLimit = grown;
    }
    this.tunedBytes = 0;
    this.tunedAt = now;
  }
}
