/** From a config as it was written to one that a kernel can be built from. */
import { dirname, resolve } from 'node:path';
import { z } from 'zod';
import { closest } from '../net/closest.js';
import { DEFAULT_TIMEOUTS, type Timeouts } from '../net/timeouts.js';
import { knownRules } from '../plugin/known-rules.js';
import type { Registry } from '../plugin/registry.js';
import { ConfigRuleTools } from '../rule/tools.js';
import { EntryChecker, outboundOf } from './check-entries.js';
import { checkGeodata } from './check-geodata.js';
import { checkGraph } from './check-graph.js';
import { checkHosts } from './check-hosts.js';
import { checkListeners } from './check-listeners.js';
import { checkProviders, unloaded } from './check-providers.js';
import { checkRules } from './check-rules.js';
import { SectionChecker } from './check-sections.js';
import { checkSniffer } from './check-sniffer.js';
import { checkSubRules } from './check-sub-rules.js';
import { findingsOf } from './issues.js';
import { LATER_KEYS } from './known-keys.js';
import { KnownNames } from './known-names.js';
import type { Problem } from './problem.js';
import { didYouMean, ProblemList, quoteKey } from './problem-list.js';
import { isRecord } from './record.js';
import { DEFAULT_MAX_CONNECTIONS, TIMEOUT_NAMES, TOP, type Top, timeoutKey } from './schema.js';
import type { SchemaNode } from './schema-node.js';
import { shape } from './shape.js';
import type { ConfigSource } from './source.js';
import type { KernelConfig } from './types.js';

export interface CheckOptions {
  /** Warnings become errors. */
  readonly strict?: boolean;
}

export interface CheckedConfig {
  /** null when there is an error among the problems. */
  readonly config: KernelConfig | null;
  /** All of them, in the order of the file. */
  readonly problems: readonly Problem[];
}

const TOP_SCHEMA: SchemaNode = z.toJSONSchema(TOP, { io: 'input' });

/** Checks everything against the types that `registry` knows, and tells all problems at once. Never throws. */
export function checkConfig(source: ConfigSource, registry: Registry, options: CheckOptions = {}): CheckedConfig {
  if (source.problems.some((problem) => problem.severity === 'error')) return { config: null, problems: source.problems };
  const problems = new ProblemList(source, options.strict ?? false);
  const config = check(source, registry, problems);
  return { config: problems.failed ? null : config, problems: [...source.problems, ...problems.all].sort(byPlace) };
}

/** What has no line comes first. The sort is stable. */
function byPlace(one: Problem, other: Problem): number {
  return (one.line ?? 0) - (other.line ?? 0) || (one.column ?? 0) - (other.column ?? 0);
}

function check(source: ConfigSource, registry: Registry, problems: ProblemList): KernelConfig | null {
  if (!isRecord(source.value)) {
    problems.error('BAD_VALUE', 'a config is a set of keys, one a line, as "mixed-port: 7890"', []);
    return null;
  }
  const top = checkTop(source.value, source, problems, registry);
  const sections = new SectionChecker(source, problems, registry);
  const listeners = checkListeners(top, source, problems, registry, sections.read(source.value));
  const hosts = checkHosts(top.hosts ?? {}, problems);
  const entries = new EntryChecker(source, problems, registry);
  const proxies = entries.check('proxies', top.proxies ?? []);
  const groups = entries.check('proxy-groups', top['proxy-groups'] ?? []);
  const names = checkGraph([...proxies, ...groups], problems);
  const folder = resolve(source.file === null ? '.' : dirname(source.file));
  sections.check(names.all, [...proxies, ...groups]);
  const geodata = checkGeodata(top.geodata ?? {}, folder, problems);
  const inLists = knownRules(registry, new ConfigRuleTools({ checking: true, folder, geodata }));
  const ruleProviders = checkProviders(top['rule-providers'] ?? {}, { source, problems, names, folder, known: inLists });
  const known = knownRules(registry, new ConfigRuleTools({ checking: true, folder, geodata, ruleSets: unloaded(top['rule-providers'] ?? {}) }));
  const targets = { adapters: names, lists: new KnownNames(Object.keys(top['sub-rules'] ?? {})) };
  const context = { source, problems, registry, known, targets };
  const rules = checkRules(top.rules ?? [], ['rules'], context);
  const subRules = checkSubRules(top['sub-rules'] ?? {}, context);
  const sniffer = checkSniffer(top.sniffer ?? {}, known, problems);
  const mode = top.mode ?? 'rule';
  if (mode === 'global' && !groups.some((group) => group.name === 'GLOBAL')) {
    problems.warning(
      'GLOBAL_IS_DIRECT',
      'mode global sends everything through GLOBAL, which is DIRECT until another adapter is chosen; a group named GLOBAL decides it here',
      ['mode'],
    );
  }
  return {
    folder,
    plugins: top.plugins ?? [],
    mode,
    logLevel: top['log-level'] ?? 'info',
    ipv6: top.ipv6 ?? true,
    outbound: outboundOf(top),
    listeners,
    proxies: proxies.map(plain),
    groups: groups.map(plain),
    rules,
    subRules,
    ruleProviders,
    hosts,
    geodata,
    sniffer,
    sections: sections.sections,
    maxConnections: top['max-connections'] ?? DEFAULT_MAX_CONNECTIONS,
    timeouts: timeoutsOf(top),
  };
}

function checkTop(value: Readonly<Record<string, unknown>>, source: ConfigSource, problems: ProblemList, registry: Registry): Top {
  const given = Object.fromEntries(Object.entries(value).filter(([key]) => registry.sections.get(key) === undefined));
  const shaped = shape(given, [], {
    schema: TOP_SCHEMA,
    text: (path) => source.text(path),
    unknown(path, known) {
      const key = String(path.at(-1));
      if (path.length === 1 && /^(?:x-|\.)/.test(key)) return; // where people park YAML anchors
      if (path.length === 1 && LATER_KEYS.has(key)) problems.warning('UNSUPPORTED_KEY', `"${key}" is not supported yet and has no effect`, path, 'key');
      else if (path.length === 1)
        problems.warning(
          'UNKNOWN_KEY',
          `${quoteKey(key)} is no key that we know, and has no effect.${didYouMean(closest(key, [...known, ...LATER_KEYS]))}`,
          path,
          'key',
        );
      else problems.warning('UNKNOWN_KEY', `${quoteKey(key)} is no key of ${path[0]}.${didYouMean(closest(key, known))}`, path, 'key');
    },
  });
  const parsed = TOP.safeParse(shaped);
  if (parsed.success) return parsed.data;
  const bad = new Set<unknown>();
  for (const finding of findingsOf(parsed.error, shaped, [])) {
    problems.error('BAD_VALUE', finding.message, finding.path);
    bad.add(finding.path[0]);
  }
  // All keys are optional: without the bad ones it passes, and the rest is checked as well.
  const rest = TOP.safeParse(Object.fromEntries(Object.entries(isRecord(shaped) ? shaped : {}).filter(([key]) => !bad.has(key))));
  return rest.success ? rest.data : {};
}

function timeoutsOf(top: Top): Timeouts {
  const given = top.timeouts ?? {};
  const timeouts: { -readonly [K in keyof Timeouts]: number } = { ...DEFAULT_TIMEOUTS };
  for (const name of TIMEOUT_NAMES) timeouts[name] = given[timeoutKey(name)] ?? timeouts[name];
  return timeouts;
}

/** Without what only the checks needed. */
function plain({
  path: _path,
  section: _section,
  references: _references,
  ...entry
}: ReturnType<EntryChecker['check']>[number]): KernelConfig['proxies'][number] {
  return entry;
}
