/** `port`, `socks-port`, `mixed-port` and `listeners`, with who may use them. */
import { z } from 'zod';
import { addressFamily } from '../net/address.js';
import { closest } from '../net/closest.js';
import { formatEndpoint, normaliseHost } from '../net/endpoint.js';
import type { InboundDefinition } from '../plugin/plugin.js';
import type { Registry } from '../plugin/registry.js';
import { jsonSchemaOf } from './check-entries.js';
import { findingsOf } from './issues.js';
import { adviceFor, LATER_LISTENER_KEYS } from './known-keys.js';
import { checkNetwork } from './networks.js';
import { didYouMean, list, type ProblemList, quoteKey } from './problem-list.js';
import { isRecord } from './record.js';
import { CLASH_LISTENERS, LISTENER, type Top } from './schema.js';
import { propertiesOf, type SchemaNode } from './schema-node.js';
import { shape } from './shape.js';
import type { ConfigSource, Path } from './source.js';
import type { Credentials, ListenerConfig } from './types.js';

/** What holds for all listeners of a config. */
interface Shared {
  readonly users: readonly Credentials[] | null;
  readonly skipAuthPrefixes: readonly string[];
  readonly allowedIps: readonly string[];
  readonly disallowedIps: readonly string[];
}

interface Placed {
  readonly config: ListenerConfig;
  readonly path: Path;
}

const LISTENER_SCHEMA: SchemaNode = z.toJSONSchema(LISTENER, { io: 'input' });
const CORE_KEYS: readonly string[] = Object.keys(LISTENER.shape);

/** `sections`: entries that sections of plugins stand for. */
export function checkListeners(
  top: Top,
  source: ConfigSource,
  problems: ProblemList,
  registry: Registry,
  sections: readonly { readonly key: string; readonly entry: Readonly<Record<string, unknown>> }[] = [],
): ListenerConfig[] {
  const shared: Shared = {
    users: checkAuthentication(top.authentication, problems),
    skipAuthPrefixes: checkNetworks('skip-auth-prefixes', top['skip-auth-prefixes'], problems),
    allowedIps: checkNetworks('lan-allowed-ips', top['lan-allowed-ips'], problems),
    disallowedIps: checkNetworks('lan-disallowed-ips', top['lan-disallowed-ips'], problems),
  };
  const checker = new ListenerChecker(source, problems, registry, shared, top.ipv6 ?? true);
  const placed = [
    ...checker.clash(top),
    ...checker.tun(top),
    ...sections.flatMap(({ key, entry }) => checker.entry(entry, [key]) ?? []),
    ...(top.listeners ?? []).flatMap((entry, index) => checker.entry(entry, ['listeners', index]) ?? []),
  ];
  reportCollisions(placed, problems, registry);
  return placed.map(({ config }) => config);
}

class ListenerChecker {
  readonly #source: ConfigSource;
  readonly #problems: ProblemList;
  readonly #registry: Registry;
  readonly #shared: Shared;
  readonly #ipv6: boolean;

  constructor(source: ConfigSource, problems: ProblemList, registry: Registry, shared: Shared, ipv6: boolean) {
    this.#source = source;
    this.#problems = problems;
    this.#registry = registry;
    this.#shared = shared;
    this.#ipv6 = ipv6;
  }

  /** The three keys of Clash. They listen on loopback unless `allow-lan` says otherwise. */
  clash(top: Top): Placed[] {
    const bind = this.#host(top['bind-address'] ?? '*', ['bind-address']);
    const host = top['allow-lan'] === true ? bind : '127.0.0.1';
    return CLASH_LISTENERS.flatMap(({ key, name, type }) => {
      const port = top[key] ?? 0;
      if (port === 0 || host === null || !this.#isListenerType(type, [key])) return [];
      return [{ config: { ...this.#shared, name, type, host, port, options: undefined, where: this.#problems.where([key]) }, path: [key] }];
    });
  }

  /** The section `tun:`: off unless it says otherwise, and with auto-route unless somebody else has made the device, as in Clash. */
  tun(top: Top): Placed[] {
    const definition = this.#registry.inbounds.get('tun')?.definition;
    if (top.tun === undefined || definition === undefined) return [];
    const { enable, 'auto-route': autoRoute, 'file-descriptor': descriptor } = top.tun;
    const defaults = { enable: enable ?? false, 'auto-route': autoRoute ?? (descriptor ?? null) === null };
    const entry = { ...top.tun, ...defaults, name: 'tun', type: 'tun' };
    return [this.#inbound(entry, definition, ['tun']) ?? []].flat();
  }

  entry(entry: unknown, path: Path): Placed | [] | null {
    if (!isRecord(entry)) {
      this.#problems.error('BAD_VALUE', 'a listener is a set of keys, as { name: lan, type: mixed, listen: 0.0.0.0, port: 7891 }', path);
      return null;
    }
    const type = entry.type;
    const inbound = typeof type === 'string' ? this.#registry.inbounds.get(type)?.definition : undefined;
    return inbound === undefined ? this.#protocol(entry, path) : this.#inbound(entry, inbound, path);
  }

  /** A TCP port. */
  #protocol(entry: Readonly<Record<string, unknown>>, path: Path): Placed | null {
    const shaped = this.#shape(entry, LISTENER_SCHEMA, path);
    const parsed = LISTENER.safeParse(shaped);
    const type = isRecord(shaped) && typeof shaped.type === 'string' ? shaped.type : null;
    const known = type === null || this.#isListenerType(type, [...path, 'type']);
    if (!parsed.success) {
      for (const finding of findingsOf(parsed.error, shaped, path)) this.#problems.error('BAD_VALUE', finding.message, finding.path);
      return null;
    }
    const { name, port, users, listen } = parsed.data;
    const host = listen === undefined ? '127.0.0.1' : this.#host(listen, [...path, 'listen']);
    if (!known || host === null) return null;
    const own = users === undefined ? this.#shared.users : users.length === 0 ? null : users;
    return { config: { ...this.#shared, users: own, name, type: parsed.data.type, host, port, options: undefined, where: this.#problems.where(path) }, path };
  }

  /** A plugin's inbound: its own schema says what stands in the entry. */
  #inbound(entry: Readonly<Record<string, unknown>>, definition: InboundDefinition<unknown>, path: Path): Placed | [] | null {
    const { name, type } = entry;
    if (typeof name !== 'string' || name === '') {
      this.#problems.error('BAD_VALUE', '"name" is missing', path);
      return null;
    }
    const schema = jsonSchemaOf(definition, (message) => this.#problems.warning('PLUGIN_SCHEMA', message, [...path, 'type']));
    const properties = propertiesOf(schema);
    const own = Object.entries(entry).filter(([key]) => !CORE_KEYS.includes(key) || Object.hasOwn(properties, key));
    const shaped = this.#shape(Object.fromEntries(own), schema, path);
    try {
      const options = definition.config.parse(shaped);
      if (definition.enabled?.(options) === false) return [];
      const port = isRecord(shaped) && typeof shaped.port === 'number' ? shaped.port : 0;
      const host = isRecord(shaped) && typeof shaped.listen === 'string' ? shaped.listen : '127.0.0.1';
      return { config: { ...this.#shared, name, type: String(type), host, port, options, where: this.#problems.where(path) }, path };
    } catch (error) {
      for (const finding of findingsOf(error, shaped, path)) this.#problems.error('BAD_VALUE', finding.message, finding.path);
      return null;
    }
  }

  #shape(entry: Readonly<Record<string, unknown>>, schema: SchemaNode, path: Path): unknown {
    const section = path.length === 1 ? path[0] : null;
    return shape(entry, path, {
      schema,
      text: (at) => this.#source.text(at),
      unknown: (at, known) => {
        const key = String(at.at(-1));
        if (at.length === path.length + 1 && LATER_LISTENER_KEYS.has(key)) {
          // What is switched off is as it is.
          if (entry[key] === false) return;
          const advice = key === 'dns-hijack' ? ': it comes with the plugin "dns" (npm install @nekit/stack-dns, and add "dns" to plugins)' : '';
          this.#problems.warning('UNSUPPORTED_KEY', `"${key}" is not supported in ${section ?? 'this listener'} and has no effect${advice}`, at, 'key');
        } else
          this.#problems.warning(
            'UNKNOWN_KEY',
            `${quoteKey(key)} is no key of ${section ?? 'a listener'}.${didYouMean(closest(key, [...known, ...CORE_KEYS]))}`,
            at,
            'key',
          );
      },
    });
  }

  #isListenerType(type: string, path: Path): boolean {
    const protocols = this.#registry.protocols.names();
    if (type === 'mixed' ? protocols.length > 0 : this.#registry.protocols.get(type) !== undefined) return true;
    const known = ['mixed', ...protocols, ...this.#registry.inbounds.names()];
    const advice = type === 'mixed' ? 'no protocol is loaded: add "http" or "socks5" to plugins' : adviceFor(type);
    const hint = advice === null ? `.${didYouMean(closest(type, known))}` : `: ${advice}.`;
    this.#problems.error('UNKNOWN_TYPE', `there is no listener type "${type}"${hint} Known types: ${list(known)}`, path);
    return false;
  }

  #host(text: string, path: Path): string | null {
    if (text === '*') return this.#ipv6 ? '::' : '0.0.0.0';
    if (text === 'localhost') return '127.0.0.1';
    const host = normaliseHost(text);
    if (host !== null && addressFamily(host) !== 0) return host;
    this.#problems.error('BAD_VALUE', `"${text}" is no address to listen on; write an IP address of this machine, or "*" for all`, path);
    return null;
  }
}

function checkAuthentication(entries: readonly string[] | undefined, problems: ProblemList): Credentials[] | null {
  const users = (entries ?? []).flatMap((entry, index) => {
    const colon = entry.indexOf(':');
    if (colon > 0) return [{ username: entry.slice(0, colon), password: entry.slice(colon + 1) }];
    problems.error('BAD_VALUE', 'write "user:password"', ['authentication', index]);
    return [];
  });
  return users.length === 0 ? null : users;
}

function checkNetworks(key: string, networks: readonly string[] | undefined, problems: ProblemList): string[] {
  return (networks ?? []).flatMap((text, index) => {
    const network = checkNetwork(text);
    if (network === null) problems.error('BAD_VALUE', `"${text}" is no network; write 192.168.0.0/16 or fd00::/8`, [key, index]);
    return network ?? [];
  });
}

/** Two listeners of one name, on one port, or with what only one can have: the second would fail to start. */
function reportCollisions(placed: readonly Placed[], problems: ProblemList, registry: Registry): void {
  placed.forEach(({ config, path }, index) => {
    for (const { config: other, path: otherPath } of placed.slice(0, index)) {
      if (other.name === config.name)
        problems.error('DUPLICATE_NAME', `the listener name "${config.name}" is given twice: ${problems.where(otherPath)} and ${problems.where(path)}`, path);
      if (config.port !== 0 && other.port === config.port && overlap(other.host, config.host)) {
        problems.error('PORT_TAKEN', `${formatEndpoint(config)} is taken by the listener ${other.name} already (${problems.where(otherPath)})`, path);
      }
      const definition = config.type === other.type ? registry.inbounds.get(config.type)?.definition : undefined;
      const why = definition?.conflict?.(other.options, config.options) ?? null;
      if (why !== null) problems.error('LISTENER_CONFLICT', `this cannot run beside the listener ${other.name} (${problems.where(otherPath)}): ${why}`, path);
    }
  });
}

function overlap(one: string, other: string): boolean {
  const all = (host: string): boolean => host === '::' || host === '0.0.0.0';
  if (one === other || one === '::' || other === '::') return true;
  return (all(one) || all(other)) && one.includes(':') === other.includes(':');
}
