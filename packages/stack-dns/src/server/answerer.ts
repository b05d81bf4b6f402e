import type { Transport } from './dns-server.js';

/** Who answers: a server, or whichever is in force when a question comes. See DnsServer. */
export interface Answerer {
  respond(bytes: Uint8Array, start: number, end: number, transport: Transport, out: Uint8Array): number | Promise<Uint8Array | null>;
  refuse(bytes: Uint8Array, start: number, end: number, out: Uint8Array): number;
}
