/**
 * The longest packets that IPv6 paths carry: who sends cuts, routers do not (RFC 8200 section 5), but say "packet too big". Of IPv4 nothing is kept: it leaves without DF, and is cut on its way.
 * Read first: RFC 8201 (path MTU discovery), RFC 5927 (attacks with ICMP).
 */
import { BoundedMap } from '../net/bounded-map.js';
import { latin1, read32 } from './bytes.js';
import type { PacketBatch } from './packet-batch.js';
import { IPV6_HEADER, PROTOCOL } from './protocol.js';

/** No link of IPv6 is narrower: who says so is not believed (RFC 8201 section 4). In bytes. */
const LEAST_MTU = 1_280;

/** What is known of a path is tried again after ten minutes (RFC 8201 section 5.3). */
const KNOWN_FOR = 600_000;

const MOST_PATHS = 1_024;

const TOO_BIG = 2;

const ADDRESS = 16;

interface Path {
  readonly mtu: number;
  readonly until: number;
}

export class PathMtus {
  readonly #paths = new BoundedMap<string, Path>(MOST_PATHS);
  readonly #now: () => number;

  /** `now`: monotonic milliseconds. */
  constructor(now: () => number) {
    this.#now = now;
  }

  /** Takes an ICMPv6 "packet too big" about one of our packets. Segments of TCP are judged by their own stack. Whether it was one. */
  learn(batch: PacketBatch, index: number): boolean {
    const { bytes } = batch;
    const message = batch.transport[index] ?? 0;
    if (batch.version[index] !== 6 || batch.protocol[index] !== PROTOCOL.icmpv6 || bytes[message] !== TOO_BIG) return false;
    const quoted = batch.payload[index] ?? 0;
    if ((batch.end[index] ?? 0) - quoted < IPV6_HEADER || (bytes[quoted] ?? 0) >>> 4 !== 6 || bytes[quoted + 6] === PROTOCOL.tcp) return true;
    // It comes to whoever sent what it quotes.
    const destination = (batch.start[index] ?? 0) + 8 + ADDRESS;
    if (Buffer.compare(bytes.subarray(quoted + 8, quoted + 8 + ADDRESS), bytes.subarray(destination, destination + ADDRESS)) !== 0) return true;
    const mtu = read32(bytes, message + 4) >>> 0;
    const to = quoted + 8 + ADDRESS;
    if (mtu < LEAST_MTU || mtu >= this.to(bytes, to)) return true;
    const key = latin1(bytes, to, to + ADDRESS);
    this.#paths.delete(key);
    this.#paths.set(key, { mtu, until: this.#now() + KNOWN_FOR });
    return true;
  }

  /** The longest packet to the IPv6 address at `at`, in bytes; Infinity: nobody has complained. */
  to(bytes: Uint8Array, at: number): number {
    if (this.#paths.size === 0) return Number.POSITIVE_INFINITY;
    const key = latin1(bytes, at, at + ADDRESS);
    const path = this.#paths.get(key);
    if (path === undefined) return Number.POSITIVE_INFINITY;
    if (this.#now() < path.until) return path.mtu;
    this.#paths.delete(key);
    return Number.POSITIVE_INFINITY;
  }
}
