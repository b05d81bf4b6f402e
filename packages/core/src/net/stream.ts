/**
 * Streams: reliable, ordered, full duplex, half-closable. Everything that carries bytes of a connection is one.
 *
 * Ownership: a chunk has one owner. `read` gives it to the caller, `write` takes it; whoever gave a chunk away must not touch it.
 * Backpressure: `write` settles when more may follow, and what is not read is what closes the window. FIN is `closeWrite`, RST is `abort`.
 */
import type { Socket } from 'node:net';
import type { Cancel } from './cancel.js';
import type { NetError } from './errors.js';

export type Chunks = readonly Uint8Array[];

export interface Stream {
  /**
   * At least one byte, or null after FIN (again and again). One read at a time. None at all only after `stopReading`.
   * Rejects with a NetError when the stream was reset or aborted. Taking bytes is what reopens the window.
   */
  read(): Promise<Chunks | null>;
  /** Takes the chunks; settles when more may follow, which says nothing about delivery. Rejects with a NetError. One write at a time. */
  write(chunks: Chunks): Promise<void>;
  /** FIN after what was written; `read` goes on. Idempotent. Settles when the FIN is handed over. */
  closeWrite(): Promise<void>;
  /** RST, both ways, now. Pending calls reject with it. Idempotent, never throws. */
  abort(reason: Error): void;
  /**
   * After `closeWrite` has settled: gives it up without a reset, so that what was written still arrives, at the peer's own pace. A pending read rejects. Before,
   * it is an abort. Absent where nobody would go on delivering.
   */
  leave?(): void;
  /** Puts bytes that were read back in front of what is unread; they belong to the stream again. Absent where a wrapper has to do it. */
  unread?(chunks: Chunks): void;
  /** A read that is pending settles with no chunks, and takes nothing. Absent where a read has to be waited for. */
  stopReading?(): void;
  /**
   * A kernel socket that can be given away. Absent in any wrapper that says nothing, which means: bytes pass through JavaScript.
   */
  readonly native?: NativeEnd | undefined;
  /** A stack's stream moves its bytes to and from a socket itself. */
  splice?(remote: NativeConn, options: RelayOptions): Promise<Totals>;
}

/** A stream's kernel socket, while it still belongs to the stream. */
export interface NativeEnd {
  /**
   * Gives the socket away; the Stream is spent. No read may be pending. `unread` (taken, not used) goes in front of what follows.
   * Settles when what was written is in the kernel or in the conn.
   */
  detach(unread: Chunks): Promise<NativeConn>;
  /** The same at once. null: something is still on its way into the kernel, or it has failed, and `detach` says so. Absent where it may take time. */
  detachNow?(unread: Chunks): NativeConn | null;
}

/** The addon's non-blocking socket with its cipher codec inside. All calls are synchronous and allocate nothing. */
export interface NativeConn {
  /**
   * Moves bytes both ways on a relay thread. null: `other` is not of this addon copy or environment; both stay usable, take the next way.
   */
  relay(other: NativeConn, options: RelayOptions): Promise<Totals> | null;
  /** How many bytes were taken; fewer than offered: wait for `writable`. */
  send(bytes: Uint8Array, start: number, end: number): number;
  /** How many bytes were filled in; 0: wait for `readable`; -1: FIN. Always call until 0 or -1: an edge comes once. */
  receive(bytes: Uint8Array, start: number, end: number): number;
  /** Its unread bytes, while they may be left in it until nobody needs them again; absent or null where each has to be received. */
  readonly held?: HeldBytes | null;
  /** FIN, behind what was taken, and behind the header of a codec that has sent nothing yet. `writable` is not told any more. */
  closeWrite(): void;
  /** RST. A `listener` is told. */
  abort(reason: Error): void;
  /**
   * Puts a codec of the same addon inside: from here on `send`, `receive` and a relay speak plain bytes. Once, before anything is sent or received. `opened`: what
   * the codec has opened already and nobody has used, which goes in front. false: it was not taken (of another copy, in use, its `check` still to come), and both
   * are as they were. Absent where there is no such thing.
   */
  useCodec?(codec: object, opened?: Chunks): boolean;
  /** Goes over to Node's event loop, unread bytes in front; the conn is spent. null where a codec is inside; absent where there is no descriptor to give. */
  toSocket?(): Socket | null;
  /** Bytes taken and not yet in the kernel (a sealed record is all or nothing). */
  readonly pending: number;
  /** Bytes taken that the peer has not acknowledged: as long as they grow fewer a silent connection is a slow one. Absent where nobody knows. */
  readonly unsent?: number;
  /** Who moves the bytes. An object, because it lives as long as the conn, where three functions would cost more than all else that is kept for it. */
  listener: NativeConnListener | null;
}

/** Bytes that stay in a kernel socket while packets with them are sent, so that no copy is kept for the case that one is lost. */
export interface HeldBytes {
  /** Whose socket it is, for `PacketSink.lendFrom`. */
  readonly engine: object;
  readonly id: number;
  /** Of the first byte that is unread, modulo 2^32. */
  readonly position: number;
  /** How many bytes wait behind the first `count`; 0: none, wait for `readable`; -1: what comes behind them (the end, an error) only `receive` tells. */
  ahead(count: number): number;
  /** As NativeConn's. */
  receive(bytes: Uint8Array, start: number, end: number): number;
  /** Drops so many of the unread bytes, which must be there. */
  skip(count: number): void;
}

/** What a conn tells; each may be called inside of a call of the conn's. */
export interface NativeConnListener {
  readable(): void;
  writable(): void;
  /** It is of no more use. null: both directions have ended. One that had failed before anybody listened says so in a microtask. */
  closed(error: NetError | null): void;
}

export interface RelayOptions {
  /** Aborts both ends when it fires. */
  readonly signal: Cancel;
  /** Both ends are aborted after this long without a byte in either direction, in ms. */
  readonly idleMs: number;
  /** The same, once one direction has ended, in ms. */
  readonly halfCloseMs: number;
  /** Bytes so far: `counters[slot]` up (a to b), `counters[slot + 1]` down. Written while the relay runs. */
  readonly counters: Float64Array;
  readonly slot: number;
}

/** How a relay ended. `error` is null when both directions ended with FIN. */
export interface Totals {
  readonly up: number;
  readonly down: number;
  readonly error: NetError | null;
}

/** The bytes in a vector of chunks. */
export function byteLength(chunks: Chunks): number {
  let length = 0;
  for (const chunk of chunks) length += chunk.length;
  return length;
}
