/**
 * A segment for a connection has come in.
 * Read first: RFC 9293 section 3.10.7.4, whose steps are in this order here; RFC 5961 (what an attacker outside of the path can send); RFC 7323 section 5 (PAWS).
 */
import { FLAG } from '@nekit/core/ip';
import { acknowledge, finAcknowledged } from './acknowledgment.js';
import { type Connection, FAILURE, MODE, STATE } from './connection.js';
import { COUNT } from './counters.js';
import { LONGEST_TRIP } from './rtt.js';
import type { Segment } from './segment.js';
import { before, distance, upTo } from './sequence.js';
import { noteOld, receiveText } from './text.js';

/** A timestamp that is older than this says nothing any more (RFC 7323 section 5.5: 24 days), in ms. */
const OUTDATED = 24 * 86_400_000;

export function arrive(c: Connection, s: Segment, now: number): void {
  if (c.state === STATE.closed) return;
  c.env.received(s.length);
  if (s.has(FLAG.rst)) {
    receiveReset(c, s, now);
    return;
  }
  if (s.has(FLAG.syn)) {
    receiveSyn(c, s, now);
    return;
  }
  if (c.hasTimestamps && !isTimely(c, s, now)) return;
  if (!isAcceptable(c, s)) {
    c.env.count(COUNT.dropUnacceptable);
    answerUnacceptable(c, s, now);
    return;
  }
  if (!s.has(FLAG.ack)) {
    c.env.count(COUNT.dropNoAck);
    return;
  }
  if (c.state === STATE.synReceived) {
    if (!establish(c, s, now)) return;
  } else if (!acknowledge(c, s, now)) return;
  c.heardAt = now; // not by what anybody can say who knows the two addresses
  // Only now: a segment that is dropped, for its ACK, too (RFC 5961 section 5), must not make newer ones look old.
  if (c.hasTimestamps && upTo(s.sequence, c.lastAckSent)) {
    c.tsRecent = s.timestamp;
    c.tsRecentAt = now;
  }
  if (c.isFinQueued) finAcknowledged(c);
  if (s.length > 0 || s.has(FLAG.fin)) receiveText(c, s, now);
}

/**
 * RFC 9293 table 6, with three differences that Linux has, too: a segment without text may lie at the right edge of the window (the peer has filled it, and its ACK counts), and as
 * far back as the last ACK we sent (it overtook text); and what overlaps the window at both ends is in it. A probe of a closed window is let through for its ACK, and so is text that
 * is sent again and that we have, as BSD does: our ACK of it was lost. Its timestamp must be echoed, or the peer takes the time since the first copy for the round trip; and where the
 * pure ACKs of a peer lie behind our window, because it was told of a larger one, the ACK it carries is the only one that reaches us.
 */
function isAcceptable(c: Connection, s: Segment): boolean {
  const offset = distance(c.rcvNxt, s.sequence);
  const window = distance(c.rcvNxt, c.rcvEdge);
  const length = s.length + (s.has(FLAG.fin) ? 1 : 0);
  if (length === 0) return offset <= window && offset >= distance(c.rcvNxt, c.lastAckSent);
  return offset === 0 || (offset < window && (offset + length > 0 || offset >= -Math.max(c.rcvLimit, 0xffff)));
}

/** An ACK, so that a peer that is out of step finds back; where nothing is in it, not more often than twice a second. */
function answerUnacceptable(c: Connection, s: Segment, now: number): void {
  if (s.length > 0) noteOld(c, s.sequence, (s.sequence + s.length) | 0);
  if (s.length > 0 || s.has(FLAG.fin) || c.mayChallenge(now)) c.isAckDue = true;
}

/**
 * RFC 5961 section 3: only the very next sequence number resets; the rest of the window is challenged, and a guess is not worth an answer each time. Behind its FIN some peers
 * (macOS) do not count that: Linux believes them, too.
 */
function receiveReset(c: Connection, s: Segment, now: number): void {
  if (s.sequence === c.rcvNxt || (c.isFinReceived && s.sequence === c.finSequence)) {
    c.env.count(COUNT.resetByPeer);
    c.fail(FAILURE.reset);
    return;
  }
  c.env.count(COUNT.dropReset);
  const offset = distance(c.rcvNxt, s.sequence);
  if (offset > 0 && offset < distance(c.rcvNxt, c.rcvEdge)) challenge(c, now);
}

/** RFC 5961 section 4: whatever its number is. The client's own SYN again means that our SYN-ACK was lost. */
function receiveSyn(c: Connection, s: Segment, now: number): void {
  if (c.state === STATE.synReceived && s.sequence === c.irs && !s.has(FLAG.ack)) {
    if (s.hasTimestamps && c.hasTimestamps && !before(s.timestamp, c.tsRecent)) c.tsRecent = s.timestamp;
    c.heardAt = now;
    if (c.mayChallenge(now)) c.isSynAckDue = true;
    return;
  }
  c.env.count(COUNT.dropSyn);
  challenge(c, now);
}

function challenge(c: Connection, now: number): void {
  if (!c.mayChallenge(now)) return;
  c.env.count(COUNT.challengeAcks);
  c.isAckDue = true;
}

/** RFC 7323 section 3.2 and 5.3. */
function isTimely(c: Connection, s: Segment, now: number): boolean {
  if (!s.hasTimestamps) {
    c.env.count(COUNT.dropNoTimestamp);
    return false;
  }
  if (!before(s.timestamp, c.tsRecent)) return true;
  const age = distance(c.tsRecentAt, now);
  if (age < 0 || age > OUTDATED) return true;
  c.env.count(COUNT.dropPaws);
  answerUnacceptable(c, s, now);
  return false;
}

/** The ACK of our SYN-ACK. One that is not leaves everything as it is, and is answered with RST. */
function establish(c: Connection, s: Segment, now: number): boolean {
  if (!before(c.sndUna, s.acknowledgment) || before(c.sndNxt, s.acknowledgment)) {
    c.env.count(COUNT.dropAckOfUnsent);
    c.env.refuseAck(c, s.acknowledgment);
    return false;
  }
  c.sndUna = s.acknowledgment;
  c.sndWnd = s.window << c.sndScale;
  c.maxSndWnd = Math.max(c.maxSndWnd, c.sndWnd);
  c.sndWl1 = s.sequence;
  c.sndWl2 = s.acknowledgment;
  c.state = c.isFinQueued ? STATE.finWait1 : STATE.established;
  c.isRearmDue = true;
  c.isStalled = false;
  c.isSynAckDue = false;
  if (c.synTries === 1) c.rtt.sample(distance(c.sentAt, now));
  else beginSlowly(c, s, now);
  c.mode = MODE.open;
  return true;
}

/**
 * The SYN-ACK had to be sent again. Which of them was answered only a timestamp tells; without one the timeout is that of RFC 6298 section 5.7. Once may have been too early, more
 * than once is loss: then the first window is one segment (RFC 5681 section 3.1, RFC 6928 section 2).
 */
function beginSlowly(c: Connection, s: Segment, now: number): void {
  const rtt = c.hasTimestamps ? distance((s.echo - c.timestampOffset) | 0, now) : -1;
  if (rtt >= 0 && rtt < LONGEST_TRIP) c.rtt.sample(rtt);
  else c.rtt.fallBack();
  if (c.synTries > 2) c.congestion.window = c.mss;
}
