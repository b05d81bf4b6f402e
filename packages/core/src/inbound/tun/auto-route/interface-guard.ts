/** With strict-route: keeps sockets that are bound to an interface from leaving by it, whatever interfaces come and go. */
import { type LinkState, listLinks } from '../../../native/link-config.js';
import type { NetlinkCall } from '../../../native/netlink.js';
import { addRule, deleteRule } from '../../../native/route-rule.js';
import { addRoute, deleteRoute, listRoutes } from '../../../native/table-route.js';
import type { Clock } from '../../../net/clock.js';
import { errorCode } from '../../../net/errors.js';
import { guardedLinks, guardTable, planGuard } from './plan.js';
import { type AutoRouteSettings, isGone, OWNER } from './settings.js';

/** How often interfaces are looked at, in ms; more seldom where looking takes long. */
const PERIOD = 1_000;
const PERIOD_FACTOR = 50;

/** More are not guarded, and it is said. */
const MAX_LINKS = 1_024;

export interface GuardOptions {
  readonly settings: AutoRouteSettings;
  /** The TUN. */
  readonly device: string;
  readonly warn: (message: string) => void;
}

export class InterfaceGuard {
  readonly #call: NetlinkCall;
  readonly #options: GuardOptions;
  readonly #clock: Clock;
  /** Indices by names of the interfaces that have rules. */
  readonly #guarded = new Map<string, number>();
  #cancel: () => void = () => undefined;
  /** What did not work is told once, until it works. */
  #told = '';

  /** Throws with the system's code, and then nothing is left. */
  constructor(call: NetlinkCall, options: GuardOptions, clock: Clock) {
    this.#call = call;
    this.#options = options;
    this.#clock = clock;
    try {
      this.#look();
    } catch (error) {
      this.#takeBack();
      throw error;
    }
    this.#again(PERIOD);
  }

  /** Takes everything away. Never throws. */
  close(): void {
    this.#cancel();
    this.#takeBack();
  }

  #again(ms: number): void {
    this.#cancel = this.#clock.after(ms, () => {
      const begin = performance.now();
      try {
        this.#look();
      } catch (error) {
        this.#tell('interfaces are not followed, and programs that are bound to one may leave by it', error);
      }
      this.#again(Math.max(PERIOD, PERIOD_FACTOR * (performance.now() - begin)));
    });
  }

  #look(): void {
    const { settings, device } = this.#options;
    const all = guardedLinks(listLinks(this.#call), device);
    const links = all.slice(0, MAX_LINKS);
    for (const name of this.#guarded.keys()) if (!links.some((link) => link.name === name)) this.#release(name);
    // Routes go when their interface goes down, or loses its last address.
    const present = listRoutes(this.#call, 4, guardTable(settings)).filter(({ owner }) => owner === OWNER);
    for (const link of links) {
      this.#guard(link);
      for (const route of planGuard(settings, link).routes) {
        const { address, prefix } = route.network;
        if (!link.isUp || present.some(({ index, network }) => index === link.index && network.address === address && network.prefix === prefix)) continue;
        this.#try(() => addRoute(this.#call, route, link.index, OWNER));
      }
    }
    if (all.length > MAX_LINKS) this.#tell(`more than ${MAX_LINKS} interfaces: programs that are bound to one of the others may leave by it`);
    else this.#told = '';
  }

  #guard({ name, index }: LinkState): void {
    if (!this.#guarded.has(name)) for (const rule of planGuard(this.#options.settings, { name, index }).rules) addRule(this.#call, rule, OWNER);
    this.#guarded.set(name, index);
  }

  /** An interface may go, or go down, between two calls: the next look sees it. */
  #try(change: () => void): void {
    try {
      change();
    } catch (error) {
      if (!isGone(error) && errorCode(error) !== 'ENETDOWN') throw error;
    }
  }

  #release(name: string): void {
    const index = this.#guarded.get(name) ?? 0;
    const { rules, routes } = planGuard(this.#options.settings, { name, index });
    for (const rule of rules) this.#try(() => deleteRule(this.#call, rule, OWNER));
    for (const route of routes) this.#try(() => deleteRoute(this.#call, route, index, OWNER));
    this.#guarded.delete(name);
  }

  #takeBack(): void {
    for (const name of [...this.#guarded.keys()]) {
      try {
        this.#release(name);
      } catch (error) {
        this.#tell(`not everything could be taken back of ${name}`, error);
      }
    }
  }

  #tell(what: string, error?: unknown): void {
    const message = error instanceof Error ? `${what}: ${error.message}` : what;
    if (this.#told !== message) this.#options.warn(message);
    this.#told = message;
  }
}
