/** What the C++ addon exports, one instance for each environment (main thread or worker). `load.ts` finds it; everybody else is handed it. */
export interface Addon {
  /** Changes whenever an addon that was built earlier could no longer be used. */
  readonly abi: number;
  readonly Engine: EngineConstructor;
  /** Gives free memory back to the system. */
  trim(): void;
}

/** The `abi` that this core speaks, as `native/binding/addon.cc` says it. */
export const ADDON_ABI = 4;

/**
 * `events` has four numbers for each event of a batch (EVENT), `slab` the bytes that they tell of; both are overwritten by the next batch.
 * `onEvents` is called once for each batch.
 */
export type EngineConstructor = new (events: Int32Array, slab: Uint8Array, onEvents: (count: number) => void) => Engine;

/** Kinds of events: kind, id, and two numbers more. See native/socket/engine.hh. */
export const EVENT = {
  /** id, listener, offset of the packed peer address in the slab */
  accepted: 1,
  /** id, 0 or errno (then the conn is gone) */
  connected: 2,
  /** id, offset, length; 0: FIN */
  data: 3,
  /** id, errno */
  failed: 4,
  /** id */
  writable: 5,
  /** id, in edge mode */
  readable: 6,
  /** relay, reason: 0, an errno, or one of RELAY_END */
  relayEnded: 7,
  /** listener, errno */
  listenerPaused: 8,
  /** id, offset of the records in the slab (a multiple of four), how many: UDP_RECORD */
  udpReceived: 9,
  /** id: there was no room to send */
  udpWritable: 10,
  /** id, errno; it is still to be closed */
  udpFailed: 11,
} as const;

/** `sealed`: `whyRelayEnded` has more. */
export const RELAY_END = { idle: -1, halfClose: -2, aborted: -3, sealed: -4 } as const;

/** Bytes of a packed address: 0-15 the address, 16-17 the port, 18 the family (4, 6, 0: none), 20-23 the scope id; numbers in the machine's order. */
export const PACKED_ADDRESS = 24;

/**
 * Numbers of a record of UDP datagrams: six of a packed address, the offset and the length of the payload, and the size of its datagrams:
 * 0 for a payload that is one, else it is many, of which the last may be shorter.
 */
export const UDP_RECORD = 9;

/** As in net/sockets.ts. */
export interface EngineOptions {
  readonly keepAliveSeconds?: number;
  readonly sourceAddress?: string;
  readonly mark?: number;
  readonly device?: string;
  readonly fastOpen?: boolean;
  readonly multipath?: boolean;
  readonly reusePort?: boolean;
}

/** The native socket engine. Ids are positive; what fails gives a negative errno. `port` null: the first argument is a Unix socket's path. */
export interface Engine {
  listen(host: string, port: number | null, backlog: number, ipv6Only: boolean, options: EngineOptions): number;
  closeListener(id: number): void;
  connect(host: string, port: number | null, options: EngineOptions | undefined): number;
  /** Bytes read; 0 for FIN; -EAGAIN: an event will tell. */
  read(id: number, into: Uint8Array, start: number, end: number): number;
  /** How many bytes wait behind the first `held`, or a negative errno: EAGAIN, ENODATA (what comes behind them only a read tells), EOPNOTSUPP. */
  ahead(id: number, held: number): number;
  /** Takes bytes that are there, and drops them: how many, or a negative errno. */
  skip(id: number, length: number): number;
  /** Bytes taken; fewer than offered: `writable` follows. */
  write(id: number, from: Uint8Array, start: number, end: number): number;
  /** FIN. -EAGAIN: what goes before it finds no room; `writable` follows. */
  shutdown(id: number): number;
  close(id: number, reset: boolean): void;
  /** The descriptor, which is the caller's from here on. */
  detach(id: number): number;
  /** From here on `readable` and `writable` tell of edges, and nothing is read by itself. */
  setEdge(id: number): number;
  /** false: the codec was not taken. */
  setCodec(id: number, codec: object): boolean;
  /** Bytes taken and not yet in the kernel. */
  pending(id: number): number;
  /** The same, and what the peer has not acknowledged. */
  unsent(id: number): number;
  address(id: number, remote: boolean, out: Uint8Array): number;
  listenerAddress(id: number, out: Uint8Array): number;
  /** Keeps the array, which relays write to, as long as the engine lives. */
  addCounters(counters: Float64Array): number;
  /** Takes both conns. */
  relay(a: number, b: number, idleMs: number, halfCloseMs: number, counters: number, slot: number): number;
  /** Before the loop turns: bytes that go in front. */
  prepend(relay: number, fromA: boolean, bytes: Uint8Array, start: number, end: number): void;
  abortRelay(relay: number): void;
  /** While its event is told: what `RELAY_END.sealed` means, "CODE: text". */
  whyRelayEnded(relay: number): string;
  /** The same of a conn that failed with an errno and is not closed yet; '' where that number says it all. */
  whyConnFailed(id: number, errno: number): string;
  udpOpen(host: string, port: number, options: EngineOptions): number;
  /** How many of the records were taken, the rest is dropped; for want of room: `udpWritable` follows. */
  udpSend(id: number, bytes: Uint8Array, records: Int32Array, count: number): number;
  udpClose(id: number): void;
  udpAddress(id: number, out: Uint8Array): number;
  /** Port 0. Negative for what is no IP address. */
  packAddress(host: string, out: Uint8Array): number;
  /** Resets what is left. No event follows. */
  destroy(): void;
}
