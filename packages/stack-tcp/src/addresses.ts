import { type Endpoint, formatAddress, parseAddress } from '@nekit/core';
import { read32, write32 } from '@nekit/core/ip';
import type { FlowAddress } from './flow.js';

/** The client's end. */
export function remoteEndpoint(flow: FlowAddress): Endpoint {
  return { host: text(flow.version, flow.remote0, flow.remote1, flow.remote2, flow.remote3), port: flow.remotePort };
}

/** What the client wanted to reach. */
export function localEndpoint(flow: FlowAddress): Endpoint {
  return { host: text(flow.version, flow.local0, flow.local1, flow.local2, flow.local3), port: flow.localPort };
}

/** The addresses of the device itself: who sends from one of them is a program of this host, and no network lies between it and us. */
export class OwnAddresses {
  readonly #flows: Pick<FlowAddress, 'version' | 'remote0' | 'remote1' | 'remote2' | 'remote3'>[] = [];

  /** Addresses with their networks: `198.18.0.1/30`. */
  constructor(networks: readonly string[]) {
    for (const network of networks) {
      const bytes = parseAddress(network.replace(/\/.*/, ''));
      if (bytes === null) continue;
      const word = (at: number): number => (at < bytes.length ? read32(bytes, at) : 0);
      this.#flows.push({ version: bytes.length === 4 ? 4 : 6, remote0: word(0), remote1: word(4), remote2: word(8), remote3: word(12) });
    }
  }

  /** Whether the client has one of them. */
  isClientOf(flow: FlowAddress): boolean {
    for (const own of this.#flows) {
      const isSame = own.remote0 === flow.remote0 && own.remote1 === flow.remote1 && own.remote2 === flow.remote2 && own.remote3 === flow.remote3;
      if (isSame && own.version === flow.version) return true;
    }
    return false;
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
