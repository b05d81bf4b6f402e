import { read32 } from './bytes.js';

/**
 * HalfSipHash-1-3 (32-bit words, 32-bit result; Aumasson and Bernstein) over addresses, ports and protocol: whoever does not know the key cannot aim packets at one
 * slot of a table.
 */
export class FlowHash {
  readonly #key0: number;
  readonly #key1: number;

  /** 8 random bytes. */
  constructor(key: Uint8Array) {
    this.#key0 = read32(key, 0);
    this.#key1 = read32(key, 4);
  }

  /** As a uint32. `addresses`: where the source address begins, the destination's follows; `words` of 32 bits in both. */
  of(bytes: Uint8Array, addresses: number, words: number, ports: number, protocol: number): number {
    let v0 = this.#key0;
    let v1 = this.#key1;
    let v2 = this.#key0 ^ 0x6c796765;
    let v3 = this.#key1 ^ 0x74656462;
    const last = words + 2;
    for (let i = 0; i < last + 3; i++) {
      let word = 0;
      if (i < words) word = read32(bytes, addresses + i * 4);
      else if (i === words) word = ports;
      else if (i === words + 1) word = (protocol << 24) | last;
      else if (i === last) v2 ^= 0xff;
      v3 ^= word;
      v0 = (v0 + v1) | 0;
      v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
      v0 = (v0 << 16) | (v0 >>> 16);
      v2 = (v2 + v3) | 0;
      v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
      v0 = (v0 + v3) | 0;
      v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
      v2 = (v2 + v1) | 0;
      v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
      v2 = (v2 << 16) | (v2 >>> 16);
      v0 ^= word;
    }
    return (v1 ^ v3) >>> 0;
  }
}
