/**
 * A config after it was checked: typed, complete, with every default filled in. What it still holds as `unknown` (an adapter's own keys)
 * has gone through the schema of the plugin that owns it.
 */
import type { Hosts } from '../net/hosts.js';
import type { SocketOptions } from '../net/sockets.js';
import type { Timeouts } from '../net/timeouts.js';
import type { ProviderConfig } from '../provider/provider-config.js';
import type { Geodata } from '../rule/tools.js';
import type { SnifferConfig } from '../sniff/sniffer.js';

export interface KernelConfig {
  /** Where the config file is, absolute: paths in it are relative to this. The working directory where there is no file. */
  readonly folder: string;
  /** As written; who starts the kernel has loaded them. */
  readonly plugins: readonly string[];
  readonly mode: Mode;
  readonly logLevel: LogLevel;
  /** false: the resolver returns no IPv6 addresses. */
  readonly ipv6: boolean;
  readonly listeners: readonly ListenerConfig[];
  readonly proxies: readonly AdapterConfig[];
  readonly groups: readonly AdapterConfig[];
  readonly rules: readonly RouteConfig[];
  /** The lists that SUB-RULE leads to. */
  readonly subRules: ReadonlyMap<string, readonly RouteConfig[]>;
  /** Lists that RULE-SET asks, by name. */
  readonly ruleProviders: ReadonlyMap<string, ProviderConfig>;
  /** Of all sockets that go out. */
  readonly outbound: Outbound;
  /** Lower-case names and patterns of them to addresses, or to another name. */
  readonly hosts: Hosts;
  /** Files that are there; absolute. */
  readonly geodata: Geodata;
  /** null: off. */
  readonly sniffer: SnifferConfig | null;
  /** Sections of plugins that are there and not off, by key: parsed by their schema. */
  readonly sections: ReadonlyMap<string, unknown>;
  readonly maxConnections: number;
  readonly timeouts: Timeouts;
}

/** What sockets that go out have. */
export type Outbound = Pick<SocketOptions, 'mark' | 'device'>;

export type Mode = 'rule' | 'global' | 'direct';
export type LogLevel = 'silent' | 'error' | 'warning' | 'info' | 'debug';

/** One listener, from `listeners:` or from `port`, `socks-port`, `mixed-port`. */
export interface ListenerConfig {
  readonly name: string;
  /** `mixed`, a protocol's name (`http`, `socks`), or the type of a registered inbound. */
  readonly type: string;
  readonly host: string;
  readonly port: number;
  /** null: no authentication. */
  readonly users: readonly Credentials[] | null;
  /** Clients in these networks need no credentials (CIDR). */
  readonly skipAuthPrefixes: readonly string[];
  /** Clients outside of these are turned away, unless it listens on a loopback address. Empty: everybody. */
  readonly allowedIps: readonly string[];
  readonly disallowedIps: readonly string[];
  /** For a registered inbound: its entry, parsed by its schema. undefined for TCP protocols. */
  readonly options: unknown;
  /** Where it stands in the config, for messages: `config.yaml:12:5`. */
  readonly where: string;
}

export interface Credentials {
  readonly username: string;
  readonly password: string;
}

/** An entry of `proxies:` or `proxy-groups:`. */
export interface AdapterConfig {
  readonly name: string;
  readonly type: string;
  readonly dialerProxy: string | null;
  /** Of the connection to the server, where nothing is dialled through. */
  readonly outbound: Outbound;
  /** Parsed by the schema of its type; null when it is not supported (then `unavailable` says why). */
  readonly options: unknown;
  readonly unavailable: string | null;
  readonly where: string;
}

/** A line of `rules:`, not yet built: both forms come out alike. */
export interface RouteConfig {
  readonly kind: string;
  /** '' where the kind has none (MATCH). */
  readonly payload: string;
  /** Name of an adapter; of a list of `sub-rules` where `sub` is true. */
  readonly target: string;
  readonly sub: boolean;
  /** Lower case. */
  readonly parameters: readonly string[];
  readonly options: Readonly<Record<string, unknown>>;
  /** As written, for logs and `explain`: `DOMAIN-SUFFIX,example.com,home`. */
  readonly text: string;
  readonly where: string;
}
