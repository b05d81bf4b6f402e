/** Whose rules are set: those of kernels that run, and what kernels that were killed have left. */
import { type LinkState, listLinks } from '../../../native/link-config.js';
import type { NetlinkCall } from '../../../native/netlink.js';
import { deleteFoundRule, type FoundRule, listRules } from '../../../native/route-rule.js';
import { describeFound } from '../../../native/rule-text.js';
import { BROADCAST, deleteRoute, describeRoute, type FoundRoute, listRoutes, MAIN_TABLE } from '../../../native/table-route.js';
import { errorCode, NekitError } from '../../../net/errors.js';
import { guardTable, PRIORITIES } from './plan.js';
import { type AutoRouteSettings, isGone, OWNER } from './settings.js';

/** The rules of a kernel that runs: it has its device open. (Its routes say nothing, they go when that is set down.) */
export interface LivingRoutes {
  readonly device: string;
  /** Of the first rule that it may have. */
  readonly priority: number;
  readonly table: number;
}

export interface FoundRoutes {
  readonly rules: readonly FoundRule[];
  readonly living: readonly LivingRoutes[];
  /** Rules of ours that nobody is responsible for any more. */
  readonly leftovers: readonly FoundRule[];
  /** The same of routes: of devices that have stayed, or of none. */
  readonly leftoverRoutes: readonly FoundRoute[];
}

/** What is about to be set, which nobody else can have set: the device is ours. */
export interface OwnRoutes {
  readonly device: string;
  /** That may have been left, though no rule tells of it any more. */
  readonly table: number;
}

/** Throws with the system's code. */
export function findRoutes(call: NetlinkCall, own: OwnRoutes | null): FoundRoutes {
  const rules = ([4, 6] as const).flatMap((family) => listRules(call, family));
  const links = listLinks(call);
  const ours = rules.filter(({ owner }) => owner === OWNER);
  const living = ours
    .filter(({ iif, target }) => iif !== '' && iif !== 'lo' && target !== 0)
    .map(({ iif, target }) => ({
      device: iif,
      priority: target - PRIORITIES + 1,
      table: ours.find((rule) => rule.priority === target - 2 && rule.table !== 0 && rule.table !== MAIN_TABLE)?.table ?? 0,
    }))
    .filter(({ device }) => device !== own?.device && links.some(({ name, hasCarrier }) => name === device && hasCarrier));
  const leftovers = ours.filter((rule) => !living.some((one) => isWithin(rule, one.priority)));
  const tables = new Set(leftovers.map((rule) => rule.table).filter((one) => one !== 0 && one !== MAIN_TABLE));
  if (own !== null) for (const one of [own.table, guardTable(own)]) tables.add(one);
  const left = [...tables].filter((one) => !living.some((other) => one === other.table || one === guardTable(other)));
  const held = new Set(links.filter(({ name }) => living.some(({ device }) => device === name)).map(({ index }) => index));
  const routes = left.flatMap((table) => ([4, 6] as const).flatMap((family) => listRoutes(call, family, table)));
  return { rules, living, leftovers, leftoverRoutes: routes.filter(({ owner, type, index }) => owner === OWNER && (type === BROADCAST || !held.has(index))) };
}

/** How a rule that was found reads, as ip(8) writes it. */
export function listedRule(rule: FoundRule): string {
  return `ip${rule.family === 6 ? ' -6' : ''} rule ${describeFound(rule)}`;
}

/** The same of a route. */
export function describeLeftoverRoute(route: FoundRoute, links: readonly LinkState[]): string {
  return `ip${route.family === 6 ? ' -6' : ''} route ${describeRoute(route, links.find(({ index }) => index === route.index)?.name ?? String(route.index))}`;
}

/** Throws with the system's code. What others took away meanwhile is no error. */
export function removeLeftovers(call: NetlinkCall, { leftovers, leftoverRoutes }: Pick<FoundRoutes, 'leftovers' | 'leftoverRoutes'>): void {
  for (const route of leftoverRoutes) {
    try {
      deleteRoute(call, route, route.index, OWNER);
    } catch (error) {
      if (!isGone(error)) throw error;
    }
  }
  for (const rule of leftovers) {
    try {
      deleteFoundRule(call, rule);
    } catch (error) {
      if (errorCode(error) !== 'ENOENT') throw error;
    }
  }
}

/** Throws NekitError `AUTO_ROUTE_CONFLICT` where somebody else has what is to be ours. */
export function checkFree(call: NetlinkCall, settings: AutoRouteSettings, { rules, living, leftovers }: FoundRoutes): void {
  const { priority, table, strict } = settings;
  const taken = rules.find((rule) => isWithin(rule, priority) && !leftovers.includes(rule));
  if (taken !== undefined) {
    const whose = living.find((one) => isWithin(taken, one.priority))?.device;
    const who = whose === undefined ? `"${listedRule(taken)}"` : `the kernel of ${whose}`;
    throw new NekitError(
      'AUTO_ROUTE_CONFLICT',
      `of the priorities ${priority} to ${priority + PRIORITIES - 1} some are taken by ${who}: choose others with "iproute2-rule-index", and a table with "iproute2-table-index"`,
    );
  }
  for (const one of strict ? [table, guardTable(settings)] : [table]) {
    const route = ([4, 6] as const).map((family) => listRoutes(call, family, one)[0]).find((found) => found !== undefined);
    if (route === undefined) continue;
    const { address, prefix } = route.network;
    throw new NekitError(
      'AUTO_ROUTE_CONFLICT',
      `the routing table ${one} is in use (it has a route to ${address}/${prefix}): choose another with "iproute2-table-index"`,
    );
  }
}

function isWithin({ priority }: FoundRule, first: number): boolean {
  return priority >= first && priority < first + PRIORITIES;
}
