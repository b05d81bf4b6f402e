import type { Adapter } from '../adapter/adapter.js';
import { serverOf } from '../config/check-sections.js';
import { ConfigError } from '../config/config-error.js';
import type { KernelConfig } from '../config/types.js';
import type { Cancel } from '../net/cancel.js';
import { NekitError } from '../net/errors.js';
import type { Resolver } from '../net/resolver.js';
import type { Token } from '../net/token.js';
import type { Section, SectionContext, SessionWay } from '../plugin/plugin.js';
import type { Registry } from '../plugin/registry.js';
import { defaultCacheFolder } from '../provider/provider-store.js';
import { leafOf } from '../routing/leaf.js';
import type { Router } from '../routing/router.js';
import type { Decision } from '../routing/rule-list.js';
import { buildRule, type KnownRules } from '../rule/parse.js';
import type { AdapterSet } from './adapter-set.js';
import type { Farewell } from './farewell.js';

interface Surroundings {
  readonly adapters: AdapterSet;
  readonly known: KnownRules;
  readonly cacheFolder: string | null | undefined;
  readonly warn: (code: string, message: string) => void;
  readonly get: <T>(token: Token<T>) => T;
  /** Asked when a session comes: it is made after the sections. */
  readonly router: () => Router;
}

/** The sections of plugins, of one config. */
export class SectionSet {
  readonly #registry: Registry;
  readonly #sections: { readonly key: string; readonly section: Section }[] = [];

  constructor(registry: Registry) {
    this.#registry = registry;
  }

  /** Throws ConfigError for what a section's `create` throws. */
  create(config: KernelConfig, around: Surroundings): void {
    const context = contextOf(config, this.#registry, around);
    for (const [key, options] of config.sections) {
      const definition = this.#registry.sections.get(key)?.definition;
      if (definition === undefined) continue;
      try {
        this.#sections.push({ key, section: definition.create(options, context) });
      } catch (error) {
        throw failed(key, error);
      }
    }
  }

  get resolver(): Resolver | null {
    return this.#sections.find(({ section }) => section.resolver !== undefined)?.section.resolver ?? null;
  }

  get dialResolver(): Resolver | null {
    return this.#sections.find(({ section }) => section.dialResolver !== undefined)?.section.dialResolver ?? this.resolver;
  }

  async load(signal: Cancel): Promise<void> {
    for (const { section } of this.#sections) await section.load?.(signal);
  }

  /** Never rejects. */
  async close(farewell: Farewell): Promise<void> {
    await Promise.all(this.#sections.map(({ key, section }) => farewell.told(`close of the section "${key}"`, () => section.close())));
  }
}

function contextOf(config: KernelConfig, registry: Registry, { adapters, known, cacheFolder, warn, get, router }: Surroundings): SectionContext {
  const { folder, hosts, ipv6, proxies } = config;
  return {
    folder,
    hosts,
    ipv6,
    cacheFolder: cacheFolder === undefined ? defaultCacheFolder() : cacheFolder,
    servers: new Set(proxies.flatMap((proxy) => serverOf(proxy) ?? [])),
    adapter(tag) {
      const adapter = adapters.get(tag);
      if (adapter === undefined) throw new NekitError('UNKNOWN_ADAPTER', `there is no proxy or group "${tag}"`);
      return adapter;
    },
    nameServer(scheme, address, tag) {
      const definition = registry.resolvers.get(scheme)?.definition;
      if (definition === undefined) throw new Error(`no plugin brings name servers ${scheme}://`);
      const adapter = (): Adapter => this.adapter(tag ?? 'DIRECT');
      return definition.create(address, { adapter, get });
    },
    wayOf(session, resolver) {
      const decision = router().preview(session, resolver);
      const way = ({ adapter, addresses }: Decision): SessionWay => ({ adapter, leaf: leafOf(adapter, session).leaf, addresses });
      return decision instanceof Promise ? decision.then(way) : way(decision);
    },
    nameHooks: () => registry.nameHooks.entries().map(([, { definition }]) => definition.create({ get })),
    rule: (kind, payload) => buildRule(kind, payload, [], {}, known),
    warn,
    get,
  };
}

function failed(key: string, error: unknown): ConfigError {
  const message = `the section "${key}" cannot be made: ${error instanceof Error ? error.message : String(error)}`;
  return new ConfigError([{ severity: 'error', code: 'BAD_VALUE', message, path: [key], file: null, line: null, column: null, excerpt: null }], {
    cause: error,
  });
}
