import type { Cancel } from './cancel.js';
import type { Endpoint } from './endpoint.js';

export type Network = 'tcp' | 'udp';

/** What travels: one connection or one UDP flow, as an immutable value. Who learns more makes a new one (`{ ...session, sniffed }`). */
export interface Session {
  /** Unique within the kernel, counting from 1. */
  readonly id: number;
  readonly network: Network;
  /** Name of the listener it came in by. */
  readonly inbound: string;
  /** What the client spoke there, as IN-TYPE rules spell it: `HTTP`, `HTTPS` (a CONNECT), `SOCKS4`, `SOCKS5`, or a plugin's word. */
  readonly inboundType: string;
  /** The listener's port, 0 where there is none. */
  readonly inboundPort: number;
  readonly source: Endpoint;
  /** As the client asked for it; may hold a fake IP. */
  readonly requested: Endpoint;
  /** Where it really goes; never a fake IP. */
  readonly destination: Endpoint;
  /** The name that the client authenticated with. */
  readonly user?: string;
  /** The domain that the first bytes showed (TLS and QUIC server name, HTTP Host): what rules on names look at. */
  readonly sniffed?: string;
  /** Fires when the client has left or the kernel stops. */
  readonly signal: Cancel;
}
