/** Policy rules in the words of ip-rule(8). */
import { formatAddress } from '../net/address.js';
import type { LinkAddress } from './link-config.js';
import { attributesOf, textOf, uint16At, uint32At } from './netlink.js';
import type { FoundRule, RouteRule } from './route-rule.js';
import {
  ACTIONS,
  FIB_RULE_INVERT,
  FRA_DPORT_RANGE,
  FRA_DST,
  FRA_FWMARK,
  FRA_GOTO,
  FRA_IIFNAME,
  FRA_IP_PROTO,
  FRA_OIFNAME,
  FRA_PRIORITY,
  FRA_SRC,
  FRA_SUPPRESS_PREFIXLEN,
  FRA_TABLE,
  IP_PROTOCOLS,
  NO_SUPPRESSION,
  RULE_FIXED,
} from './rule-format.js';

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
