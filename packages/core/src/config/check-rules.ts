/** `rules`: both forms to one, each built once so that a bad payload is told with its place. */
import { z } from 'zod';
import { closest } from '../net/closest.js';
import type { Registry } from '../plugin/registry.js';
import { buildRule, formatRuleText, type KnownRules, parseRuleText } from '../rule/parse.js';
import { findingsOf } from './issues.js';
import { adviceFor, LATER_RULES } from './known-keys.js';
import type { KnownNames } from './known-names.js';
import { didYouMean, list, type ProblemList, quoteKey } from './problem-list.js';
import { isRecord } from './record.js';
import { RULE } from './schema.js';
import type { SchemaNode } from './schema-node.js';
import { shape } from './shape.js';
import type { ConfigSource, Path } from './source.js';
import type { RouteConfig } from './types.js';

const RULE_SCHEMA: SchemaNode = z.toJSONSchema(RULE, { io: 'input' });
/** Words of Clash's that any rule takes, as keys of the object form too. */
const COMMON_KEYS = ['no-resolve', 'src'];

export interface RulesContext {
  readonly source: ConfigSource;
  readonly problems: ProblemList;
  readonly registry: Registry;
  readonly known: KnownRules;
  readonly targets: Targets;
}

/** The names that a rule may lead to. */
export interface Targets {
  readonly adapters: KnownNames;
  /** Of `sub-rules`, for SUB-RULE. */
  readonly lists: KnownNames;
}

export function checkRules(rules: readonly unknown[], place: Path, context: RulesContext): RouteConfig[] {
  const checked: RouteConfig[] = [];
  let last: { index: number; where: string } | null = null;
  rules.forEach((rule, index) => {
    const path = [...place, index];
    const route = readRule(rule, path, context);
    if (route === null) return;
    checkTarget(route, path, context);
    if (checkKind(route, path, context)) checkPayload(route, path, context);
    if (last !== null && last.index === index - 1)
      context.problems.warning('UNREACHABLE', `nothing comes this far: the MATCH before (${last.where}) takes everything`, path);
    if (route.kind === 'MATCH') last = { index, where: route.where };
    checked.push(route);
  });
  return checked;
}

function readRule(rule: unknown, path: Path, context: RulesContext): RouteConfig | null {
  const { problems, registry, source } = context;
  const where = problems.where(path);
  if (typeof rule === 'string') {
    try {
      const parsed = parseRuleText(rule, (kind) => registry.rules.get(kind)?.definition.payload === false || kind === 'MATCH');
      return { ...parsed, sub: parsed.kind === 'SUB-RULE', options: {}, text: rule, where };
    } catch (error) {
      problems.error('BAD_RULE', error instanceof Error ? error.message : String(error), path);
      return null;
    }
  }
  if (!isRecord(rule)) {
    problems.error(
      'BAD_RULE',
      'a rule is a text, as DOMAIN-SUFFIX,example.com,DIRECT, or an object, as { type: DOMAIN-SUFFIX, value: example.com, to: DIRECT }',
      path,
    );
    return null;
  }
  const shaped = shape(rule, path, { schema: RULE_SCHEMA, text: (at) => source.text(at), unknown: () => undefined });
  const parsed = RULE.safeParse(shaped);
  if (!parsed.success) {
    for (const finding of findingsOf(parsed.error, shaped, path)) problems.error('BAD_RULE', finding.message, finding.path);
    return null;
  }
  const { type, value = '', to, parameters = [], ...options } = parsed.data;
  const text = { kind: type.trim().toUpperCase(), payload: value.trim(), target: to, parameters: parameters.map((word) => word.toLowerCase()) };
  return { ...text, sub: text.kind === 'SUB-RULE', options, text: formatRuleText(text, options), where };
}

function checkTarget(route: RouteConfig, path: Path, { problems, targets }: RulesContext): void {
  const [what, names] = route.sub ? ['list in sub-rules named', targets.lists] : ['proxy or group', targets.adapters];
  if (names.has(route.target)) return;
  problems.error('UNKNOWN_NAME', `there is no ${what} "${route.target}".${names.guess(route.target)}`, path);
}

/** False when nothing can be built of it. */
function checkKind(route: RouteConfig, path: Path, { problems, registry }: RulesContext): boolean {
  const known = registry.rules.get(route.kind);
  if (known === undefined) {
    const advice = adviceFor(route.kind);
    const kinds = registry.rules.names();
    const guess = closest(route.kind, kinds);
    // Left out it would let connections through that it was to catch: an error, unlike a proxy that cannot be used.
    if (advice !== null) problems.error('UNKNOWN_KIND', `there is no rule kind ${route.kind}: ${advice}`, path);
    else if (LATER_RULES.has(route.kind)) problems.error('UNKNOWN_KIND', `${route.kind} rules are not supported yet`, path);
    else problems.error('UNKNOWN_KIND', `there is no rule kind "${route.kind}".${guess === null ? ` Known kinds: ${list(kinds)}` : didYouMean(guess)}`, path);
    return false;
  }
  if (known.plugin === 'core') {
    const keys = [...COMMON_KEYS, ...(known.definition.parameters ?? []), ...(known.definition.options ?? [])];
    for (const key of Object.keys(route.options)) {
      if (!keys.includes(key))
        problems.warning(
          'UNKNOWN_KEY',
          `${quoteKey(key)} is no key of a ${route.kind} rule.${didYouMean(closest(key, [...Object.keys(RULE.shape), ...keys]))}`,
          [...path, key],
          'key',
        );
    }
  }
  return true;
}

function checkPayload(route: RouteConfig, path: Path, { problems, known }: RulesContext): void {
  try {
    buildRule(route.kind, route.payload, route.parameters, route.options, known);
  } catch (error) {
    problems.error('BAD_RULE', error instanceof Error ? error.message : String(error), path);
  }
}
