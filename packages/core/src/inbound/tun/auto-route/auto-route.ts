/** The rules and routes of one TUN while it runs. Synchronous: the kernel answers within each call, so that nothing of ours is dialled between two of them. */
import { closeSync, openSync } from 'node:fs';
import type { Addon } from '../../../native/addon.js';
import { isWithoutIpv6, type LinkAddress, linkInfo, NET_ADMIN } from '../../../native/link-config.js';
import type { NetlinkCall } from '../../../native/netlink.js';
import { addRule, deleteRule } from '../../../native/route-rule.js';
import { addRoute, deleteRoute } from '../../../native/table-route.js';
import { tunAddon } from '../../../native/tun-addon.js';
import type { Clock } from '../../../net/clock.js';
import { formatEndpoint } from '../../../net/endpoint.js';
import { errorCode, NekitError } from '../../../net/errors.js';
import type { Exemption, Exemptions } from '../../../net/exemptions.js';
import { token } from '../../../net/token.js';
import { checkFree, findRoutes, removeLeftovers } from './found-routes.js';
import { InterfaceGuard } from './interface-guard.js';
import { exemptionRule, planFamily, type RoutePlan } from './plan.js';
import { type AutoRouteSettings, isGone, OWNER } from './settings.js';

export interface AutoRouteOptions {
  readonly settings: AutoRouteSettings;
  /** Name of the device, which is up and has its addresses. */
  readonly device: string;
  readonly addresses: readonly LinkAddress[];
  /** What did not work and is not needed, and what was found. */
  readonly warn: (message: string) => void;
}

export interface RoutesInForce {
  /** Takes everything away. Never throws. */
  close(): void;
}

/** Throws NekitError `AUTO_ROUTE_CONFLICT` or `AUTO_ROUTE_FAILED`, and then nothing is left. */
export type SetRoutes = (options: AutoRouteOptions) => RoutesInForce;

/** Sets routes of TUNs; null where their devices are not the system's. */
export const AUTO_ROUTE = token<SetRoutes | null>('AutoRoute');

export function setRoutesBy(addon: Addon | null, exemptions: Exemptions, clock: Clock): SetRoutes {
  return (options) => {
    const tun = tunAddon(addon);
    if (tun === null) throw new NekitError('AUTO_ROUTE_FAILED', 'auto-route needs the native addon, which is not loaded (nekit-kernel --version says why)');
    return new AutoRoute(tun.netlink, options, exemptions, clock);
  };
}

export class AutoRoute implements RoutesInForce {
  readonly #call: NetlinkCall;
  readonly #options: AutoRouteOptions;
  /** What takes back what was set, in its order. */
  readonly #undo: (() => void)[] = [];
  /** That have rules. */
  readonly #families = new Set<4 | 6>();
  readonly #forget: () => void;
  #guard: InterfaceGuard | null = null;
  /** A descriptor that is let go for taking things back, which needs one at a time: the process may have no other left by then. */
  #spare: number | null = null;

  constructor(call: NetlinkCall, options: AutoRouteOptions, exemptions: Exemptions, clock: Clock) {
    const { settings, device, warn } = options;
    this.#call = call;
    this.#options = options;
    try {
      this.#spare = openSync('/dev/null', 'r');
      const found = findRoutes(call, { device, table: settings.table });
      removeLeftovers(call, found);
      if (found.leftovers.length > 0) {
        warn(`${found.leftovers.length} rules were removed that a kernel which was killed had left`);
      }
      checkFree(call, settings, found);
      const { index } = linkInfo(call, device);
      this.#setFamily(4, index);
      this.#setSix(index);
      if (settings.strict) this.#guard = new InterfaceGuard(call, options, clock);
    } catch (error) {
      this.#takeAllBack();
      throw failureOf(error);
    }
    this.#forget = exemptions.follow({ added: (exemption) => this.#exempt(exemption, addRule), removed: (exemption) => this.#exempt(exemption, deleteRule) });
  }

  close(): void {
    this.#forget();
    this.#takeAllBack();
  }

  #takeAllBack(): void {
    if (this.#spare !== null) closeSync(this.#spare);
    this.#spare = null;
    this.#guard?.close();
    this.#guard = null;
    this.#takeBack(0);
  }

  /** Where the system has no IPv6 the TUN works nevertheless. */
  #setSix(index: number): void {
    const before = this.#undo.length;
    try {
      this.#setFamily(6, index);
      return;
    } catch (error) {
      if (!isWithoutIpv6(error)) throw error;
      this.#takeBack(before);
      this.#options.warn(`IPv6 does not go through ${this.#options.device}, as this system has it switched off: ${messageOf(error)}`);
    }
    if (!this.#options.settings.strict) return;
    try {
      this.#set(planFamily({ ...this.#options, addresses: [] }, 6), index);
    } catch (error) {
      if (!isWithoutIpv6(error)) throw error;
      this.#takeBack(before); // what is not there does not leak
    }
  }

  #setFamily(family: 4 | 6, index: number): void {
    this.#set(planFamily(this.#options, family), index);
  }

  #set({ rules, routes }: RoutePlan, index: number): void {
    for (const route of routes) {
      addRoute(this.#call, route, index, OWNER);
      this.#undo.push(() => deleteRoute(this.#call, route, index, OWNER));
    }
    for (const rule of rules) {
      addRule(this.#call, rule, OWNER);
      this.#families.add(rule.family);
      this.#undo.push(() => deleteRule(this.#call, rule, OWNER));
    }
  }

  #exempt({ endpoint, network }: Exemption, change: typeof addRule): void {
    const rule = exemptionRule(this.#options.settings, endpoint, network);
    if (!this.#families.has(rule.family)) return;
    try {
      change(this.#call, rule, OWNER);
    } catch (error) {
      if (!isGone(error)) this.#options.warn(`the way beside the TUN to ${formatEndpoint(endpoint)}: ${messageOf(error)}`);
    }
  }

  #takeBack(from: number): void {
    for (const undo of this.#undo.splice(from).reverse()) {
      try {
        undo();
      } catch (error) {
        if (!isGone(error)) this.#options.warn(`not everything could be taken back: ${messageOf(error)}`);
      }
    }
  }
}

function failureOf(error: unknown): NekitError {
  if (error instanceof NekitError) return error;
  const why = errorCode(error) === 'EPERM' ? NET_ADMIN : messageOf(error);
  return new NekitError('AUTO_ROUTE_FAILED', `its routes cannot be set: ${why}`, { cause: error });
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
