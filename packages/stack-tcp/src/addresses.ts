import { type Endpoint, formatAddress } from '@nekit/core';
import { write32 } from '@nekit/core/ip';
import type { FlowAddress } from './flow.js';

/** The client's end. */
export function remoteEndpoint(flow: FlowAddress): Endpoint {
  return { host: text(flow.version, flow.remote0, flow.remote1, flow.remote2, flow.remote3), port: flow.remotePort };
}

/** What the client wanted to reach. */
export function localEndpoint(flow: FlowAddress): Endpoint {
  return { host: text(flow.version, flow.local0, flow.local1, flow.local2, flow.local3), port: flow.localPort };
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
