/**
 * The composition root: makes everything from a config and plugins, and holds what a reload swaps. No data passes through here.
 */
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { Adapter } from './adapter/adapter.js';
import { checkConfig } from './config/check.js';
import { ConfigError } from './config/config-error.js';
import type { KernelInput } from './config/define-config.js';
import type { Problem } from './config/problem.js';
import { type ConfigSource, configFromObject, isConfigSource } from './config/source.js';
import type { KernelConfig } from './config/types.js';
import { ConnectionLimit } from './inbound/connection-limit.js';
import { AdapterSet } from './kernel/adapter-set.js';
import { builtinTypes } from './kernel/builtin-types.js';
import { type ListenerInfo, ListenerSet } from './kernel/listener-set.js';
import { buildRoutes } from './kernel/routes.js';
import { CancelSource } from './net/cancel.js';
import { type Clock, systemClock } from './net/clock.js';
import { NekitError, NetError } from './net/errors.js';
import { type EventSource, Events } from './net/events.js';
import { OwnEndpoints } from './net/own-endpoints.js';
import type { Resolver } from './net/resolver.js';
import { SystemResolver } from './net/system-resolver.js';
import { DEFAULT_TIMEOUTS, type Timeouts } from './net/timeouts.js';
import { TimerWheel } from './net/timer-wheel.js';
import { CLOCK, EVENTS, INSTANCE_ID, OWN_ENDPOINTS, RESOLVER, TIMEOUTS, TIMERS } from './net/tokens.js';
import { PluginHost, provided } from './plugin/host.js';
import type { Plugin } from './plugin/plugin.js';
import type { Registry } from './plugin/registry.js';
import { type ExplainInput, type Explanation, explain } from './routing/explain.js';
import { handlePackets } from './routing/handle-packets.js';
import { handleStream, routeStream } from './routing/handle-stream.js';
import { Router } from './routing/router.js';
import type { Routing } from './routing/routing.js';
import { type SessionInfo, SessionTable } from './routing/session-table.js';
import { builtinRules } from './rule/builtin.js';

export interface KernelOptions {
  readonly plugins?: readonly Plugin[];
  /** Unknown keys are errors. */
  readonly strict?: boolean;
  /** Over those of the config. */
  readonly timeouts?: Partial<Timeouts>;
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
  listeners(): readonly ListenerInfo[];
  adapters(): readonly Adapter[];
  /** Sets a group's choice. Throws NekitError `UNKNOWN_ADAPTER`, `NOT_SELECTABLE` or `UNKNOWN_MEMBER`. */
  select(group: string, member: string): void;
  /** Ends one session. */
  closeSession(id: number): void;
}

/** Of this package, for plugins' ranges. */
export const CORE_VERSION: string = (JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string }).version;

/** Throws ConfigError with every problem, or PluginError. Opens nothing. */
export function createKernel(config: ConfigSource | KernelInput, options: KernelOptions = {}): Kernel {
  return new RunningKernel(config, options);
}

/** What a config becomes; swapped as a whole. */
interface Setup {
  readonly config: KernelConfig;
  readonly adapters: AdapterSet;
  readonly router: Router;
  readonly resolver: SystemResolver;
  readonly problems: readonly Problem[];
}

class RunningKernel implements Kernel {
  readonly #events = new Events();
  readonly #options: KernelOptions;
  readonly #clock: Clock;
  readonly #timers: TimerWheel;
  readonly #host: PluginHost;
  readonly #sessions: SessionTable;
  readonly #limit: ConnectionLimit;
  readonly #listeners: ListenerSet;
  readonly #routing: Routing;
  readonly #stopSignal = new CancelSource();
  #setup: Setup;
  /** Fixed by the first config; a reload that wants others is refused. */
  #timeouts: Timeouts = DEFAULT_TIMEOUTS;
  #generation = 1;
  #started = false;
  #stopping: Promise<void> | null = null;
  /** One after the other; `stop` waits for the last. */
  #reloads: Promise<void> = Promise.resolve();

  constructor(config: ConfigSource | KernelInput, options: KernelOptions) {
    const kernel = this;
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#timers = new TimerWheel(this.#clock);
    this.#sessions = new SessionTable(this.#clock, this.#events);
    const timeouts = (): Timeouts => this.#timeouts;
    const resolver: Resolver = { resolve: (name, family, signal) => this.#setup.resolver.resolve(name, family, signal) };
    this.#host = new PluginHost({
      plugins: options.plugins ?? [],
      coreVersion: CORE_VERSION,
      builtin: (context) => {
        builtinTypes(context);
        for (const rule of builtinRules) context.rule(rule);
      },
      values: [
        provided(CLOCK, () => this.#clock),
        provided(TIMERS, () => this.#timers),
        provided(EVENTS, () => this.#events),
        provided(TIMEOUTS, timeouts),
        provided(RESOLVER, () => resolver),
        provided(OWN_ENDPOINTS, () => new OwnEndpoints(this.#clock)),
        provided(INSTANCE_ID, () => randomBytes(8).toString('hex')),
      ],
      timers: this.#timers,
      timeouts: {
        get plugin() {
          return timeouts().plugin;
        },
      },
      events: this.#events,
    });
    this.#setup = this.#prepare(config, (first) => {
      this.#timeouts = first.timeouts;
    });
    this.#routing = {
      get router() {
        return kernel.#setup.router;
      },
      get generation() {
        return kernel.#generation;
      },
      get timeouts() {
        return timeouts();
      },
      sessions: this.#sessions,
      events: this.#events,
      timers: this.#timers,
    };
    this.#limit = new ConnectionLimit(this.#setup.config.maxConnections);
    this.#listeners = new ListenerSet(this.#host.registry, this.#limit, (name, type) => ({
      name,
      type,
      handleStream: (request) => handleStream(request, this.#routing),
      handlePackets: (request) => handlePackets(request, this.#routing),
      route: (session) => routeStream(session, this.#routing),
      nextId: () => this.#sessions.nextId(),
      get: (wanted) => this.#host.get(wanted),
    }));
  }

  get registry(): Registry {
    return this.#host.registry;
  }

  get warnings(): readonly Problem[] {
    return this.#setup.problems;
  }

  on: Kernel['on'] = (name, handler) => this.#events.on(name, handler);

  async start(): Promise<void> {
    if (this.#started) throw new NekitError('ALREADY_STARTED', 'a kernel is started once; make a new one');
    this.#started = true;
    await this.#host.start();
    try {
      await this.#listeners.apply(this.#setup.config, this.#stopSignal);
    } catch (error) {
      await this.stop();
      throw error;
    }
    this.#events.emit('kernel.started', {});
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  reload(source: ConfigSource | KernelInput): Promise<readonly Problem[]> {
    const reloading = this.#reloads.then(() => this.#reload(source));
    this.#reloads = reloading.then(
      () => undefined,
      () => undefined, // its caller is told
    );
    return reloading;
  }

  async #reload(source: ConfigSource | KernelInput): Promise<readonly Problem[]> {
    if (this.#stopping !== null) throw new NekitError('STOPPED', 'the kernel has stopped; make a new one');
    const before = this.#setup;
    const setup = this.#prepare(source);
    const fixed = Object.entries(FIXED).filter(([, read]) => JSON.stringify(read(before.config)) !== JSON.stringify(read(setup.config)));
    if (fixed.length > 0) throw new NekitError('RESTART_NEEDED', `restart needed: ${fixed.map(([key]) => key).join(', ')} cannot change while the kernel runs`);
    if (this.#started) await this.#listeners.apply(setup.config, this.#stopSignal);
    setup.adapters.keepChoices(before.adapters);
    this.#setup = setup;
    this.#generation++;
    before.adapters.close();
    this.#events.emit('kernel.reloaded', {});
    return setup.problems;
  }

  explain(input: ExplainInput): Promise<Explanation> {
    return explain(input, this.#setup.router);
  }

  sessions(): readonly SessionInfo[] {
    return this.#sessions.list();
  }

  listeners(): readonly ListenerInfo[] {
    return this.#listeners.list();
  }

  adapters(): readonly Adapter[] {
    return this.#setup.adapters.all();
  }

  select(group: string, member: string): void {
    const adapter = this.#setup.adapters.get(group);
    if (adapter === undefined) throw new NekitError('UNKNOWN_ADAPTER', `there is no group "${group}"`);
    if (adapter.select === undefined) throw new NekitError('NOT_SELECTABLE', `"${group}" is not a group of type select`);
    adapter.select(member);
  }

  closeSession(id: number): void {
    this.#sessions.abort(new NetError('aborted', 'closed by the user', { code: 'CLOSED' }), id);
  }

  #prepare(input: ConfigSource | KernelInput, checked: (config: KernelConfig) => void = () => {}): Setup {
    const source = isConfigSource(input) ? input : configFromObject(input);
    const { config: parsed, problems } = checkConfig(source, this.#host.registry, { strict: this.#options.strict ?? false });
    if (parsed === null) throw new ConfigError(problems);
    const config = { ...parsed, timeouts: { ...parsed.timeouts, ...this.#options.timeouts } };
    checked(config);
    const resolver = new SystemResolver({
      hosts: config.hosts,
      ipv6: config.ipv6,
      clock: this.#clock,
      timers: this.#timers,
      timeoutMs: config.timeouts.resolve,
    });
    const adapters = new AdapterSet(config, this.#host.registry, (wanted) => this.#host.get(wanted));
    const router = new Router({
      routes: buildRoutes(config.rules, this.#host.registry),
      adapters: (tag) => adapters.get(tag),
      mode: config.mode,
      hosts: config.hosts,
      resolver,
      timers: this.#timers,
      timeouts: config.timeouts,
      events: this.#events,
    });
    return { config, adapters, router, resolver, problems };
  }

  async #stop(): Promise<void> {
    this.#started = true;
    await this.#reloads;
    await this.#listeners.stop();
    if (this.#sessions.size > 0) await this.#atMost(this.#sessions.empty(), this.#setup.config.timeouts.drain);
    const reason = new NetError('aborted', 'the kernel stops', { code: 'STOPPED' });
    this.#sessions.abort(reason);
    this.#stopSignal.cancel(reason);
    await this.#atMost(this.#limit.empty(), CLOSE_MS); // sockets tell that they are closed a turn later
    await this.#host.stop();
    this.#setup.adapters.close();
    this.#events.emit('kernel.stopped', {});
  }

  #atMost(promise: Promise<void>, ms: number): Promise<void> {
    return new Promise((resolve) => {
      const deadline = this.#timers.after(ms, resolve);
      void promise.then(() => {
        deadline.cancel();
        resolve();
      });
    });
  }
}

/** How long closed connections may take to say so, in ms. */
const CLOSE_MS = 1_000;

/** What is made once from the config and not again, by its key. */
const FIXED: Readonly<Record<string, (config: KernelConfig) => unknown>> = {
  plugins: (config) => config.plugins,
  'max-connections': (config) => config.maxConnections,
  timeouts: (config) => config.timeouts,
};
