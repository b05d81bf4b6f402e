import type { RuleDefinition } from './definition.js';
import { dnsFail } from './dns-fail.js';
import { domain, domainKeyword, domainSuffix } from './domain.js';
import { domainRegex } from './domain-regex.js';
import { domainWildcard } from './domain-wildcard.js';
import { geosite } from './geosite.js';
import { inName, inType, inUser } from './inbound.js';
import { ipCidr, srcIpCidr } from './ip-cidr.js';
import { ipSuffix, srcIpSuffix } from './ip-suffix.js';
import { and, not, or } from './logic.js';
import { match } from './match.js';
import { moduleRule } from './module.js';
import { network } from './network.js';
import { dstPort, inPort, srcPort } from './ports.js';
import { processRules } from './process.js';
import { ruleSet } from './rule-set-rule.js';
import { subRule } from './sub-rule.js';
import { uid } from './uid.js';

/** The kinds of rules that core brings. They are registered like a plugin's. */
export const builtinRules: readonly RuleDefinition[] = [
  domain(),
  domainSuffix(),
  domainKeyword(),
  domainRegex(),
  domainWildcard(),
  geosite(),
  ipCidr('IP-CIDR'),
  ipCidr('IP-CIDR6'),
  srcIpCidr(),
  ipSuffix(),
  srcIpSuffix(),
  dnsFail(),
  dstPort(),
  srcPort(),
  inPort(),
  inName(),
  inType(),
  inUser(),
  network(),
  ...processRules(),
  uid(),
  moduleRule(),
  and(),
  or(),
  not(),
  ruleSet(),
  subRule(),
  match(),
];
