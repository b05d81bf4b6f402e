import type { Adapter, AdapterContext } from '../adapter/adapter.js';
import type { Inbound, InboundContext, InboundProtocol } from '../inbound/inbound.js';
import type { StackContext } from '../inbound/stack-context.js';
import type { IpStack } from '../ip/ip-stack.js';
import type { Cancel } from '../net/cancel.js';
import type { Token } from '../net/token.js';
import type { RuleDefinition } from '../rule/definition.js';

/** The plugin API of this core. A plugin names the one it was written for. */
export const PLUGIN_API = 1;

/**
 * A plugin: a plain object, usually the default export of `dist/plugin.js`, named in its package.json as
 * `"nekit": { "api": 1, "plugin": "./dist/plugin.js", "alias": ["short-name"] }`.
 */
export interface Plugin {
  /** Unique among the loaded plugins. */
  readonly name: string;
  readonly api: number;
  /** Names of plugins that must be set up and started before this one, if they are loaded. */
  readonly after?: readonly string[];
  /** Registers and provides. Synchronous, no I/O. One call per kernel: keep state in what you register, not in the module. */
  setup(context: PluginContext): void;
  /** I/O that must be done before sessions come. Time-limited; `signal` fires when the time is up. */
  start?(signal: Cancel): Promise<void>;
  /** In reverse order of start. Time-limited. */
  stop?(): Promise<void>;
}

/** Only types a plugin; the object is returned as it is. */
export function definePlugin(plugin: Plugin): Plugin {
  return plugin;
}

/** What a plugin registers. A type, kind or name that is taken already throws PluginError `DUPLICATE_TYPE`, naming both plugins. */
export interface PluginContext {
  adapter<C>(definition: AdapterDefinition<C>): void;
  inbound<C>(definition: InboundDefinition<C>): void;
  protocol(protocol: InboundProtocol): void;
  rule(definition: RuleDefinition): void;
  stack<C>(definition: StackDefinition<C>): void;
  /** A value for others to `get`; made at most once per kernel, when first asked for. */
  provide<T>(token: Token<T>, factory: (get: <D>(token: Token<D>) => D) => T): void;
  get<T>(token: Token<T>): T;
}

/** Whatever has `parse` and gives a JSON Schema; every zod 4 schema is one. */
export interface ConfigSchema<C> {
  /** Returns the typed config or throws; an error with `issues: { path, message }[]` (as zod's) is reported key by key. */
  parse(input: unknown): C;
  /** Draft 2020-12. Also used before `parse`, to turn `"443"` into 443 and to warn of unknown keys. */
  toJSONSchema(): object;
}

/** An entry of `proxies:` (or of `proxy-groups:`). */
export interface AdapterDefinition<C> {
  /** `type:` in the config. */
  readonly type: string;
  /** Entries of `proxy-groups` instead of `proxies`. */
  readonly group?: boolean;
  /** Of the whole entry. `name`, `type`, `dialer-proxy` are core's and need not be in it. */
  readonly config: ConfigSchema<C>;
  create(config: C, context: AdapterContext): Adapter;
  /**
   * `--proxy URI` and links of `import`, for these schemes (without colon): turns the URI into an entry, without `name`. Throws a plain Error for a bad
   * one, which repeats no secret. `tell` hears, in a sentence, of what the URI holds and the entry does not.
   */
  readonly uri?: { readonly schemes: readonly string[]; parse(uri: string, tell?: (what: string) => void): Record<string, unknown> };
}

/** An entry of `listeners:`, for inbounds that are no TCP protocol (those register a protocol). */
export interface InboundDefinition<C> {
  readonly type: string;
  readonly config: ConfigSchema<C>;
  /** false: its entry is checked and then left out. */
  enabled?(config: C): boolean;
  create(config: C, context: InboundContext): Inbound;
}

/** An IP stack that `tun.stack` can name. */
export interface StackDefinition<C> {
  readonly type: string;
  /** Of what the config says of it, in `tun:` under its type; everything may be left out. */
  readonly config: ConfigSchema<C>;
  create(config: C, context: StackContext): IpStack;
}
