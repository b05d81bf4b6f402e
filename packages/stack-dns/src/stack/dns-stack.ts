/**
 * The name server as an IP stack: the short path for questions by UDP. What needs no look-up is answered out of the batch that the question came in, without an object for it; the
 * rest later. TCP goes by stack-tcp to the adapter `dns`.
 */
import type { StackContext } from '@nekit/core';
import { type IpStack, isHostPair, type PacketBatch, PROTOCOL, read32 } from '@nekit/core/ip';
import type { KernelDns } from '../kernel-dns.js';
import { MAX_MESSAGE } from '../wire/message.js';
import { AnswerQueue } from './answer-queue.js';
import type { Hijack } from './hijack.js';

/** Questions under way; beyond, new ones that have to wait are dropped, and clients ask again. */
const MAX_PENDING = 4_096;

export interface DnsStackOptions {
  readonly server: KernelDns;
  readonly hijack: Hijack;
  /** The device's own addresses, 4 or 16 bytes each: this machine, which may ask as often as it likes. */
  readonly own: readonly Uint8Array[];
  readonly output: StackContext['output'];
}

export class DnsStack implements IpStack {
  readonly #options: DnsStackOptions;
  readonly #answers = new AnswerQueue();
  readonly #out = new Uint8Array(MAX_MESSAGE);
  /** Who asked last, and what stands for that address: asking again costs nothing then. */
  readonly #last = new Uint8Array(16);
  #lastVersion = 0;
  #client: number | string = 0;
  #isOwn = false;
  #pending = 0;
  #isClosed = false;

  constructor(options: DnsStackOptions) {
    this.#options = options;
  }

  input(batch: PacketBatch, index: number): boolean {
    if (batch.protocol[index] !== PROTOCOL.udp) return false;
    const { server, hijack } = this.#options;
    const isIPv4 = batch.version[index] === 4;
    const start = batch.start[index] ?? 0;
    if (!hijack.takesPacket(batch.bytes, start + (isIPv4 ? 16 : 24), isIPv4 ? 4 : 16, batch.destinationPort[index] ?? 0)) return false;
    // Without a section `dns` in the config it goes where all goes.
    if (!server.isNeeded || !isHostPair(batch, index)) return false;
    if (this.#isClosed || batch.sourcePort[index] === 0) return true; // port 0 expects no answer (RFC 768), and a question must not get past us
    const end = batch.end[index] ?? 0;
    const size = batch.segmentSize[index] ?? 0;
    for (let at = batch.payload[index] ?? 0; at < end; ) {
      const next = size === 0 ? end : Math.min(end, at + size);
      this.#question(batch, index, at, next);
      at = next;
    }
    return true;
  }

  flush(): void {
    this.#answers.flush(this.#options.output.sink);
  }

  nextDeadline(): number {
    return Number.POSITIVE_INFINITY;
  }

  close(): void {
    this.#isClosed = true;
    this.#answers.clear();
  }

  #question(batch: PacketBatch, index: number, from: number, to: number): void {
    const { server } = this.#options;
    const { bytes } = batch;
    const start = batch.start[index] ?? 0;
    const transport = batch.transport[index] ?? 0;
    const version = batch.version[index] ?? 0;
    if (!this.#admits(bytes, start, version)) return; // to who asks too often, silence
    const length = server.respond(bytes, from, to, 'udp', this.#out);
    if (typeof length === 'number') {
      if (length > 0) this.#answers.put(bytes, start, transport, version, this.#out, length);
      return;
    }
    if (this.#pending >= MAX_PENDING) return;
    this.#pending++;
    const head = bytes.slice(start, transport + 4);
    void length.then((answer) => {
      this.#pending--;
      if (answer === null || this.#isClosed) return;
      this.#answers.put(head, 0, transport - start, version, answer, answer.length);
      this.#options.output.wake();
    });
  }

  #admits(bytes: Uint8Array, start: number, version: number): boolean {
    const at = start + (version === 4 ? 12 : 8);
    if (!this.#isLast(bytes, at, version)) this.#learn(bytes, at, version);
    return this.#isOwn || this.#options.server.admits(this.#client);
  }

  #isLast(bytes: Uint8Array, at: number, version: number): boolean {
    if (version !== this.#lastVersion) return false;
    const length = version === 4 ? 4 : 16;
    for (let i = 0; i < length; i++) if (bytes[at + i] !== this.#last[i]) return false;
    return true;
  }

  #learn(bytes: Uint8Array, at: number, version: number): void {
    const length = version === 4 ? 4 : 16;
    this.#lastVersion = version;
    for (let i = 0; i < length; i++) this.#last[i] = bytes[at + i] ?? 0;
    this.#client = version === 4 ? read32(bytes, at) : Buffer.from(bytes.buffer, bytes.byteOffset + at, 16).toString('latin1');
    this.#isOwn = this.#options.own.some((own) => own.length === length && own.every((byte, i) => byte === bytes[at + i]));
  }
}
