import { abortQuietly, closeQuietly } from '../net/attempt.js';
import type { DialOptions, PacketDialer } from '../net/dialer.js';
import type { Endpoint } from '../net/endpoint.js';
import { NetError } from '../net/errors.js';
import type { PacketConn } from '../net/packet-conn.js';
import { staggered } from '../net/staggered.js';
import type { Stream } from '../net/stream.js';
import { CLOCK } from '../net/tokens.js';
import type { Adapter, AdapterContext } from './adapter.js';

/** What a member's head start is when `delays` says nothing, in ms (RFC 8305's attempt delay). */
const DEFAULT_DELAY = 250;

const LOST = (): NetError => new NetError('aborted', 'another adapter was faster', { code: 'LOST_RACE' });

/**
 * NEKit's Speed adapter: members start after their delays, the first that is *ready* carries the connection, the others are aborted.
 * Ready means whatever a member's dial means by it: connected, or the proxy's handshake done.
 */
export class RaceAdapter implements Adapter {
  readonly tag: string;
  readonly type = 'race';
  readonly members: readonly Adapter[];
  readonly stream = { dialStream: (destination: Endpoint, options: DialOptions): Promise<Stream> => this.#dialStream(destination, options) };
  readonly #packet = { dialPacket: (dial: DialOptions): Promise<PacketConn> => this.#dialPacket(dial) };
  readonly #udp: boolean;
  readonly #runners: readonly { member: Adapter; delayMs: number }[];
  readonly #context: AdapterContext;

  /** `delays`: ms after the start, one for each member; missing ones follow 250 ms after the one before. */
  constructor(options: { readonly proxies: readonly string[]; readonly delays: readonly number[]; readonly udp?: boolean }, context: AdapterContext) {
    this.tag = context.tag;
    this.#udp = options.udp ?? true;
    this.#context = context;
    this.members = options.proxies.map((tag) => context.adapter(tag));
    let last = -DEFAULT_DELAY;
    this.#runners = this.members
      .map((member, index) => {
        last = options.delays[index] ?? last + DEFAULT_DELAY;
        return { member, delayMs: last };
      })
      .sort((one, other) => one.delayMs - other.delayMs);
  }

  /** Absent while no member has one: groups among them may change. */
  get packet(): PacketDialer | undefined {
    return this.#udp && this.members.some((member) => member.packet !== undefined) ? this.#packet : undefined;
  }

  #dialStream(destination: Endpoint, options: DialOptions): Promise<Stream> {
    return this.#race(
      (member, dial) => member.stream?.dialStream(destination, dial),
      options,
      (late) => abortQuietly(late, LOST()),
    );
  }

  #dialPacket(options: DialOptions): Promise<PacketConn> {
    return this.#race(
      (member, dial) => member.packet?.dialPacket(dial),
      options,
      (late) => closeQuietly(late, LOST()),
    );
  }

  #race<T>(dial: (member: Adapter, options: DialOptions) => Promise<T> | undefined, options: DialOptions, discard: (late: T) => void): Promise<T> {
    let before = 0;
    const attempts = this.#runners.map(({ member, delayMs }) => {
      const gapMs = delayMs - before;
      before = delayMs;
      return {
        gapMs,
        run: async (signal: DialOptions['signal']): Promise<{ member: Adapter; value: T }> => {
          const value = await dial(member, { ...options, signal });
          if (value === undefined) throw new NetError('denied', `${member.tag} carries no such traffic`, { code: 'NOT_SUPPORTED' });
          return { member, value };
        },
      };
    });
    return staggered(attempts, { clock: this.#context.get(CLOCK), signal: options.signal, discard: (late) => discard(late.value) }).then(
      ({ member, value }) => {
        options.chosen?.(this.tag, member.tag);
        return value;
      },
    );
  }
}
