/** Whose rules are set: those of kernels that run, and what kernels that were killed have left. */
import { linkInfo } from '../../../native/link-config.js';
import type { NetlinkCall } from '../../../native/netlink.js';
import { deleteFoundRule, type FoundRule, listRules } from '../../../native/route-rule.js';
import { describeFound } from '../../../native/rule-text.js';
import { listRoutes, MAIN_TABLE } from '../../../native/table-route.js';
import { errorCode, NekitError } from '../../../net/errors.js';
import { PRIORITIES } from './plan.js';
import { type AutoRouteSettings, OWNER } from './settings.js';

/** The rules of a kernel that runs: its device is there, and so are its routes, which go with it. */
export interface LivingRoutes {
  readonly device: string;
  /** Of the first rule that it may have. */
  readonly priority: number;
}

export interface FoundRoutes {
  readonly rules: readonly FoundRule[];
  readonly living: readonly LivingRoutes[];
  /** Rules of ours that nobody is responsible for any more. */
  readonly leftovers: readonly FoundRule[];
}

/** Throws with the system's code. */
export function findRoutes(call: NetlinkCall): FoundRoutes {
  const rules = ([4, 6] as const).flatMap((family) => listRules(call, family));
  const ours = rules.filter(({ owner }) => owner === OWNER);
  const living = ours
    .filter(({ iif, target }) => iif !== '' && iif !== 'lo' && target !== 0)
    .filter(({ iif, target }) =>
      isAlive(call, iif, ours.find(({ priority, table }) => priority === target - 2 && table !== 0 && table !== MAIN_TABLE)?.table ?? 0),
    )
    .map(({ iif, target }) => ({ device: iif, priority: target - PRIORITIES + 1 }));
  return { rules, living, leftovers: ours.filter((rule) => !living.some((one) => isWithin(rule, one.priority))) };
}

/** How a rule that was found reads, as ip(8) writes it. */
export function listedRule(rule: FoundRule): string {
  return `ip${rule.family === 6 ? ' -6' : ''} rule ${describeFound(rule)}`;
}

/** Throws with the system's code. Rules that others took away meanwhile are no error. */
export function removeLeftovers(call: NetlinkCall, leftovers: readonly FoundRule[]): void {
  for (const rule of leftovers) {
    try {
      deleteFoundRule(call, rule);
    } catch (error) {
      if (errorCode(error) !== 'ENOENT') throw error;
    }
  }
}

/** Throws NekitError `AUTO_ROUTE_CONFLICT` where somebody else has what is to be ours. */
export function checkFree(call: NetlinkCall, { priority, table }: AutoRouteSettings, { rules, living, leftovers }: FoundRoutes): void {
  const taken = rules.find((rule) => isWithin(rule, priority) && !leftovers.includes(rule));
  if (taken !== undefined) {
    const whose = living.find((one) => isWithin(taken, one.priority))?.device;
    const who = whose === undefined ? `"${listedRule(taken)}"` : `the kernel of ${whose}`;
    throw new NekitError(
      'AUTO_ROUTE_CONFLICT',
      `of the priorities ${priority} to ${priority + PRIORITIES - 1} some are taken by ${who}: choose others with "iproute2-rule-index", and a table with "iproute2-table-index"`,
    );
  }
  const route = ([4, 6] as const).map((family) => listRoutes(call, family, table)[0]).find((found) => found !== undefined);
  if (route === undefined) return;
  const { address, prefix } = route.network;
  throw new NekitError(
    'AUTO_ROUTE_CONFLICT',
    `the routing table ${table} is in use (it has a route to ${address}/${prefix}): choose another with "iproute2-table-index"`,
  );
}

function isWithin({ priority }: FoundRule, first: number): boolean {
  return priority >= first && priority < first + PRIORITIES;
}

function isAlive(call: NetlinkCall, device: string, table: number): boolean {
  if (table === 0) return false;
  try {
    const { index } = linkInfo(call, device);
    return ([4, 6] as const).some((family) => listRoutes(call, family, table).some((route) => route.owner === OWNER && route.index === index));
  } catch (error) {
    if (errorCode(error) === 'ENODEV') return false;
    throw error;
  }
}
