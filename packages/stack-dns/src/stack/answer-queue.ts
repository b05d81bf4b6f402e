/** Answers as IP packets, which wait for the next flush. */
import { copyBytes, IPV4_HEADER, IPV6_HEADER, type PacketSink, PROTOCOL, UDP_HEADER, write16, writeIPv4Checksum } from '@nekit/core/ip';

const TTL = 64;

/** Answers that wait at most, and their bytes: those of a whole batch. */
const ANSWERS = 1_024;
const BYTES = 256 * 1024;

export class AnswerQueue {
  /** Answers that found no room. */
  dropped = 0;
  readonly #bytes = new Uint8Array(BYTES);
  readonly #ends = new Uint32Array(ANSWERS);
  #count = 0;
  #end = 0;

  /** An answer from where the question went to, to where it came from: `message[0, length)`. The question's IP header is at `bytes[start]`, its UDP header at `transport`. */
  put(bytes: Uint8Array, start: number, transport: number, version: number, message: Uint8Array, length: number): void {
    const ip = version === 4 ? IPV4_HEADER : IPV6_HEADER;
    const at = this.#end;
    if (this.#count === ANSWERS || at + ip + UDP_HEADER + length > BYTES) {
      this.dropped++;
      return;
    }
    const out = this.#bytes;
    const udp = at + ip;
    if (version === 4) {
      out[at] = 0x45;
      out[at + 1] = 0;
      write16(out, at + 2, ip + UDP_HEADER + length);
      out.fill(0, at + 4, at + 8);
      out[at + 8] = TTL;
      out[at + 9] = PROTOCOL.udp;
      copyBytes(out, at + 12, bytes, start + 16, start + 20);
      copyBytes(out, at + 16, bytes, start + 12, start + 16);
      writeIPv4Checksum(out, at);
    } else {
      out[at] = 0x60;
      out.fill(0, at + 1, at + 4);
      write16(out, at + 4, UDP_HEADER + length);
      out[at + 6] = PROTOCOL.udp;
      out[at + 7] = TTL;
      copyBytes(out, at + 8, bytes, start + 24, start + 40);
      copyBytes(out, at + 24, bytes, start + 8, start + 24);
    }
    copyBytes(out, udp, bytes, transport + 2, transport + 4);
    copyBytes(out, udp + 2, bytes, transport, transport + 2);
    write16(out, udp + 4, UDP_HEADER + length);
    write16(out, udp + 6, 0); // the sink's affair
    for (let i = 0; i < length; i++) out[udp + UDP_HEADER + i] = message[i] ?? 0;
    this.#end = udp + UDP_HEADER + length;
    this.#ends[this.#count++] = this.#end;
  }

  flush(sink: PacketSink): void {
    let start = 0;
    for (let i = 0; i < this.#count; i++) {
      const end = this.#ends[i] ?? start;
      const at = sink.reserve(end - start, 0);
      if (at === -1) this.dropped++;
      else copyBytes(sink.bytes, at, this.#bytes, start, end);
      start = end;
    }
    this.clear();
  }

  clear(): void {
    this.#count = 0;
    this.#end = 0;
  }
}
