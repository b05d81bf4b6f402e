import type { PacketDialer, StreamDialer } from '../net/dialer.js';
import { NekitError } from '../net/errors.js';
import type { Adapter, AdapterContext } from './adapter.js';
import { GroupDials, type Members, membersOf, tellChange, watchOf } from './group.js';
import type { HealthOptions, HealthWatch } from './health-watch.js';

export interface SelectOptions {
  readonly proxies: readonly string[];
  /** false: UDP goes on to the next rule. Default true. */
  readonly udp?: boolean;
  /** For who shows delays: the choice is the user's, whatever the checks say. */
  readonly health?: HealthOptions | null;
}

/** A group that uses the member that was chosen, at first its first one. */
export class SelectAdapter implements Adapter {
  readonly tag: string;
  readonly type = 'select';
  readonly members: Members;
  readonly stream: StreamDialer;
  readonly #dials: GroupDials;
  readonly #watch: HealthWatch | null;
  readonly #udp: boolean;
  readonly #context: AdapterContext;
  #selected: Adapter;
  #started = false;

  constructor({ proxies, udp = true, health = null }: SelectOptions, context: AdapterContext) {
    this.tag = context.tag;
    this.members = membersOf(proxies, context);
    this.#selected = this.members[0];
    this.#udp = udp;
    this.#context = context;
    this.#watch = health === null ? null : watchOf(this.members, health, context, () => undefined);
    this.#dials = new GroupDials(this.tag, () => this.#selected, this.#watch);
    this.stream = this.#dials.stream;
  }

  readonly now = (): Adapter => this.#selected;

  /** Absent while the chosen member has none, so that UDP goes on to the next rule. */
  get packet(): PacketDialer | undefined {
    return this.#udp && this.#selected.packet !== undefined ? this.#dials.packet : undefined;
  }

  select(member: string): void {
    const found = this.members.find((candidate) => candidate.tag === member);
    if (found === undefined)
      throw new NekitError('UNKNOWN_MEMBER', `group ${this.tag} has no member "${member}"; it has ${this.members.map((known) => known.tag).join(', ')}`);
    const from = this.#selected;
    this.#selected = found;
    // What a reload takes over from the group before, it does before the start: nothing changes by that.
    if (this.#started && from !== found) tellChange(this.#context, { group: this.tag, from: from.tag, to: found.tag, reason: 'selected' });
  }

  start(): void {
    this.#started = true;
    this.#watch?.start();
  }

  close(): void {
    this.#started = false;
    this.#watch?.close();
  }
}
