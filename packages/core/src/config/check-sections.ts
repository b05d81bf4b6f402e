/** Sections that plugins have brought, as `dns:`. */

import { addressFamily } from '../net/address.js';
import { closest } from '../net/closest.js';
import { normaliseHost } from '../net/endpoint.js';
import type { SectionDefinition } from '../plugin/plugin.js';
import type { Registry } from '../plugin/registry.js';
import { type CheckedEntry, jsonSchemaOf } from './check-entries.js';
import { findingsOf } from './issues.js';
import { adviceFor } from './known-keys.js';
import { didYouMean, type ProblemList, quoteKey } from './problem-list.js';
import { isRecord, own } from './record.js';
import { shape } from './shape.js';
import type { ConfigSource } from './source.js';
import type { AdapterConfig } from './types.js';

/** Sections that a plugin would bring: without it they are told and have no effect. */
const OURS = ['dns'];

export class SectionChecker {
  /** Those that are there, right and not off. */
  readonly sections = new Map<string, unknown>();
  readonly #source: ConfigSource;
  readonly #problems: ProblemList;
  readonly #registry: Registry;

  constructor(source: ConfigSource, problems: ProblemList, registry: Registry) {
    this.#source = source;
    this.#problems = problems;
    this.#registry = registry;
  }

  /** Reads them. Returns the entries of `listeners:` that they stand for, by section. */
  read(top: Readonly<Record<string, unknown>>): { readonly key: string; readonly entry: Readonly<Record<string, unknown>> }[] {
    for (const key of OURS)
      if (isThere(top, key) && this.#registry.sections.get(key) === undefined)
        this.#problems.warning('UNSUPPORTED_KEY', `"${key}" has no effect: ${adviceFor(key)}`, [key], 'key');
    return this.#registry.sections.entries().flatMap(([key, { definition }]) => {
      const config = isThere(top, key) ? this.#parse(definition, own(top, key)) : undefined;
      if (config === undefined || definition.enabled?.(config) === false) return [];
      this.sections.set(key, config);
      return (definition.listeners?.(config) ?? []).map((entry) => ({ key, entry }));
    });
  }

  /** What they say of the rest of the config. */
  check(adapters: ReadonlySet<string>, entries: readonly CheckedEntry[]): void {
    const serversOf = (adapter: string): readonly string[] => [...serversBehind(adapter, entries, new Set())];
    for (const [key, config] of this.sections)
      this.#registry.sections.get(key)?.definition.check?.(config, {
        adapters,
        resolvers: new Set(this.#registry.resolvers.names()),
        serversOf,
        error: (message, path) => this.#problems.error('BAD_VALUE', message, [key, ...path]),
        warning: (message, path) => this.#problems.warning('UNSUPPORTED_VALUE', message, [key, ...path]),
      });
  }

  #parse(definition: SectionDefinition<unknown>, value: unknown): unknown {
    const { key } = definition;
    const described = { type: key, config: definition.config };
    const shaped = shape(value, [key], {
      schema: jsonSchemaOf(described, (message) => this.#problems.warning('PLUGIN_SCHEMA', message, [key])),
      text: (at) => this.#source.text(at),
      unknown: (at, known) => {
        const name = String(at.at(-1));
        this.#problems.warning('UNKNOWN_KEY', `${quoteKey(name)} is no key of ${key}.${didYouMean(closest(name, known))}`, at, 'key');
      },
    });
    try {
      return definition.config.parse(shaped);
    } catch (error) {
      for (const finding of findingsOf(error, shaped, [key])) this.#problems.error('BAD_VALUE', finding.message, finding.path);
      return undefined;
    }
  }
}

function isThere(top: Readonly<Record<string, unknown>>, key: string): boolean {
  const value = own(top, key);
  return value !== null && value !== undefined;
}

/** A proxy's own `server`, if it is a name; of what dials through another, that one's; of a group, its members'. */
function serversBehind(name: string, entries: readonly CheckedEntry[], seen: Set<string>): Set<string> {
  const entry = entries.find((candidate) => candidate.name === name);
  if (entry === undefined || seen.has(name)) return new Set();
  seen.add(name);
  const server = serverOf(entry);
  if (server !== null) return new Set([server]);
  return new Set(entry.references.flatMap((reference) => [...serversBehind(reference.name, entries, seen)]));
}

/** The name that a proxy connects to itself; null: an address, or it does not. */
export function serverOf({ options, dialerProxy }: Pick<AdapterConfig, 'options' | 'dialerProxy'>): string | null {
  const server = isRecord(options) ? own(options, 'server') : null;
  const host = typeof server === 'string' && dialerProxy === null ? normaliseHost(server) : null;
  return host === null || addressFamily(host) !== 0 ? null : host;
}
