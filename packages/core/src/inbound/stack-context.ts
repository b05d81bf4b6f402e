import type { StackOutput } from '../ip/ip-stack.js';
import type { CancelSource } from '../net/cancel.js';
import type { Endpoint } from '../net/endpoint.js';
import type { Network, Session } from '../net/session.js';
import type { Token } from '../net/token.js';
import type { HandlePackets, HandleStream } from '../routing/stream-request.js';

/** What a stack is given by the inbound whose packets it takes. */
export interface StackContext {
  readonly output: StackOutput;
  readonly handleStream: HandleStream;
  readonly handlePackets: HandlePackets;
  /** The device's own addresses with their networks: `198.18.0.1/30`. */
  readonly networks: readonly string[];
  /**
   * The session of a flow: `requested` is the address in the packet, which the inbound turns into a name if it is a fake one. null: refuse it (a fake address that stands for
   * nothing, or a source that may not).
   */
  openSession(network: Network, source: Endpoint, requested: Endpoint, signal: CancelSource): Session | null;
  /** Bytes that nobody can guess; a test gives its own. */
  random(length: number): Uint8Array;
  get<T>(token: Token<T>): T;
}
