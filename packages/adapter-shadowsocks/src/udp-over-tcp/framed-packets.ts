import {
  abortQuietly,
  addressFamily,
  attempt,
  type Chunks,
  type Datagram,
  type Deadline,
  type Endpoint,
  NetError,
  type PacketConn,
  type Stream,
  type TimerWheel,
  timeoutError,
  toNetError,
} from '@nekit/core';
import { PeerAddresses, PeerTable } from '../packet/peers.js';
import { encodeFrame, encodeShortFrame, LONGEST_FRAME, readFrame, readShortFrame } from './wire.js';

/** Bytes of frames that wait for the stream to take them; what comes on top is dropped, as a full socket would. */
const MAX_PENDING = 256 * 1024;

/** How long the other end may take to hang up after we did, in ms. */
const LINGER = 2_000;

const FIRST_ROOM = 4096;

export interface FramedOptions {
  readonly timers: TimerWheel;
  /** The one peer of short frames; null: frames carry their peers. */
  readonly only: Endpoint | null;
  /** What goes in front of the first frame, which is for this peer. */
  readonly head?: (peer: Endpoint) => Uint8Array | null;
  /** Ends it after so long without a frame in either direction, in ms. */
  readonly idleMs?: number;
}

/** Datagrams as frames on a stream. It ends with the stream. */
export class FramedPackets implements PacketConn {
  readonly #stream: Stream;
  readonly #options: FramedOptions;
  readonly #peers = new PeerTable();
  readonly #addresses = new PeerAddresses();
  readonly #idle: Deadline | null;
  /** What was read and makes no frame yet lies at `[#start, #end)`. */
  #bytes = new Uint8Array(FIRST_ROOM);
  #start = 0;
  #end = 0;
  #held: readonly Datagram[] | null = null;
  #waiter: ((datagrams: readonly Datagram[] | null) => void) | null = null;
  #reading = false;
  #pending: Uint8Array[] = [];
  #pendingBytes = 0;
  #writing = false;
  #headWritten = false;
  #closed = false;
  #error: NetError | null = null;
  #finRead = false;
  #finWritten = false;
  #lingering: Deadline | null = null;
  /** Datagrams that were not taken on the way out, and frames for no peer on the way in. */
  dropped = 0;

  /** The stream belongs to it from here on. */
  constructor(stream: Stream, options: FramedOptions) {
    const { timers, idleMs } = options;
    this.#stream = stream;
    this.#options = options;
    this.#idle = idleMs === undefined ? null : timers.after(idleMs, () => this.close());
  }

  get error(): NetError | null {
    return this.#error;
  }

  receive(): Promise<readonly Datagram[] | null> {
    const held = this.#held ?? (this.#closed ? null : this.#takeFrames());
    this.#held = null;
    if (held !== null && held.length > 0) return Promise.resolve(held);
    if (this.#closed) return Promise.resolve(null);
    return new Promise((resolve) => {
      this.#waiter = resolve;
      void this.#read();
    });
  }

  /** What the next `receive` gives. */
  async peek(): Promise<readonly Datagram[] | null> {
    this.#held = await this.receive();
    return this.#held;
  }

  send(datagrams: readonly Datagram[]): number {
    let taken = 0;
    for (const datagram of datagrams) if (this.#put(datagram)) taken++;
    this.dropped += datagrams.length - taken;
    if (taken > 0) this.#stir();
    if (!this.#writing && this.#pending.length > 0) void this.#write();
    return taken;
  }

  close(error?: NetError): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#error = error ?? null;
    this.#idle?.cancel();
    this.#held = null;
    this.#give(null);
    if (error !== undefined) this.#stream.abort(error);
    else this.#hangUp();
  }

  #put(datagram: Datagram): boolean {
    if (this.#closed) return false;
    const { only, head } = this.#options;
    if (only !== null && !isOf(only, datagram)) return false;
    const { bytes, peer } = datagram;
    const frame = only === null ? encodeFrame(peer, bytes, this.#addresses) : encodeShortFrame(bytes);
    if (frame === null || this.#pendingBytes + frame.length > MAX_PENDING) return false;
    if (!this.#headWritten) {
      const first = head?.(peer) ?? null;
      if (first !== null) this.#pending.push(first);
      this.#headWritten = true;
    }
    this.#pending.push(frame);
    this.#pendingBytes += frame.length;
    return true;
  }

  async #write(): Promise<void> {
    this.#writing = true;
    try {
      while (this.#pending.length > 0) {
        const frames = this.#pending;
        this.#pending = [];
        this.#pendingBytes = 0;
        await this.#stream.write(frames);
      }
    } catch (error) {
      this.close(toNetError(error));
    }
    this.#writing = false;
    if (this.#closed) this.#finish();
  }

  /** Until there are frames for the one that waits, or, when that is over, until FIN. */
  async #read(): Promise<void> {
    if (this.#reading) return;
    this.#reading = true;
    try {
      while (this.#waiter !== null || this.#closed) {
        const chunks = await this.#stream.read();
        if (chunks === null) {
          this.#finRead = true;
          this.close();
          this.#leave();
          break;
        }
        if (this.#closed) continue;
        this.#keep(chunks);
        this.#stir();
        const datagrams = this.#takeFrames();
        if (datagrams !== null && datagrams.length > 0) this.#give(datagrams);
      }
    } catch (error) {
      this.#lingering?.cancel();
      this.close(toNetError(error));
    }
    this.#reading = false;
  }

  #keep(chunks: Chunks): void {
    for (const chunk of chunks) {
      if (this.#end + chunk.length > this.#bytes.length) {
        const length = this.#end - this.#start + chunk.length;
        // Datagrams that were given out may be written over: they were lent until this `receive`.
        const target = length > this.#bytes.length ? new Uint8Array(Math.max(length, Math.min(2 * this.#bytes.length, LONGEST_FRAME))) : this.#bytes;
        target.set(this.#bytes.subarray(this.#start, this.#end));
        this.#bytes = target;
        this.#end -= this.#start;
        this.#start = 0;
      }
      this.#bytes.set(chunk, this.#end);
      this.#end += chunk.length;
    }
  }

  /** All whole frames; null when it has come to an end with them. */
  #takeFrames(): Datagram[] | null {
    const { only } = this.#options;
    const datagrams: Datagram[] = [];
    for (;;) {
      const frame = only === null ? readFrame(this.#bytes, this.#start, this.#end, this.#peers) : readShortFrame(this.#bytes, this.#start, this.#end, only);
      if (frame === undefined) return datagrams;
      if (frame === null) {
        if (datagrams.length > 0) return datagrams; // first what came before it
        this.close(new NetError('protocol', 'the other end sent no frame of UDP-over-TCP', { code: 'UOT_PROTOCOL' }));
        return null;
      }
      this.#start = frame.end;
      if (frame.peer === null) this.dropped++;
      else datagrams.push({ bytes: frame.data, peer: frame.peer });
    }
  }

  #give(datagrams: readonly Datagram[] | null): void {
    const waiter = this.#waiter;
    this.#waiter = null;
    waiter?.(datagrams);
  }

  #stir(): void {
    if (this.#idle !== null) this.#idle.at = this.#options.timers.now() + (this.#options.idleMs ?? 0);
  }

  /** FIN behind what has been taken, and RST for an end that does not answer it. */
  #hangUp(): void {
    const { timers } = this.#options;
    this.#lingering = timers.after(LINGER, () => abortQuietly(this.#stream, timeoutError('the end of UDP-over-TCP', LINGER)));
    void this.#read();
    if (!this.#writing) this.#finish();
  }

  #finish(): void {
    if (this.#error !== null) return;
    attempt(() => this.#stream.closeWrite()).then(
      () => {
        this.#finWritten = true;
        this.#leave();
      },
      (error: unknown) => abortQuietly(this.#stream, toNetError(error)),
    );
  }

  #leave(): void {
    if (this.#finRead && this.#finWritten) this.#lingering?.cancel();
  }
}

/** Whether it comes from the one peer. Where that is a name answers have an address, and only some adapters know that the name led there: of others the port has to do. */
function isOf(only: Endpoint, { peer, named }: Datagram): boolean {
  if (isSame(peer, only)) return true;
  if (addressFamily(only.host) !== 0) return false;
  return named === undefined ? peer.port === only.port : isSame(named, only);
}

function isSame(peer: Endpoint, other: Endpoint): boolean {
  return peer === other || (peer.host === other.host && peer.port === other.port);
}
