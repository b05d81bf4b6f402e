import type { Endpoint } from '../net/endpoint.js';
import { EndpointTable } from '../net/endpoint-table.js';
import { type Engine, PACKED_ADDRESS } from './addon.js';
import { unpackAddress } from './packed-address.js';

/** Numbers of a packed address. */
const WORDS = PACKED_ADDRESS / 4;

/** Places in the cache of received addresses, a power of two. Two remotes in one place take turns: slower, not wrong. */
const PLACES = 1024;

/** Remotes that keep their object, and hosts whose packed form is kept. */
const KNOWN = 16_384;

/** Packed addresses of received datagrams as endpoints, and hosts as packed addresses, without formatting or parsing one twice. */
export class UdpPeers {
  readonly #engine: Engine;
  readonly #words = new Int32Array(PLACES * WORDS);
  readonly #places: (Endpoint | null)[] = new Array<Endpoint | null>(PLACES).fill(null);
  readonly #endpoints = new EndpointTable(KNOWN);
  readonly #hosts = new Map<string, Int32Array>();

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  /** The endpoint at `words[at]`, which is in `bytes` too; null if it is none. */
  find(words: Int32Array, at: number, bytes: Uint8Array): Endpoint | null {
    const place = hash(words, at) & (PLACES - 1);
    const known = this.#places[place];
    const first = place * WORDS;
    if (known !== undefined && known !== null && same(words, at, this.#words, first)) return known;
    const found = unpackAddress(bytes, at * 4);
    if (found === null) return null;
    const endpoint = this.#endpoints.get(found.host, found.port);
    for (let i = 0; i < WORDS; i++) this.#words[first + i] = words[at + i] ?? 0;
    this.#places[place] = endpoint;
    return endpoint;
  }

  /** The packed form of an address, with port 0; null for a name. */
  pack(host: string): Int32Array | null {
    const known = this.#hosts.get(host);
    if (known !== undefined) return known;
    const packed = new Int32Array(WORDS);
    if (this.#engine.packAddress(host, new Uint8Array(packed.buffer)) < 0) return null;
    if (host.includes('%')) return packed; // an interface may be another one tomorrow
    if (this.#hosts.size >= KNOWN) this.#hosts.clear();
    this.#hosts.set(host, packed);
    return packed;
  }
}

function hash(words: Int32Array, at: number): number {
  let mixed = 0;
  for (let i = 0; i < WORDS; i++) mixed = Math.imul(mixed ^ (words[at + i] ?? 0), 0x9e3779b1) ^ (mixed >>> 15);
  return mixed ^ (mixed >>> 16);
}

function same(a: Int32Array, at: number, b: Int32Array, first: number): boolean {
  for (let i = 0; i < WORDS; i++) if (a[at + i] !== b[first + i]) return false;
  return true;
}
