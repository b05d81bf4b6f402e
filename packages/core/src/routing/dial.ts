/** The dial of a session: by an adapter that somebody else may have written, so what comes of it is looked at, and nobody waits for it for ever. */
import type { Adapter } from '../adapter/adapter.js';
import { abortQuietly, attempt, closeQuietly } from '../net/attempt.js';
import type { CancelListener } from '../net/cancel.js';
import { NetError, toNetError } from '../net/errors.js';
import type { PacketConn } from '../net/packet-conn.js';
import type { Stream } from '../net/stream.js';
import type { Timeouts } from '../net/timeouts.js';
import type { Deadline } from '../net/timer-wheel.js';
import { notCarried, type Routing, type Way } from './routing.js';
import type { SessionRecord } from './session-table.js';

/** Adapters that may stand one behind the other (config/check-graph.ts), each with a connect and a handshake: no dial of a sound adapter takes as long. */
const LONGEST_CHAIN = 64;
const SHORTEST_CEILING = 120_000;

/** What a dial makes. */
interface Product<T> {
  readonly noun: string;
  readonly is: (made: unknown) => boolean;
  readonly discard: (made: T, reason: NetError) => void;
}

const STREAM: Product<Stream> = { noun: 'stream', is: isStream, discard: abortQuietly };
const ASSOCIATION: Product<PacketConn> = { noun: 'UDP association', is: isPacketConn, discard: closeQuietly };

/**
 * Rejects with a NetError: the adapter's, the reason of the record's signal as soon as it fires, or `BAD_ADAPTER` where what the adapter gave is no stream. What
 * comes later is aborted.
 */
export function dialStream(record: SessionRecord, { adapter, options }: Way, routing: Routing): Promise<Stream> {
  const dialer = adapter.stream;
  if (dialer === undefined) return Promise.reject(notCarried(adapter, 'TCP'));
  return dialWith(record, adapter, routing, STREAM, () => dialer.dialStream(record.session.destination, options));
}

/** The same for an association. */
export function dialPackets(record: SessionRecord, { adapter, options }: Way, routing: Routing): Promise<PacketConn> {
  return dialWith(record, adapter, routing, ASSOCIATION, () => {
    if (adapter.packet === undefined) throw notCarried(adapter, 'UDP');
    return adapter.packet.dialPacket(options);
  });
}

function dialWith<T>(record: SessionRecord, adapter: Adapter, routing: Routing, product: Product<T>, run: () => Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => new Dial(record, adapter, routing, product, resolve, reject).begin(run));
}

class Dial<T> implements CancelListener {
  readonly #record: SessionRecord;
  readonly #adapter: Adapter;
  readonly #routing: Routing;
  readonly #product: Product<T>;
  readonly #resolve: (made: T) => void;
  readonly #reject: (error: NetError) => void;
  readonly #deadline: Deadline;
  readonly #begin: number;
  #isOver = false;

  constructor(record: SessionRecord, adapter: Adapter, routing: Routing, product: Product<T>, resolve: (made: T) => void, reject: (error: NetError) => void) {
    this.#record = record;
    this.#adapter = adapter;
    this.#routing = routing;
    this.#product = product;
    this.#resolve = resolve;
    this.#reject = reject;
    const { timers, timeouts } = routing;
    this.#begin = timers.now();
    this.#deadline = timers.after(longest(timeouts), () => record.cancel.cancel(this.#late()));
  }

  begin(run: () => Promise<T>): void {
    const { events } = this.#routing;
    const { session } = this.#record;
    const { tag, type } = this.#adapter;
    if (events.wants('adapter.dialing')) events.emit('adapter.dialing', { session: session.id, adapter: tag, type, destination: session.destination });
    this.#record.cancel.add(this);
    if (this.#isOver) return;
    attempt(run).then(
      (made) => this.#made(made),
      (thrown: unknown) => this.#failed(toNetError(thrown)),
    );
  }

  cancelled(reason: Error): void {
    this.#failed(toNetError(reason));
  }

  #made(made: T): void {
    const { noun, is, discard } = this.#product;
    if (!is(made)) {
      const leaf = this.#record.chain().at(-1) ?? this.#adapter.tag;
      this.#failed(new NetError('protocol', `the adapter "${leaf}" gave something that is no ${noun}`, { code: 'BAD_ADAPTER' }));
      return;
    }
    if (this.#isOver) {
      discard(made, toNetError(this.#record.cancel.reason));
      return;
    }
    this.#end();
    const { events } = this.#routing;
    if (events.wants('adapter.ready')) events.emit('adapter.ready', { session: this.#record.session.id, adapter: this.#adapter.tag, ms: this.#ms() });
    this.#resolve(made);
  }

  #failed(error: NetError): void {
    if (this.#isOver) return;
    this.#end();
    const { events } = this.#routing;
    const { code, message } = error;
    if (events.wants('adapter.failed'))
      events.emit('adapter.failed', { session: this.#record.session.id, adapter: this.#adapter.tag, code, message, ms: this.#ms() });
    this.#reject(error);
  }

  #end(): void {
    this.#isOver = true;
    this.#deadline.cancel();
    this.#record.cancel.remove(this);
  }

  #ms(): number {
    return this.#routing.timers.now() - this.#begin;
  }

  #late(): NetError {
    const seconds = Math.round(longest(this.#routing.timeouts) / 1000);
    return new NetError('timeout', `the adapter "${this.#adapter.tag}" has not dialled within ${seconds} s`, { code: 'DIAL_TIMEOUT' });
  }
}

/** In ms. Some dials depend on neither: REJECT-DROP waits for 30 s, a race for its delays. */
function longest({ connect, handshake }: Timeouts): number {
  return Math.max(SHORTEST_CEILING, LONGEST_CHAIN * (connect + handshake));
}

function isStream(made: unknown): boolean {
  const { read, write, closeWrite, abort } = (made ?? {}) as Partial<Stream>;
  return typeof read === 'function' && typeof write === 'function' && typeof closeWrite === 'function' && typeof abort === 'function';
}

function isPacketConn(made: unknown): boolean {
  const { receive, send, close } = (made ?? {}) as Partial<PacketConn>;
  return typeof receive === 'function' && typeof send === 'function' && typeof close === 'function';
}
