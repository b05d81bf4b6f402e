/** What groups have in common: members by name, dials that are told and counted, and a choice that follows the members' health. */
import type { DialOptions, PacketDialer, StreamDialer } from '../net/dialer.js';
import type { Endpoint } from '../net/endpoint.js';
import { NekitError, NetError } from '../net/errors.js';
import type { KernelEvents } from '../net/events.js';
import type { Network, Session } from '../net/session.js';
import { EVENTS, TIMERS } from '../net/tokens.js';
import type { Adapter, AdapterContext } from './adapter.js';
import { HEALTH_BOOK, type HealthBook } from './health-book.js';
import { type HealthOptions, HealthWatch } from './health-watch.js';

export interface GroupOptions {
  readonly proxies: readonly string[];
  /** false: UDP goes on to the next rule. */
  readonly udp: boolean;
}

export interface HealthGroupOptions extends GroupOptions {
  readonly health: HealthOptions;
}

export type Members = readonly [Adapter, ...Adapter[]];

/** Throws NekitError `EMPTY_GROUP`, or what `context.adapter` throws. */
export function membersOf(tags: readonly string[], context: AdapterContext): Members {
  const [first, ...others] = tags.map((tag) => context.adapter(tag));
  if (first === undefined) throw new NekitError('EMPTY_GROUP', `group ${context.tag} has no members`);
  return [first, ...others];
}

export function watchOf(members: Members, health: HealthOptions, context: AdapterContext, learnt: (over: boolean) => void): HealthWatch {
  return new HealthWatch({ ...health, members, learnt, book: context.get(HEALTH_BOOK), timers: context.get(TIMERS) });
}

/** What a dial is for. For UDP the destination is that of the association's first datagram. */
export interface Wish {
  readonly network: Network;
  readonly destination: Endpoint;
  readonly session: Session;
}

/** A group's dialers: the member that `choose` names carries the connection. If it fails, the dial has failed; only the next one may go elsewhere. */
export class GroupDials {
  readonly stream: StreamDialer = { dialStream: (destination, options) => this.#dialStream(destination, options) };
  readonly packet: PacketDialer = { dialPacket: (options) => this.#dialPacket(options) };
  readonly #tag: string;
  readonly #choose: (wish: Wish) => Adapter;
  readonly #watch: HealthWatch | null;

  constructor(tag: string, choose: (wish: Wish) => Adapter, watch: HealthWatch | null) {
    this.#tag = tag;
    this.#choose = choose;
    this.#watch = watch;
  }

  #dialStream(destination: Endpoint, options: DialOptions): ReturnType<StreamDialer['dialStream']> {
    const member = this.#choose({ network: 'tcp', destination, session: options.session });
    if (member.stream === undefined) return Promise.reject(notCarried(member, 'TCP'));
    options.chosen?.(this.#tag, member.tag);
    return this.#watched(member, options, member.stream.dialStream(destination, options), true);
  }

  #dialPacket(options: DialOptions): ReturnType<PacketDialer['dialPacket']> {
    const member = this.#choose({ network: 'udp', destination: options.session.destination, session: options.session });
    if (member.packet === undefined) return Promise.reject(notCarried(member, 'UDP'));
    options.chosen?.(this.#tag, member.tag);
    return this.#watched(member, options, member.packet.dialPacket(options), false);
  }

  /** `proves`: whoever has dialled has reached somebody. An association is often opened without a word to its server. */
  #watched<T>(member: Adapter, { signal }: DialOptions, dialling: Promise<T>, proves: boolean): Promise<T> {
    const watch = this.#watch;
    if (watch === null) return dialling;
    watch.used();
    void dialling.then(
      () => {
        if (proves) watch.succeeded(member);
      },
      (error: unknown) => watch.failed(member, error, signal), // and the caller is told by `dialling` itself
    );
    return dialling;
  }
}

function notCarried(member: Adapter, what: 'TCP' | 'UDP'): NetError {
  return new NetError('denied', `${member.tag} carries no ${what}`, { code: 'NOT_SUPPORTED' });
}

export type ChangeReason = KernelEvents['group.changed']['reason'];

export interface Choice {
  readonly member: Adapter;
  readonly reason: ChangeReason;
}

/** Whom to use from now on; null: the present one still. Pure. `over`: a round of checks has just ended, so that delays can be compared. */
export type Judge = (members: Members, present: Adapter, health: Pick<HealthWatch, 'isAlive' | 'delayOf'>, over: boolean) => Choice | null;

/** A group that uses one member at a time, chosen by the members' health. */
export class HealthGroup implements Adapter {
  readonly tag: string;
  readonly type: string;
  readonly members: Members;
  readonly stream: StreamDialer;
  readonly #dials: GroupDials;
  readonly #watch: HealthWatch;
  readonly #judge: Judge;
  readonly #udp: boolean;
  readonly #book: HealthBook;
  readonly #context: AdapterContext;
  #present: Adapter;

  /** What the book knows of the members counts at once; checks begin with `start`. */
  constructor(type: string, options: HealthGroupOptions, judge: Judge, context: AdapterContext) {
    this.tag = context.tag;
    this.type = type;
    this.members = membersOf(options.proxies, context);
    this.#udp = options.udp;
    this.#judge = judge;
    this.#context = context;
    this.#book = context.get(HEALTH_BOOK);
    this.#watch = watchOf(this.members, options.health, context, (over) => this.#learnt(over));
    this.#dials = new GroupDials(this.tag, () => this.#present, this.#watch);
    this.stream = this.#dials.stream;
    this.#present = this.#known();
  }

  readonly now = (): Adapter => this.#present;

  /** Absent while the present member has none, so that UDP goes on to the next rule. */
  get packet(): PacketDialer | undefined {
    return this.#udp && this.#present.packet !== undefined ? this.#dials.packet : undefined;
  }

  start(): void {
    this.#watch.start();
    this.#present = this.#known(); // the book may have learned and forgotten since
  }

  close(): void {
    this.#watch.close();
  }

  /** By the book: whom the group of this name used last, or better. */
  #known(): Adapter {
    const last = this.#book.choiceOf(this.tag);
    const before = this.members.find((member) => member.tag === last) ?? this.members[0];
    return this.#judge(this.members, before, this.#watch, true)?.member ?? before;
  }

  #learnt(over: boolean): void {
    const from = this.#present;
    const choice = this.#judge(this.members, from, this.#watch, over);
    if (choice === null || choice.member === from) return;
    this.#present = choice.member;
    this.#book.keepChoice(this.tag, choice.member.tag);
    tellChange(this.#context, { group: this.tag, from: from.tag, to: choice.member.tag, reason: choice.reason });
  }
}

export function tellChange(context: Pick<AdapterContext, 'get'>, change: Omit<KernelEvents['group.changed'], 'at'>): void {
  const events = context.get(EVENTS);
  if (events.wants('group.changed')) events.emit('group.changed', change);
}
