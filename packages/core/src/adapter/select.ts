import type { DialOptions } from '../net/dialer.js';
import type { Endpoint } from '../net/endpoint.js';
import { NekitError, NetError } from '../net/errors.js';
import type { PacketConn } from '../net/packet-conn.js';
import type { Stream } from '../net/stream.js';
import type { Adapter, AdapterContext } from './adapter.js';

/** A group that uses the member that was chosen, at first its first one. */
export class SelectAdapter implements Adapter {
  readonly tag: string;
  readonly type = 'select';
  readonly members: readonly Adapter[];
  readonly stream = { dialStream: (destination: Endpoint, options: DialOptions): Promise<Stream> => this.#dialStream(destination, options) };
  #selected: Adapter;

  constructor(options: { readonly proxies: readonly string[] }, context: AdapterContext) {
    this.tag = context.tag;
    this.members = options.proxies.map((tag) => context.adapter(tag));
    const first = this.members[0];
    if (first === undefined) throw new NekitError('EMPTY_GROUP', `group ${this.tag} has no members`);
    this.#selected = first;
  }

  readonly now = (): Adapter => this.#selected;

  /** Absent while the chosen member has none, so that UDP goes on to the next rule. */
  get packet(): { dialPacket(options: DialOptions): Promise<PacketConn> } | undefined {
    return this.#selected.packet;
  }

  select(member: string): void {
    const found = this.members.find((candidate) => candidate.tag === member);
    if (found === undefined)
      throw new NekitError('UNKNOWN_MEMBER', `group ${this.tag} has no member "${member}"; it has ${this.members.map((known) => known.tag).join(', ')}`);
    this.#selected = found;
  }

  #dialStream(destination: Endpoint, options: DialOptions): Promise<Stream> {
    const member = this.#selected;
    if (member.stream === undefined) return Promise.reject(new NetError('denied', `${member.tag} carries no TCP`, { code: 'NOT_SUPPORTED' }));
    options.chosen?.(this.tag, member.tag);
    return member.stream.dialStream(destination, options);
  }
}
