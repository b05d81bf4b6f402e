/**
 * Clash's `load-balance`: each connection is given to one of the members that are alive.
 *
 * - consistent-hashing: by the destination's site, so that a site sees one address of ours. Each member has a score for each site and the highest wins
 *   (rendezvous hashing): a member that dies loses its own sites to all others, and no other site moves.
 * - round-robin: one after the other.
 * - sticky-sessions: a client keeps the member that it was given for a site, until it has not asked for ten minutes.
 */
import { addressFamily } from '../net/address.js';
import type { PacketDialer, StreamDialer } from '../net/dialer.js';
import type { Session } from '../net/session.js';
import { TIMERS } from '../net/tokens.js';
import type { Adapter, AdapterContext } from './adapter.js';
import { GroupDials, type HealthGroupOptions, type Members, membersOf, type Wish, watchOf } from './group.js';
import type { HealthWatch } from './health-watch.js';

export const STRATEGIES = ['consistent-hashing', 'round-robin', 'sticky-sessions'] as const;
export type Strategy = (typeof STRATEGIES)[number];

/** How long a sticky session is remembered after its last connection, in ms. */
const STICKY_FOR = 600_000;
/** Sticky sessions that are remembered; the one that was used longest ago is forgotten first. */
const MAX_STICKY = 4096;

/** undefined only where there are no candidates. `asking`: what would be picked; it is not somebody's turn. */
type PickMember = (candidates: readonly Adapter[], wish: Wish, asking: boolean) => Adapter | undefined;

export class LoadBalanceAdapter implements Adapter {
  readonly tag: string;
  readonly type = 'load-balance';
  readonly members: Members;
  readonly stream: StreamDialer;
  readonly #dials: GroupDials;
  readonly #watch: HealthWatch;
  readonly #pick: PickMember;
  readonly #udp: boolean;

  constructor(options: HealthGroupOptions & { readonly strategy: Strategy }, context: AdapterContext) {
    this.tag = context.tag;
    this.members = membersOf(options.proxies, context);
    this.#udp = options.udp;
    this.#pick = pickBy(options.strategy, this.members, () => context.get(TIMERS).now());
    this.#watch = watchOf(this.members, options.health, context, () => undefined);
    this.#dials = new GroupDials(this.tag, (wish) => this.#choose(wish, false), this.#watch);
    this.stream = this.#dials.stream;
  }

  /** Absent while no member carries UDP, so that it goes on to the next rule. */
  get packet(): PacketDialer | undefined {
    return this.#udp && this.members.some((member) => member.packet !== undefined) ? this.#dials.packet : undefined;
  }

  wouldTake(session: Session): Adapter {
    return this.#choose({ network: session.network, destination: session.destination, session }, true);
  }

  start(): void {
    this.#watch.start();
  }

  close(): void {
    this.#watch.close();
  }

  /** Where none is alive all are tried: the checks may be wrong, and nothing is lost. */
  #choose(wish: Wish, asking: boolean): Adapter {
    const able = this.members.filter((member) => (wish.network === 'tcp' ? member.stream : member.packet) !== undefined);
    const alive = able.filter((member) => this.#watch.isAlive(member));
    return this.#pick(alive.length > 0 ? alive : able, wish, asking) ?? this.members[0];
  }
}

function pickBy(strategy: Strategy, members: Members, now: () => number): PickMember {
  switch (strategy) {
    case 'consistent-hashing':
      return consistentHashing(members);
    case 'round-robin':
      return roundRobin();
    case 'sticky-sessions':
      return new StickySessions(now).pick;
  }
}

function consistentHashing(members: Members): PickMember {
  const seeds = new Map(members.map((member) => [member, scatter(hash(member.tag))]));
  return (candidates, { destination }) => {
    const key = hash(siteOf(destination.host));
    let best: Adapter | undefined;
    let highest = -1;
    for (const candidate of candidates) {
      const score = scatter(key ^ (seeds.get(candidate) ?? 0));
      if (score <= highest) continue;
      best = candidate;
      highest = score;
    }
    return best;
  };
}

function roundRobin(): PickMember {
  let turn = 0;
  return (candidates, _wish, asking) => candidates[(asking ? turn : turn++) % candidates.length];
}

export class StickySessions {
  /** In the order of their last use. */
  readonly #sessions = new Map<string, { readonly member: Adapter; readonly at: number }>();
  readonly #next = roundRobin();
  readonly #now: () => number;

  constructor(now: () => number) {
    this.#now = now;
  }

  get size(): number {
    return this.#sessions.size;
  }

  readonly pick: PickMember = (candidates, wish, asking) => {
    const key = `${wish.session.source.host} ${siteOf(wish.destination.host)}`;
    const at = this.#now();
    const before = this.#sessions.get(key);
    const keeps = before !== undefined && at - before.at < STICKY_FOR && candidates.includes(before.member);
    const member = keeps ? before.member : this.#next(candidates, wish, asking);
    if (member === undefined || asking) return member;
    this.#sessions.delete(key);
    this.#sessions.set(key, { member, at });
    this.#forget(at);
    return member;
  };

  #forget(now: number): void {
    for (const [key, { at }] of this.#sessions) {
      if (this.#sessions.size <= MAX_STICKY && now - at < STICKY_FOR) break;
      this.#sessions.delete(key);
    }
  }
}

/**
 * What belongs together: an address, or the last two labels of a name; three where the second one is short and the first a country's, as in
 * `example.co.uk`. A list of public suffixes would know better, and has to be kept up to date.
 */
export function siteOf(host: string): string {
  if (addressFamily(host) !== 0) return host;
  const last = host.lastIndexOf('.');
  const second = host.lastIndexOf('.', last - 1);
  if (last <= 0 || second <= 0) return host;
  const isCountry = host.length - last - 1 === 2 && last - second - 1 <= 3;
  return host.slice((isCountry ? host.lastIndexOf('.', second - 1) : second) + 1);
}

/** FNV-1a, 32 bits, over UTF-16 units. */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) value = Math.imul(value ^ text.charCodeAt(i), 0x01000193);
  return value;
}

/** Spreads every bit over all 32 (the end of MurmurHash3): similar names have unlike scores. */
function scatter(value: number): number {
  let mixed = value ^ (value >>> 16);
  mixed = Math.imul(mixed, 0x85ebca6b);
  mixed ^= mixed >>> 13;
  mixed = Math.imul(mixed, 0xc2b2ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}
