import type { DialOptions, Stream } from '@nekit/core';

/** How a Shadowsocks server is reached: directly, through a SIP003 process, or in the disguise that a built-in plugin gives. */
export interface ServerLink {
  /**
   * A connection on which Shadowsocks is spoken. Rejects with a NetError, leaves nothing behind then. A link that changes no byte gives the base's own stream, with
   * its `native`.
   */
  dial(options: DialOptions): Promise<Stream>;
  /** Called once, when the kernel runs with the adapter: processes are started ahead of the first dial. */
  start?(): void;
  /** Ends pools, and processes as soon as no connection goes through them. Idempotent. */
  close?(): void;
}
