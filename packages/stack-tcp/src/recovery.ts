/**
 * Finding out what is lost.
 * Read first: RFC 8985 (RACK-TLP), RFC 6582 (NewReno, for peers without SACK), RFC 5681 section 3.2; RFC 3522 (Eifel), RFC 5682 (F-RTO) and RFC 4015 (timeouts that were too early).
 *
 * RACK: what was sent before something that has arrived, and has not arrived a reordering window later, is lost; also if it was sent again. So a lost retransmission needs no
 * timeout, and the third duplicate ACK is a special case (no window at all).
 */
import { type Connection, DOUBT, MODE } from './connection.js';
import { COUNT } from './counters.js';
import { before, distance, later, upTo } from './sequence.js';
import { mayGo } from './silly-window.js';
import { LOST, RETRANSMITTED, SACKED } from './transmit-log.js';

/** RFC 5681: duplicate ACKs, or as many segments SACKed, that mean a loss. */
const DUP_THRESHOLD = 3;
/** RFC 8985 section 6.2: recoveries without a D-SACK until the reordering window is the least again. */
const PERSISTENCE = 16;
/** Linux's bound; the window is never longer than the round trip anyway. */
const MOST_STEPS = 255;

/**
 * Takes note of what the ACK at hand delivered last (RFC 8985, section 6.2, steps 1 to 3). `echo`: when the segment that it answers was sent, -1: not known. `isTimely`: what it says
 * is the round trip.
 */
export function noteDelivered(c: Connection, now: number, echo: number, isTimely: boolean): void {
  const { log } = c;
  const rtt = distance(log.newestSentAt, now);
  // An ACK of the first copy, come late, must not be taken for one of the second.
  if (log.newestIsRetransmitted && ((echo !== -1 && distance(log.newestSentAt, echo) < 0) || (c.rtt.isKnown && rtt < c.rtt.least))) return;
  if (log.isReordered) c.isReordering = true;
  if (isTimely) c.rackRtt = rtt;
  if (c.hasRack && !isSentBefore(c.rackSentAt, c.rackEnd, log.newestSentAt, log.newestEnd)) return;
  c.hasRack = true;
  c.rackSentAt = log.newestSentAt;
  c.rackEnd = log.newestEnd;
}

function isSentBefore(sentAt: number, end: number, otherSentAt: number, otherEnd: number): boolean {
  return before(sentAt, otherSentAt) || (sentAt === otherSentAt && before(end, otherEnd));
}

/** Section 6.2, step 4: something was sent again that had only been late. The window grows once per round trip. */
export function adaptReordering(c: Connection, sawDuplicateSack: boolean): void {
  if (c.hasDuplicateRound && upTo(c.duplicateRound, c.sndUna)) c.hasDuplicateRound = false;
  if (!sawDuplicateSack || c.hasDuplicateRound) return;
  c.hasDuplicateRound = true;
  c.duplicateRound = later(c.sndNxt, (c.sndUna + 1) | 0); // where nothing is in flight the round ends with what comes next
  c.reorderSteps = Math.min(MOST_STEPS, c.reorderSteps + 1);
  c.reorderPersist = PERSISTENCE;
}

/** Section 6.2, step 4: how much later something may arrive, in ms. */
function reorderingWindow(c: Connection): number {
  if (!c.isReordering && (c.mode !== MODE.open || c.dupAcks >= DUP_THRESHOLD || c.log.sacked >= DUP_THRESHOLD * c.mss)) return 0;
  return Math.max(1, Math.min((c.rtt.least * c.reorderSteps) >> 2, c.rtt.smoothed));
}

/** Marks what is lost (step 5); gives the ms until the next may be, 0: nothing is in doubt. */
export function detectLoss(c: Connection, now: number): number {
  if (!c.hasRack) return 0;
  const { log } = c;
  const slack = c.rackRtt + reorderingWindow(c);
  let wait = 0;
  for (let i = 0; i < log.count; i++) {
    if ((log.stateOf(i) & (SACKED | LOST)) !== 0) continue;
    if (!isSentBefore(log.sentAt(i), log.endOf(i), c.rackSentAt, c.rackEnd)) continue;
    const left = slack - distance(log.sentAt(i), now);
    if (left > 0) wait = Math.max(wait, left);
    else log.markLost(i);
  }
  return wait;
}

/** Without SACK: three duplicate ACKs, and then the hole behind each partial ACK. */
export function detectLossByCount(c: Connection, hasAdvanced: boolean): void {
  // After a timeout, which was too early, its copies bring duplicate ACKs (RFC 6582 section 3.2, step 1).
  const isThird = c.mode === MODE.open && !c.hasTimedOut && c.dupAcks === DUP_THRESHOLD;
  const isPartial = c.mode === MODE.recovery && hasAdvanced && before(c.sndUna, c.recoveryPoint);
  if (!isThird && (!isPartial || (c.log.stateOf(0) & RETRANSMITTED) !== 0)) return;
  c.log.markHeadLost(c.mss);
  c.isHeadDue = true;
}

/**
 * Something is lost: one reduction for all that was in flight, and at once. Proportional rate reduction (RFC 9937) was tried and is slower here: below the threshold it sends no more
 * than arrives, and where much is lost the little that is left in flight shows too few losses before the timer does (158 against 119 kB/s at a loss of 10 %).
 */
export function enterRecovery(c: Connection, now: number): void {
  if (c.mode !== MODE.open || c.log.lost === 0) return;
  c.mode = MODE.recovery;
  c.recoveryPoint = c.sndNxt;
  c.isHeadDue = true;
  c.congestion.lost(flightSize(c), now);
  c.env.count(COUNT.fastRecoveries);
}

/** RFC 5681: what was sent and not acknowledged, SACKed or not. */
function flightSize(c: Connection): number {
  return distance(c.sndUna, c.sndNxt);
}

/** The timer ran out (RFC 6298 section 5, RFC 5681 section 3.1). */
export function enterLoss(c: Connection, now: number): void {
  const { log } = c;
  c.hasTimedOut = true;
  c.timedOutAt = now;
  const isAgain = c.mode === MODE.loss && before(c.sndUna, c.recoveryPoint);
  c.congestion.timedOut(flightSize(c), isAgain);
  // The head cannot be SACKed and not acknowledged, unless the peer has thrown away what it had reported.
  log.markAllLost((log.stateOf(0) & SACKED) !== 0);
  if (!isAgain) {
    c.doubt = c.mode === MODE.open ? DOUBT.unanswered : DOUBT.none; // where something was lost already, there is none
    c.doubtedAt = now;
  } else if (c.doubt === DOUBT.tried) c.doubt = DOUBT.none;
  c.mode = MODE.loss;
  c.recoveryPoint = c.sndNxt;
  c.dupAcks = 0;
  c.isTailProbeOut = false;
  c.env.count(COUNT.timeouts);
}

/** What an ACK says about a timeout that is in doubt. */
interface TimeoutEvidence {
  readonly hasAdvanced: boolean;
  readonly isDuplicate: boolean;
  readonly sawDuplicateSack: boolean;
  /** Its timestamp answers a copy that was sent before the timeout. */
  readonly isOfOriginal: boolean;
}

/**
 * Whether the timeout was too early: then nothing but its one segment is sent again, and the window is given back. Timestamps tell it by the first ACK (RFC 3522, Eifel). Without them two
 * new segments go after that, and what the second ACK reports was sent before the timeout, or it reports nothing but those two (RFC 5682, F-RTO). Says whether the window is settled: it
 * must not grow by this ACK.
 */
export function judgeTimeout(c: Connection, e: TimeoutEvidence): boolean {
  if (!c.congestion.canUndo) {
    believeTimeout(c);
    return false;
  }
  return c.doubt === DOUBT.unanswered ? judgeFirst(c, e) : judgeSecond(c, e);
}

function judgeFirst(c: Connection, e: TimeoutEvidence): boolean {
  if (!e.hasAdvanced) {
    if (e.isDuplicate && !c.hasSack && !c.hasTimestamps) c.doubt = DOUBT.none;
    return false;
  }
  c.doubt = DOUBT.none;
  if (c.hasTimestamps) {
    if (!e.isOfOriginal || e.sawDuplicateSack) return false;
    undoTimeout(c);
    return true;
  }
  // Not all of the copy has arrived, or there is nothing left to ask about, or with.
  if ((c.log.stateOf(0) & RETRANSMITTED) !== 0 || !before(c.sndUna, c.recoveryPoint) || !mayTry(c)) return false;
  c.doubt = DOUBT.tried;
  c.doubtEnd = c.sndNxt;
  c.log.takeBack();
  c.congestion.window = c.log.inFlight + 2 * c.mss;
  return true;
}

function judgeSecond(c: Connection, e: TimeoutEvidence): boolean {
  const { log } = c;
  const isBeyond = c.hasSack && before(c.doubtEnd, log.foremost);
  if (!isBeyond && log.delivered > 0) {
    undoTimeout(c);
    return true;
  }
  if (!isBeyond && (!e.isDuplicate || e.sawDuplicateSack)) return true;
  log.markLostBefore(c.doubtEnd);
  believeTimeout(c);
  return false;
}

/** It was right. If two new segments have gone, three may be under way (RFC 5682 section 2.1, step 3 a). */
export function believeTimeout(c: Connection): void {
  if (c.doubt === DOUBT.tried) c.congestion.window = 3 * c.mss;
  c.doubt = DOUBT.none;
}

/** Whether a new segment can go: there is something, and the peer's window is what counts. */
function mayTry(c: Connection): boolean {
  const data = distance(c.sndNxt, c.send.end);
  const window = c.sndWnd - flightSize(c);
  return data > 0 && mayGo(c, data, window, window, false);
}

function undoTimeout(c: Connection): void {
  c.doubt = DOUBT.none;
  c.mode = MODE.open;
  c.dupAcks = 0;
  c.isRearmDue = true;
  c.log.takeBack();
  c.congestion.undo(c.log.inFlight, c.log.delivered);
  c.env.count(COUNT.undone);
}

/** Everything that was in flight when the loss was found, or when the timer ran out, has arrived. */
export function leaveRecovery(c: Connection): void {
  if ((c.mode === MODE.open && !c.hasTimedOut) || before(c.sndUna, c.recoveryPoint)) return;
  // Without SACK the copies' duplicate ACKs say the same number as the last of the flight (RFC 6582 section 3.2, step 1: more than `recover`).
  if (c.hasSack || before(c.recoveryPoint, c.sndUna)) c.hasTimedOut = false;
  c.doubt = DOUBT.none;
  if (c.mode === MODE.open) return;
  c.mode = MODE.open;
  c.dupAcks = 0;
  if (--c.reorderPersist <= 0) c.reorderSteps = 1;
}
