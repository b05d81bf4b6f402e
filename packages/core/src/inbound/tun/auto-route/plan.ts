/**
 * The policy rules and routes of a TUN. Traffic goes through them in this order, by their priority:
 *
 *   +0  what comes out of the TUN                    -> END      as if there were no TUN
 *   +1  our own sockets, by their mark               -> END
 *   +2  servers of processes that cannot be marked   -> END      one address and port each
 *   +3  route-exclude-address, multicast             -> END
 *   +4  but for port 53: the main table without its default route. Connected networks stay where they are, and DNS to a resolver there does not
 *   +5  this machine, from an address of the TUN (a socket that has chosen its way) -> TAKE
 *   +4  strict-route, behind that: IPv4 of a socket that is bound to another interface: a table in which all that is to go into the TUN is a
 *       broadcast. (Nothing else will do: where a bound socket has no route of IPv4, Linux takes all to be on the cable.)
 *   +5  strict-route, this machine: to port 53, from any address -> TAKE
 *   +6  this machine, from another address: answers of servers, and connections that are older than the TUN -> END      not IPv6 with strict-route
 *   +7  TAKE: the TUN's own table
 *   +8  strict-route: nothing else
 *   +9  END: nothing; the system's other rules follow
 */
import type { LinkAddress, LinkState } from '../../../native/link-config.js';
import type { RouteRule, RuleAction, RuleSelector } from '../../../native/route-rule.js';
import { MAIN_TABLE, type TableRoute } from '../../../native/table-route.js';
import { addressFamily } from '../../../net/address.js';
import type { Endpoint } from '../../../net/endpoint.js';
import type { AutoRouteSettings } from './settings.js';

/** Priorities that the rules of one TUN take. */
export const PRIORITIES = 10;

const DNS_PORT = 53;

/** What nobody routes: to several machines at once. Those of IPv6 are in the local table, which comes first. */
const MULTICAST: readonly LinkAddress[] = [
  { address: '224.0.0.0', prefix: 4 },
  { address: '255.255.255.255', prefix: 32 },
];

/** Any address of IPv6: a rule with a network of length 0 would hold for sockets without an address as well. */
const HALVES_6: readonly LinkAddress[] = [
  { address: '::', prefix: 1 },
  { address: '8000::', prefix: 1 },
];

/** Where bound sockets are refused: the one after our own that is not the system's. */
export function guardTable({ table }: Pick<AutoRouteSettings, 'table'>): number {
  return table + 1 === 253 ? 256 : table + 1;
}

const NO_ADDRESS_4: LinkAddress = { address: '0.0.0.0', prefix: 32 };

export interface RoutePlan {
  /** In the order in which they are set: none may send our own sockets into the TUN before those that keep them out are there. */
  readonly rules: readonly RouteRule[];
  readonly routes: readonly TableRoute[];
}

export interface PlanInput {
  readonly settings: AutoRouteSettings;
  readonly device: string;
  /** Of the device. A family without one is not carried. */
  readonly addresses: readonly LinkAddress[];
}

export function planRoutes(input: PlanInput): RoutePlan {
  const plans = ([4, 6] as const).map((family) => planFamily(input, family));
  return { rules: plans.flatMap(({ rules }) => rules), routes: plans.flatMap(({ routes }) => routes) };
}

/** Of one family. Without an address of it there are no routes; and no rules, unless strict-route keeps it from leaving by another way. */
export function planFamily({ settings, device, addresses }: PlanInput, family: 4 | 6): RoutePlan {
  const { table, priority, strict, marks } = settings;
  const networks = ofFamily(settings.routes, family);
  const own = [...new Set(ofFamily(addresses, family).map(({ address }) => address))];
  const carried = own.length > 0;
  if (networks.length === 0 || !(carried || strict)) return { rules: [], routes: [] };
  const end = priority + 9;
  const take = priority + 7;
  const rule = (offset: number, selector: Omit<RuleSelector, 'family' | 'priority'>, action: RuleAction): RouteRule => ({
    family,
    priority: priority + offset,
    ...selector,
    ...action,
  });
  const leave: RuleAction = { action: 'goto', target: end };
  const enter: RuleAction = { action: 'goto', target: take };
  const excluded = distinct([...(family === 4 ? MULTICAST : []), ...ofFamily(settings.excluded, family)]);
  // Of IPv6 the kernel asks again with an address when it has found nothing without: what is unreachable would leave after all.
  const six = strict ? [] : HALVES_6.map((from) => rule(6, { iif: 'lo', from }, leave));
  const local = family === 4 ? [rule(5, { iif: 'lo', from: NO_ADDRESS_4 }, enter), rule(6, { iif: 'lo' }, leave)] : six;
  const rules = [
    rule(9, {}, { action: 'nop' }),
    rule(0, { iif: device }, leave),
    ...marks.map((mark) => rule(1, { mark }, leave)),
    ...excluded.map((to) => rule(3, { to }, leave)),
    rule(4, { not: true, destinationPort: DNS_PORT }, { action: 'lookup', table: MAIN_TABLE, suppress: 0 }),
    ...own.map((address) => rule(5, { iif: 'lo', from: { address, prefix: family === 4 ? 32 : 128 } }, enter)),
    ...(strict && family === 4 ? [rule(5, { iif: 'lo', destinationPort: DNS_PORT }, enter)] : []),
    ...local,
    // Last: from here on packets go into the TUN.
    ...(strict ? networks.map((to) => rule(8, to.prefix === 0 ? {} : { to }, { action: 'unreachable' })) : []),
    rule(7, {}, carried ? { action: 'lookup', table } : { action: 'nop' }),
  ];
  return { rules, routes: carried ? networks.map((network) => ({ family, network, table })) : [] };
}

/** An interface; index 0: not known. */
export type GuardedLink = Pick<LinkState, 'name' | 'index'>;

/** With strict-route: what refuses IPv4 of sockets that are bound to an interface other than the TUN. IPv6 needs nothing, it finds no route. */
export function planGuard(settings: AutoRouteSettings, { name, index }: GuardedLink): RoutePlan {
  const networks = ofFamily(settings.routes, 4);
  if (!settings.strict || networks.length === 0) return { rules: [], routes: [] };
  const table = guardTable(settings);
  return {
    rules: [{ family: 4, priority: settings.priority + 4, iif: 'lo', oif: name, action: 'lookup', table }],
    routes: networks.map((network) => ({ family: 4, network, table, broadcast: true, metric: index })),
  };
}

/** Interfaces that sockets may be bound to, to leave beside the TUN. */
export function guardedLinks(links: readonly LinkState[], device: string): LinkState[] {
  return links.filter(({ name, isLoopback, isPort }) => name !== device && !isLoopback && !isPort);
}

/** The rule that lets a process reach one server beside the TUN. */
export function exemptionRule({ priority }: AutoRouteSettings, { host, port }: Endpoint, protocol: 'tcp' | 'udp'): RouteRule {
  const family = addressFamily(host) === 6 ? 6 : 4;
  const to = { address: host, prefix: family === 4 ? 32 : 128 };
  return { family, priority: priority + 2, to, protocol, destinationPort: port, action: 'goto', target: priority + 9 };
}

/** Each network once. */
export function distinct(networks: readonly LinkAddress[]): LinkAddress[] {
  return [...new Map(networks.map((network) => [`${network.address}/${network.prefix}`, network])).values()];
}

function ofFamily(networks: readonly LinkAddress[], family: 4 | 6): LinkAddress[] {
  return networks.filter(({ address }) => addressFamily(address) === family);
}
