import { FLAG, type PacketBatch, read16, read32, TCP_HEADER, TCP_OPTION } from '@nekit/core/ip';

/** A SACK option has four blocks at most (RFC 2018 section 3). */
const MOST_BLOCKS = 4;

/** NOP, NOP, timestamps, length 10: what everybody sends once a connection stands. */
const USUAL_TIMESTAMPS = 0x0101080a;

/** The segment at hand. One object per stack, filled anew for each packet; sequence numbers are int32. */
export class Segment {
  bytes: Uint8Array = new Uint8Array(0);
  sequence = 0;
  acknowledgment = 0;
  flags = 0;
  /** As in the header, not scaled. */
  window = 0;
  /** The payload is `bytes[payload, end)`. */
  payload = 0;
  end = 0;
  /** The longest payload that its sender put in one packet: of a super-packet the size of its pieces. */
  unit = 0;
  hasTimestamps = false;
  timestamp = 0;
  echo = 0;
  /** 0: not said. */
  mss = 0;
  /** -1: not said. */
  windowScale = -1;
  sackPermitted = false;
  sackCount = 0;
  /** Left and right edge of each block. */
  readonly sack = new Int32Array(MOST_BLOCKS * 2);

  get length(): number {
    return this.end - this.payload;
  }

  has(flag: number): boolean {
    return (this.flags & flag) !== 0;
  }

  read(batch: PacketBatch, index: number): void {
    const transport = batch.transport[index] ?? 0;
    const payload = batch.payload[index] ?? 0;
    const unit = batch.segmentSize[index] ?? 0;
    this.bytes = batch.bytes;
    this.sequence = (batch.sequence[index] ?? 0) | 0;
    this.acknowledgment = (batch.acknowledgment[index] ?? 0) | 0;
    this.flags = batch.flags[index] ?? 0;
    this.window = batch.window[index] ?? 0;
    this.payload = payload;
    this.end = batch.end[index] ?? 0;
    this.unit = unit === 0 ? this.end - payload : unit;
    this.#readOptions(batch.bytes, transport + TCP_HEADER, payload);
  }

  /** Unknown and broken options are passed over (RFC 9293, MUST-6, MUST-7); behind a length that cannot be, nothing is read. */
  #readOptions(bytes: Uint8Array, start: number, end: number): void {
    this.hasTimestamps = false;
    this.sackCount = 0;
    this.mss = 0; // before the shortcut: a SYN with nothing but timestamps must not take over what another client's has said
    this.windowScale = -1;
    this.sackPermitted = false;
    if (end - start === 12 && read32(bytes, start) === USUAL_TIMESTAMPS) {
      this.#readTimestamps(bytes, start + 4);
      return;
    }
    for (let at = start; at < end; ) {
      const kind = bytes[at] ?? 0;
      if (kind === TCP_OPTION.end) return;
      if (kind === TCP_OPTION.nop) {
        at++;
        continue;
      }
      const length = bytes[at + 1] ?? 0;
      if (at + 1 >= end || length < 2 || at + length > end) return;
      if (kind === TCP_OPTION.timestamps && length === 10) this.#readTimestamps(bytes, at + 2);
      else if (kind === TCP_OPTION.sack && length % 8 === 2) this.#readSack(bytes, at + 2, at + length);
      else if (this.has(FLAG.syn)) this.#readSynOption(bytes, at, kind, length);
      at += length;
    }
  }

  #readTimestamps(bytes: Uint8Array, at: number): void {
    this.hasTimestamps = true;
    this.timestamp = read32(bytes, at);
    this.echo = read32(bytes, at + 4);
  }

  #readSack(bytes: Uint8Array, start: number, end: number): void {
    for (let at = start; at < end && this.sackCount < MOST_BLOCKS; at += 8) {
      this.sack[this.sackCount * 2] = read32(bytes, at);
      this.sack[this.sackCount * 2 + 1] = read32(bytes, at + 4);
      this.sackCount++;
    }
  }

  #readSynOption(bytes: Uint8Array, at: number, kind: number, length: number): void {
    if (kind === TCP_OPTION.mss && length === 4) this.mss = read16(bytes, at + 2);
    else if (kind === TCP_OPTION.windowScale && length === 3) this.windowScale = bytes[at + 2] ?? 0;
    else if (kind === TCP_OPTION.sackPermitted && length === 2) this.sackPermitted = true;
  }
}
