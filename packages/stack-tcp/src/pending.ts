import { CancelSource, NetError, type Session, type Stream, type StreamRequest } from '@nekit/core';
import type { SynFacts } from './connection.js';
import { FLOW, Flow, type FlowAddress } from './flow.js';
import type { Segment } from './segment.js';

/** Who answers the request. */
export interface PendingHost {
  accept(pending: Pending): Promise<Stream>;
  refuse(pending: Pending, error: NetError): void;
}

/** A SYN whose target is being dialled: nothing has been answered yet. */
export class Pending extends Flow implements StreamRequest {
  readonly kind = FLOW.pending;
  readonly since: number;
  readonly signal = new CancelSource();
  /** Of the connection that this tuple had before and that still rested: behind the last number that we sent. */
  readonly lastSndNxt: number | null;
  syn: SynFacts;
  /** The client has sent its SYN again, as nobody does who only wants to fill our table. */
  hasAskedAgain = false;
  /** Accepted, refused, or given up. */
  isSettled = false;
  readonly #host: PendingHost;
  #session: Session | null = null;

  constructor(host: PendingHost, address: FlowAddress, syn: SynFacts, now: number, lastSndNxt: number | null) {
    super(address);
    this.#host = host;
    this.syn = syn;
    this.since = now;
    this.lastSndNxt = lastSndNxt;
  }

  get session(): Session {
    if (this.#session === null) throw new Error('a request is handled after it has its session');
    return this.#session;
  }

  set session(session: Session) {
    this.#session = session;
  }

  accept(): Promise<Stream> {
    return this.#host.accept(this);
  }

  reject(error: NetError): void {
    this.#host.refuse(this, error);
  }

  /** The client sends again, or has begun anew from the same port. */
  ask(s: Segment): void {
    this.hasAskedAgain = true;
    this.syn = synFacts(s, this.syn.isFromHost);
  }

  /** Nobody waits for an answer any more. */
  giveUp(message: string, code: string): void {
    this.isSettled = true;
    this.signal.cancel(new NetError('aborted', message, { code }));
  }
}

export function synFacts(s: Segment, isFromHost: boolean): SynFacts {
  return {
    sequence: s.sequence,
    text: s.length,
    window: s.window,
    mss: s.mss,
    windowScale: s.windowScale,
    sackPermitted: s.sackPermitted,
    hasTimestamps: s.hasTimestamps,
    timestamp: s.timestamp,
    isFromHost,
  };
}
