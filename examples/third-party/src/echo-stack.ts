import type { StackContext } from '@nekit/core';
import { copyBytes, fold, type IpStack, type PacketBatch, PROTOCOL, pseudoSum, sumOf, write16, writeIPv4Checksum } from '@nekit/core/ip';

const ECHO_REQUEST = 8;
const ECHO_REQUEST_IPV6 = 128;
const ECHO_REPLY_IPV6 = 129;

/** Answers that wait for the end of the batch; more are not worth having. */
const MOST_WAITING = 64;

/** An IP stack in one page: answers "ping" for every address. It keeps copies, because a batch is lent until `input` returns and only `flush` may write. */
export class EchoStack implements IpStack {
  readonly #context: StackContext;
  readonly #waiting: Uint8Array[] = [];

  constructor(context: StackContext) {
    this.#context = context;
  }

  input(batch: PacketBatch, index: number): boolean {
    const protocol = batch.protocol[index];
    const type = batch.bytes[batch.transport[index] ?? 0];
    const isRequest =
      batch.version[index] === 4 ? protocol === PROTOCOL.icmp && type === ECHO_REQUEST : protocol === PROTOCOL.icmpv6 && type === ECHO_REQUEST_IPV6;
    if (!isRequest) return false;
    if (this.#waiting.length < MOST_WAITING) this.#waiting.push(reply(batch, index));
    return true;
  }

  flush(): void {
    const { sink } = this.#context.output;
    for (const packet of this.#waiting.splice(0)) {
      const at = sink.reserve(packet.length, 0);
      if (at !== -1) copyBytes(sink.bytes, at, packet, 0, packet.length);
    }
  }

  nextDeadline(): number {
    return Number.POSITIVE_INFINITY;
  }

  close(): void {
    this.#waiting.length = 0;
  }
}

/** The request with its addresses turned round. */
function reply(batch: PacketBatch, index: number): Uint8Array {
  const start = batch.start[index] ?? 0;
  const packet = batch.bytes.slice(start, batch.end[index] ?? 0);
  const isIPv4 = batch.version[index] === 4;
  const icmp = (batch.transport[index] ?? 0) - start;
  const size = isIPv4 ? 4 : 16;
  const source = isIPv4 ? 12 : 8;
  packet.copyWithin(source, source + size, source + 2 * size);
  copyBytes(packet, source + size, batch.bytes, start + source, start + source + size);
  packet[icmp] = isIPv4 ? 0 : ECHO_REPLY_IPV6;
  write16(packet, icmp + 2, 0);
  write16(packet, icmp + 2, fold(sumOf(packet, icmp, packet.length, isIPv4 ? 0 : pseudoSum(packet, 0, PROTOCOL.icmpv6, packet.length - icmp))));
  if (isIPv4) writeIPv4Checksum(packet, 0);
  return packet;
}
