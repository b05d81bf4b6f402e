import { ErrorRate } from '../../ip/error-rate.js';
import { writeFragments } from '../../ip/fragment.js';
import { ECHO_REQUEST, ECHO_REQUEST_6, echoReply, unknownProtocol, unreachable } from '../../ip/icmp.js';
import type { Identifications } from '../../ip/identifications.js';
import type { IpStack, StackOutput } from '../../ip/ip-stack.js';
import type { PacketBatch } from '../../ip/packet-batch.js';
import { PROTOCOL } from '../../ip/protocol.js';
import { isHostPair } from '../../ip/special-addresses.js';

/** Answers that wait for the next flush, and their bytes; more are dropped. A batch has 256 pings at most, a turn of the loop some batches. */
const MOST_WAITING = 512;
const MOST_WAITING_BYTES = 512 * 1024;

export interface LeftoverOptions {
  readonly output: StackOutput;
  /** Answer echo requests, whatever their destination: nobody else does. */
  readonly echo: boolean;
  readonly identifications: Identifications;
  /** The first datagram that no stack takes. */
  onUdp(): void;
}

/** Comes last: answers pings, and tells senders of UDP at once that nobody carries it, so that QUIC falls back to TCP; of other protocols, too. */
export class LeftoverStack implements IpStack {
  /** Packets that nobody took. */
  unclaimed = 0;
  readonly #options: LeftoverOptions;
  #waiting: Uint8Array[] = [];
  #waitingBytes = 0;
  #toldOfUdp = false;
  readonly #errors = new ErrorRate();

  constructor(options: LeftoverOptions) {
    this.#options = options;
  }

  input(batch: PacketBatch, index: number): boolean {
    const protocol = batch.protocol[index] ?? 0;
    // What comes from or goes to many is never answered.
    const answer = isHostPair(batch, index) ? this.#answer(batch, index, protocol) : null;
    if (answer === null) this.unclaimed++;
    else if (this.#waiting.length < MOST_WAITING && this.#waitingBytes + answer.length <= MOST_WAITING_BYTES) {
      this.#waiting.push(answer);
      this.#waitingBytes += answer.length;
    }
    return true;
  }

  flush(): void {
    if (this.#waiting.length === 0) return;
    const { output, identifications } = this.#options;
    const { sink, paths } = output;
    for (const packet of this.#waiting) writeFragments(sink, packet, 0, packet.length, identifications.next(), paths);
    this.#waiting = [];
    this.#waitingBytes = 0;
  }

  nextDeadline(): number {
    return Number.POSITIVE_INFINITY;
  }

  close(): void {
    this.#waiting = [];
  }

  #answer(batch: PacketBatch, index: number, protocol: number): Uint8Array | null {
    if (protocol === PROTOCOL.udp) return this.#refuseUdp(batch, index);
    const isIPv4 = batch.version[index] === 4;
    if (protocol === PROTOCOL.tcp || protocol === PROTOCOL.fragment || (protocol === PROTOCOL.none && !isIPv4)) return null;
    if (protocol !== (isIPv4 ? PROTOCOL.icmp : PROTOCOL.icmpv6)) {
      return this.#errors.take(this.#options.output.now())
        ? unknownProtocol(batch.bytes, batch.start[index] ?? 0, batch.transport[index] ?? 0, batch.end[index] ?? 0)
        : null;
    }
    if (this.#options.output.paths.learn(batch, index)) return null;
    const isEcho = batch.bytes[batch.transport[index] ?? 0] === (isIPv4 ? ECHO_REQUEST : ECHO_REQUEST_6);
    return isEcho && this.#options.echo ? echoReply(batch, index) : null;
  }

  #refuseUdp(batch: PacketBatch, index: number): Uint8Array | null {
    if (!this.#toldOfUdp) {
      this.#toldOfUdp = true;
      this.#options.onUdp();
    }
    return this.#errors.take(this.#options.output.now()) ? unreachable(batch.bytes, batch.start[index] ?? 0, batch.end[index] ?? 0, 'port') : null;
  }
}
