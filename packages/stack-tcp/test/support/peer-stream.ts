import { type Chunks, NetError, type Stream, toNetError } from '@nekit/core';
import type { ModelPeer } from './model-peer.js';

/** What is given to the peer beyond what it has sent, in bytes. */
const AHEAD = 128 * 1024;

interface Waiting<T> {
  resolve(value: T): void;
  reject(error: NetError): void;
}

/** The model peer as a Stream, with backpressure both ways: the client's end of a conformance pair. `poll` after whatever may have changed. */
export class PeerStream implements Stream {
  readonly #peer: ModelPeer;
  #reader: Waiting<Chunks | null> | null = null;
  #writer: (Waiting<void> & { chunks: Uint8Array[] }) | null = null;
  #isFinWanted = false;
  #error: NetError | null = null;

  constructor(peer: ModelPeer) {
    this.#peer = peer;
  }

  read(): Promise<Chunks | null> {
    return new Promise((resolve, reject) => {
      this.#reader = { resolve, reject };
      this.poll();
    });
  }

  write(chunks: Chunks): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#writer = { chunks: [...chunks], resolve, reject };
      this.poll();
    });
  }

  closeWrite(): Promise<void> {
    if (this.#error !== null) return Promise.reject(this.#error);
    this.#isFinWanted = true;
    this.poll();
    return Promise.resolve();
  }

  abort(reason: Error): void {
    if (this.#error !== null) return;
    this.#error = toNetError(reason);
    this.#peer.abort();
    this.poll();
  }

  poll(): void {
    const peer = this.#peer;
    if (this.#error === null && peer.isReset) this.#error = new NetError('aborted', 'reset by the other end', { code: 'ECONNRESET' });
    const { reader, writer } = { reader: this.#reader, writer: this.#writer };
    const error = this.#error;
    if (error !== null) {
      this.#reader = null;
      this.#writer = null;
      reader?.reject(error);
      writer?.reject(error);
      return;
    }
    if (reader !== null) {
      const chunks = peer.pull();
      if (chunks.length > 0 || peer.hasEnded) {
        this.#reader = null;
        reader.resolve(chunks.length > 0 ? chunks : null);
      }
    }
    if (writer !== null) {
      for (let next = writer.chunks[0]; next !== undefined && peer.backlog < AHEAD; next = writer.chunks[0]) {
        peer.write(next.subarray(0, AHEAD));
        if (next.length > AHEAD) writer.chunks[0] = next.subarray(AHEAD);
        else writer.chunks.shift();
      }
      if (writer.chunks.length === 0) {
        this.#writer = null;
        writer.resolve();
      }
    }
    if (this.#isFinWanted && this.#writer === null) peer.close();
  }
}
