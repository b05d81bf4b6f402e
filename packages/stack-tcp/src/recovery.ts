/**
 * Finding out what is lost.
 * Read first: RFC 8985 (RACK-TLP), RFC 6582 (NewReno, for peers without SACK), RFC 5681 section 3.2.
 *
 * RACK: what was sent before something that has arrived, and has not arrived a reordering window later, is lost; also if it was sent again. So a lost retransmission needs no
 * timeout, and the third duplicate ACK is a special case (no window at all).
 */
import { type Connection, MODE } from './connection.js';
import { COUNT } from './counters.js';
import { before, distance } from './sequence.js';
import { LOST, RETRANSMITTED, SACKED } from './transmit-log.js';

/** RFC 5681: duplicate ACKs, or as many segments SACKed, that mean a loss. */
const DUP_THRESHOLD = 3;

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
  const isThird = c.mode === MODE.open && c.dupAcks === DUP_THRESHOLD;
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
  c.mode = MODE.loss;
  c.recoveryPoint = c.sndNxt;
  c.dupAcks = 0;
  c.isTailProbeOut = false;
  c.env.count(COUNT.timeouts);
}

/** Everything that was in flight when the loss was found has arrived. */
export function leaveRecovery(c: Connection): void {
  if (c.mode === MODE.open || before(c.sndUna, c.recoveryPoint)) return;
  c.mode = MODE.open;
  c.hasTimedOut = false;
  c.dupAcks = 0;
  c.reorderSteps = 1;
}
