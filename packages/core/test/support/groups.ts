/** Groups on a clock that stands still, with members whose health the test decides. */
import type { Adapter, AdapterContext } from '../../dist/adapter/adapter.js';
import { HEALTH_BOOK, HealthBook } from '../../dist/adapter/health-book.js';
import { type Probe, parseExpectedStatus } from '../../dist/adapter/health-check.js';
import type { HealthOptions } from '../../dist/adapter/health-watch.js';
import { RejectDropAdapter } from '../../dist/adapter/reject.js';
import type { DialOptions } from '../../dist/net/dialer.js';
import { NetError } from '../../dist/net/errors.js';
import type { KernelEvents } from '../../dist/net/events.js';
import type { PacketConn } from '../../dist/net/packet-conn.js';
import type { Stream } from '../../dist/net/stream.js';
import type { TimerWheel } from '../../dist/net/timer-wheel.js';
import { EVENTS, TIMERS } from '../../dist/net/tokens.js';
import { dialOptions, FakeClock, pipePair, testContext } from '../../dist/testing.js';

/** A leaf. `health`: the delay of its checks in ms, a status after `ms`, `dead` (refuses at once) or `silent` (never answers). */
export class Member implements Adapter {
  readonly type = 'test';
  readonly tag: string;
  health: number | 'dead' | 'silent' | { readonly ms: number; readonly status: number } = 10;
  /** What its dials fail with; null: they succeed. */
  failure: NetError | null = null;
  dials = 0;
  packetDials = 0;
  udp = true;
  /** Its associations open. */
  opens = false;
  readonly stream = {
    dialStream: (_destination: unknown, _options: DialOptions): Promise<Stream> => {
      this.dials++;
      return this.failure === null ? Promise.resolve(pipePair()[0]) : Promise.reject(this.failure);
    },
  };

  constructor(tag: string) {
    this.tag = tag;
  }

  get packet(): { dialPacket(): Promise<PacketConn> } | undefined {
    if (!this.udp) return undefined;
    return {
      dialPacket: () => {
        this.packetDials++;
        if (this.opens) return new RejectDropAdapter(testContext().context).packet.dialPacket();
        return Promise.reject(new NetError('refused', 'this one only counts'));
      },
    };
  }
}

export interface Scene<T extends string> {
  readonly clock: FakeClock;
  readonly timers: TimerWheel;
  readonly book: HealthBook;
  readonly members: Readonly<Record<T, Member>>;
  /** Who was checked, in order. */
  readonly checked: string[];
  readonly changes: Omit<KernelEvents['group.changed'], 'at'>[];
  readonly results: Omit<KernelEvents['health.checked'], 'at'>[];
  /** Checks that run now, and the most that ever did. */
  readonly running: { now: number; most: number };
  /** For the group `tag`, which may name the members and `others`. */
  context(tag: string, others?: readonly Adapter[]): AdapterContext;
}

export const CHECK_URL = 'http://check.example/';

export function healthOptions(over: Partial<HealthOptions> = {}): HealthOptions {
  return { url: CHECK_URL, expected: parseExpectedStatus('*'), timeoutMs: 5_000, intervalMs: 60_000, lazy: false, maxFailed: 5, ...over };
}

export function scene<const T extends string>(...tags: readonly T[]): Scene<T> {
  const clock = new FakeClock();
  const { timers, events } = testContext({ clock });
  const members = Object.fromEntries(tags.map((tag) => [tag, new Member(tag)])) as Record<T, Member>;
  const checked: string[] = [];
  const running = { now: 0, most: 0 };
  const probe: Probe = (adapter, { signal }) => {
    checked.push(adapter.tag);
    running.now++;
    running.most = Math.max(running.most, running.now);
    return answer(adapter, clock, signal).finally(() => running.now--);
  };
  const book = new HealthBook({ timers, events, probe });
  const changes: Scene<T>['changes'] = [];
  const results: Scene<T>['results'] = [];
  events.on('group.changed', ({ at: _, ...change }) => changes.push(change));
  events.on('health.checked', ({ at: _, ...result }) => results.push(result));
  const values = new Map<symbol, unknown>([
    [HEALTH_BOOK, book],
    [TIMERS, timers],
    [EVENTS, events],
  ]);
  const context = (tag: string, others: readonly Adapter[] = []): AdapterContext =>
    testContext({ tag, clock, values, adapters: [...Object.values<Adapter>(members), ...others] }).context;
  return { clock, timers, book, members, checked, changes, results, running, context };
}

/** A check ends at the leaf, through whatever groups are on the way. */
function answer(adapter: Adapter, clock: FakeClock, signal: DialOptions['signal']): Promise<number> {
  let leaf = adapter;
  while (leaf.now !== undefined) leaf = leaf.now();
  if (!(leaf instanceof Member)) return Promise.reject(new NetError('denied', 'no member of the test'));
  const { health } = leaf;
  if (health === 'dead') return Promise.reject(new NetError('refused', `${leaf.tag} refuses`));
  return new Promise((resolve, reject) => {
    signal.onCancel(reject);
    if (health === 'silent') return;
    const { ms, status } = typeof health === 'number' ? { ms: health, status: 204 } : health;
    clock.after(ms, () => resolve(status));
  });
}

/** One connection through a group: the member that carried it, or that it failed at. */
export async function dial(group: Adapter, host = 'www.example.com', source = '192.0.2.1'): Promise<string> {
  const chosen: string[] = [];
  const destination = { host, port: 443 };
  const base = dialOptions(destination);
  const options = {
    ...base,
    session: { ...base.session, source: { host: source, port: 5_000 } },
    chosen: (_: string, member: string) => chosen.unshift(member),
  };
  try {
    const stream = await group.stream?.dialStream(destination, options);
    stream?.abort(new NetError('aborted', 'seen'));
  } catch (error) {
    if (!(error instanceof NetError)) throw error;
  }
  return chosen.at(0) ?? 'nobody';
}

/** Until the next round of checks is over. For scenes with one group: it does not depend on when by chance the round begins. */
export async function nextRound({ clock, checked, running }: Scene<string>): Promise<void> {
  const before = checked.length;
  for (let waited = 0; checked.length === before || running.now > 0; waited += 100) {
    if (waited > 1_000_000) throw new Error('no round began');
    await clock.advance(100);
  }
}
