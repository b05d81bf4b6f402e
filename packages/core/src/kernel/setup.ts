import type { Adapter } from '../adapter/adapter.js';
import { checkConfig } from '../config/check.js';
import { ConfigError } from '../config/config-error.js';
import type { KernelInput } from '../config/define-config.js';
import type { Problem } from '../config/problem.js';
import { type ConfigSource, configFromObject, isConfigSource } from '../config/source.js';
import type { KernelConfig } from '../config/types.js';
import type { Cancel } from '../net/cancel.js';
import type { Clock } from '../net/clock.js';
import { dnsLookup } from '../net/dns-lookup.js';
import type { Events } from '../net/events.js';
import type { Resolver } from '../net/resolver.js';
import type { Sockets } from '../net/sockets.js';
import { SystemResolver } from '../net/system-resolver.js';
import type { Timeouts } from '../net/timeouts.js';
import type { TimerWheel } from '../net/timer-wheel.js';
import type { Token } from '../net/token.js';
import { RESOLVER } from '../net/tokens.js';
import type { PluginHost } from '../plugin/host.js';
import { knownRules } from '../plugin/known-rules.js';
import type { Registry } from '../plugin/registry.js';
import type { ProcessFinder } from '../process/process-finder.js';
import { RuleProviders } from '../provider/rule-providers.js';
import { Router } from '../routing/router.js';
import { buildRule, type KnownRules } from '../rule/parse.js';
import { ConfigRuleTools } from '../rule/tools.js';
import { Sniffer } from '../sniff/sniffer.js';
import { AdapterSet } from './adapter-set.js';
import type { Farewell } from './farewell.js';
import { ownMark, withOwnMarks } from './own-marks.js';
import { buildClaims, buildRoutes } from './routes.js';
import { SectionSet } from './section-set.js';

export interface Checked {
  readonly config: KernelConfig;
  /** Warnings. */
  readonly problems: readonly Problem[];
}

export interface CheckOptions {
  readonly strict: boolean;
  /** Over those of the config. */
  readonly timeouts: Partial<Timeouts>;
  /** TUN devices are the system's, and so their routes may be ours to set. */
  readonly systemTun: boolean;
}

/** Throws ConfigError with every problem. */
export function checkInput(input: ConfigSource | KernelInput, registry: Registry, { strict, timeouts, systemTun }: CheckOptions): Checked {
  const source = isConfigSource(input) ? input : configFromObject(input);
  const { config, problems } = checkConfig(source, registry, { strict });
  if (config === null) throw new ConfigError(problems);
  return { config: { ...(systemTun ? withOwnMarks(config) : config), timeouts: { ...config.timeouts, ...timeouts } }, problems };
}

export interface Surroundings {
  readonly host: PluginHost;
  readonly clock: Clock;
  readonly timers: TimerWheel;
  readonly events: Events;
  readonly sockets: Sockets;
  readonly processes: ProcessFinder;
  readonly farewell: Farewell;
  /** Where lists from the network are kept; null: nowhere; undefined: in the user's cache folder. */
  readonly cacheFolder: string | null | undefined;
}

/** Warnings that are kept until somebody can listen. */
const MAX_EARLY = 100;

/** Names that our own client looks up at once: two sockets each. */
const OWN_LOOKUPS = 32;

/** What a config becomes; swapped as a whole. Made without opening anything. */
export class Setup implements Checked {
  readonly config: KernelConfig;
  readonly problems: readonly Problem[];
  readonly adapters: AdapterSet;
  readonly router: Router;
  readonly resolver: Resolver;
  /** null: off, or nothing depends on it. */
  readonly sniffer: Sniffer | null;
  readonly providers: RuleProviders;
  readonly #sections: SectionSet;
  readonly #tools: ConfigRuleTools;
  readonly #events: Events;
  readonly #farewell: Farewell;
  /** Warnings of the making, while nobody can listen yet. */
  #early: { readonly code: string; readonly message: string }[] | null = [];
  #loading: Promise<void> | null = null;
  /** Settles some time after `close`, when what was to be written is. */
  closed: Promise<void> = Promise.resolve();

  constructor({ config, problems }: Checked, { host, clock, timers, events, sockets, processes, farewell, cacheFolder }: Surroundings) {
    const { hosts, ipv6, timeouts, mode, folder, geodata } = config;
    this.config = config;
    this.problems = problems;
    const system = new SystemResolver({
      ...{ hosts, ipv6, clock, timers, timeoutMs: timeouts.resolve },
      ...(ownMark(config) === undefined ? {} : { lookup: dnsLookup({ sockets, clock }), concurrency: OWN_LOOKUPS }),
    });
    // Of this config, as OUTBOUND is; and asked only when somebody dials, for the sections come after the adapters.
    const dialResolver: Resolver = { resolve: (name, family, signal) => (this.#sections.dialResolver ?? system).resolve(name, family, signal) };
    const get = <T>(token: Token<T>): T => (token === (RESOLVER as symbol) ? (dialResolver as T) : host.get(token));
    const adapters = new AdapterSet(config, host.registry, get, farewell);
    const adapterOf = (tag: string): Adapter | undefined => adapters.get(tag);
    const kept = cacheFolder === undefined ? {} : { cacheFolder };
    this.providers = new RuleProviders(config.ruleProviders, { clock, timers, events, adapters: adapterOf, known: () => known, ...kept });
    const warn = (code: string, message: string): void => {
      if (this.#early === null) events.emit('kernel.warning', { code, message });
      else if (this.#early.length < MAX_EARLY) this.#early.push({ code, message });
    };
    this.#events = events;
    this.#farewell = farewell;
    this.#tools = new ConfigRuleTools({ checking: false, folder, geodata, ruleSets: this.providers.ruleSets, warn });
    const known: KnownRules = knownRules(host.registry, this.#tools);
    this.adapters = adapters;
    this.#sections = new SectionSet(host.registry);
    try {
      this.#sections.create(config, { adapters, known, cacheFolder, warn, get, router: () => this.router });
      const resolver = this.#sections.resolver ?? system;
      this.resolver = resolver;
      const routes = buildRoutes(config.rules, known);
      const subRules = new Map([...config.subRules].map(([name, rules]) => [name, buildRoutes(rules, known)]));
      this.sniffer = snifferOf(config, known);
      const claims = buildClaims(config, host.registry, adapters, get);
      this.router = new Router({ routes, claims, subRules, adapters: adapterOf, mode, hosts, resolver, timers, timeouts, events, process: processes });
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** Has the lists and modules of rules at hand, as far as that is possible soon; once. Rejects only with the signal's reason. */
  load(signal: Cancel): Promise<void> {
    this.#loading ??= this.#load(signal);
    return this.#loading;
  }

  async #load(signal: Cancel): Promise<void> {
    const early = this.#early ?? [];
    this.#early = null;
    for (const warning of early) this.#events.emit('kernel.warning', warning);
    await Promise.all([this.providers.load(signal), this.#tools.prepared()]);
    await this.#sections.load(signal);
  }

  /** Takes over what was learned under the config before. */
  follow(older: Setup): void {
    this.providers.adoptFrom(older.providers);
  }

  /** What works by itself begins: health checks, looking for newer lists. */
  start(): void {
    this.adapters.start();
    this.providers.start();
  }

  /** Never throws. */
  close(): void {
    this.closed = this.#sections.close(this.#farewell);
    this.adapters.close(this.#farewell);
    this.providers.close();
    this.#tools.close();
  }
}

/** Where no rule is asked, a name matters only if it becomes the destination. */
function snifferOf({ sniffer, mode, rules }: KernelConfig, known: KnownRules): Sniffer | null {
  const areRulesAsked = mode === 'rule' && rules.length > 0;
  if (sniffer === null || !(areRulesAsked || sniffer.protocols.some(({ overrideDestination }) => overrideDestination))) return null;
  return new Sniffer(sniffer, (kind, payload) => buildRule(kind, payload, [], {}, known));
}
