import { checkConfig } from '../config/check.js';
import { ConfigError } from '../config/config-error.js';
import type { KernelInput } from '../config/define-config.js';
import type { Problem } from '../config/problem.js';
import { type ConfigSource, configFromObject, isConfigSource } from '../config/source.js';
import type { KernelConfig } from '../config/types.js';
import type { Clock } from '../net/clock.js';
import type { Events } from '../net/events.js';
import { SystemResolver } from '../net/system-resolver.js';
import type { Timeouts } from '../net/timeouts.js';
import type { TimerWheel } from '../net/timer-wheel.js';
import type { PluginHost } from '../plugin/host.js';
import { knownRules } from '../plugin/known-rules.js';
import type { Registry } from '../plugin/registry.js';
import { Router } from '../routing/router.js';
import { ConfigRuleTools } from '../rule/tools.js';
import { AdapterSet } from './adapter-set.js';
import { buildRoutes } from './routes.js';

export interface Checked {
  readonly config: KernelConfig;
  /** Warnings. */
  readonly problems: readonly Problem[];
}

/** Throws ConfigError with every problem. `timeouts` go over those of the config. */
export function checkInput(input: ConfigSource | KernelInput, registry: Registry, strict: boolean, timeouts: Partial<Timeouts>): Checked {
  const source = isConfigSource(input) ? input : configFromObject(input);
  const { config, problems } = checkConfig(source, registry, { strict });
  if (config === null) throw new ConfigError(problems);
  return { config: { ...config, timeouts: { ...config.timeouts, ...timeouts } }, problems };
}

/** What a config becomes; swapped as a whole. */
export interface Setup extends Checked {
  readonly adapters: AdapterSet;
  readonly router: Router;
  readonly resolver: SystemResolver;
  readonly tools: ConfigRuleTools;
}

export interface Surroundings {
  readonly host: PluginHost;
  readonly clock: Clock;
  readonly timers: TimerWheel;
  readonly events: Events;
}

/** Makes everything that a reload swaps. Opens nothing. */
export function buildSetup({ config, problems }: Checked, { host, clock, timers, events }: Surroundings): Setup {
  const { hosts, ipv6, timeouts, mode } = config;
  const resolver = new SystemResolver({ hosts, ipv6, clock, timers, timeoutMs: timeouts.resolve });
  const adapters = new AdapterSet(config, host.registry, (wanted) => host.get(wanted));
  const tools = new ConfigRuleTools({ checking: false, folder: config.folder, warn: (code, message) => events.emit('kernel.warning', { code, message }) });
  const routes = buildRoutes(config.rules, knownRules(host.registry, tools));
  const router = new Router({ routes, adapters: (tag) => adapters.get(tag), mode, hosts, resolver, timers, timeouts, events });
  return { config, problems, adapters, router, resolver, tools };
}
