// The other side of the stacks: adapters that answer, or too much, or from elsewhere, or late, or not at all.
import { type Datagram, NetError, type PacketConn, type PacketRequest, type StreamRequest } from '@nekit/core';
import type { SeededRandom } from '@nekit/core/ip';
import { oneOf } from './build.js';

/** Whom datagrams come from that nobody has sent to, some of them nobody's. */
const STRANGERS = [
  ['198.51.100.9', 53],
  ['2001:db8:9::1', 53],
  ['127.0.0.1', 53],
  ['224.0.0.251', 5353],
  ['255.255.255.255', 1],
  ['0.0.0.0', 53],
  ['::', 1],
  ['::1', 53],
  ['ff02::fb', 5353],
  ['::ffff:10.0.0.1', 9],
  ['198.18.0.1', 9],
  ['fd00::1', 9],
  ['198.51.100.9', 0],
  ['not.an.address', 53],
] as const;

/** Everything that goes to this port is answered, at once and as it was. */
export const ECHO_PORT = 7_777;

export class Carrier {
  /** Associations that were taken, and connections. */
  associations = 0;
  streams = 0;
  readonly #random: SeededRandom;
  /** Whom is still being dialled. */
  #dials: (() => void)[] = [];

  constructor(random: SeededRandom) {
    this.#random = random;
  }

  /** Some dials end. */
  stir(): void {
    if (this.#random.chance(0.3)) for (const end of this.#dials.splice(0, 1 + this.#random.below(20))) end();
  }

  endDials(): void {
    for (const end of this.#dials.splice(0)) end();
  }

  readonly packets = async (request: PacketRequest): Promise<void> => {
    const random = this.#random;
    const conn = request.accept();
    this.associations++;
    const isProbe = request.session.requested.port === ECHO_PORT;
    const what = isProbe ? 100 : random.below(100);
    if (what < 15) {
      request.reject(new NetError('denied', 'no'));
      return;
    }
    if (what < 30) await this.#dial();
    if (what < 20) request.reject(new NetError('timeout', 'late'));
    for (let left = isProbe ? Number.POSITIVE_INFINITY : 1 + random.below(20); left > 0; left--) {
      const datagrams = await conn.receive();
      if (datagrams === null) break;
      if (isProbe) conn.send(datagrams);
      else this.#answer(conn, datagrams);
      if (!isProbe && random.chance(0.05)) await this.#dial();
    }
    if (random.chance(0.2)) conn.close(random.chance(0.5) ? new NetError('aborted', 'enough') : undefined);
  };

  readonly stream = async (request: StreamRequest): Promise<void> => {
    const random = this.#random;
    if (random.chance(0.3)) await this.#dial();
    if (random.chance(0.2)) {
      request.reject(new NetError(oneOf(random, ['refused', 'timeout', 'denied', 'unreachable'] as const), 'no'));
      return;
    }
    try {
      const stream = await request.accept();
      this.streams++;
      await stream.write([random.bytes(random.below(3_000))]);
      for (let i = 0; i < 10; i++) if ((await stream.read()) === null) break;
      if (random.chance(0.5)) await stream.closeWrite();
      else stream.abort(new NetError('aborted', 'enough'));
    } catch {
      // Whatever comes of it: a stream that fails is what is wanted.
    }
  };

  #dial(): Promise<void> {
    return new Promise((resolve) => this.#dials.push(resolve));
  }

  #answer(conn: PacketConn, datagrams: readonly Datagram[]): void {
    const random = this.#random;
    const what = random.below(100);
    if (what < 40) conn.send(datagrams);
    else if (what < 60) {
      const [host, port] = oneOf(random, STRANGERS);
      const length = random.chance(0.03) ? 1_000 + random.below(65_000) : random.below(1_600);
      conn.send([{ bytes: random.bytes(Math.min(length, 2_000)), peer: { host, port } }, ...datagrams]);
      if (length > 2_000) conn.send([{ bytes: new Uint8Array(length), peer: { host, port } }]);
    }
  }
}
