/**
 * A TCP client to hold our stack against: simple, slow, and written for itself. It shares no line with the stack but the code that builds and parses packets. Sequence numbers are
 * plain numbers that count from the SYN (0) and never wrap; only on the wire they are 32 bits from a random start.
 *
 * It also is a judge: what our stack must never do is an entry in `faults`.
 */
import { type Clock, systemClock } from '@nekit/core';
import { buildPacket, FLAG, type TcpOptions, type TcpPacket } from '@nekit/core/ip';

export interface PeerOptions {
  readonly clock: Clock;
  readonly send: (packet: Uint8Array) => void;
  readonly address: string;
  readonly port: number;
  readonly server: string;
  readonly serverPort: number;
  readonly isn: number;
  readonly mss: number;
  /** null: the option is not sent. */
  readonly windowScale: number | null;
  readonly hasTimestamps: boolean;
  readonly hasSack: boolean;
  /** What it takes in before its application reads, in bytes. */
  readonly receiveBuffer: number;
  /** How long its application leaves bytes unread, in ms; 0: not at all, -1: until `pull`. */
  readonly readDelayMs: number;
  /** 0: each segment is acknowledged at once. */
  readonly delayedAckMs: number;
  /** Segments in flight at most. */
  readonly congestionWindow: number;
  /** The path keeps packets in order: then a window that goes back is no old one. */
  readonly isOrdered: boolean;
}

interface Sent {
  readonly from: number;
  readonly to: number;
  sentAt: number;
  count: number;
  isSacked: boolean;
}

interface Piece {
  readonly from: number;
  readonly bytes: Uint8Array;
}

const WRAP = 0x1_0000_0000;
const MOST_RTO = 8_000;

export class ModelPeer {
  readonly faults: string[] = [];
  /** In order, as its application has read it. */
  readonly received: Uint8Array[] = [];
  receivedLength = 0;
  isEstablished = false;
  /** The other side's FIN was read. */
  hasEnded = false;
  /** Its own FIN was acknowledged. */
  isFinAcked = false;
  isReset = false;
  /** Segments that it has sent more than once. */
  retransmissions = 0;
  readonly #o: PeerOptions;
  /** What is to be sent, from byte `#base` on (the first has number 1), and how much of the array is used. */
  #data = new Uint8Array(4_096);
  #base = 1;
  #length = 0;
  #isClosing = false;
  #una = 0;
  #nxt = 0;
  #sent: Sent[] = [];
  #window = 0;
  #windowSeq = -1;
  #windowAck = -1;
  #edge = 0;
  #scale = 0;
  #duplicates = 0;
  #recoverTo = -1;
  #rto = 1_000;
  #stopTimer: (() => void) | null = null;
  #stopAck: (() => void) | null = null;
  #theirIsn = -1;
  #rcvNxt = 0;
  #offered = 0;
  #pieces: Piece[] = [];
  #theirFin = -1;
  #unread: Uint8Array[] = [];
  #unreadLength = 0;
  #isReading = false;
  #recent = 0;
  #useTimestamps = false;
  #useSack = false;
  #useScale = false;
  #newest = -1;
  #unacked = 0;

  constructor(options: PeerOptions) {
    this.#o = options;
  }

  connect(): void {
    this.#sent.push({ from: 0, to: 1, sentAt: this.#o.clock.now(), count: 0, isSacked: false });
    this.#nxt = 1;
    this.#transmit(this.#first());
    this.#arm();
  }

  write(bytes: Uint8Array): void {
    const used = this.#end - this.#base;
    const acked = Math.max(0, Math.min(used, this.#una - this.#base));
    if (used + bytes.length > this.#data.length || acked > 1 << 20) {
      const moved = new Uint8Array(Math.max(2 * (used - acked + bytes.length), 4_096));
      moved.set(this.#data.subarray(acked, used));
      this.#data = moved;
      this.#base += acked;
    }
    this.#data.set(bytes, this.#end - this.#base);
    this.#length += bytes.length;
    this.#pump();
  }

  /** Behind the last byte: the number of the FIN. */
  get #end(): number {
    return this.#length + 1;
  }

  /** Bytes that were written and not sent. */
  get backlog(): number {
    return Math.max(0, this.#end - Math.max(1, this.#nxt));
  }

  /** Everything that is unread. */
  pull(): Uint8Array[] {
    const wasClosed = this.#freeWindow() < this.#o.receiveBuffer / 2;
    this.#takeAll();
    const chunks = this.received.splice(0);
    if (wasClosed && !this.isReset) this.#acknowledge();
    return chunks;
  }

  /** FIN after what was written. */
  close(): void {
    this.#isClosing = true;
    this.#pump();
  }

  abort(): void {
    if (this.#theirIsn !== -1) this.#emit(this.#nxt, FLAG.rst | FLAG.ack, new Uint8Array(0), {});
    else this.#emit(1, FLAG.rst, new Uint8Array(0), {});
    this.#die();
  }

  /** Nothing is set any more. */
  get isQuiet(): boolean {
    return this.#stopTimer === null && this.#stopAck === null;
  }

  receive(packet: TcpPacket): void {
    if (this.isReset) return;
    const options = packet.options ?? {};
    const has = (flag: number): boolean => (packet.flags & flag) !== 0;
    const ack = has(FLAG.ack) ? this.#unwrap(packet.acknowledgment, this.#o.isn, this.#una) : -1;
    if (has(FLAG.rst)) {
      const isOurs = this.#theirIsn === -1 ? ack === 1 : this.#unwrap(packet.sequence, this.#theirIsn, this.#rcvNxt) === this.#rcvNxt;
      if (isOurs) this.#die();
      return;
    }
    if (has(FLAG.syn)) {
      this.#synAck(packet, options, ack);
      return;
    }
    if (this.#theirIsn === -1) return;
    if (this.#useTimestamps) {
      if (options.timestamps === undefined) this.faults.push('a segment without timestamps');
      else if (this.#isOlder(options.timestamps.value)) {
        this.#acknowledge();
        return;
      }
    } else if (options.timestamps !== undefined) this.faults.push('timestamps that were not agreed on');
    if (options.sack !== undefined && !this.#useSack) this.faults.push('SACK that was not agreed on');
    const from = this.#unwrap(packet.sequence, this.#theirIsn, this.#rcvNxt);
    this.#judge(packet, from, ack);
    if (options.timestamps !== undefined && from <= this.#rcvNxt) this.#recent = options.timestamps.value;
    if (ack > this.#una) this.#acked(ack);
    else if (ack === this.#una && packet.payload.length === 0 && !has(FLAG.fin) && this.#sent.length > 0) this.#duplicate();
    if (options.sack !== undefined) this.#sacked(options.sack);
    this.#updateWindow(packet, from, ack);
    this.#text(from, packet.payload, has(FLAG.fin));
    this.#pump();
  }

  #judge(packet: TcpPacket, from: number, ack: number): void {
    if (packet.payload.length > this.#o.mss) this.faults.push(`a payload of ${packet.payload.length} bytes; the MSS is ${this.#o.mss}`);
    if (ack > this.#nxt) this.faults.push(`an ACK of ${ack}; ${this.#nxt} was sent`);
    if (ack < 0) this.faults.push('a segment without ACK');
    // One byte beyond is a probe; with the scale the edge is known to 2^scale - 1 bytes only.
    if (from + packet.payload.length > this.#offered + 1) this.faults.push(`bytes up to ${from + packet.payload.length}; ${this.#offered} was offered`);
    const edge = ack + (packet.window << this.#scale);
    if (this.#o.isOrdered && from >= this.#newest && ack >= this.#una && edge + (1 << this.#scale) <= this.#edge)
      this.faults.push(`the window's edge went back from ${this.#edge} to ${edge}`);
    if (from >= this.#newest && ack >= this.#una) this.#edge = Math.max(edge, this.#edge);
    this.#newest = Math.max(this.#newest, from);
  }

  #synAck(packet: TcpPacket, options: TcpOptions, ack: number): void {
    if (this.#theirIsn !== -1) {
      this.#acknowledge(); // its ACK was lost
      return;
    }
    if (ack !== 1) return;
    this.#theirIsn = packet.sequence;
    this.#rcvNxt = 1;
    this.#useTimestamps = this.#o.hasTimestamps && options.timestamps !== undefined;
    this.#useSack = this.#o.hasSack && options.sackPermitted === true;
    this.#useScale = this.#o.windowScale !== null && options.windowScale !== undefined;
    if (!this.#o.hasTimestamps && options.timestamps !== undefined) this.faults.push('timestamps in a SYN-ACK, uncalled for');
    if (!this.#o.hasSack && options.sackPermitted === true) this.faults.push('SACK in a SYN-ACK, uncalled for');
    if (this.#o.windowScale === null && options.windowScale !== undefined) this.faults.push('window scale in a SYN-ACK, uncalled for');
    if ((options.windowScale ?? 0) > 14) this.faults.push('a window scale above 14');
    if (options.mss === undefined) this.faults.push('no MSS in a SYN-ACK');
    if (options.timestamps !== undefined) this.#recent = options.timestamps.value;
    this.#scale = this.#useScale ? (options.windowScale ?? 0) : 0;
    this.#window = packet.window;
    this.#windowSeq = 0;
    this.#windowAck = 1;
    this.isEstablished = true;
    this.#acked(1);
    this.#acknowledge();
    this.#pump();
  }

  #acked(ack: number): void {
    this.#una = ack;
    this.#sent = this.#sent.filter((sent) => sent.to > ack);
    this.#nxt = Math.max(this.#nxt, ack);
    this.#duplicates = 0;
    this.#rto = 300;
    if (this.#isClosing && ack === this.#end + 1) this.isFinAcked = true;
    if (ack < this.#recoverTo) {
      const hole = this.#sent.find((sent) => !sent.isSacked);
      if (hole !== undefined) this.#transmit(hole);
    }
    this.#arm();
  }

  #duplicate(): void {
    this.#duplicates++;
    if (this.#duplicates !== 3 || this.#una < this.#recoverTo) return;
    this.#recoverTo = this.#nxt;
    const hole = this.#sent.find((sent) => !sent.isSacked);
    if (hole !== undefined) this.#transmit(hole);
  }

  #sacked(blocks: readonly (readonly [number, number])[]): void {
    if (blocks.length > 4) this.faults.push(`${blocks.length} SACK blocks`);
    for (const [left, right] of blocks) {
      const from = this.#unwrap(left, this.#o.isn, this.#una);
      const to = this.#unwrap(right, this.#o.isn, this.#una);
      if (to > this.#nxt || from >= to) this.faults.push(`a SACK block ${from} to ${to}; ${this.#nxt} was sent`);
      for (const sent of this.#sent) if (sent.from >= from && sent.to <= to) sent.isSacked = true;
    }
  }

  #updateWindow(packet: TcpPacket, from: number, ack: number): void {
    if (from < this.#windowSeq || (from === this.#windowSeq && ack < this.#windowAck)) return;
    this.#window = packet.window << this.#scale;
    this.#windowSeq = from;
    this.#windowAck = ack;
  }

  #text(from: number, payload: Uint8Array, hasFin: boolean): void {
    const to = from + payload.length;
    if (payload.length === 0 && !hasFin) {
      if (from < this.#rcvNxt && from === this.#rcvNxt - 1) this.#acknowledge(); // a keep-alive
      return;
    }
    if (hasFin) this.#theirFin = to;
    if (payload.length > 0 && to > this.#rcvNxt && to <= this.#offered) this.#pieces.push({ from, bytes: payload });
    const before = this.#rcvNxt;
    for (let isMoving = true; isMoving; ) {
      isMoving = false;
      for (const piece of this.#pieces) {
        const end = piece.from + piece.bytes.length;
        if (piece.from > this.#rcvNxt || end <= this.#rcvNxt) continue;
        const fresh = piece.bytes.subarray(this.#rcvNxt - piece.from);
        this.#rcvNxt = end;
        this.#unread.push(fresh);
        this.#unreadLength += fresh.length;
        isMoving = true;
      }
    }
    this.#pieces = this.#pieces.filter((piece) => piece.from + piece.bytes.length > this.#rcvNxt);
    if (this.#theirFin === this.#rcvNxt) {
      this.#rcvNxt++;
      this.hasEnded = true;
    }
    this.#read();
    const isInOrder = this.#rcvNxt > before && this.#pieces.length === 0 && !this.hasEnded;
    if (isInOrder && this.#o.delayedAckMs > 0 && ++this.#unacked < 2) {
      this.#stopAck ??= this.#o.clock.after(this.#o.delayedAckMs, () => this.#acknowledge());
    } else this.#acknowledge();
  }

  #read(): void {
    if (this.#o.readDelayMs === 0) this.#takeAll();
    else if (this.#o.readDelayMs > 0 && !this.#isReading && this.#unreadLength > 0) {
      this.#isReading = true;
      this.#o.clock.after(this.#o.readDelayMs, () => {
        this.#isReading = false;
        const wasClosed = this.#freeWindow() < this.#o.mss;
        this.#takeAll();
        if (wasClosed && !this.isReset) this.#acknowledge();
      });
    }
  }

  #takeAll(): void {
    this.received.push(...this.#unread);
    this.receivedLength += this.#unreadLength;
    this.#unread = [];
    this.#unreadLength = 0;
  }

  #freeWindow(): number {
    return Math.max(0, this.#o.receiveBuffer - this.#unreadLength);
  }

  #announce(): number {
    const shift = this.#useScale ? (this.#o.windowScale ?? 0) : 0;
    // The edge never goes back.
    const edge = Math.max(this.#offered, this.#rcvNxt + this.#freeWindow());
    const field = Math.min(0xffff, (edge - this.#rcvNxt) >> shift);
    this.#offered = Math.max(this.#offered, this.#rcvNxt + (field << shift));
    return field;
  }

  #acknowledge(): void {
    if (this.isReset || this.#theirIsn === -1) return;
    this.#emit(this.#nxt, FLAG.ack, new Uint8Array(0), {});
  }

  /** New segments as far as both windows allow. */
  #pump(): void {
    if (!this.isEstablished || this.isReset) return;
    const end = this.#end;
    for (;;) {
      const inFlight = this.#sent.filter((sent) => !sent.isSacked).length;
      if (inFlight >= this.#o.congestionWindow) break;
      const room = this.#una + this.#window - this.#nxt;
      const length = Math.min(this.#o.mss - (this.#useTimestamps ? 12 : 0), end - this.#nxt, room);
      const isFin = this.#isClosing && this.#nxt === end;
      if (length <= 0 && !(isFin && room > 0)) break;
      const sent = { from: this.#nxt, to: isFin ? this.#nxt + 1 : this.#nxt + length, sentAt: 0, count: 0, isSacked: false };
      this.#sent.push(sent);
      this.#nxt = sent.to;
      this.#transmit(sent);
    }
    if (this.#stopTimer === null) this.#arm();
  }

  #first(): Sent {
    const first = this.#sent[0];
    if (first === undefined) throw new Error('nothing is in flight');
    return first;
  }

  #transmit(sent: Sent): void {
    if (sent.count > 0) this.retransmissions++;
    sent.count++;
    sent.sentAt = this.#o.clock.now();
    if (sent.from === 0) {
      const { mss, windowScale, hasTimestamps, hasSack } = this.#o;
      const field = Math.min(0xffff, this.#o.receiveBuffer);
      this.#offered = 1 + field;
      const options = { mss, ...(windowScale === null ? {} : { windowScale }), ...(hasSack ? { sackPermitted: true } : {}) };
      this.#emit(0, FLAG.syn, new Uint8Array(0), hasTimestamps ? { ...options, timestamps: { value: this.#time(), echo: 0 } } : options);
      return;
    }
    const end = this.#end;
    const payload = this.#data.slice(sent.from - this.#base, Math.max(sent.from, Math.min(sent.to, end)) - this.#base);
    this.#emit(sent.from, sent.to > end ? FLAG.ack | FLAG.fin : FLAG.ack, payload, {});
  }

  #emit(from: number, flags: number, payload: Uint8Array, given: TcpOptions): void {
    const hasAck = (flags & FLAG.ack) !== 0;
    const options = { ...given };
    if (this.#useTimestamps) Object.assign(options, { timestamps: { value: this.#time(), echo: this.#recent } });
    const blocks = this.#blocks();
    if (this.#useSack && blocks.length > 0 && payload.length === 0) Object.assign(options, { sack: blocks });
    if (hasAck) {
      this.#stopAck?.();
      this.#stopAck = null;
      this.#unacked = 0;
    }
    this.#o.send(
      buildPacket({
        kind: 'tcp',
        source: this.#o.address,
        destination: this.#o.server,
        sourcePort: this.#o.port,
        destinationPort: this.#o.serverPort,
        sequence: (this.#o.isn + from) % WRAP,
        acknowledgment: hasAck ? (this.#theirIsn + this.#rcvNxt) % WRAP : 0,
        flags,
        window: this.#theirIsn === -1 ? Math.min(0xffff, this.#o.receiveBuffer) : this.#announce(),
        options,
        payload,
      }),
    );
  }

  #blocks(): [number, number][] {
    const sorted = [...this.#pieces].sort((a, b) => a.from - b.from);
    const joined: [number, number][] = [];
    for (const { from, bytes } of sorted) {
      const last = joined.at(-1);
      if (last !== undefined && from <= last[1]) last[1] = Math.max(last[1], from + bytes.length);
      else joined.push([from, from + bytes.length]);
    }
    return joined.slice(0, 3).map(([from, to]) => [(this.#theirIsn + from) % WRAP, (this.#theirIsn + to) % WRAP]);
  }

  #arm(): void {
    this.#stopTimer?.();
    this.#stopTimer = null;
    const isBlocked = this.#nxt < this.#end || (this.#isClosing && this.#nxt < this.#end + 1);
    if (this.isReset || (this.#sent.length === 0 && !(this.isEstablished && isBlocked))) return;
    this.#stopTimer = this.#o.clock.after(this.#rto, () => {
      this.#stopTimer = null;
      this.#rto = Math.min(MOST_RTO, this.#rto * 2);
      this.#duplicates = 0;
      this.#recoverTo = -1;
      for (const sent of this.#sent) sent.isSacked = false; // as RFC 2018 has it
      if (this.#sent.length > 0) {
        this.#recoverTo = this.#nxt;
        this.#transmit(this.#first());
      } else if (this.#nxt <= this.#end) this.#probe();
      this.#arm();
    });
  }

  /** A byte, or the FIN, that the window has no room for. */
  #probe(): void {
    const end = this.#end;
    const isFin = this.#nxt === end;
    const sent = { from: this.#nxt, to: this.#nxt + 1, sentAt: 0, count: 0, isSacked: false };
    if (isFin && !this.#isClosing) return;
    this.#sent.push(sent);
    this.#nxt = sent.to;
    this.#transmit(sent);
  }

  #die(): void {
    this.isReset = true;
    this.#stopTimer?.();
    this.#stopTimer = null;
    this.#stopAck?.();
    this.#stopAck = null;
    this.#sent = [];
  }

  #time(): number {
    return Math.floor(this.#o.clock.now() + this.#o.isn) % WRAP;
  }

  #isOlder(value: number): boolean {
    const distance = (value - this.#recent + WRAP) % WRAP;
    return distance > WRAP / 2;
  }

  /** The number nearest to `near` that is this on the wire. */
  #unwrap(wire: number, isn: number, near: number): number {
    const offset = (wire - isn + 2 * WRAP) % WRAP;
    const turn = Math.round((near - offset) / WRAP);
    return offset + turn * WRAP;
  }
}

/** Of a peer on a pipe, over real time. */
export const ON_A_PIPE = {
  clock: systemClock,
  address: '10.0.0.2',
  port: 1_024,
  server: '192.0.2.1',
  serverPort: 443,
  mss: 8_960,
  windowScale: 4,
  hasTimestamps: true,
  hasSack: true,
  receiveBuffer: 256 * 1024,
  delayedAckMs: 0,
  congestionWindow: 20,
  isOrdered: true,
} as const;
