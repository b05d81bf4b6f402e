import type { StackContext } from '@nekit/core';
import { ECHO_REQUEST, ECHO_REQUEST_6, echoReply, Identifications, type IpStack, isHostPair, type PacketBatch, PROTOCOL, writeFragments } from '@nekit/core/ip';

/** Answers that wait for the end of the batch; more are not worth having. */
const MOST_WAITING = 64;

/** An IP stack in one page: answers "ping" for every address. It keeps copies, because a batch is lent until `input` returns and only `flush` may write. */
export class EchoStack implements IpStack {
  readonly #context: StackContext;
  readonly #waiting: Uint8Array[] = [];
  /** Of answers that leave in fragments; nobody must be able to guess them. */
  readonly #identifications: Identifications;

  constructor(context: StackContext) {
    this.#context = context;
    this.#identifications = new Identifications((length) => context.random(length));
  }

  input(batch: PacketBatch, index: number): boolean {
    const protocol = batch.protocol[index];
    const type = batch.bytes[batch.transport[index] ?? 0];
    const isRequest =
      batch.version[index] === 4 ? protocol === PROTOCOL.icmp && type === ECHO_REQUEST : protocol === PROTOCOL.icmpv6 && type === ECHO_REQUEST_6;
    // What comes from or goes to many is never answered (RFC 1122 section 3.2.2.6).
    if (!isRequest || !isHostPair(batch, index)) return false;
    if (this.#waiting.length < MOST_WAITING) this.#waiting.push(echoReply(batch, index));
    return true;
  }

  flush(): void {
    const { sink, paths } = this.#context.output;
    for (const packet of this.#waiting.splice(0)) writeFragments(sink, packet, 0, packet.length, this.#identifications.next(), paths);
  }

  nextDeadline(): number {
    return Number.POSITIVE_INFINITY;
  }

  close(): void {
    this.#waiting.length = 0;
  }
}
