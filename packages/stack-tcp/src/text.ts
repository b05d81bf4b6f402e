/** The bytes of a segment and its FIN. Read first: RFC 9293 section 3.10.7.4 (seventh, eighth), RFC 5681 section 4.2 (when to answer), RFC 2883. */
import { FLAG } from '@nekit/core/ip';
import { type Connection, FAILURE, STATE } from './connection.js';
import { COUNT } from './counters.js';
import type { Segment } from './segment.js';
import { before, distance, earlier } from './sequence.js';

/** A delayed ACK, in ms: 500 at most (RFC 9293, MUST-40); Linux has 40. */
const DELAYED_ACK_MS = 40;

/** Payloads of this size go straight from the packet to who takes them; smaller ones are gathered until the end of the batch. */
const TAKE_AT_ONCE = 8_192;

/** Takes in the text, cut to the window, and the FIN if it is in order. */
export function receiveText(c: Connection, s: Segment, now: number): void {
  if (c.state !== STATE.established && c.state !== STATE.finWait1 && c.state !== STATE.finWait2) {
    if (!before(s.sequence, c.rcvNxt)) return; // what lies behind its FIN is nobody's
    if (s.length > 0) noteOld(c, s.sequence, (s.sequence + s.length) | 0);
    c.isAckDue = true;
    return;
  }
  let { sequence, payload: start, end } = s;
  let hasFin = s.has(FLAG.fin);
  if (s.unit > c.rcvMss) c.rcvMss = Math.min(s.unit, c.env.sink.mtu);
  const old = distance(sequence, c.rcvNxt);
  if (old > 0) {
    const cut = Math.min(old, end - start);
    if (cut > 0) noteDuplicate(c, sequence, (sequence + cut) | 0);
    start += cut;
    sequence = (sequence + cut) | 0;
    c.isAckDue = true;
  }
  const beyond = distance(c.rcvEdge, (sequence + end - start) | 0);
  if (beyond > 0) {
    end = Math.max(start, end - beyond);
    hasFin = false;
    c.isAckDue = true;
  }
  const last = (sequence + end - start) | 0;
  // One of the two is not the peer's. An honest FIN comes again, and what it ends is whole then.
  if (start < end && c.hasFinSequence && before(c.finSequence, last)) c.hasFinSequence = false;
  if (hasFin) noteFin(c, last, sequence === c.rcvNxt);
  if (start < end) {
    if (hasFin && sequence === c.rcvNxt && before(last, c.receive.extent)) c.receive.dropIslands(); // behind the end there is nothing
    if (sequence === c.rcvNxt) inOrder(c, s, sequence, start, end, now);
    else outOfOrder(c, s, sequence, start, end);
  } else if (hasFin) c.isAckDue = true;
  if (c.hasFinSequence && c.rcvNxt === c.finSequence) receiveFin(c);
}

function inOrder(c: Connection, s: Segment, sequence: number, from: number, end: number, now: number): void {
  const { receive, owner } = c;
  const hadGap = receive.islandCount > 0;
  if (hadGap) noteHeld(c, sequence, (sequence + end - from) | 0);
  let start = from;
  if (end - start >= TAKE_AT_ONCE && owner?.takesAtOnce === true) {
    const taken = owner.take(s.bytes, start, end);
    if (c.failure !== FAILURE.none) return; // the call found out that its socket has failed
    if (taken > 0) {
      start += taken;
      receive.pass(taken);
      c.rcvNxt = receive.tail;
      c.taken(taken, now);
    }
  }
  if (start < end) {
    const stored = distance(receive.tail, (sequence + end - from) | 0); // what was taken may have reached an island
    if (stored > 0 && !storeInOrder(c, s.bytes, end - stored, end)) {
      c.env.count(COUNT.dropMemory);
      c.isAckDue = true;
    }
  }
  c.unackedBytes += distance(c.rcvNxt, receive.tail) + (start - from);
  c.rcvNxt = receive.tail;
  if (hadGap || c.unackedBytes >= 2 * c.rcvMss) c.isAckDue = true;
  else if (!c.isAckDelayed && !c.isAckDue) {
    c.isAckDelayed = true;
    c.ackAt = (now + DELAYED_ACK_MS) | 0;
  }
}

/** Whether all of it was kept. Where memory is short it is as much as there is room for: of segments that the device has joined the first would have been kept apart, too. */
function storeInOrder(c: Connection, bytes: Uint8Array, start: number, end: number): boolean {
  for (let length = end - start; length > 0; length = length > c.rcvMss ? length >> 1 : 0) {
    if (c.receive.store(c.receive.tail, bytes, start, start + length)) return length === end - start;
  }
  return false;
}

/** At once, so that three duplicates can make the peer send again what is missing. */
function outOfOrder(c: Connection, s: Segment, sequence: number, start: number, end: number): void {
  c.env.count(COUNT.outOfOrder);
  c.isAckDue = true;
  if (!c.hasSack) c.repeatsDue += Math.ceil((end - start) / Math.max(1, s.unit));
  const last = (sequence + end - start) | 0;
  if (noteHeld(c, sequence, last) && c.receive.heldLeft === sequence && c.receive.heldRight === last) return;
  if (c.env.isFull || !c.receive.store(sequence, s.bytes, start, end, c.env.isScarce)) c.env.count(COUNT.dropMemory);
  else c.env.hold(c.receive);
}

/** RFC 2883 section 4: of what arrived twice the first part is told. */
function noteHeld(c: Connection, left: number, right: number): boolean {
  if (!c.receive.findHeld(left, right)) return false;
  noteDuplicate(c, c.receive.heldLeft, c.receive.heldRight);
  return true;
}

/** What came again and lies before RCV.NXT: a block never says more than was received (RFC 2018 section 3), and a FIN is no byte. */
export function noteOld(c: Connection, left: number, right: number): void {
  const received = earlier(right, c.isFinReceived ? c.finSequence : c.rcvNxt);
  if (before(left, received)) noteDuplicate(c, left, received);
}

function noteDuplicate(c: Connection, left: number, right: number): void {
  if (!c.hasSack) return;
  c.hasDuplicate = true;
  c.duplicateLeft = left;
  c.duplicateRight = right;
}

/** The first FIN says where the end is; a second one that says something else is not believed, nor one in front of what came already, unless it is in order. */
function noteFin(c: Connection, sequence: number, isInOrder: boolean): void {
  if (c.hasFinSequence || before(sequence, c.rcvNxt)) return;
  if (!isInOrder && before(sequence, c.receive.extent)) return;
  c.hasFinSequence = true;
  c.finSequence = sequence;
}

function receiveFin(c: Connection): void {
  c.isFinReceived = true;
  c.receive.end();
  c.rcvNxt = (c.rcvNxt + 1) | 0;
  if (before(c.rcvEdge, c.rcvNxt)) c.rcvEdge = c.rcvNxt;
  c.isAckDue = true;
  if (c.state === STATE.established) c.state = STATE.closeWait;
  else if (c.state === STATE.finWait1) c.state = c.isFinAcked ? STATE.timeWait : STATE.closing;
  else if (c.state === STATE.finWait2) c.state = STATE.timeWait;
}
