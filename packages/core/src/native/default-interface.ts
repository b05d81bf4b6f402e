import { release } from 'node:os';
import { parseAddress } from '../net/address.js';
import type { Clock } from '../net/clock.js';
import type { Outgoing } from '../net/outgoing.js';
import { type LinkState, listLinks } from './link-config.js';
import type { NetlinkCall } from './netlink.js';
import { type FoundRoute, LOCAL_TABLE, listRoutes, MAIN_TABLE, UNICAST } from './table-route.js';
import { tunAddon } from './tun-addon.js';

/** What was read holds for so long, in ms; for longer where reading takes long. */
const REFRESH = 1_000;
const REFRESH_FACTOR = 50;

/** Addresses whose interface is remembered until then. */
const MAX_KNOWN = 4_096;

/**
 * The interface of the main table's default route, for whatever only that route leads to. It is read anew when somebody dials and what is known is
 * older than a second: who dials later leaves by the new one, without a timer or a subscription.
 */
export class DefaultInterface implements Outgoing {
  readonly #call: NetlinkCall | null;
  readonly #clock: Pick<Clock, 'now'>;
  /** false: the system decides. */
  enabled = false;
  #readAt = Number.NEGATIVE_INFINITY;
  #holdsFor = 0;
  #routes: readonly FoundRoute[] = [];
  #links: ReadonlyMap<number, LinkState> = new Map();
  readonly #known = new Map<string, string | undefined>();

  constructor(call: NetlinkCall | null, clock: Pick<Clock, 'now'>) {
    this.#call = call;
    this.#clock = clock;
  }

  deviceFor(address: string): string | undefined {
    if (!this.enabled || this.#call === null) return undefined;
    this.#refresh(this.#call);
    if (this.#known.has(address)) return this.#known.get(address);
    const device = this.#find(address);
    if (this.#known.size >= MAX_KNOWN) this.#known.clear();
    this.#known.set(address, device);
    return device;
  }

  #refresh(call: NetlinkCall): void {
    const now = this.#clock.now();
    if (now - this.#readAt < this.#holdsFor) return;
    this.#readAt = now;
    const begin = performance.now();
    this.#known.clear();
    try {
      const routes = ([4, 6] as const).flatMap((family) => listRoutes(call, family));
      this.#routes = routes.filter(({ table }) => table === MAIN_TABLE || table === LOCAL_TABLE);
      this.#links = new Map(listLinks(call).map((link) => [link.index, link]));
    } catch {
      // Too many routes to be read, or no right to: the mark alone keeps us out of the TUN, and the system decides.
      this.#routes = [];
    }
    this.#holdsFor = Math.max(REFRESH, REFRESH_FACTOR * (performance.now() - begin));
  }

  #find(address: string): string | undefined {
    const bytes = parseAddress(address);
    if (bytes === null) return undefined;
    const family = bytes.length === 4 ? 4 : 6;
    const own = this.#routes.filter((route) => route.family === family);
    if (own.some(({ network }) => network.prefix > 0 && isIn(bytes, network.address, network.prefix))) return undefined;
    const ways = own.filter(({ network, table, type, index }) => network.prefix === 0 && table === MAIN_TABLE && type === UNICAST && index !== 0);
    const links = ways.sort((one, other) => one.metric - other.metric).flatMap(({ index }) => this.#links.get(index) ?? []);
    return (links.find(({ isRunning }) => isRunning) ?? links[0])?.name;
  }
}

/** Where there is no addon there is no mark and no interface either; nor where sockets must not be bound to one. */
export function outgoingBy(addon: unknown, clock: Pick<Clock, 'now'>): DefaultInterface {
  const mayBind = process.getuid?.() === 0 || bindsWithoutRights(release());
  return new DefaultInterface(mayBind ? (tunAddon(addon)?.netlink ?? null) : null, clock);
}

/** Linux asks for CAP_NET_RAW before 5.7, which who may make a TUN need not have. */
export function bindsWithoutRights(version: string): boolean {
  const [major = 0, minor = 0] = version.split('.', 2).map(Number);
  return major > 5 || (major === 5 && minor >= 7);
}

function isIn(bytes: Uint8Array, network: string, prefix: number): boolean {
  const other = parseAddress(network);
  if (other === null || other.length !== bytes.length) return false;
  for (let i = 0; 8 * i < prefix; i++) {
    const mask = 0xff00 >> Math.min(8, prefix - 8 * i);
    if ((((bytes[i] ?? 0) ^ (other[i] ?? 0)) & mask & 0xff) !== 0) return false;
  }
  return true;
}
