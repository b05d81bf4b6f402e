import { type Endpoint, formatAddress, parseAddress } from '@nekit/core';
import { type PacketBatch, read32, write32 } from '@nekit/core/ip';
import type { FlowAddress } from './flow.js';

/** The client's end. */
export function remoteEndpoint(flow: FlowAddress): Endpoint {
  return { host: text(flow.version, flow.remote0, flow.remote1, flow.remote2, flow.remote3), port: flow.remotePort };
}

/** What the client wanted to reach. */
export function localEndpoint(flow: FlowAddress): Endpoint {
  return { host: text(flow.version, flow.local0, flow.local1, flow.local2, flow.local3), port: flow.localPort };
}

/** Hop limits that systems begin with. */
const FIRST_HOP_LIMITS: readonly number[] = [64, 128, 255];

/** The addresses of the device itself: packets that programs of this host send have them, and those that this host forwards and masquerades. */
export class OwnAddresses {
  readonly #words: { readonly version: number; readonly words: readonly number[] }[] = [];

  /** Addresses with their networks: `198.18.0.1/30`. */
  constructor(networks: readonly string[]) {
    for (const network of networks) {
      const bytes = parseAddress(network.replace(/\/.*/, ''));
      if (bytes === null) continue;
      const words = Array.from({ length: bytes.length / 4 }, (_, i) => read32(bytes, i * 4));
      this.#words.push({ version: bytes.length === 4 ? 4 : 6, words });
    }
  }

  /** Whether a program of this host has sent the packet: from one of the addresses, and its hop limit is one that a sender begins with. Who forwards a packet takes one off. */
  haveSent(batch: PacketBatch, index: number): boolean {
    const { bytes } = batch;
    const version = batch.version[index];
    const start = batch.start[index] ?? 0;
    if (!FIRST_HOP_LIMITS.includes(bytes[start + (version === 4 ? 8 : 7)] ?? 0)) return false;
    const source = start + (version === 4 ? 12 : 8);
    return this.#words.some((own) => own.version === version && own.words.every((word, i) => word === read32(bytes, source + i * 4)));
  }
}

function text(version: number, a: number, b: number, c: number, d: number): string {
  const bytes = new Uint8Array(version === 4 ? 4 : 16);
  write32(bytes, 0, a);
  if (version === 6) {
    write32(bytes, 4, b);
    write32(bytes, 8, c);
    write32(bytes, 12, d);
  }
  return formatAddress(bytes);
}
