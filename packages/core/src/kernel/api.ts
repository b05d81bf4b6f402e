import type { Adapter } from '../adapter/adapter.js';
import type { KernelInput } from '../config/define-config.js';
import type { Problem } from '../config/problem.js';
import type { ConfigSource } from '../config/source.js';
import type { OpenTun } from '../native/open-tun.js';
import type { Clock } from '../net/clock.js';
import type { EventSource } from '../net/events.js';
import type { Timeouts } from '../net/timeouts.js';
import type { Plugin } from '../plugin/plugin.js';
import type { Registry } from '../plugin/registry.js';
import type { ProviderInfo } from '../provider/rule-provider.js';
import type { ExplainInput, Explanation } from '../routing/explain.js';
import type { RuleInfo } from '../routing/router.js';
import type { SessionInfo } from '../routing/session-table.js';
import type { ListenerInfo } from './listener-set.js';

export interface KernelOptions {
  readonly plugins?: readonly Plugin[];
  /** Unknown keys are errors. */
  readonly strict?: boolean;
  /** Over those of the config. */
  readonly timeouts?: Partial<Timeouts>;
  /** false: not the native addon, even where it is there. */
  readonly native?: boolean;
  /** Where lists of rules from the network are kept; null: nowhere. By default the user's cache folder ($XDG_CACHE_HOME or ~/.cache, in it nekit-kernel). */
  readonly cacheFolder?: string | null;
  /** Where TUN devices come from; by default they are the system's. For who brings packets of their own, see @nekit/core/ip: `auto-route` is theirs then as well. */
  readonly openTun?: OpenTun;
  /** For tests. */
  readonly clock?: Clock;
}

/** A proxy kernel. Several may run in one process; they share nothing. */
export interface Kernel extends EventSource {
  /** The types that core and the plugins brought, for `checkConfig` and `jsonSchema`. */
  readonly registry: Registry;
  /** What was found wrong with the config without being an error. */
  readonly warnings: readonly Problem[];
  /** Starts plugins, then listeners. Rejects with NekitError `LISTEN_FAILED` or PluginError, and then nothing is left open. Once only. */
  start(): Promise<void>;
  /** Closes the listeners, lets sessions finish for `timeouts.drain`, then aborts what is left. Never rejects; later calls wait for the first. */
  stop(): Promise<void>;
  /**
   * Puts a new config in place of the old one, for new sessions; those under way go on as they are. Rejects with ConfigError, or with
   * NekitError `RESTART_NEEDED` for what cannot change while it runs, or `STOPPED`; the old config is then still in force. Several calls take effect one
   * after the other.
   */
  reload(config: ConfigSource | KernelInput): Promise<readonly Problem[]>;
  /** Which way a connection would take, and why. Works before `start`. */
  explain(input: ExplainInput): Promise<Explanation>;
  sessions(): readonly SessionInfo[];
  /** How many there are, without a list: those of a TUN count, too. */
  readonly sessionCount: number;
  /** Client connections of listeners that are open. */
  readonly connections: number;
  listeners(): readonly ListenerInfo[];
  adapters(): readonly Adapter[];
  /** All rules with their hit counters, which begin anew with each config. */
  rules(): readonly RuleInfo[];
  /** The lists of `rule-providers`. */
  ruleProviders(): readonly ProviderInfo[];
  /** Loads one of them again. Rejects with NekitError `UNKNOWN_RULE_PROVIDER`, or `RULE_PROVIDER_FAILED` when it stays as it was. */
  refreshRuleProvider(name: string): Promise<void>;
  /** Sets a group's choice. Throws NekitError `UNKNOWN_ADAPTER`, `NOT_SELECTABLE` or `UNKNOWN_MEMBER`. */
  select(group: string, member: string): void;
  /** Ends one session. */
  closeSession(id: number): void;
}
