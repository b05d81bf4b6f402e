/** The timers of a connection. Read first: RFC 6298 section 5, RFC 8985 section 7.2, RFC 9293 sections 3.8.3, 3.8.4 and 3.8.6.1. */
import { type Connection, FAILURE, MODE, RTX, STATE } from './connection.js';
import { COUNT } from './counters.js';
import { detectLoss, enterLoss, enterRecovery } from './recovery.js';
import { before, distance } from './sequence.js';

/** SYN-ACKs that are sent before the client is given up, as Linux has it: 63 s. */
const MOST_SYN_ACKS = 6;
/** A delayed ACK of the peer's, in ms: a probe that does not wait for it is wasted. */
const PEER_DELAYED_ACK = 50;
/** The shortest wait for a tail probe, in ms. */
const LEAST_PROBE = 10;
/** The longest gap between two probes of a closed window, in ms. */
const MOST_PERSIST = 60_000;
/** Between keep-alive probes, in ms, and how many remain unanswered. */
const KEEP_ALIVE_GAP = 75_000;
const MOST_KEEP_ALIVES = 9;

/** Does what is due. */
export function runTimers(c: Connection, now: number): void {
  if (c.state === STATE.closed) return;
  if (c.isAckDelayed && !before(now, c.ackAt)) {
    c.isAckDelayed = false;
    c.isAckDue = true;
  }
  // An ACK that has come with what is served now, if late, has stopped the timer (RFC 6298 sections 5.2 and 5.3): `rearm` will see to it. Before the handshake is over `isRearmDue` says nothing of an ACK.
  const isStopped = c.isRearmDue && c.isSynchronized;
  if (c.rtxKind !== RTX.none && !isStopped && !before(now, c.rtxAt)) runRetransmission(c, now);
  if (isKeptAlive(c) && !before(now, keepAliveAt(c))) runKeepAlive(c);
}

function runRetransmission(c: Connection, now: number): void {
  const kind = c.rtxKind;
  c.rtxKind = RTX.none;
  switch (kind) {
    case RTX.synAck:
      if (++c.synTimeouts >= MOST_SYN_ACKS) {
        giveUp(c);
        return;
      }
      c.rtt.backOff();
      c.isSynAckDue = true;
      return;
    case RTX.reordering:
      detectLoss(c, now);
      enterRecovery(c, now);
      c.isRearmDue = true;
      return;
    case RTX.tailProbe:
      c.isTailProbeDue = true;
      c.rtxKind = RTX.timeout;
      c.rtxAt = (now + c.rtt.rto) | 0;
      c.isRearmDue = false;
      return;
    case RTX.timeout:
      if (isGivenUp(c, now)) {
        giveUp(c);
        return;
      }
      enterLoss(c, now);
      c.rtt.backOff();
      c.isRearmDue = true;
      return;
    case RTX.persist:
      if (isGivenUp(c, now)) {
        giveUp(c);
        return;
      }
      c.isWindowProbeDue = true;
      c.persistBackoff++;
      c.isRearmDue = true;
  }
}

/** Nothing was answered for too long. */
function isGivenUp(c: Connection, now: number): boolean {
  if (!c.isStalled) {
    c.isStalled = true;
    c.stalledAt = now;
    return false;
  }
  return distance(c.stalledAt, now) >= c.env.settings.giveUpMs;
}

function giveUp(c: Connection): void {
  c.env.count(COUNT.timedOut);
  c.fail(FAILURE.timeout);
}

/** What is in flight, or waits for the window, has a timer that finds out by itself (RFC 9293, MUST-26). */
function isKeptAlive(c: Connection): boolean {
  return c.env.settings.keepAliveMs > 0 && c.isSynchronized && c.log.count === 0 && c.rtxKind === RTX.none && !c.isWindowProbeDue;
}

function keepAliveAt(c: Connection): number {
  return (c.heardAt + c.env.settings.keepAliveMs + c.keepAliveTries * KEEP_ALIVE_GAP) | 0;
}

function runKeepAlive(c: Connection): void {
  if (c.keepAliveTries >= MOST_KEEP_ALIVES) {
    giveUp(c);
    return;
  }
  c.keepAliveTries++;
  c.isKeepAliveDue = true;
}

/** Sets the retransmission timer for what is in flight now; after `dispatch`. */
export function rearm(c: Connection, now: number): void {
  if (c.state === STATE.closed) {
    c.rtxKind = RTX.none;
    return;
  }
  if (c.state === STATE.synReceived) {
    if (c.rtxKind === RTX.none && c.synTries > 0) set(c, RTX.synAck, now, c.rtt.rto);
    return;
  }
  if (c.log.count === 0) {
    if (!isBlocked(c)) c.rtxKind = RTX.none;
    else if (c.rtxKind !== RTX.persist || c.isRearmDue) set(c, RTX.persist, now, Math.min(MOST_PERSIST, c.rtt.rto * 2 ** Math.min(c.persistBackoff, 16)));
  } else if (c.isRearmDue || c.rtxKind === RTX.none || c.rtxKind === RTX.synAck || c.rtxKind === RTX.persist) {
    if (mayProbeTail(c)) set(c, RTX.tailProbe, now, Math.min(tailProbeWait(c), c.rtt.rto));
    else set(c, RTX.timeout, now, c.rtt.rto);
  }
  c.isRearmDue = false;
}

function set(c: Connection, kind: number, now: number, wait: number): void {
  c.rtxKind = kind;
  c.rtxAt = (now + wait) | 0;
}

/** Something waits for the window, and nothing is in flight whose ACK would open it. */
function isBlocked(c: Connection): boolean {
  return distance(c.sndNxt, c.send.end) > 0 || (c.isFinQueued && !c.isFinSent && !c.isFinAcked);
}

function mayProbeTail(c: Connection): boolean {
  return c.hasSack && c.mode === MODE.open && c.log.lost === 0 && c.log.sacked === 0 && !c.isTailProbeOut && c.rtt.isKnown;
}

function tailProbeWait(c: Connection): number {
  const isSingle = c.log.inFlight <= c.mss;
  return Math.max(LEAST_PROBE, 2 * c.rtt.smoothed + (isSingle ? PEER_DELAYED_ACK : 0));
}

/** The next time that `runTimers` must be called, as int32 ms, if `hasDeadline`. */
export function nextDeadline(c: Connection): number {
  let at = 0;
  let isSet = false;
  if (c.rtxKind !== RTX.none) {
    at = c.rtxAt;
    isSet = true;
  }
  if (c.isAckDelayed && (!isSet || before(c.ackAt, at))) {
    at = c.ackAt;
    isSet = true;
  }
  if (isKeptAlive(c)) {
    const alive = keepAliveAt(c);
    if (!isSet || before(alive, at)) at = alive;
  }
  return at;
}

export function hasDeadline(c: Connection): boolean {
  return c.state !== STATE.closed && (c.rtxKind !== RTX.none || c.isAckDelayed || isKeptAlive(c));
}
