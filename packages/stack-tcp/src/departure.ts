/**
 * What a connection has to say now, in this order: RST, SYN-ACK, an ACK that reports holes, lost bytes, new bytes and the FIN, a probe, an ACK.
 * Read first: RFC 9293 sections 3.8.6 (windows, probes, silly windows) and 3.10.8, RFC 6675 section 5, RFC 7323 section 3.
 */
import { FLAG, LONGEST_PACKET, type PacketSink, pieceCount, TCP_OPTION, write16, write32 } from '@nekit/core/ip';
import { type Connection, FAILURE, MODE, RTX, STATE, TIMESTAMP_BYTES } from './connection.js';
import { COUNT } from './counters.js';
import { allowFragments, writeHeaders } from './headers.js';
import { writeTimestamps } from './replies.js';
import { before, distance, later } from './sequence.js';
import { mayGo } from './silly-window.js';
import { LOST, SACKED } from './transmit-log.js';

/** Payloads of this size are not copied where the sink can do without: they go out right after the connection has been looked at. */
const LEND = 8_192;

/** Blocks that fit beside timestamps, and without. */
const BLOCKS_BESIDE_TIMESTAMPS = 3;
const BLOCKS_ALONE = 4;

/** Duplicate ACKs that make a peer send again. */
const REPEATS = 3;

/** Scratch of one stack: no allocation per ACK. */
export class Departure {
  readonly #blocks = new Int32Array(BLOCKS_ALONE * 2);
  /** The sink has packets that refer to a send buffer. */
  #hasLent = false;

  /** Writes what there is to say. false: the sink is full, and the rest is for the next flush. */
  dispatch(c: Connection, sink: PacketSink, now: number): boolean {
    const isAll = this.#dispatch(c, sink, now);
    if (this.#hasLent) {
      // Nobody else has had a chance to change the buffer, and it is still in the cache.
      this.#hasLent = false;
      sink.flush?.();
    }
    return isAll;
  }

  /** An ACK that does not wait for the end of the batch. */
  acknowledge(c: Connection, sink: PacketSink, now: number): void {
    if (sink.flush !== undefined && c.isAckDue && this.#ack(c, sink, now)) sink.flush();
  }

  #dispatch(c: Connection, sink: PacketSink, now: number): boolean {
    if (c.isResetDue) return this.#reset(c, sink, now);
    if (c.state === STATE.closed) return true;
    if (c.state === STATE.synReceived) return (!c.isSynAckDue || this.#synAck(c, sink, now)) && (!c.isAckDue || this.#ack(c, sink, now));
    if (c.repeatsDue > 1 && !this.#repeat(c, sink, now)) return false;
    if (c.isAckDue && (c.receive.islandCount > 0 || c.hasDuplicate) && !this.#ack(c, sink, now)) return false;
    if (!this.#tailProbe(c, sink, now)) return false;
    if (c.log.lost > 0 && !this.#lost(c, sink, now)) return false;
    if (!this.#fresh(c, sink, now)) return false;
    if (!this.#windowProbe(c, sink, now)) return false;
    if (c.isKeepAliveDue && !this.#keepAlive(c, sink, now)) return false;
    return !c.isAckDue || this.#ack(c, sink, now);
  }

  #reset(c: Connection, sink: PacketSink, now: number): boolean {
    const options = c.hasTimestamps ? TIMESTAMP_BYTES : 0;
    const length = c.headerBytes + options;
    const at = sink.reserve(length, 0);
    if (at === -1) return false;
    const body = writeHeaders(sink.bytes, at, c, length, options, acceptable(c), c.rcvNxt, FLAG.rst | FLAG.ack, 0);
    if (c.hasTimestamps) writeTimestamps(sink.bytes, body, (now + c.timestampOffset) | 0, c.tsRecent);
    c.isResetDue = false;
    c.env.count(COUNT.resetsSent);
    c.env.count(COUNT.segmentsOut);
    return true;
  }

  /** MSS always; the rest only as an answer to the same in the SYN. */
  #synAck(c: Connection, sink: PacketSink, now: number): boolean {
    const options = 4 + (c.hasTimestamps ? TIMESTAMP_BYTES : 0) + (c.rcvScale > 0 || c.sndScale > 0 ? 4 : 0) + (c.hasSack ? 4 : 0);
    const length = c.headerBytes + options;
    const at = sink.reserve(length, 0);
    if (at === -1) return false;
    const { bytes } = sink;
    let body = writeHeaders(bytes, at, c, length, options, c.iss, c.rcvNxt, FLAG.syn | FLAG.ack, Math.min(0xffff, distance(c.rcvNxt, c.rcvEdge)));
    write32(bytes, body, (TCP_OPTION.mss << 24) | (4 << 16));
    write16(bytes, body + 2, sink.mtu - c.headerBytes);
    body += 4;
    if (c.hasSack) {
      write32(bytes, body, (TCP_OPTION.nop << 24) | (TCP_OPTION.nop << 16) | (TCP_OPTION.sackPermitted << 8) | 2);
      body += 4;
    }
    if (c.hasTimestamps) {
      writeTimestamps(bytes, body, (now + c.timestampOffset) | 0, c.tsRecent);
      body += TIMESTAMP_BYTES;
    }
    if (c.rcvScale > 0 || c.sndScale > 0) write32(bytes, body, (TCP_OPTION.nop << 24) | (TCP_OPTION.windowScale << 16) | (3 << 8) | c.rcvScale);
    c.isSynAckDue = false;
    c.synTries++;
    c.sentAt = now;
    c.isRearmDue = c.isRearmDue || c.rtxKind === RTX.none;
    c.env.count(COUNT.segmentsOut);
    return true;
  }

  /** What is lost, as far as congestion and window allow; the first byte always goes when nothing else is under way. */
  #lost(c: Connection, sink: PacketSink, now: number): boolean {
    const { log } = c;
    for (let index = log.firstLost(); index !== -1; index = log.firstLost()) {
      const start = log.startOf(index);
      const length = (log.endOf(index) - start) | 0;
      const room = c.congestion.window - inFlight(c);
      if (room < c.mss && log.inFlight > 0 && !c.isHeadDue) break;
      const allowed = start === c.sndUna ? Math.max(c.mss, c.sndWnd) : distance(start, (c.sndUna + c.sndWnd) | 0);
      if (allowed <= 0) break;
      const whole = wholeSegments(c, usualLargest(sink), Math.min(length, allowed), Math.max(room, c.mss));
      // The FIN takes a number, but no room.
      const count = whole + 1 === length && whole < allowed && ((start + whole) | 0) === c.send.end ? length : whole;
      if (!this.#send(c, sink, start, count, now)) return false;
      c.isHeadDue = false;
      c.takesLarge = false;
      log.retransmitted(index, count, now);
      c.isRearmDue = c.isRearmDue || c.rtxKind === RTX.none || c.rtxKind === RTX.tailProbe;
      c.env.count(COUNT.retransmitted);
    }
    return true;
  }

  /** Bytes for the first time, and behind the last of them the FIN. */
  #fresh(c: Connection, sink: PacketSink, now: number): boolean {
    const isProbing = c.isWindowProbeDue;
    c.isWindowLimited = false;
    const silence = distance(c.sentAt, now); // negative after 24.8 days
    if (c.log.count === 0 && (silence < 0 || silence > c.rtt.rto)) c.congestion.idle();
    for (;;) {
      const data = distance(c.sndNxt, c.send.end);
      const pending = data + (c.isFinQueued && !c.isFinSent ? 1 : 0);
      if (pending <= 0 || data < 0) return true;
      const window = c.sndWnd - distance(c.sndUna, c.sndNxt);
      const room = c.congestion.window - inFlight(c);
      if (room < Math.min(pending, c.mss)) c.isWindowLimited = true;
      if (data === 0) {
        // A FIN takes no buffer, but it does take a number: it needs the window, not the congestion window.
        if (window <= 0) return true;
      } else if (!mayGo(c, data, window, room, isProbing)) return true;
      const wanted = window < data && window > c.mss ? window - (window % c.mss) : Math.min(data, window);
      const count = data === 0 ? 0 : freshBytes(c, sink, wanted, Math.max(room, c.mss));
      const hasFin = c.isFinQueued && count === data && window > count;
      if (!this.#send(c, sink, c.sndNxt, count + (hasFin ? 1 : 0), now)) return false;
      c.isWindowProbeDue = false;
      c.sndNxt = (c.sndNxt + count + (hasFin ? 1 : 0)) | 0;
      c.sndMax = later(c.sndMax, c.sndNxt);
      if (hasFin) c.isFinSent = true;
      c.log.append(c.sndNxt, now);
      c.isRearmDue = c.isRearmDue || c.rtxKind === RTX.tailProbe;
    }
  }

  /** RFC 8985 section 7.3: something new if there is, else the last segment again, so that the answer shows what is missing. */
  #tailProbe(c: Connection, sink: PacketSink, now: number): boolean {
    if (!c.isTailProbeDue) return true;
    c.isTailProbeDue = false;
    const { log } = c;
    if (log.count === 0 || c.mode !== MODE.open) return true;
    c.env.count(COUNT.tailProbes);
    c.isTailProbeOut = true;
    c.tailProbeEnd = c.sndNxt;
    c.isTailProbeRepeat = false;
    c.tailProbeFlight = distance(c.sndUna, c.sndNxt);
    const data = Math.min(distance(c.sndNxt, c.send.end), c.mss, c.sndWnd - distance(c.sndUna, c.sndNxt));
    if (data > 0) {
      if (!this.#send(c, sink, c.sndNxt, data, now)) return false;
      c.sndNxt = (c.sndNxt + data) | 0;
      c.sndMax = later(c.sndMax, c.sndNxt);
      c.tailProbeEnd = c.sndNxt;
      log.append(c.sndNxt, now);
      return true;
    }
    if (acceptable(c) !== c.sndNxt) return true; // the window was taken back: the peer would drop it, and the ACK in it
    const last = log.isolateTail(c.isFinSent ? c.mss + 1 : c.mss);
    if (last === -1 || (log.stateOf(last) & (SACKED | LOST)) !== 0) return true;
    const start = log.startOf(last);
    const length = (log.endOf(last) - start) | 0;
    if (!this.#send(c, sink, start, length, now)) return false;
    log.retransmitted(last, length, now);
    c.isTailProbeRepeat = true;
    return true;
  }

  /** One byte that the window has no room for (RFC 9293 section 3.8.6.1), or the FIN. */
  #windowProbe(c: Connection, sink: PacketSink, now: number): boolean {
    if (!c.isWindowProbeDue) return true;
    c.isWindowProbeDue = false;
    if (c.log.count > 0 || c.isFinAcked) return true;
    if (distance(c.sndUna, c.send.end) <= 0 && !c.isFinQueued) return true;
    if (!this.#send(c, sink, c.sndUna, 1, now)) return false;
    c.sndMax = later(c.sndMax, (c.sndUna + 1) | 0);
    c.env.count(COUNT.windowProbes);
    return true;
  }

  /** Nothing, one number too early: a peer that lives answers (RFC 9293 section 3.8.4). */
  #keepAlive(c: Connection, sink: PacketSink, now: number): boolean {
    const options = c.hasTimestamps ? TIMESTAMP_BYTES : 0;
    const length = c.headerBytes + options;
    const at = sink.reserve(length, 0);
    if (at === -1) return false;
    const body = writeHeaders(sink.bytes, at, c, length, options, (acceptable(c) - 1) | 0, c.rcvNxt, FLAG.ack, announce(c));
    if (c.hasTimestamps) writeTimestamps(sink.bytes, body, (now + c.timestampOffset) | 0, c.tsRecent);
    c.isKeepAliveDue = false;
    c.env.count(COUNT.segmentsOut);
    return true;
  }

  /** Numbers `[sequence, sequence + length)`: bytes, and the FIN if it is among them. */
  #send(c: Connection, sink: PacketSink, sequence: number, length: number, now: number): boolean {
    const data = Math.min(length, distance(sequence, c.send.end));
    const blocks = this.#blocksBeside(c, data);
    const options = (c.hasTimestamps ? TIMESTAMP_BYTES : 0) + sackBytes(blocks);
    const header = c.headerBytes + options;
    const segmentSize = data > c.mss ? c.mss : 0;
    const { held } = c.send;
    const isHeld = held !== null && data > 0 && !before(sequence, c.send.heldFrom);
    if (!isHeld && held !== null && data > 0 && before(c.send.heldFrom, (sequence + data) | 0) && !c.send.fill()) return false;
    const from = !isHeld && data >= LEND && lends(c, sink) ? c.send.place(sequence, data) : -1;
    let at: number;
    if (isHeld) at = sink.lendFrom?.(header, held, (held.position + (sequence - c.send.heldFrom)) >>> 0, data, segmentSize) ?? -1;
    else at = from === -1 ? sink.reserve(header + data, segmentSize) : (sink.lend?.(header, from, data, segmentSize) ?? -1);
    if (at === -1) {
      if (isHeld) c.send.fill(); // it may be that the sink does not take such
      c.env.count(COUNT.sinkFull);
      return false;
    }
    let flags: number = FLAG.ack;
    if (data < length) flags |= FLAG.fin;
    if (data > 0 && ((sequence + data) | 0) === c.send.end) flags |= FLAG.psh;
    const body = writeHeaders(sink.bytes, at, c, header + data, options, sequence, c.rcvNxt, flags, announce(c));
    if (c.hasTimestamps) writeTimestamps(sink.bytes, body, (now + c.timestampOffset) | 0, c.tsRecent);
    if (blocks > 0) this.#writeBlocks(sink.bytes, body + options - sackBytes(blocks), c, blocks, false);
    if (c.isFragmentable && c.version === 4) {
      allowFragments(sink.bytes, at, c.env.identification);
      c.env.identification = (c.env.identification + pieceCount(data, c.mss)) & 0xffff;
    }
    if (from !== -1 || isHeld) this.#hasLent = true;
    else if (data > 0) c.send.copyTo(sink.bytes, body + options, sequence, data);
    acknowledged(c);
    c.sentAt = now;
    c.env.count(COUNT.segmentsOut);
    c.env.counters.addBytes(COUNT.bytesOut, data);
    return true;
  }

  /** An ACK by itself, with what is missing (RFC 2018) and what came twice (RFC 2883). */
  #ack(c: Connection, sink: PacketSink, now: number): boolean {
    const most = mostBlocks(c);
    const hasDuplicate = c.hasDuplicate && c.hasSack;
    const islands = c.hasSack ? Math.min(c.receive.islandCount, hasDuplicate ? most - 1 : most) : 0;
    const blocks = islands + (hasDuplicate ? 1 : 0);
    const options = (c.hasTimestamps ? TIMESTAMP_BYTES : 0) + sackBytes(blocks);
    const length = c.headerBytes + options;
    const at = sink.reserve(length, 0);
    if (at === -1) {
      c.env.count(COUNT.sinkFull);
      return false;
    }
    const { bytes } = sink;
    const body = writeHeaders(bytes, at, c, length, options, acceptable(c), c.rcvNxt, FLAG.ack, announce(c));
    if (c.hasTimestamps) writeTimestamps(bytes, body, (now + c.timestampOffset) | 0, c.tsRecent);
    if (blocks > 0) this.#writeBlocks(bytes, body + options - sackBytes(blocks), c, blocks, hasDuplicate);
    c.hasDuplicate = false;
    acknowledged(c);
    c.env.count(COUNT.segmentsOut);
    return true;
  }

  /** A peer without SACK counts ACKs, and a batch has one: as many as make it send again what is missing (RFC 5681 section 4.2). */
  #repeat(c: Connection, sink: PacketSink, now: number): boolean {
    for (let due = Math.min(c.repeatsDue, REPEATS); due > 1; due--) {
      const isSent = this.#ack(c, sink, now);
      c.isAckDue = true;
      if (isSent) continue;
      c.repeatsDue = due;
      return false;
    }
    return true;
  }

  /** How many fit beside text, which is cut for a segment without (RFC 2018 section 4: while there is a gap, on whatever is sent). */
  #blocksBeside(c: Connection, data: number): number {
    if (c.receive.islandCount === 0 || !c.hasSack) return 0;
    return Math.min(c.receive.islandCount, mostBlocks(c), Math.max(0, (c.mss - data - 4) >> 3));
  }

  /** The option for so many blocks, that of what came twice first. */
  #writeBlocks(bytes: Uint8Array, at: number, c: Connection, count: number, hasDuplicate: boolean): void {
    const blocks = this.#blocks;
    write32(bytes, at, (TCP_OPTION.nop << 24) | (TCP_OPTION.nop << 16) | (TCP_OPTION.sack << 8) | (2 + 8 * count));
    let to = at + 4;
    if (hasDuplicate) {
      write32(bytes, to, c.duplicateLeft);
      write32(bytes, to + 4, c.duplicateRight);
      to += 8;
    }
    const islands = c.receive.sackBlocks(blocks, count - (hasDuplicate ? 1 : 0));
    for (let i = 0; i < islands; i++, to += 8) {
      write32(bytes, to, blocks[i * 2] ?? 0);
      write32(bytes, to + 4, blocks[i * 2 + 1] ?? 0);
    }
  }
}

function mostBlocks(c: Connection): number {
  return c.hasTimestamps ? BLOCKS_BESIDE_TIMESTAMPS : BLOCKS_ALONE;
}

function sackBytes(blocks: number): number {
  return blocks === 0 ? 0 : 4 + 8 * blocks;
}

/** Without SACK each duplicate ACK stands for a segment that has left the path (RFC 6582). */
function inFlight(c: Connection): number {
  return c.hasSack ? c.log.inFlight : Math.max(0, c.log.inFlight - c.dupAcks * c.mss);
}

/** The number of a segment without text: the peer drops one that lies behind a window which it has taken back, and with it the ACK (RFC 9293 section 3.8.6, MUST-34). */
function acceptable(c: Connection): number {
  if (c.state === STATE.synReceived) return c.sndNxt; // the window is the SYN's, before the number that it begins with
  const edge = (c.sndUna + c.sndWnd) | 0;
  return distance(edge, c.sndNxt) >= 1 << c.sndScale ? edge : c.sndNxt; // the shift alone may have cut off less
}

function lends(c: Connection, sink: PacketSink): boolean {
  return sink.lend !== undefined && sink.bytes === c.send.bytes;
}

/** How much of what is new goes into one packet. */
function freshBytes(c: Connection, sink: PacketSink, wanted: number, room: number): number {
  if (c.send.held !== null) {
    const inRing = distance(c.sndNxt, c.send.heldFrom);
    if (inRing <= 0) return wholeSegments(c, largestLent(c, sink), wanted, room);
    wanted = Math.min(wanted, inRing); // a payload is taken from one place
  }
  const usual = wholeSegments(c, usualLargest(sink), wanted, room);
  if (usual < LEND || !lends(c, sink)) return usual;
  // Up to where the ring begins again, in whole segments; or one segment, which is copied.
  const run = c.send.runOf(c.sndNxt, wanted);
  const piece = run === wanted ? wanted : Math.min(wanted, Math.max(c.mss, run - (run % c.mss)));
  return wholeSegments(c, largestLent(c, sink), piece, room);
}

function largestLent(c: Connection, sink: PacketSink): number {
  return (c.takesLarge ? sink.largestLent : undefined) ?? usualLargest(sink);
}

/** What is copied has a length field that can say how long it is. */
function usualLargest(sink: PacketSink): number {
  return Math.min(sink.largest, LONGEST_PACKET);
}

/** As much as fits one packet of the `largest` size: whole segments, unless it is all there is. */
function wholeSegments(c: Connection, largest: number, wanted: number, room: number): number {
  const header = c.headerBytes + (c.hasTimestamps ? TIMESTAMP_BYTES : 0);
  const most = Math.min(wanted, room, Math.max(c.mss, largest - header));
  if (most <= c.mss) return Math.min(most, c.mss);
  return most === wanted && wanted <= room ? most : most - (most % c.mss);
}

/** The window field; the right edge never retreats but for what the shift cuts off, which we go on accepting (RFC 7323 section 2.4). */
function announce(c: Connection): number {
  if (c.state === STATE.closed || c.failure !== FAILURE.none) return 0;
  if (!c.isFinReceived) {
    const edge = (c.rcvNxt + c.freeWindow) | 0;
    const gain = distance(c.rcvEdge, edge);
    if (gain > 0 && (gain >= c.rcvMss || gain >= c.mostFree >> 1)) c.rcvEdge = edge;
  }
  const window = Math.min(0xffff, distance(c.rcvNxt, c.rcvEdge) >> c.rcvScale);
  const announced = (c.rcvNxt + (window << c.rcvScale)) | 0;
  if (before(c.rcvEdge, announced)) c.rcvEdge = announced;
  return window;
}

/** Every segment that we send acknowledges. */
function acknowledged(c: Connection): void {
  c.lastAckSent = c.rcvNxt;
  c.isAckDue = false;
  c.isAckDelayed = false;
  c.unackedBytes = 0;
  c.repeatsDue = 0;
}
