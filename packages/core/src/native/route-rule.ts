/** Policy rules as rtnetlink messages (`struct fib_rule_hdr`, linux/fib_rules.h). Read first: ip-rule(8). */
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
  setUint32,
  textOf,
  uint16Bytes,
  uint32At,
} from './netlink.js';
import {
  ACTIONS,
  FIB_RULE_INVERT,
  FRA_DPORT_RANGE,
  FRA_DST,
  FRA_FWMARK,
  FRA_FWMASK,
  FRA_GOTO,
  FRA_IIFNAME,
  FRA_IP_PROTO,
  FRA_OIFNAME,
  FRA_PRIORITY,
  FRA_PROTOCOL,
  FRA_SRC,
  FRA_SUPPRESS_PREFIXLEN,
  FRA_TABLE,
  IP_PROTOCOLS,
  RULE_FIXED,
} from './rule-format.js';

const RTM_NEWRULE = 32;
const RTM_DELRULE = 33;
const RTM_GETRULE = 34;

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

/** The message that sets or takes away a rule. */
export function ruleMessage(type: number, flags: number, rule: RouteRule, owner: number): NetlinkMessage {
  const fixed = new Uint8Array(RULE_FIXED);
  fixed[0] = familyNumber(rule.family);
  fixed[1] = rule.to?.prefix ?? 0;
  fixed[2] = rule.from?.prefix ?? 0;
  fixed[7] = ACTIONS[rule.action];
  setUint32(fixed, 8, rule.not === true ? FIB_RULE_INVERT : 0);
  const message = new NetlinkMessage(type, flags, fixed).uint32(FRA_PRIORITY, rule.priority).uint8(FRA_PROTOCOL, owner);
  if (rule.to !== undefined) message.attribute(FRA_DST, addressBytes(rule.to.address));
  if (rule.from !== undefined) message.attribute(FRA_SRC, addressBytes(rule.from.address));
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
