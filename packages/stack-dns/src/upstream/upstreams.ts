/** All servers of a config, and who is asked for what. */
import {
  type Adapter,
  type Cancel,
  CancelSource,
  type Clock,
  type Hosts,
  holdsForAddress,
  type MakeRule,
  type NameServer,
  type NameTest,
  NetError,
  nameTest,
  type Resolver,
  type Rule,
  type Stream,
  type TimerWheel,
  TlsLayer,
} from '@nekit/core';
import type { DnsConfig, Policy } from '../config.js';
import { addressTest, LOCAL_NETWORKS } from '../networks.js';
import { type Answer, addressesOf } from '../wire/answer.js';
import { TYPE } from '../wire/message.js';
import { type Question, queryMessage } from '../wire/question.js';
import { DnsClient } from './dns-client.js';
import { DnsResolver } from './dns-resolver.js';
import { HttpsUpstream } from './https-upstream.js';
import { OtherUpstream } from './other-upstream.js';
import { isGood, LATE, LOST, PATIENCE, ServerList } from './server-list.js';
import type { ServerSpec } from './server-spec.js';
import type { SystemServers } from './system-servers.js';
import { SystemUpstream } from './system-upstream.js';
import { TcpUpstream } from './tcp-upstream.js';
import { UdpUpstream } from './udp-upstream.js';
import { fixedAnswer, Route, type Upstream, type UpstreamContext, type WayOf } from './upstream.js';

export interface UpstreamsOptions {
  readonly clock: Clock;
  readonly timers: TimerWheel;
  /** For one question, in ms. */
  readonly timeoutMs: number;
  /** Of questions for the servers' own names, which many may wait for: they end with it at the latest. */
  readonly life: Cancel;
  readonly hosts: () => Hosts;
  readonly ipv6: boolean;
  readonly system: SystemServers;
  /** Names of the servers that proxies connect to. */
  readonly proxyNames: ReadonlySet<string>;
  adapter(tag: string): Adapter;
  random(length: number): Uint8Array;
  readonly rule: MakeRule;
  /** A server of a kind that a plugin has brought. Throws a plain Error. */
  nameServer(scheme: string, address: string, adapter: string | null): NameServer;
  /** null: servers without an adapter are reached directly, whatever the rules say. */
  readonly wayOf: WayOf | null;
}

interface Ruled {
  readonly test: NameTest;
  readonly servers: ServerList;
}

/** Who asks: a client or a rule; who dials what it finds; or who dials a proxy. */
export type Purpose = 'look-up' | 'dial' | 'proxy';

/** Names that are kept for the servers themselves. */
const BOOTSTRAP_ENTRIES = 256;
const BOOTSTRAP_BYTES = 1 << 20;

/** `nameserver`, when all of it has failed, may be later than `fallback` by so much, in ms. */
const IMPATIENCE = 50;

export class Upstreams {
  readonly #options: UpstreamsOptions;
  readonly #context: UpstreamContext;
  readonly #lists: ServerList[] = [];
  readonly #main: ServerList;
  readonly #fallback: ServerList | null;
  readonly #fallbackOnly: NameTest;
  readonly #isUntrusted: (address: string) => boolean | Promise<boolean>;
  readonly #policy: readonly Ruled[];
  readonly #proxy: ServerList;
  readonly #proxyPolicy: readonly Ruled[];
  readonly #direct: ServerList | null;
  readonly #directFollowsPolicy: boolean;

  /** Throws a plain Error for a name or a rule that is wrong. Opens nothing. */
  constructor(config: DnsConfig, options: UpstreamsOptions) {
    const { clock, timers, rule } = options;
    this.#options = options;
    const adapter = (tag: string | null): Adapter => options.adapter(tag ?? 'DIRECT');
    const random = (length: number): Uint8Array => options.random(length);
    const plain: UpstreamContext = { clock, timers, random, adapter, wayOf: null, bootstrap: (host) => Promise.reject(noBootstrap(host)) };
    const bootstrap = this.#bootstrap(this.#list(config.defaultServers, plain));
    // Servers for what is dialled, and for proxies, are what the rules' ways are found with.
    const direct: UpstreamContext = { ...plain, bootstrap: (host, signal) => bootstrap.resolve(host, 0, signal) };
    this.#context = { ...direct, wayOf: options.wayOf };
    this.#main = this.#list(config.servers);
    this.#fallback = config.fallback.length === 0 ? null : this.#list(config.fallback);
    const filter = config.keys['fallback-filter'];
    this.#fallbackOnly = nameTest([...(filter?.domain ?? []), ...(filter?.geosite ?? []).map((site) => `geosite:${site}`)], rule);
    this.#isUntrusted = untrusted(config, rule);
    this.#policy = this.#ruled(config.policy);
    // What leads through a proxy cannot be asked for the proxy's own server.
    const reachable = config.servers.filter((spec) => spec.adapter === null);
    this.#proxy = this.#list(config.proxyServers ?? (reachable.length > 0 ? reachable : config.defaultServers), direct);
    this.#proxyPolicy = this.#ruled(config.proxyPolicy, direct);
    this.#direct = config.directServers === null ? null : this.#list(config.directServers, direct);
    this.#directFollowsPolicy = config.keys['direct-nameserver-follow-policy'];
  }

  /** Rejects with a NetError. */
  ask(question: Question, purpose: Purpose, signal: Cancel): Promise<Answer> {
    const { name } = question;
    if (purpose === 'proxy' || this.#options.proxyNames.has(name)) return (chosen(this.#proxyPolicy, name) ?? this.#proxy).ask(question, signal);
    const ruled = purpose === 'look-up' || this.#direct === null || this.#directFollowsPolicy ? chosen(this.#policy, name) : null;
    if (ruled !== null) return ruled.ask(question, signal);
    if (purpose === 'dial' && this.#direct !== null) return this.#direct.ask(question, signal);
    if (this.#fallback === null || (question.type !== TYPE.A && question.type !== TYPE.AAAA)) return this.#main.ask(question, signal);
    return this.#fallbackOnly(name) ? this.#fallback.ask(question, signal) : this.#trusted(question, this.#fallback, signal);
  }

  /** Whether dialling needs servers of its own. */
  get hasDirect(): boolean {
    return this.#direct !== null;
  }

  close(): void {
    for (const list of this.#lists) list.close();
  }

  /** Both are asked at once: the second answer is there when the first turns out not to be trusted. */
  async #trusted(question: Question, fallback: ServerList, signal: Cancel): Promise<Answer> {
    const second = fallback.ask(question, signal);
    second.catch(() => undefined); // looked at only if it is needed
    const first = await this.#first(question, second, signal);
    if (first !== null) {
      const addresses = addressesOf(first);
      const judged = await Promise.all(addresses.map(async (address) => this.#isUntrusted(address)));
      if (addresses.length > 0 && !judged.includes(true)) return first;
      if (addresses.length === 0) return second.catch(() => first);
    }
    return second;
  }

  /** What `nameserver` says; null: nothing, or nothing yet a while after `fallback` has an answer. */
  #first(question: Question, second: Promise<Answer>, signal: Cancel): Promise<Answer | null> {
    const main = this.#main;
    const { clock } = this.#options;
    const asking = new CancelSource(signal);
    return new Promise((resolve) => {
      let settled = false;
      let stopTimer = (): void => {};
      const settle = (answer: Answer | null): void => {
        settled = true;
        stopTimer();
        asking.release();
        resolve(answer);
      };
      // One failure for all questions that are under way: they would add up to a long penalty.
      const giveUp = (): void => asking.cancel(main.isFailing ? LOST : LATE);
      main.ask(question, asking).then(settle, () => settle(null));
      second.then(
        (answer) => {
          if (!settled && isGood(answer)) stopTimer = clock.after(main.isFailing ? IMPATIENCE : PATIENCE, giveUp);
        },
        () => undefined, // main is all there is
      );
    });
  }

  #bootstrap(list: ServerList): Resolver {
    const { clock, hosts, ipv6, life } = this.#options;
    const client = new DnsClient({
      clock,
      ask: (question) => list.ask(question, life),
      maxEntries: BOOTSTRAP_ENTRIES,
      maxBytes: BOOTSTRAP_BYTES,
      maxPending: BOOTSTRAP_ENTRIES,
    });
    return new DnsResolver({ client, clock, hosts, ipv6, ipv6Wait: 100 });
  }

  #ruled(policies: readonly Policy[], context: UpstreamContext = this.#context): Ruled[] {
    return policies.map(({ names, servers }) => ({ test: nameTest(names, this.#options.rule), servers: this.#list(servers, context) }));
  }

  #list(specs: readonly ServerSpec[], context: UpstreamContext = this.#context): ServerList {
    const { clock, timeoutMs } = this.#options;
    const list = new ServerList(
      specs.map((spec) => this.#upstream(spec, context)),
      { clock, timeoutMs },
    );
    this.#lists.push(list);
    return list;
  }

  #upstream(spec: ServerSpec, context: UpstreamContext): Upstream {
    const made = this.#made(spec, context);
    const { without4, without6 } = spec;
    if (!without4 && !without6) return made;
    // A name without addresses of a family is as good as a server without them.
    const none = fixedAnswer(spec.text, 0, bareMessage);
    const isOff = ({ type }: Question): boolean => (without4 && type === TYPE.A) || (without6 && type === TYPE.AAAA);
    return { name: spec.text, ask: (question, signal) => (isOff(question) ? none : made).ask(question, signal), close: () => made.close() };
  }

  #made(spec: ServerSpec, context: UpstreamContext): Upstream {
    const { text, transport, endpoint, rcode, url } = spec;
    if (transport === 'rcode') return fixedAnswer(text, rcode, bareMessage);
    if (transport === 'other') return new OtherUpstream(text, this.#options.nameServer(spec.scheme, spec.address, spec.adapter), this.#options);
    if (transport === 'system' || endpoint === null) return new SystemUpstream(spec, this.#options.system, context, this.#options);
    const route = new Route(endpoint, spec.adapter, context);
    const dial = (signal: Cancel): Promise<Stream> => route.dialStream(signal);
    if (transport === 'udp') return new UdpUpstream(text, route, new TcpUpstream(text, dial, context), context);
    if (transport === 'tcp') return new TcpUpstream(text, dial, context);
    const { skipVerify, sni, ca, fingerprint } = spec;
    const settings = {
      server: endpoint.host,
      tls: true,
      'skip-cert-verify': skipVerify,
      ...(sni === null ? {} : { sni }),
      ...(ca === null ? {} : { ca }),
      ...(fingerprint === null ? {} : { fingerprint }),
    };
    const layer = new TlsLayer(settings, `the name server ${endpoint.host}`, transport === 'https' ? ['h2'] : ['dot']);
    const secure = async (signal: Cancel): Promise<Stream> => {
      const stream = await dial(signal);
      const forget = signal.onCancel((reason) => stream.abort(reason));
      return layer.secure(stream).finally(forget);
    };
    return url === null ? new TcpUpstream(text, secure, context) : new HttpsUpstream(text, url, secure, context);
  }
}

function chosen(policy: readonly Ruled[], name: string): ServerList | null {
  return policy.find(({ test }) => test(name))?.servers ?? null;
}

/** Which addresses an answer of `nameserver` must not have, as `fallback-filter` says. */
function untrusted({ keys, fallback }: DnsConfig, makeRule: MakeRule): (address: string) => boolean | Promise<boolean> {
  if (fallback.length === 0) return () => false;
  const filter = keys['fallback-filter'];
  const inNetworks = addressTest(filter?.ipcidr ?? []);
  const country: Rule | null = filter?.geoip === false ? null : makeRule('GEOIP', filter?.['geoip-code'] ?? 'CN');
  if (country === null) return inNetworks;
  const isLocal = addressTest(LOCAL_NETWORKS);
  return async (address) => inNetworks(address) || !(isLocal(address) || (await holdsForAddress(country, address)));
}

function bareMessage(question: Question): Uint8Array {
  return queryMessage(question, { id: 0, spelling: null, edns: false });
}

function noBootstrap(host: string): NetError {
  return new NetError('name', `${host} cannot be looked up: default-nameserver has addresses only`, { code: 'DNS_BOOTSTRAP' });
}
