/** Routes of a table as rtnetlink messages (`struct rtmsg`). Read first: rtnetlink(7), ip-route(8). */
import { formatAddress } from '../net/address.js';
import { errorCode } from '../net/errors.js';
import { isWithoutIpv6, type LinkAddress } from './link-config.js';
import {
  addressBytes,
  attributesOf,
  FLAG_ACK,
  FLAG_CREATE,
  FLAG_EXCLUSIVE,
  familyNumber,
  type NetlinkCall,
  NetlinkMessage,
  netlinkAsk,
  netlinkDump,
  uint32At,
} from './netlink.js';

const RTM_NEWROUTE = 24;
const RTM_DELROUTE = 25;
const RTM_GETROUTE = 26;

const RTA_DST = 1;
const RTA_OIF = 4;
const RTA_PRIORITY = 6;
const RTA_TABLE = 15;

/** `RTN_BROADCAST`. */
export const BROADCAST = 3;
const RT_SCOPE_LINK = 253;

/** family, dst_len, src_len, tos, table, protocol, scope, type (a byte each), flags (four). */
const ROUTE_FIXED = 12;

/** `RTN_UNICAST`: a route that leads somewhere. */
export const UNICAST = 1;

export const MAIN_TABLE = 254;
export const LOCAL_TABLE = 255;

/** A network that is reached by an interface, without a gateway. */
export interface TableRoute {
  readonly family: 4 | 6;
  readonly network: LinkAddress;
  readonly table: number;
  /** What goes there is refused as if it were a broadcast, which TCP cannot and UDP may not send to without saying so. */
  readonly broadcast?: boolean;
  /** Two routes to the same network need two. */
  readonly metric?: number;
}

export interface FoundRoute extends TableRoute {
  /** Who has set it (`RTPROT_…`). */
  readonly owner: number;
  /** `RTN_…`, as UNICAST. */
  readonly type: number;
  /** Of the interface; 0: none, or several. */
  readonly index: number;
  readonly metric: number;
}

/** Throws with the system's code: EEXIST, EPERM, ENETDOWN. */
export function addRoute(call: NetlinkCall, route: TableRoute, index: number, owner: number): void {
  netlinkAsk(call, routeMessage(RTM_NEWROUTE, FLAG_ACK | FLAG_CREATE | FLAG_EXCLUSIVE, route, index, owner), routeName(route));
}

/** Throws with the system's code: ESRCH where it is not there. */
export function deleteRoute(call: NetlinkCall, route: TableRoute, index: number, owner: number): void {
  netlinkAsk(call, routeMessage(RTM_DELROUTE, FLAG_ACK, route, index, owner), routeName(route));
}

/** The routes of a table, or of all; none where the system has not the family. Throws with the system's code. */
export function listRoutes(call: NetlinkCall, family: 4 | 6, table?: number): FoundRoute[] {
  const fixed = new Uint8Array(ROUTE_FIXED);
  fixed[0] = familyNumber(family);
  // The kernel lists that table only, if it is new enough (4.20).
  const only = table === undefined ? undefined : (message: NetlinkMessage): unknown => message.uint32(RTA_TABLE, table);
  let replies: ReturnType<typeof netlinkDump>;
  try {
    replies = netlinkDump(call, RTM_GETROUTE, fixed, `routes of IPv${family}`, only);
  } catch (error) {
    if (errorCode(error) === 'ENOENT' || (family === 6 && isWithoutIpv6(error))) return []; // there is no such table, or no IPv6
    throw error;
  }
  return replies.flatMap(({ type, body }) => {
    if (type !== RTM_NEWROUTE || body[0] !== fixed[0]) return [];
    const route = readRoute(body, family);
    return table === undefined || route.table === table ? route : [];
  });
}

function readRoute(body: Uint8Array, family: 4 | 6): FoundRoute {
  const attributes = attributesOf(body, ROUTE_FIXED);
  const address = formatAddress(attributes.get(RTA_DST) ?? new Uint8Array(family === 4 ? 4 : 16));
  return {
    family,
    network: { address, prefix: body[1] ?? 0 },
    table: attributes.has(RTA_TABLE) ? uint32At(attributes.get(RTA_TABLE)) : (body[4] ?? 0),
    owner: body[5] ?? 0,
    type: body[7] ?? 0,
    ...(body[7] === BROADCAST ? { broadcast: true } : {}),
    index: uint32At(attributes.get(RTA_OIF)),
    metric: uint32At(attributes.get(RTA_PRIORITY)),
  };
}

/** As ip(8) wants it, behind `ip route add` or `ip -6 route add`. */
export function describeRoute({ network: { address, prefix }, table, broadcast = false, metric = 0 }: TableRoute, device: string): string {
  return `${broadcast ? 'broadcast ' : ''}${prefix === 0 ? 'default' : `${address}/${prefix}`} dev ${device} table ${table}${broadcast && metric > 0 ? ` metric ${metric}` : ''}`;
}

/** The message that sets or takes away a route. */
export function routeMessage(type: number, flags: number, route: TableRoute, index: number, owner: number): NetlinkMessage {
  const { family, network, table, broadcast = false, metric = 0 } = route;
  const fixed = new Uint8Array(ROUTE_FIXED);
  fixed[0] = familyNumber(family);
  fixed[1] = network.prefix;
  fixed[4] = table < 256 ? table : 0;
  fixed[5] = owner;
  fixed[6] = family === 4 ? RT_SCOPE_LINK : 0;
  fixed[7] = broadcast ? BROADCAST : UNICAST;
  const message = new NetlinkMessage(type, flags, fixed).uint32(RTA_TABLE, table).uint32(RTA_OIF, index);
  if (metric > 0) message.uint32(RTA_PRIORITY, metric);
  return network.prefix === 0 ? message : message.attribute(RTA_DST, addressBytes(network.address));
}

function routeName({ family, network: { address, prefix }, table }: TableRoute): string {
  return `route of IPv${family} to ${address}/${prefix} in table ${table}`;
}
