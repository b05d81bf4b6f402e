import type { Endpoint } from '../net/endpoint.js';
import { MAX_UDP_PAYLOAD, type UdpBatch } from '../net/udp.js';
import { type Engine, PACKED_ADDRESS, UDP_RECORD } from './addon.js';
import { UdpPeers } from './udp-peers.js';

/** Places of a record's numbers behind its packed address. */
const OFFSET = PACKED_ADDRESS / 4;
const LENGTH = OFFSET + 1;
const SEGMENT = OFFSET + 2;

/** What is gathered for one call of the engine: datagrams, and bytes of payload. */
const DATAGRAMS = 512;
const BYTES = 256 * 1024;

/** The port's place in a packed address, in its numbers of two bytes. */
const PORT = 8;

/** Who gathers datagrams: told how many of them were dropped. */
export interface Sender {
  readonly id: number;
  refused(datagrams: number): void;
}

/** What passes between the engine and all UDP sockets of one loop: batches in, and datagrams gathered for one call out. */
export class UdpExchange {
  readonly #engine: Engine;
  readonly #peers: UdpPeers;
  readonly #slab: Uint8Array;
  readonly #words: Int32Array;
  readonly #batch: Batch;
  readonly #out = new Uint8Array(BYTES);
  readonly #records = new Int32Array(DATAGRAMS * UDP_RECORD);
  readonly #shorts = new Uint16Array(this.#records.buffer);
  #sender: Sender | null = null;
  #count = 0;
  #used = 0;

  constructor(engine: Engine, slab: Uint8Array) {
    this.#engine = engine;
    this.#peers = new UdpPeers(engine);
    this.#slab = slab;
    this.#words = new Int32Array(slab.buffer, slab.byteOffset, slab.length >> 2);
    this.#batch = new Batch(slab);
  }

  /** What an event tells of, lent until the next. */
  received(offset: number, records: number): UdpBatch {
    const words = this.#words;
    const batch = this.#batch;
    batch.length = 0;
    for (let record = 0, at = offset >> 2; record < records; record++, at += UDP_RECORD) {
      const peer = this.#peers.find(words, at, this.#slab);
      const start = words[at + OFFSET] ?? 0;
      const end = start + (words[at + LENGTH] ?? 0);
      if (peer !== null) batch.add(start, end, words[at + SEGMENT] ?? 0, peer);
    }
    return batch;
  }

  /** Takes a datagram of the sender's, whose family is the address's. false: it cannot be sent. */
  put(sender: Sender, family: 4 | 6, bytes: Uint8Array, start: number, end: number, address: string, port: number, head: Uint8Array | null): boolean {
    const headLength = head === null ? 0 : head.length;
    const length = headLength + end - start;
    const packed = this.#peers.pack(address);
    if (packed === null || length > MAX_UDP_PAYLOAD || familyOf(packed) !== family) return false;
    if (this.#sender !== sender || this.#count === DATAGRAMS || this.#used + length > BYTES) {
      this.#push();
      this.#sender = sender;
    }
    const out = this.#out;
    const at = this.#count * UDP_RECORD;
    const records = this.#records;
    for (let i = 0; i < OFFSET; i++) records[at + i] = packed[i] ?? 0;
    this.#shorts[at * 2 + PORT] = port;
    records[at + OFFSET] = this.#used;
    records[at + LENGTH] = length;
    if (head !== null) out.set(head, this.#used);
    out.set(end - start === bytes.length ? bytes : bytes.subarray(start, end), this.#used + headLength);
    this.#used += length;
    this.#count++;
    return true;
  }

  /** Sends what the sender has gathered. */
  flush(sender: Sender): void {
    if (this.#sender === sender) this.#push();
  }

  #push(): void {
    const { sender, count } = { sender: this.#sender, count: this.#count };
    this.#sender = null;
    this.#count = 0;
    this.#used = 0;
    if (sender === null || count === 0) return;
    const taken = this.#engine.udpSend(sender.id, this.#out, this.#records, count);
    if (taken < count) sender.refused(count - Math.max(taken, 0));
  }
}

/** The family's place is the byte behind the port. */
function familyOf(packed: Int32Array): number {
  return ((packed[4] ?? 0) >> 16) & 0xff;
}

/** One for all batches of a loop. */
class Batch implements UdpBatch {
  readonly bytes: Uint8Array;
  readonly start: number[] = [];
  readonly end: number[] = [];
  readonly peer: Endpoint[] = [];
  length = 0;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }

  /** The datagrams of one record. */
  add(from: number, to: number, segment: number, peer: Endpoint): void {
    const step = segment > 0 ? segment : to - from;
    let at = from;
    do {
      const end = Math.min(at + step, to);
      this.start[this.length] = at;
      this.end[this.length] = end;
      this.peer[this.length++] = peer;
      at = end;
    } while (at < to);
  }
}
