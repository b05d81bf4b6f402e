import { createHash } from 'node:crypto';
import { statSync } from 'node:fs';
import { join } from 'node:path';
import type { Adapter } from '../adapter/adapter.js';
import type { Cancel } from '../net/cancel.js';
import type { Clock } from '../net/clock.js';
import { closest } from '../net/closest.js';
import { NekitError } from '../net/errors.js';
import type { Events } from '../net/events.js';
import type { TimerWheel } from '../net/timer-wheel.js';
import { findGeosite } from '../rule/geosite.js';
import type { KnownRules } from '../rule/parse.js';
import type { RuleSet } from '../rule/rule-set.js';
import { HttpSource } from './http-source.js';
import { FileSource, InlineSource, type ListSource, stampOf } from './list-source.js';
import type { HttpSourceConfig, ProviderConfig } from './provider-config.js';
import { defaultCacheFolder, ProviderStore } from './provider-store.js';
import { type ProviderContext, type ProviderInfo, RuleProvider } from './rule-provider.js';

export interface RuleProvidersOptions {
  readonly clock: Clock;
  readonly timers: TimerWheel;
  readonly events: Events;
  readonly adapters: (tag: string) => Adapter | undefined;
  /** Asked when a list is compiled, not before: the rules of the config need the lists first. */
  readonly known: () => KnownRules;
  /** Where lists from the network are kept; null: nowhere. The user's cache folder by default. */
  readonly cacheFolder?: string | null;
  readonly random?: () => number;
  readonly wallClock?: () => number;
}

/** For one list, redirects and all, in ms: some are large and some servers slow. */
const FETCH_MS = 120_000;

/** The lists of one config. Made and closed with it. */
export class RuleProviders {
  readonly #providers = new Map<string, RuleProvider>();
  readonly #known: () => KnownRules;
  /** What was around the lists when they were loaded. */
  #surroundings: string | null = null;

  /** Opens nothing. */
  constructor(configs: ReadonlyMap<string, ProviderConfig>, options: RuleProvidersOptions) {
    const { clock, timers, events, adapters, known, cacheFolder = defaultCacheFolder(), random = Math.random, wallClock = Date.now } = options;
    this.#known = known;
    const warn = (code: string, message: string): void => events.emit('kernel.warning', { code, message });
    const context: ProviderContext = { clock, timers, known, warn, random, wallClock };
    for (const config of configs.values()) {
      const source = sourceOf(config, { cacheFolder, adapters, timers, wallClock });
      this.#providers.set(config.name, new RuleProvider(config, source, context));
    }
  }

  /** For rules: each is there at once, and holds whatever was loaded last. */
  get ruleSets(): ReadonlyMap<string, RuleSet> {
    return this.#providers;
  }

  /** Takes over what unchanged providers of the config before have loaded. Both may be in use; each closes its own. Before `load`. */
  adoptFrom(older: RuleProviders): void {
    this.#surroundings = surroundings(this.#known());
    if (this.#surroundings !== older.#surroundings) return; // the same text may mean something else now
    for (const [name, provider] of this.#providers) {
      const before = older.#providers.get(name);
      if (before !== undefined && JSON.stringify(before.config) === JSON.stringify(provider.config)) provider.adoptFrom(before);
    }
  }

  /**
   * Everything that can be had soon: files, inline lists, copies on disk; what is nowhere yet is fetched, for a while. What fails is told as
   * `kernel.warning` and tried again after `start`. Rejects only with the signal's reason.
   */
  async load(signal: Cancel): Promise<void> {
    this.#surroundings ??= surroundings(this.#known());
    await Promise.all([...this.#providers.values()].map((provider) => provider.load(signal)));
  }

  /** Looks for news from here on, each list at its interval. */
  start(): void {
    for (const provider of this.#providers.values()) provider.start();
  }

  /** Rejects with NekitError: `UNKNOWN_RULE_PROVIDER`, or `RULE_PROVIDER_FAILED` when the list stays as it was. */
  async refresh(name: string): Promise<void> {
    const provider = this.#providers.get(name);
    if (provider !== undefined) return provider.refresh();
    const guess = closest(name, this.#providers.keys());
    throw new NekitError('UNKNOWN_RULE_PROVIDER', `there is no rule-provider "${name}"${guess === null ? '' : `, did you mean "${guess}"?`}`);
  }

  info(): ProviderInfo[] {
    return [...this.#providers.values()].map((provider) => provider.info());
  }

  close(): void {
    for (const provider of this.#providers.values()) provider.close();
  }
}

/** What rules in a list get from the config around them. */
function surroundings({ tools }: KnownRules): string {
  const { country, asn, geosite } = tools.geodata;
  return JSON.stringify([tools.path('.'), ...[country, asn, geosite ?? findGeosite(tools)].map((path) => [path, stampAt(path)])]);
}

/** null where there is no file, or none that can be looked at. */
function stampAt(path: string | null): string | null {
  if (path === null) return null;
  try {
    return stampOf(statSync(path));
  } catch (error) {
    if (error instanceof Error) return null;
    throw error;
  }
}

interface SourceParts {
  readonly cacheFolder: string | null;
  readonly adapters: (tag: string) => Adapter | undefined;
  readonly timers: TimerWheel;
  readonly wallClock: () => number;
}

function sourceOf({ source, sizeLimit }: ProviderConfig, { cacheFolder, adapters, timers, wallClock }: SourceParts): ListSource {
  if (source.type === 'inline') return new InlineSource(source.payload, wallClock);
  if (source.type === 'file') return new FileSource(source.path, sizeLimit);
  const path = source.path ?? (cacheFolder === null ? null : join(cacheFolder, 'rule-providers', nameOf(source)));
  const store = path === null ? null : new ProviderStore(path);
  return new HttpSource({ config: source, maxBytes: sizeLimit, store, adapter: adapters, timers, timeoutMs: FETCH_MS, wallClock });
}

/** Two lists share a copy only if the same would be fetched for both. */
function nameOf({ url, headers }: HttpSourceConfig): string {
  return createHash('sha256')
    .update(JSON.stringify([url, headers]))
    .digest('hex')
    .slice(0, 32);
}
