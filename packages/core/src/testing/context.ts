import { lookup } from 'node:dns/promises';
import type { Adapter, AdapterContext } from '../adapter/adapter.js';
import { DirectAdapter } from '../adapter/direct.js';
import { CIPHERS, type Ciphers } from '../native/cipher.js';
import { findAddon } from '../native/load.js';
import { openCiphers } from '../native/open-ciphers.js';
import { openSockets } from '../native/open-sockets.js';
import { addressFamily } from '../net/address.js';
import { never } from '../net/cancel.js';
import { type Clock, systemClock } from '../net/clock.js';
import type { DialOptions } from '../net/dialer.js';
import type { Endpoint } from '../net/endpoint.js';
import { NekitError, NetError, toNetError } from '../net/errors.js';
import { Events } from '../net/events.js';
import { Exemptions } from '../net/exemptions.js';
import { SYSTEM_OUTGOING } from '../net/outgoing.js';
import { OwnEndpoints } from '../net/own-endpoints.js';
import type { Resolver } from '../net/resolver.js';
import type { Session } from '../net/session.js';
import type { Sockets } from '../net/sockets.js';
import { DEFAULT_TIMEOUTS, type Timeouts } from '../net/timeouts.js';
import { TimerWheel } from '../net/timer-wheel.js';
import type { Token } from '../net/token.js';
import { CLOCK, EVENTS, EXEMPTIONS, INSTANCE_ID, OUTBOUND, OUTGOING, OWN_ENDPOINTS, RESOLVER, SOCKETS, TIMEOUTS, TIMERS } from '../net/tokens.js';

const NOWHERE: Endpoint = { host: '127.0.0.1', port: 9 };

export function testSession(partial: Partial<Session> = {}): Session {
  const destination = partial.destination ?? partial.requested ?? NOWHERE;
  return {
    id: 1,
    network: 'tcp',
    inbound: 'test',
    inboundType: 'SOCKS5',
    inboundPort: 1080,
    source: { host: '127.0.0.1', port: 50_000 },
    requested: destination,
    destination,
    signal: never,
    ...partial,
  };
}

export function dialOptions(destination: Endpoint = NOWHERE, partial: Partial<DialOptions> = {}): DialOptions {
  const signal = partial.signal ?? never;
  return { session: testSession({ destination, signal }), ...partial, signal };
}

export interface TestContextOptions {
  readonly tag?: string;
  readonly clock?: Clock;
  readonly timeouts?: Partial<Timeouts>;
  readonly resolver?: Resolver;
  /** The native ones where the addon is there, by default. */
  readonly sockets?: Sockets;
  /** The native ones where the addon has them, by default. */
  readonly ciphers?: Ciphers;
  readonly base?: Adapter;
  readonly adapters?: readonly Adapter[];
  readonly values?: ReadonlyMap<symbol, unknown>;
}

export interface TestContext {
  readonly context: AdapterContext;
  readonly events: Events;
  readonly timers: TimerWheel;
  readonly own: OwnEndpoints;
}

/** What a kernel gives to an adapter, without a kernel: real time and real sockets unless told otherwise. */
export function testContext(options: TestContextOptions = {}): TestContext {
  const clock = options.clock ?? systemClock;
  const timers = new TimerWheel(clock, 10);
  const events = new Events();
  const own = new OwnEndpoints(clock);
  const values = new Map<symbol, unknown>([
    [CLOCK, clock],
    [TIMERS, timers],
    [TIMEOUTS, { ...DEFAULT_TIMEOUTS, ...options.timeouts }],
    [EVENTS, events],
    [OWN_ENDPOINTS, own],
    [OUTBOUND, {}],
    [OUTGOING, SYSTEM_OUTGOING],
    [EXEMPTIONS, new Exemptions()],
    [SOCKETS, options.sockets ?? openSockets(findAddon().addon)],
    [CIPHERS, options.ciphers ?? openCiphers(findAddon().addon)],
    [INSTANCE_ID, 'test-instance'],
    [RESOLVER, options.resolver ?? systemResolver],
    ...(options.values ?? []),
  ]);
  const get = <T>(wanted: Token<T>): T => {
    if (!values.has(wanted)) throw new NekitError('UNKNOWN_TOKEN', `nothing provides ${String(wanted)}`);
    return values.get(wanted) as T;
  };
  const base = options.base ?? new DirectAdapter({ ipVersion: 'dual', udp: true }, { tag: 'DIRECT', get });
  const adapter = (tag: string): Adapter => {
    const found = [base, ...(options.adapters ?? [])].find((candidate) => candidate.tag === tag);
    if (found === undefined) throw new NekitError('UNKNOWN_ADAPTER', `there is no adapter "${tag}"`);
    return found;
  };
  return { context: { tag: options.tag ?? 'test', base, adapter, get }, events, timers, own };
}

const systemResolver: Resolver = {
  async resolve(name, family, signal) {
    if (signal.reason !== null) throw toNetError(signal.reason);
    if (addressFamily(name) !== 0) return [name];
    try {
      return (await lookup(name, { all: true, family })).map((entry) => entry.address);
    } catch (error) {
      throw new NetError('name', `${name} does not resolve`, { cause: error });
    }
  },
};
