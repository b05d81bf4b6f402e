import type { RuleDefinition } from './definition.js';
import { domain, domainKeyword, domainSuffix } from './domain.js';
import { domainRegex } from './domain-regex.js';
import { domainWildcard } from './domain-wildcard.js';
import { inName, inType, inUser } from './inbound.js';
import { ipCidr, srcIpCidr } from './ip-cidr.js';
import { and, not, or } from './logic.js';
import { match } from './match.js';
import { network } from './network.js';
import { dstPort, inPort, srcPort } from './ports.js';

/** The kinds of rules that need no data files. They are registered like a plugin's. */
export const builtinRules: readonly RuleDefinition[] = [
  domain(),
  domainSuffix(),
  domainKeyword(),
  domainRegex(),
  domainWildcard(),
  ipCidr('IP-CIDR'),
  ipCidr('IP-CIDR6'),
  srcIpCidr(),
  dstPort(),
  srcPort(),
  inPort(),
  inName(),
  inType(),
  inUser(),
  network(),
  and(),
  or(),
  not(),
  match(),
];
