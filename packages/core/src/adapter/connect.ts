/** TCP connections of the kernel itself: the only place that opens one. Read first: RFC 8305 (Happy Eyeballs). */
import { addressFamily } from '../net/address.js';
import { abortQuietly } from '../net/attempt.js';
import { type Cancel, CancelSource, timeoutError } from '../net/cancel.js';
import type { Clock } from '../net/clock.js';
import { formatEndpoint } from '../net/endpoint.js';
import { NetError, toNetError } from '../net/errors.js';
import type { OwnEndpoints } from '../net/own-endpoints.js';
import type { SocketOptions, Sockets } from '../net/sockets.js';
import { staggered } from '../net/staggered.js';
import type { Stream } from '../net/stream.js';
import type { TimerWheel } from '../net/timer-wheel.js';

/** RFC 8305 section 8: Connection Attempt Delay, recommended value, in ms. */
const ATTEMPT_DELAY = 250;

/** How many addresses of one name are tried; a name with more is an attack or a mistake. */
const MAX_ADDRESSES = 16;

export type IpVersion = 'dual' | 'ipv4' | 'ipv6' | 'ipv4-prefer' | 'ipv6-prefer';

export interface ConnectOptions {
  readonly clock: Clock;
  readonly timers: TimerWheel;
  readonly own: OwnEndpoints;
  readonly sockets: Sockets;
  readonly socketOptions?: SocketOptions;
  /** The interface to leave by, where `socketOptions` has none. */
  readonly deviceFor?: (address: string) => string | undefined;
  readonly signal: Cancel;
  /** For all addresses together, in ms. */
  readonly timeoutMs: number;
  /** A socket that was opened is closed: for each, also of those that lost. */
  readonly closed?: (() => void) | undefined;
}

/** Connects to the first of `addresses` (canonical, in the order to try) that answers. Rejects with a NetError. */
export function connectToAny(addresses: readonly string[], port: number, options: ConnectOptions): Promise<Stream> {
  const { clock, timers, timeoutMs } = options;
  const [first] = addresses;
  const signal = new CancelSource(options.signal);
  const deadline = timers.after(timeoutMs, () => {
    const others = addresses.length > 1 ? ` and ${addresses.length - 1} more` : '';
    signal.cancel(timeoutError(`connecting to ${formatEndpoint({ host: first ?? '', port })}${others}`, timeoutMs));
  });
  const connecting =
    addresses.length === 1 && first !== undefined
      ? connect(first, port, options, signal)
      : staggered(
          addresses.slice(0, MAX_ADDRESSES).map((address, index) => ({
            gapMs: index === 0 ? 0 : ATTEMPT_DELAY,
            run: (lost: Cancel) => connect(address, port, options, lost),
          })),
          { clock, signal, discard: (late) => abortQuietly(late, new NetError('aborted', 'another address was faster', { code: 'LOST_RACE' })) },
        );
  return connecting.finally(() => {
    deadline.cancel();
    signal.release();
  });
}

/** The order of RFC 8305 section 4: families alternate, the preferred one first. The order within a family stays. */
export function sortAddresses(addresses: readonly string[], version: IpVersion): readonly string[] {
  if (addresses.length === 1 && version === 'dual') return addresses;
  const six = addresses.filter((address) => addressFamily(address) === 6);
  const four = addresses.filter((address) => addressFamily(address) === 4);
  if (version === 'ipv4') return four;
  if (version === 'ipv6') return six;
  const [first, second] = version === 'ipv4-prefer' ? [four, six] : [six, four];
  const sorted: string[] = [];
  for (let i = 0; i < Math.max(first.length, second.length); i++) {
    const [a, b] = [first[i], second[i]];
    if (a !== undefined) sorted.push(a);
    if (b !== undefined) sorted.push(b);
  }
  return sorted;
}

function connect(address: string, port: number, options: ConnectOptions, signal: Cancel): Promise<Stream> {
  const { own, sockets } = options;
  if (signal.reason !== null) return Promise.reject(toNetError(signal.reason));
  const refusal = own.refuses('tcp', address, port);
  if (refusal !== null) return Promise.reject(refusal);
  return new Promise((resolve, reject) => {
    const opened = (stream: Stream): void => {
      forget();
      resolve(stream);
    };
    const failed = (error: NetError): void => {
      forget();
      reject(error);
    };
    const giveUp = sockets.connect(address, port, optionsFor(address, options), opened, failed, options.closed);
    const forget = signal.onCancel((reason) => {
      giveUp();
      reject(toNetError(reason));
    });
  });
}

const NO_OPTIONS: SocketOptions = {};

function optionsFor(address: string, { socketOptions = NO_OPTIONS, deviceFor }: ConnectOptions): SocketOptions {
  const device = socketOptions.device === undefined ? deviceFor?.(address) : undefined;
  return device === undefined ? socketOptions : { ...socketOptions, device };
}
