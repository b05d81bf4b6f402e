/** Policy rules as rtnetlink messages (`struct fib_rule_hdr`, linux/fib_rules.h). Read first: ip-rule(8). */
import { formatAddress, parseAddress } from '../net/address.js';
import { isWithoutIpv6, type LinkAddress } from './link-config.js';
import {
  AF_INET,
  AF_INET6,
  attributesOf,
  FLAG_ACK,
  FLAG_CREATE,
  FLAG_EXCLUSIVE,
  type NetlinkCall,
  NetlinkMessage,
  netlinkAsk,
  netlinkDump,
  setUint32,
  textOf,
  uint16At,
  uint16Bytes,
  uint32At,
} from './netlink.js';

const RTM_NEWRULE = 32;
const RTM_DELRULE = 33;
const RTM_GETRULE = 34;

const FRA_DST = 1;
const FRA_SRC = 2;
const FRA_IIFNAME = 3;
const FRA_GOTO = 4;
const FRA_PRIORITY = 6;
const FRA_FWMARK = 10;
const FRA_SUPPRESS_PREFIXLEN = 14;
const FRA_TABLE = 15;
const FRA_FWMASK = 16;
const FRA_OIFNAME = 17;
const FRA_PROTOCOL = 21;
const FRA_IP_PROTO = 22;
const FRA_DPORT_RANGE = 24;

const FIB_RULE_INVERT = 0x2;

/** What a rule says that suppresses nothing. */
const NO_SUPPRESSION = 0xffff_ffff;

/** family, dst_len, src_len, tos, table, two unused, action (a byte each), flags (four). */
const RULE_FIXED = 12;

const ACTIONS = { lookup: 1, goto: 2, nop: 3, unreachable: 7 } as const;

const IP_PROTOCOLS = { tcp: 6, udp: 17 } as const;

/** What a rule does: `table` is looked up, `target` is the priority to go on with. */
export type RuleAction =
  | { readonly action: 'lookup'; readonly table: number /** Routes whose prefix is not longer do not count. */; readonly suppress?: number }
  | { readonly action: 'goto'; readonly target: number }
  | { readonly action: 'nop' | 'unreachable' };

export interface RuleSelector {
  readonly family: 4 | 6;
  readonly priority: number;
  /** Holds for what the rest does not describe. */
  readonly not?: boolean;
  readonly mark?: number;
  /** Interface that it came in by; `lo`: made by this machine. */
  readonly iif?: string;
  /** Interface that the socket is bound to (SO_BINDTODEVICE, IP_PKTINFO …). */
  readonly oif?: string;
  readonly from?: LinkAddress;
  readonly to?: LinkAddress;
  readonly protocol?: 'tcp' | 'udp';
  readonly destinationPort?: number;
}

export type RouteRule = RuleSelector & RuleAction;

/** A rule that is set, ours or another's. */
export interface FoundRule {
  readonly family: 4 | 6;
  readonly priority: number;
  /** Who has set it (`RTPROT_…`). */
  readonly owner: number;
  readonly iif: string;
  readonly table: number;
  /** Priority that it goes on with; 0: it does not jump. */
  readonly target: number;
  readonly invert: boolean;
  /** The kernel's own words for it: what takes it away. */
  readonly body: Uint8Array;
}

/** Throws with the system's code: EEXIST, EPERM, EAFNOSUPPORT where the family is not there. */
export function addRule(call: NetlinkCall, rule: RouteRule, owner: number): void {
  netlinkAsk(call, ruleMessage(RTM_NEWRULE, FLAG_ACK | FLAG_CREATE | FLAG_EXCLUSIVE, rule, owner), `rule ${rule.priority}`);
}

/** Throws with the system's code: ENOENT where it is not there. */
export function deleteRule(call: NetlinkCall, rule: RouteRule, owner: number): void {
  netlinkAsk(call, ruleMessage(RTM_DELRULE, FLAG_ACK, rule, owner), `rule ${rule.priority}`);
}

/** Takes away one that was found, whoever has set it. Throws with the system's code. */
export function deleteFoundRule(call: NetlinkCall, { body, invert, priority }: FoundRule): void {
  const fixed = body.slice(0, RULE_FIXED);
  setUint32(fixed, 8, invert ? FIB_RULE_INVERT : 0); // the others are remarks of the kernel's
  const message = new NetlinkMessage(RTM_DELRULE, FLAG_ACK, fixed);
  for (const [type, value] of attributesOf(body, RULE_FIXED)) message.attribute(type, value);
  netlinkAsk(call, message, `rule ${priority}`);
}

/** All rules of a family, in the order in which they are asked; none where the system has not the family. Throws with the system's code. */
export function listRules(call: NetlinkCall, family: 4 | 6): FoundRule[] {
  const fixed = new Uint8Array(RULE_FIXED);
  fixed[0] = familyNumber(family);
  let replies: ReturnType<typeof netlinkDump>;
  try {
    replies = netlinkDump(call, RTM_GETRULE, fixed, `rules of IPv${family}`);
  } catch (error) {
    if (family === 6 && isWithoutIpv6(error)) return [];
    throw error;
  }
  return replies.flatMap(({ type, body }) => (type === RTM_NEWRULE && body[0] === fixed[0] ? readRule(body, family) : []));
}

function readRule(body: Uint8Array, family: 4 | 6): FoundRule {
  const attributes = attributesOf(body, RULE_FIXED);
  return {
    family,
    priority: uint32At(attributes.get(FRA_PRIORITY)),
    owner: attributes.get(FRA_PROTOCOL)?.[0] ?? 0,
    iif: textOf(attributes.get(FRA_IIFNAME)),
    table: uint32At(attributes.get(FRA_TABLE)),
    target: uint32At(attributes.get(FRA_GOTO)),
    invert: (uint32At(body, 8) & FIB_RULE_INVERT) !== 0,
    body,
  };
}

/** A rule that was found in the words of a rule that is to be set: what is compared. Of others' rules it tells only a part. */
export function describeFound({ family, body }: FoundRule): string {
  const attributes = attributesOf(body, RULE_FIXED);
  const network = (type: number, length: number): string | undefined => {
    const bytes = attributes.get(type);
    return length === 0 && bytes === undefined ? undefined : `${formatAddress(bytes ?? new Uint8Array(family === 4 ? 4 : 16))}/${length}`;
  };
  const suppress = attributes.get(FRA_SUPPRESS_PREFIXLEN);
  const has = (type: number): boolean => attributes.has(type);
  return ruleText({
    priority: uint32At(attributes.get(FRA_PRIORITY)),
    not: (uint32At(body, 8) & FIB_RULE_INVERT) !== 0,
    from: network(FRA_SRC, body[2] ?? 0),
    to: network(FRA_DST, body[1] ?? 0),
    mark: has(FRA_FWMARK) ? uint32At(attributes.get(FRA_FWMARK)) : undefined,
    iif: has(FRA_IIFNAME) ? textOf(attributes.get(FRA_IIFNAME)) : undefined,
    oif: has(FRA_OIFNAME) ? textOf(attributes.get(FRA_OIFNAME)) : undefined,
    protocol: attributes.get(FRA_IP_PROTO)?.[0],
    port: has(FRA_DPORT_RANGE) ? uint16At(attributes.get(FRA_DPORT_RANGE)) : undefined,
    action: body[7] ?? 0,
    table: uint32At(attributes.get(FRA_TABLE)),
    suppress: suppress === undefined || uint32At(suppress) === NO_SUPPRESSION ? undefined : uint32At(suppress),
    target: uint32At(attributes.get(FRA_GOTO)),
  });
}

/** As ip(8) wants it, behind `ip rule add` or `ip -6 rule add`. */
export function describeRule(rule: RouteRule): string {
  const network = (given: LinkAddress | undefined): string | undefined => given && `${given.address}/${given.prefix}`;
  return ruleText({
    priority: rule.priority,
    not: rule.not ?? false,
    from: network(rule.from),
    to: network(rule.to),
    mark: rule.mark,
    iif: rule.iif,
    oif: rule.oif,
    protocol: rule.protocol && IP_PROTOCOLS[rule.protocol],
    port: rule.destinationPort,
    action: ACTIONS[rule.action],
    table: rule.action === 'lookup' ? rule.table : 0,
    suppress: rule.action === 'lookup' ? rule.suppress : undefined,
    target: rule.action === 'goto' ? rule.target : 0,
  });
}

interface RuleWords {
  readonly priority: number;
  readonly not: boolean;
  readonly from: string | undefined;
  readonly to: string | undefined;
  readonly mark: number | undefined;
  readonly iif: string | undefined;
  readonly oif: string | undefined;
  readonly protocol: number | undefined;
  readonly port: number | undefined;
  readonly action: number;
  readonly table: number;
  readonly suppress: number | undefined;
  readonly target: number;
}

const TABLE_NAMES: Readonly<Record<number, string>> = { 253: 'default', 254: 'main', 255: 'local' };

function ruleText(words: RuleWords): string {
  const parts = [`priority ${words.priority}`];
  if (words.not) parts.push('not');
  const add = (key: string, value: string | number | undefined): void => {
    if (value !== undefined) parts.push(`${key} ${value}`);
  };
  add('from', words.from);
  add('to', words.to);
  add('fwmark', words.mark === undefined ? undefined : `0x${words.mark.toString(16)}`);
  add('iif', words.iif);
  add('oif', words.oif);
  add('ipproto', words.protocol === IP_PROTOCOLS.tcp ? 'tcp' : words.protocol === IP_PROTOCOLS.udp ? 'udp' : words.protocol);
  add('dport', words.port);
  if (words.action === ACTIONS.lookup) {
    parts.push(`lookup ${TABLE_NAMES[words.table] ?? words.table}`);
    add('suppress_prefixlength', words.suppress);
  } else if (words.action === ACTIONS.goto) parts.push(`goto ${words.target}`);
  else parts.push(words.action === ACTIONS.nop ? 'nop' : words.action === ACTIONS.unreachable ? 'unreachable' : `action ${words.action}`);
  return parts.join(' ');
}

/** The message that sets or takes away a rule. */
export function ruleMessage(type: number, flags: number, rule: RouteRule, owner: number): NetlinkMessage {
  const fixed = new Uint8Array(RULE_FIXED);
  fixed[0] = familyNumber(rule.family);
  fixed[1] = rule.to?.prefix ?? 0;
  fixed[2] = rule.from?.prefix ?? 0;
  fixed[7] = ACTIONS[rule.action];
  setUint32(fixed, 8, rule.not === true ? FIB_RULE_INVERT : 0);
  const message = new NetlinkMessage(type, flags, fixed).uint32(FRA_PRIORITY, rule.priority).uint8(FRA_PROTOCOL, owner);
  if (rule.to !== undefined) message.attribute(FRA_DST, addressBytes(rule.to));
  if (rule.from !== undefined) message.attribute(FRA_SRC, addressBytes(rule.from));
  if (rule.iif !== undefined) message.text(FRA_IIFNAME, rule.iif);
  if (rule.oif !== undefined) message.text(FRA_OIFNAME, rule.oif);
  if (rule.mark !== undefined) message.uint32(FRA_FWMARK, rule.mark).uint32(FRA_FWMASK, 0xffff_ffff);
  if (rule.protocol !== undefined) message.uint8(FRA_IP_PROTO, IP_PROTOCOLS[rule.protocol]);
  if (rule.destinationPort !== undefined) message.attribute(FRA_DPORT_RANGE, uint16Bytes(rule.destinationPort, rule.destinationPort));
  if (rule.action === 'goto') message.uint32(FRA_GOTO, rule.target);
  if (rule.action === 'lookup') {
    message.uint32(FRA_TABLE, rule.table);
    if (rule.suppress !== undefined) message.uint32(FRA_SUPPRESS_PREFIXLEN, rule.suppress);
  }
  return message;
}

function familyNumber(family: 4 | 6): number {
  return family === 4 ? AF_INET : AF_INET6;
}

function addressBytes({ address }: LinkAddress): Uint8Array {
  const bytes = parseAddress(address);
  if (bytes === null) throw new TypeError(`${address} is no IP address`);
  return bytes;
}
