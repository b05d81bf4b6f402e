import { BatchParser, FLAG, IPV4_HEADER, IPV6_HEADER, type PacketBatch, PROTOCOL, read16, read32, TCP_HEADER } from '@nekit/core/ip';
import { type FlowAddress, flowOf } from './flow.js';
import { writeHeaders } from './headers.js';

/** A packet of ours that an ICMP error quotes. */
export interface Quoted {
  /** As the client's packets have it, the hash of their batch included. */
  readonly flow: FlowAddress;
  readonly sequence: number;
}

/** Turns what ICMP quotes round, so that the flow is found by the hash of what its client sends: nobody can make us search. */
export class Quotation {
  readonly #bytes = new Uint8Array(IPV6_HEADER + TCP_HEADER);
  readonly #mirror = new BatchParser(this.#bytes, 1, new Uint8Array(8));

  /** null: what packet `index` quotes is no TCP, or too little of it. */
  read(batch: PacketBatch, index: number): Quoted | null {
    const { bytes } = batch;
    const start = batch.payload[index] ?? 0;
    const isIPv4 = batch.version[index] === 4;
    const header = isIPv4 ? ((bytes[start] ?? 0) & 0x0f) * 4 : IPV6_HEADER;
    if ((batch.end[index] ?? 0) - start < header + 8 || header < IPV4_HEADER || (bytes[start] ?? 0) >>> 4 !== (isIPv4 ? 4 : 6)) return null;
    if (bytes[start + (isIPv4 ? 9 : 6)] !== PROTOCOL.tcp) return null;
    const source = start + (isIPv4 ? 12 : 8);
    const destination = source + (isIPv4 ? 4 : 16);
    const word = (at: number, i: number): number => (isIPv4 && i > 0 ? 0 : read32(bytes, at + 4 * i));
    const turned: FlowAddress = {
      version: isIPv4 ? 4 : 6,
      hash: 0,
      // What writes a header writes one of ours: from the local side.
      localPort: read16(bytes, start + header + 2),
      remotePort: read16(bytes, start + header),
      local0: word(destination, 0),
      local1: word(destination, 1),
      local2: word(destination, 2),
      local3: word(destination, 3),
      remote0: word(source, 0),
      remote1: word(source, 1),
      remote2: word(source, 2),
      remote3: word(source, 3),
    };
    const length = (isIPv4 ? IPV4_HEADER : IPV6_HEADER) + TCP_HEADER;
    writeHeaders(this.#bytes, 0, turned, length, 0, 0, 0, FLAG.ack, 0);
    this.#mirror.clear();
    if (!this.#mirror.add(0, length, 0, true)) return null;
    return { flow: { ...flowOf(this.#mirror, 0), hash: batch.flowOf(this.#mirror, 0) | 0 }, sequence: read32(bytes, start + header + 4) };
  }
}
