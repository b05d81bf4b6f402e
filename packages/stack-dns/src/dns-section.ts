/** The section `dns:` of one config: its servers, its cache, and what it answers. */
import { randomBytes } from 'node:crypto';
import {
  addressFamily,
  type Cancel,
  CLOCK,
  closest,
  type Hosts,
  never,
  type Section,
  type SectionContext,
  type SectionDefinition,
  type SectionSurroundings,
  sessionTo,
  TIMEOUTS,
  TIMERS,
  whyNoName,
} from '@nekit/core';
import { type DnsConfig, DnsSchema } from './config.js';
import { fakeFilter } from './fake-ip/fake-filter.js';
import { KERNEL_DNS } from './kernel-dns.js';
import { DnsServer } from './server/dns-server.js';
import { Hooks } from './server/hooks.js';
import { RateLimit } from './server/rate-limit.js';
import { SystemHosts } from './server/system-hosts.js';
import { DnsClient } from './upstream/dns-client.js';
import { DnsResolver } from './upstream/dns-resolver.js';
import type { ServerSpec } from './upstream/server-spec.js';
import { SystemServers } from './upstream/system-servers.js';
import { type Purpose, Upstreams } from './upstream/upstreams.js';

/** Of the cache, in bytes, for each answer that it may have. */
const BYTES_EACH = 4_096;
/** Questions under way at a time. */
const MAX_PENDING = 4_096;
/** What is kept for who dials, where it has servers of its own. */
const DIAL_ENTRIES = 1_024;

const NO_HOSTS: Hosts = new Map();

export const dnsSection: SectionDefinition<DnsConfig> = {
  key: 'dns',
  config: new DnsSchema(),
  enabled: ({ keys }) => keys.enable,
  listeners: ({ listen, keys }) =>
    listen === null ? [] : [{ name: 'dns', type: 'dns', listen: listen.host, port: listen.port, 'rate-limit': keys['rate-limit'] }],
  check,
  create,
};

function create(config: DnsConfig, context: SectionContext): Section {
  const { keys } = config;
  const clock = context.get(CLOCK);
  const shared = context.get(KERNEL_DNS);
  const ipv6 = context.ipv6 && keys.ipv6;
  const systemHosts = new SystemHosts(keys['use-hosts'] ? context.hosts : NO_HOSTS, clock, keys['use-system-hosts'] ? undefined : null);
  const hosts = (): Hosts => systemHosts.current();
  const upstreams = new Upstreams(config, {
    clock,
    timers: context.get(TIMERS),
    timeoutMs: context.get(TIMEOUTS).resolve,
    life: shared.life,
    hosts,
    ipv6: context.ipv6,
    system: new SystemServers(clock),
    proxyNames: context.servers,
    adapter: (tag) => context.adapter(tag),
    random: (length) => randomBytes(length),
    rule: (kind, payload) => context.rule(kind, payload),
    nameServer: (scheme, address, adapter) => context.nameServer(scheme, address, adapter),
    wayOf: keys['respect-rules'] ? (session, resolver) => context.wayOf(session, resolver) : null,
  });
  const clientFor = (purpose: Purpose, maxEntries: number): DnsClient =>
    new DnsClient({
      clock,
      ask: (question) => upstreams.ask(question, purpose, shared.life),
      maxEntries,
      maxBytes: maxEntries * BYTES_EACH,
      maxPending: MAX_PENDING,
    });
  const client = clientFor('look-up', keys['cache-max-size']);
  const resolverOver = (over: DnsClient): DnsResolver => new DnsResolver({ client: over, clock, hosts, ipv6, ipv6Wait: keys['ipv6-timeout'] });
  const resolver = resolverOver(client);
  const wantsFakes = keys['enhanced-mode'] === 'fake-ip';
  const filter = fakeFilter(keys['fake-ip-filter-mode'], keys['fake-ip-filter'], (kind, payload) => context.rule(kind, payload));
  const hooks = new Hooks(context.nameHooks(), (message) => context.warn('NAME_HOOK', message));
  /** Nobody knows the port yet: the most usual one is taken. */
  const isDirect = (name: string): boolean | Promise<boolean> => {
    const way = context.wayOf(sessionTo(name));
    return way instanceof Promise ? way.then(({ leaf }) => leaf.type === 'direct') : way.leaf.type === 'direct';
  };
  let leave = (): void => {};
  /** Fires when the kernel stops. */
  let stopping: Cancel = never;
  return {
    resolver,
    dialResolver: upstreams.hasDirect ? resolverOver(clientFor('dial', DIAL_ENTRIES)) : resolver,
    async load(signal) {
      stopping = signal;
      const warn = (message: string): void => context.warn('DNS_FAKE_IP_STORE', message);
      const fakes = wantsFakes ? shared.poolFor(config, { folder: context.folder, cacheFolder: context.cacheFolder, warn }) : null;
      await shared.opened();
      const server = new DnsServer({
        client,
        hosts,
        ipv6,
        fakes,
        isReal: filter,
        isDirect: keys['direct-real-ip'] ? isDirect : null,
        hooks,
        learn: (name, addresses) => shared.learn(name, addresses),
        fakeTtl: keys['fake-ip-ttl'],
      });
      leave = shared.enter(server, fakes, new RateLimit(keys['rate-limit']));
    },
    async close() {
      leave();
      upstreams.close();
      if (shared.isNeeded) return;
      // After a reload questions go on to their time limits. When the kernel stops nobody waits for them, and they would keep sockets, and with them the process. The kernel's
      // own end would end them too, but by then the adapters are closed, and a question that lost its connection with them has dialled by them again.
      if (stopping.reason !== null) shared.life.cancel(stopping.reason);
      await shared.close();
    },
  };
}

const LISTS = ['nameserver', 'fallback', 'default-nameserver', 'proxy-server-nameserver', 'direct-nameserver'] as const;

/** Names that something is done for, with their places. */
function* namesIn({ keys, policy, proxyPolicy }: DnsConfig): Generator<[name: string, path: readonly (string | number)[]]> {
  const filter = keys['fake-ip-filter-mode'] === 'rule' ? [] : keys['fake-ip-filter'];
  for (const [index, name] of filter.entries()) yield [name, ['fake-ip-filter', index]];
  for (const [index, name] of keys['fallback-filter']?.domain.entries() ?? []) yield [name, ['fallback-filter', 'domain', index]];
  for (const [key, policies] of [
    ['nameserver-policy', policy],
    ['proxy-server-nameserver-policy', proxyPolicy],
  ] as const)
    for (const [index, written] of Object.keys(keys[key]).entries()) for (const name of policies[index]?.names ?? []) yield [name, [key, written]];
}

/** Adapters that are not there, servers that could only be found by asking themselves, and what has no effect. */
function check(config: DnsConfig, around: SectionSurroundings): void {
  const { keys, listen } = config;
  const lists = {
    nameserver: config.servers,
    fallback: config.fallback,
    'default-nameserver': config.defaultServers,
    'proxy-server-nameserver': config.proxyServers ?? [],
    'direct-nameserver': config.directServers ?? [],
  };
  const checkServer = (spec: ServerSpec, path: readonly (string | number)[]): void => {
    const { adapter, endpoint, text, ignored } = spec;
    for (const setting of ignored) around.warning(`"${setting}" of ${text} is not supported and has no effect`, path);
    if (adapter !== null && !around.adapters.has(adapter)) {
      const guess = closest(adapter, around.adapters);
      around.error(`"${text}": there is no proxy or group "${adapter}".${guess === null ? '' : ` Did you mean "${guess}"?`}`, path);
    }
    if (spec.transport === 'other' && !around.resolvers.has(spec.scheme)) {
      const known = ['udp', 'tcp', 'tls', 'https', 'rcode', ...around.resolvers].map((scheme) => `${scheme}://`);
      around.error(`"${text}" has the unknown scheme ${spec.scheme}://: there are ${known.join(', ')} and system`, path);
    }
    const isOwn = listen !== null && endpoint !== null && endpoint.port === listen.port && isThisHost(endpoint.host, listen.host);
    if (isOwn && adapter === null) around.error(`"${text}" is our own name server (listen: ${keys.listen}), which would ask itself`, path);
  };
  // Some find the proxies' servers, or the servers that do.
  const checkLoop = ({ adapter, text }: ServerSpec, path: readonly (string | number)[]): void => {
    const [name] = adapter === null ? [] : around.serversOf(adapter);
    if (name !== undefined) around.error(`"${text}" goes through "${adapter}", whose server ${name} would have to be looked up by it: a loop`, path);
  };
  for (const key of LISTS) {
    const given = keys[key];
    if (given === undefined) continue;
    lists[key].forEach((spec, index) => {
      const path = typeof given === 'string' ? [key] : [key, index];
      checkServer(spec, path);
      if (key === 'default-nameserver' || key === 'proxy-server-nameserver') checkLoop(spec, path);
    });
  }
  for (const [key, policies] of [
    ['nameserver-policy', config.policy],
    ['proxy-server-nameserver-policy', config.proxyPolicy],
  ] as const)
    Object.keys(keys[key]).forEach((names, index) => {
      for (const spec of policies[index]?.servers ?? []) {
        checkServer(spec, [key, names]);
        if (key === 'proxy-server-nameserver-policy') checkLoop(spec, [key, names]);
      }
    });
  if (keys['respect-rules'] && config.proxyServers === null)
    around.error('"respect-rules" needs "proxy-server-nameserver": servers for the names of proxies\' servers, which are not reached by rules', [
      'respect-rules',
    ]);
  for (const [name, path] of namesIn(config)) {
    const why = whyNoName(name);
    if (why !== null) around.warning(why, path);
  }
  if (keys['prefer-h3']) around.warning('"prefer-h3" is not supported: servers are asked by HTTP/2', ['prefer-h3']);
}

function isThisHost(host: string, listen: string): boolean {
  return host === listen || (addressFamily(host) !== 0 && (host.startsWith('127.') || host === '::1') && (listen === '0.0.0.0' || listen === '::'));
}
