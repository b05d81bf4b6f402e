import type { DialOptions } from '../net/dialer.js';
import { NetError, toNetError } from '../net/errors.js';
import type { PacketConn } from '../net/packet-conn.js';
import { PacketQueue } from '../net/packet-queue.js';
import type { Stream } from '../net/stream.js';
import { TIMERS } from '../net/tokens.js';
import type { Adapter, AdapterContext } from './adapter.js';

/** NEKit's default, in ms: applications that are refused at once try again at once, in a tight loop. */
export const REJECT_DELAY = 300;

/** How long REJECT-DROP leaves a client without an answer, in ms: longer than clients wait before they give up on a server. */
const DROP_HOLD = 30_000;

/** Says no after a delay: RST, 403 or REP 2 at the client. */
export class RejectAdapter implements Adapter {
  readonly tag: string;
  readonly type = 'reject';
  readonly #delayMs: number;
  readonly #context: Pick<AdapterContext, 'tag' | 'get'>;
  readonly stream = { dialStream: (_destination: unknown, options: DialOptions): Promise<Stream> => this.#reject(options) };
  readonly packet = { dialPacket: (options: DialOptions): Promise<PacketConn> => this.#reject(options) };

  constructor(options: { readonly delayMs: number }, context: Pick<AdapterContext, 'tag' | 'get'>) {
    this.tag = context.tag;
    this.#delayMs = options.delayMs;
    this.#context = context;
  }

  #reject(options: DialOptions): Promise<never> {
    return failAfter(this.#delayMs, new NetError('denied', `refused by ${this.tag}`, { code: 'REJECTED' }), options, this.#context);
  }
}

/** Says nothing: the client waits until it gives up, or half a minute. Datagrams vanish. */
export class RejectDropAdapter implements Adapter {
  readonly tag: string;
  readonly type = 'reject-drop';
  readonly #context: Pick<AdapterContext, 'tag' | 'get'>;
  readonly stream = {
    dialStream: (_destination: unknown, options: DialOptions): Promise<Stream> =>
      failAfter(DROP_HOLD, new NetError('timeout', `dropped by ${this.tag}`, { code: 'DROPPED' }), options, this.#context),
  };
  readonly packet = { dialPacket: (): Promise<PacketConn> => Promise.resolve(new BlackHole()) };

  constructor(context: Pick<AdapterContext, 'tag' | 'get'>) {
    this.tag = context.tag;
    this.#context = context;
  }
}

function failAfter(ms: number, error: NetError, options: DialOptions, context: Pick<AdapterContext, 'get'>): Promise<never> {
  return new Promise((_resolve, reject) => {
    const deadline = context.get(TIMERS).after(ms, () => {
      forget();
      reject(error);
    });
    const forget = options.signal.onCancel((reason) => {
      deadline.cancel();
      reject(toNetError(reason));
    });
  });
}

class BlackHole implements PacketConn {
  readonly #nothing = new PacketQueue(0);
  readonly error = null;
  receive(): ReturnType<PacketConn['receive']> {
    return this.#nothing.take();
  }
  send(datagrams: readonly unknown[]): number {
    return datagrams.length;
  }
  close(): void {
    this.#nothing.end();
  }
}
