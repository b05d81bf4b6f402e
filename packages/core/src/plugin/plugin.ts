import type { Adapter, AdapterContext } from '../adapter/adapter.js';
import type { Inbound, InboundContext, InboundProtocol } from '../inbound/inbound.js';
import type { StackContext } from '../inbound/stack-context.js';
import type { IpStack } from '../ip/ip-stack.js';
import type { Cancel } from '../net/cancel.js';
import type { Hosts } from '../net/hosts.js';
import type { Resolver } from '../net/resolver.js';
import type { Session } from '../net/session.js';
import type { Token } from '../net/token.js';
import type { RuleDefinition } from '../rule/definition.js';
import type { Rule } from '../rule/rule.js';

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
  section<C>(definition: SectionDefinition<C>): void;
  resolver(definition: ResolverDefinition): void;
  nameHook(definition: NameHookDefinition): void;
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
  /**
   * Why an entry that is right otherwise cannot be used here, as a cipher that others have; null: it can. It stays listed, which is a warning, and
   * connections to it fail. The message goes on behind the last key of `path`, which begins below the entry.
   */
  unsupported?(config: C): UnsupportedEntry | null;
  create(config: C, context: AdapterContext): Adapter;
  /**
   * `--proxy URI` and links of `import`, for these schemes (without colon): turns the URI into an entry, without `name`. Throws a plain Error for a bad
   * one, which repeats no secret. `tell` hears, in a sentence, of what the URI holds and the entry does not.
   */
  readonly uri?: { readonly schemes: readonly string[]; parse(uri: string, tell?: (what: string) => void): Record<string, unknown> };
}

export interface UnsupportedEntry {
  readonly path: readonly [string, ...(string | number)[]];
  readonly message: string;
}

/** An entry of `listeners:`, for inbounds that are no TCP protocol (those register a protocol). */
export interface InboundDefinition<C> {
  readonly type: string;
  readonly config: ConfigSchema<C>;
  /** false: its entry is checked and then left out. */
  enabled?(config: C): boolean;
  /** Why two listeners of this type cannot run together, for who reads it behind "cannot run beside the listener x: "; null: they can. */
  conflict?(one: C, other: C): string | null;
  /** What of its sessions goes to an adapter whatever the rules say. */
  claims?(config: C, listener: string, get: <T>(token: Token<T>) => T): readonly InboundClaim[];
  create(config: C, context: InboundContext): Inbound;
}

export interface InboundClaim {
  /** As logs and `explain` show it, in place of a rule. */
  readonly text: string;
  /** Type of the adapter that carries it: one that needs no settings. */
  readonly adapter: string;
  /** Fast, and without side effects: it is asked for every session. */
  readonly takes: (session: Session) => boolean;
}

/** An IP stack that `tun.stack` can name. */
export interface StackDefinition<C> {
  readonly type: string;
  /** Of what the config says of it, in `tun:` under its type; everything may be left out. */
  readonly config: ConfigSchema<C>;
  /** Keys of its config that stand in `tun:` itself, as `dns-hijack`. */
  readonly keys?: readonly string[];
  /** What goes to an adapter whatever the rules say, of the device with these addresses (`198.18.0.1/30`). */
  claims?(config: C, networks: readonly string[], get: <T>(token: Token<T>) => T): readonly InboundClaim[];
  create(config: C, context: StackContext): IpStack;
}

/** A kind of name server, as `nameserver: mine://…` spells it. */
export interface ResolverDefinition {
  /** What stands in front of `://`, in lower case. */
  readonly scheme: string;
  /** `address`: what stands behind it, up to `#`. Opens nothing. Throws a plain Error for an address that is wrong. */
  create(address: string, context: ResolverContext): NameServer;
}

export interface ResolverContext {
  /** To reach the server through: the one behind `#`, or the direct one. Not before it is asked. */
  adapter(): Adapter;
  get<T>(token: Token<T>): T;
}

export interface NameServer {
  /** The answer to a DNS message (RFC 1035), with its id and its question. Rejects with a NetError, also when the signal fires. Both messages are read-only. */
  ask(query: Uint8Array, signal: Cancel): Promise<Uint8Array>;
  close?(): void;
}

/** Something that changes what clients ask the name server, and what they are answered. */
export interface NameHookDefinition {
  /** For messages. */
  readonly name: string;
  /** Once for each config that has a name server. Opens nothing. */
  create(context: Pick<PluginContext, 'get'>): NameHook;
}

/** Both are called for every question, in the order of the plugins; they do not wait and do not throw. */
export interface NameHook {
  /** Before anything is looked at: what to answer, or another name to ask for in its place; null: nothing to say. */
  question?(question: NameQuestion): NameReply | null;
  /** Before it goes to the client: another DNS message (RFC 1035) in its place; null: as it is. `message` is lent and read-only. */
  answer?(question: NameQuestion, message: Uint8Array): Uint8Array | null;
}

export interface NameQuestion {
  /** In lower case, without a dot at the end. */
  readonly name: string;
  /** 1: A, 28: AAAA, … */
  readonly type: number;
}

/** Addresses of the other family are NODATA. `rcode`: an error, as 3 for NXDOMAIN; 0 is NODATA. */
export type NameReply = { readonly name: string } | { readonly addresses: readonly string[] } | { readonly rcode: number };

/** A section at the top of the config, as `dns:`. */
export interface SectionDefinition<C> {
  readonly key: string;
  readonly config: ConfigSchema<C>;
  /** false: it is checked and then left out. */
  enabled?(config: C): boolean;
  /** Entries of `listeners:` that it stands for. */
  listeners?(config: C): readonly Readonly<Record<string, unknown>>[];
  /** What its schema cannot see: it is told what else the config has, and tells what does not fit. */
  check?(config: C, around: SectionSurroundings): void;
  /** Once for each config. Opens nothing: that is for `load`. */
  create(config: C, context: SectionContext): Section;
}

export interface SectionSurroundings {
  /** Of adapters and groups. */
  readonly adapters: ReadonlySet<string>;
  /** Schemes of name servers that plugins have brought. */
  readonly resolvers: ReadonlySet<string>;
  /** Names of hosts that have to be looked up before anything can be dialled through an adapter. */
  serversOf(adapter: string): readonly string[];
  /** `path` begins below the section's key. */
  error(message: string, path: readonly (string | number)[]): void;
  warning(message: string, path: readonly (string | number)[]): void;
}

export interface SessionWay {
  readonly adapter: Adapter;
  /** What carries it in the end: never a group. */
  readonly leaf: Adapter;
  /** See DialOptions. */
  readonly addresses: readonly string[] | null;
}

export interface SectionContext {
  /** Of the config file: paths are relative to it. */
  readonly folder: string;
  /** Where something may be kept; null: nowhere. */
  readonly cacheFolder: string | null;
  readonly hosts: Hosts;
  /** false: names have no addresses of IPv6. */
  readonly ipv6: boolean;
  /** Names of the servers that the config's proxies connect to themselves. */
  readonly servers: ReadonlySet<string>;
  /** An adapter by its tag; not before `load`. Throws NekitError `UNKNOWN_ADAPTER`. */
  adapter(tag: string): Adapter;
  /** A server of a kind that a plugin has brought; `adapter` null: reached directly. Throws a plain Error. */
  nameServer(scheme: string, address: string, adapter: string | null): NameServer;
  /**
   * Where the rules lead a session; nothing is counted or told of it. Settled at once unless a rule has to look something up, by `resolver` in place of the kernel's. Not
   * before `load`.
   */
  wayOf(session: Session, resolver?: Resolver): SessionWay | Promise<SessionWay>;
  /** What plugins have brought to change questions and answers, made anew for this config. */
  nameHooks(): readonly NameHook[];
  /** A condition as in `rules:`. Throws a plain Error for a kind that there is not, or a payload that is wrong. */
  rule(kind: string, payload: string): Rule;
  /** Told as `kernel.warning`. */
  warn(code: string, message: string): void;
  get<T>(token: Token<T>): T;
}

/** What a section does while its config is in force. */
export interface Section {
  /** In place of the system's resolver, for rules and for all who ask the kernel. */
  readonly resolver?: Resolver;
  /** The same for adapters, which dial what they find. Default: `resolver`. */
  readonly dialResolver?: Resolver;
  /** Before the config's listeners open. Rejects with the signal's reason or with what has to stop the kernel. */
  load?(signal: Cancel): Promise<void>;
  /** The config is no longer in force, or never came to be. What a promise says is waited for only when the kernel stops, for a second. */
  close(): void | Promise<void>;
}
