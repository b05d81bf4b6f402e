import { createHmac } from 'node:crypto';
import type { FlowAddress } from './flow.js';

/** The clock of initial sequence numbers ticks every 4 us (RFC 6528 section 3). */
const TICKS_PER_MS = 250;

/**
 * Initial sequence numbers and timestamp offsets. Read first: RFC 6528, RFC 7323 section 5.4.
 * ISN = clock + F(tuple, secret): nobody who does not know the secret can guess another flow's, and those of one tuple only go up, so an old segment does not fit a new
 * connection.
 */
export class SequenceNumbers {
  readonly #secret: Uint8Array;
  readonly #tuple = new Int32Array(10);
  /** What the last `mix` gave. */
  #digest: Buffer = Buffer.alloc(8);

  constructor(random: (length: number) => Uint8Array) {
    this.#secret = random(32);
  }

  /** For both numbers of one flow, in that order: `mix`, then `initial` and `timestampOffset`. */
  mix(flow: FlowAddress): void {
    const tuple = this.#tuple;
    tuple[0] = flow.remote0;
    tuple[1] = flow.remote1;
    tuple[2] = flow.remote2;
    tuple[3] = flow.remote3;
    tuple[4] = flow.local0;
    tuple[5] = flow.local1;
    tuple[6] = flow.local2;
    tuple[7] = flow.local3;
    tuple[8] = (flow.remotePort << 16) | flow.localPort;
    tuple[9] = flow.version;
    this.#digest = createHmac('sha256', this.#secret).update(new Uint8Array(tuple.buffer)).digest();
  }

  initial(now: number): number {
    return (this.#digest.readInt32LE(0) + (Math.floor(now * TICKS_PER_MS) % 0x1_0000_0000)) | 0;
  }

  timestampOffset(): number {
    return this.#digest.readInt32LE(4);
  }
}
