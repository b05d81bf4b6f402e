/** The ACK field of a segment. Read first: RFC 9293 section 3.10.7.4 (fifth), RFC 5961 section 5, RFC 2018, RFC 7323 section 4. */
import { FLAG } from '@nekit/core/ip';
import { type Connection, DOUBT, MODE, RTX, STATE } from './connection.js';
import { COUNT } from './counters.js';
import { adaptReordering, believeTimeout, detectLoss, detectLossByCount, enterRecovery, judgeTimeout, leaveRecovery, noteDelivered } from './recovery.js';
import { LONGEST_TRIP } from './rtt.js';
import type { Segment } from './segment.js';
import { before, distance, later, upTo } from './sequence.js';

/** So many ranges in flight are nearly all that the log takes. */
const CRUMBLED = 1_000;

/** Takes in what the ACK says. false: it is nobody's, and the rest of the segment is not to be looked at. */
export function acknowledge(c: Connection, s: Segment, now: number): boolean {
  const ack = s.acknowledgment;
  if (before(c.sndMax, ack)) {
    c.env.count(COUNT.dropAckOfUnsent);
    if (s.length > 0 || c.mayChallenge(now)) c.isAckDue = true;
    return false;
  }
  if (before(ack, (c.sndUna - c.maxSndWnd) | 0)) {
    c.env.count(COUNT.dropOldAck);
    if (c.mayChallenge(now)) c.isAckDue = true;
    return false;
  }
  const advance = distance(c.sndUna, ack);
  const window = s.window << c.sndScale;
  const { log } = c;
  const inFlight = log.inFlight;
  const isRepeat = advance === 0 && s.length === 0 && !s.has(FLAG.fin) && window === c.sndWnd;
  if (advance <= 0 && s.sackCount === 0 && log.count === 0) {
    updateWindow(c, s, window, advance > 0);
    answered(c);
    settleTailProbe(c, isRepeat, now);
    return true;
  }
  const isDuplicate = isRepeat && log.count > 0;
  let sawDuplicateSack = false;
  const echo = c.hasTimestamps && s.hasTimestamps ? (s.echo - c.timestampOffset) | 0 : -1;
  const isStale = echo !== -1 && c.hasTimedOut && before(echo, c.timedOutAt);
  log.begin();
  if (advance > 0) advanceTo(c, ack);
  if (s.sackCount > 0 && c.hasSack) sawDuplicateSack = applySack(c, s);
  if (isDuplicate) c.dupAcks++;
  updateWindow(c, s, window, advance > 0);
  answered(c);
  // That of a tail probe, or of a timeout's copies, was not for want of patience with what is late.
  if (c.hasSack) adaptReordering(c, sawDuplicateSack && !(c.isTailProbeOut && c.isTailProbeRepeat) && !c.hasTimedOut);
  const isOfOriginal = isStale && before(echo, c.doubtedAt) && distance(echo, now) < LONGEST_TRIP;
  const isSettled = c.doubt !== DOUBT.none && judgeTimeout(c, { hasAdvanced: advance > 0, isDuplicate, sawDuplicateSack, isOfOriginal });
  const { delivered } = log;
  if (advance > 0) {
    if (echo === -1 && isAmbiguous(c)) c.rtt.isDoubtful = true;
    else if (!isStale) c.rtt.progress();
  }
  if (delivered > 0) measure(c, echo, advance > 0 && !isStale, sawDuplicateSack, now);
  settleTailProbe(c, sawDuplicateSack || (isRepeat && s.sackCount === 0), now);
  recover(c, advance > 0, now);
  if (advance > 0 && delivered > 0 && !isSettled && c.mode !== MODE.recovery && isLimited(c, inFlight)) {
    const isNewRound = upTo(c.roundEnd, c.sndUna);
    if (isNewRound) c.roundEnd = c.sndNxt;
    c.congestion.acknowledged(delivered, now, c.rtt.smoothed, c.rackRtt, isNewRound);
  }
  return true;
}

/**
 * Whether no one can tell which copy has arrived, or when: what timestamps would say (`measure`). Then the timeout stays as long as it has become (RFC 6298 section 5, Karn): back at
 * what the old round trips say, it would run out before each answer of a path that has become slower, and nothing would ever be measured. What was no part of the log was a window probe;
 * and where the log is full of crumbs, each segment needs a timeout (`TransmitLog.retransmitted`), which must not become longer by that.
 */
function isAmbiguous(c: Connection): boolean {
  const { log } = c;
  return log.delivered > 0 && log.count < CRUMBLED && (log.newestIsRetransmitted || isFromBeforeTimeout(c));
}

function isFromBeforeTimeout(c: Connection): boolean {
  return c.hasTimedOut && before(c.log.newestSentAt, c.timedOutAt);
}

function advanceTo(c: Connection, ack: number): void {
  c.sndUna = ack;
  c.sndNxt = later(c.sndNxt, ack); // a window probe got through
  c.log.acknowledge(ack);
  c.send.acknowledge(ack);
  c.dupAcks = 0;
  c.isRearmDue = true;
  c.isStalled = false;
}

/**
 * The peer is alive: what waits for it does not give up, however long the window stays closed. Unless both sides have ended already: then nobody is left here who could, and a peer
 * that will never take the rest must not be served for ever.
 */
function answered(c: Connection): void {
  const isOrphan = c.isFinQueued && c.isFinReceived;
  if (!isOrphan && (c.sndWnd === 0 || c.rtxKind === RTX.persist)) c.isStalled = false;
  c.keepAliveTries = 0;
}

/**
 * RFC 9293: only from a segment that is not older than the last one it was taken from. One that acknowledges something new is newer, even if it is text sent again: the window counts
 * from what it acknowledges, and the old one would reach too far.
 */
function updateWindow(c: Connection, s: Segment, window: number, isNew: boolean): void {
  if (before(s.acknowledgment, c.sndUna)) return;
  if (!isNew && !before(c.sndWl1, s.sequence) && (c.sndWl1 !== s.sequence || before(s.acknowledgment, c.sndWl2))) return;
  if (c.sndWnd !== window && c.rtxKind === RTX.persist) c.isRearmDue = true;
  if (c.sndWnd === 0 && window > 0 && c.log.count > 0 && c.mode === MODE.loss) reopen(c);
  c.sndWnd = window;
  c.sndWl1 = isNew ? later(c.sndWl1, s.sequence) : s.sequence;
  c.sndWl2 = s.acknowledgment;
  if (window > c.maxSndWnd) c.maxSndWnd = window;
  if (window > 0) c.persistBackoff = 0;
}

/** The peer had taken its window back and gives it again: what was sent into the closed one was dropped, and the backoff meant the window, not the path. */
function reopen(c: Connection): void {
  believeTimeout(c);
  c.rtt.progress();
  c.log.markHeadLost(c.mss);
  c.isHeadDue = true;
  c.isRearmDue = true;
}

/** Whether one of the blocks says that something arrived twice (RFC 2883 section 4: for the ACK in that same segment, which others may have overtaken). What lies outside of what is in flight is nobody's. */
function applySack(c: Connection, s: Segment): boolean {
  let sawDuplicate = false;
  for (let i = 0; i < s.sackCount; i++) {
    const left = s.sack[i * 2] ?? 0;
    const right = s.sack[i * 2 + 1] ?? 0;
    if (!before(left, right)) continue;
    const isInside = s.sackCount > 1 && i === 0 && upTo(s.sack[2] ?? 0, left) && upTo(right, s.sack[3] ?? 0);
    if (upTo(right, c.sndUna) || isInside) {
      if (i === 0 && (isInside || upTo(right, s.acknowledgment))) sawDuplicate = true;
      continue;
    }
    if (before(c.sndNxt, right) || before(left, c.sndUna)) continue;
    c.log.sack(left, right);
  }
  return sawDuplicate;
}

/**
 * Round trip (RFC 6298 section 3: not of what was sent twice, unless timestamps tell which copy it was), and RACK's note. Where ACKs are lost, an ACK may tell of something that
 * arrived long ago: if it answers a duplicate, or if what it tells of for the first time was sent before the last timeout, or if its echo is older than that. That says how long the
 * timer was, not the path; and if it is the path after all, the next timeout must stay as long as it is (RFC 6298 section 5: Karn) until something is measured.
 */
function measure(c: Connection, echo: number, isEchoed: boolean, sawDuplicate: boolean, now: number): void {
  const { log } = c;
  const isTimely = !sawDuplicate && !isFromBeforeTimeout(c);
  if (!log.newestIsRetransmitted && isTimely) c.rtt.sample(distance(log.newestSentAt, now));
  else if (echo !== -1 && isEchoed && !sawDuplicate) {
    const rtt = distance(echo, now);
    if (rtt >= 0 && rtt < LONGEST_TRIP) c.rtt.sample(rtt);
  }
  // Which copy that was is not known yet: if it was the first, the others are no later than it.
  if (c.doubt === DOUBT.tried && log.newestIsRetransmitted) return;
  // What comes late after a timeout that was too early is that late.
  noteDelivered(c, now, echo, isTimely || (!sawDuplicate && c.mode !== MODE.loss));
}

/**
 * RFC 8985 section 7.4: a probe that repaired the loss of a tail was a loss all the same, which is known when something behind it is acknowledged, and nothing has said (by a D-SACK,
 * or a second ACK) that its copy was one too many. Karn's rule is for it, too: if it was only too early, the next one would be as early, and each answer as ambiguous. So none goes until
 * something is measured.
 */
function settleTailProbe(c: Connection, isCopyToldOf: boolean, now: number): void {
  if (!c.isTailProbeOut || before(c.sndUna, c.tailProbeEnd)) return;
  if (c.isTailProbeRepeat && !isCopyToldOf) {
    if (c.sndUna === c.tailProbeEnd) return;
    if (c.mode === MODE.open) c.congestion.lost(c.tailProbeFlight, now);
  }
  c.isTailProbeRepeat = false;
  c.isTailProbeOut = c.rtt.isDoubtful;
}

function recover(c: Connection, hasAdvanced: boolean, now: number): void {
  leaveRecovery(c);
  if (c.doubt === DOUBT.tried) return;
  if (c.hasSack) {
    if (c.log.sacked > 0 || c.mode !== MODE.open) {
      const wait = detectLoss(c, now);
      if (wait > 0) {
        c.rtxKind = RTX.reordering;
        c.rtxAt = (now + wait) | 0;
        c.isRearmDue = false;
      } else if (c.rtxKind === RTX.reordering) c.isRearmDue = true;
    }
  } else detectLossByCount(c, hasAdvanced);
  enterRecovery(c, now);
}

/** Whether the congestion window is what holds us back: one that is not used must not grow (RFC 9438 section 5.8). */
function isLimited(c: Connection, inFlight: number): boolean {
  const { window, threshold } = c.congestion;
  return c.isWindowLimited || (window < threshold && inFlight * 2 >= window);
}

/** After the ACK of our FIN. */
export function finAcknowledged(c: Connection): void {
  if (!c.isFinAcked) return;
  if (c.state === STATE.finWait1) c.state = STATE.finWait2;
  else if (c.state === STATE.closing) c.state = STATE.timeWait;
  else if (c.state === STATE.lastAck) c.state = STATE.closed;
}
