/** Every wait of the kernel, in milliseconds, with the reason for its length. `timeouts:` in the config overrides single ones. */
export interface Timeouts {
  /** TCP connect of one dial, all addresses together. A SYN is sent again after 1, 3 and 7 s. */
  readonly connect: number;
  /** A client's or an upstream's handshake (SOCKS, CONNECT, TLS), from its first byte to its last. */
  readonly handshake: number;
  /** A name look-up. */
  readonly resolve: number;
  /** A client's first byte, where `sniffer` looks for a name; three times as long for the rest of a message that has begun. A client that waits for the server's word loses it. */
  readonly sniff: number;
  /** From a forwarded HTTP request to the head of its response. Long polls answer within this (as squid's read_timeout, but shorter). */
  readonly firstByte: number;
  /** An established relay without a byte: RFC 5382 REQ-5 wants 2 h 4 min at least. */
  readonly idle: number;
  /** The same once one side sent FIN (RFC 5382 REQ-5, transitory). */
  readonly halfClose: number;
  /** A UDP flow without a datagram: RFC 4787 REQ-5 recommends 5 min. */
  readonly udpIdle: number;
  /** An upstream HTTP connection that waits for its next request. */
  readonly httpPool: number;
  /** A client's HTTP connection between two requests. */
  readonly httpKeepAlive: number;
  /** A plugin's `start` or `stop`, and the stop of one listener. */
  readonly plugin: number;
  /** `stop`: how long sessions may finish before they are aborted. */
  readonly drain: number;
}

export const DEFAULT_TIMEOUTS: Timeouts = {
  connect: 10_000,
  handshake: 10_000,
  resolve: 5_000,
  sniff: 300,
  firstByte: 120_000,
  idle: 7_440_000,
  halfClose: 240_000,
  udpIdle: 300_000,
  httpPool: 15_000,
  httpKeepAlive: 60_000,
  plugin: 10_000,
  drain: 5_000,
};
