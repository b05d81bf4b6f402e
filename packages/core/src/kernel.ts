/**
 * The composition root: makes everything from a config and plugins, and holds what a reload swaps. No data passes through here.
 */
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { Adapter } from './adapter/adapter.js';
import type { KernelInput } from './config/define-config.js';
import type { Problem } from './config/problem.js';
import type { ConfigSource } from './config/source.js';
import type { KernelConfig } from './config/types.js';
import { ConnectionLimit } from './inbound/connection-limit.js';
import { AUTO_ROUTE, setRoutesBy } from './inbound/tun/auto-route/auto-route.js';
import { FAKE_IPS } from './ip/fake-ip.js';
import type { Kernel, KernelOptions } from './kernel/api.js';
import { builtinTypes } from './kernel/builtin-types.js';
import { Farewell } from './kernel/farewell.js';
import { type ListenerInfo, ListenerSet } from './kernel/listener-set.js';
import { detectsInterface, ownMark } from './kernel/own-marks.js';
import { type CheckOptions, checkInput, Setup, type Surroundings } from './kernel/setup.js';
import { tunType } from './kernel/tun-type.js';
import { CIPHERS } from './native/cipher.js';
import { type DefaultInterface, outgoingBy } from './native/default-interface.js';
import { findAddon } from './native/load.js';
import { openCiphers } from './native/open-ciphers.js';
import { openSockets } from './native/open-sockets.js';
import { OPEN_TUN, openTunBy } from './native/open-tun.js';
import { CancelSource } from './net/cancel.js';
import { type Clock, systemClock } from './net/clock.js';
import { NekitError, NetError } from './net/errors.js';
import { Events } from './net/events.js';
import { Exemptions } from './net/exemptions.js';
import { MarkedSockets } from './net/marked-sockets.js';
import { OwnEndpoints } from './net/own-endpoints.js';
import type { Resolver } from './net/resolver.js';
import { DEFAULT_TIMEOUTS, type Timeouts } from './net/timeouts.js';
import { TimerWheel } from './net/timer-wheel.js';
import { CLOCK, EVENTS, EXEMPTIONS, INSTANCE_ID, OUTGOING, OWN_ENDPOINTS, RESOLVER, SOCKETS, TIMEOUTS, TIMERS } from './net/tokens.js';
import { PluginHost, provided } from './plugin/host.js';
import type { Registry } from './plugin/registry.js';
import type { ProcessFinder } from './process/process-finder.js';
import { systemProcessFinder } from './process/system-finder.js';
import type { ProviderInfo } from './provider/rule-provider.js';
import { enter } from './routing/enter.js';
import { type ExplainInput, type Explanation, explain } from './routing/explain.js';
import { handlePackets } from './routing/handle-packets.js';
import { handleStream, routeStream } from './routing/handle-stream.js';
import type { RuleInfo } from './routing/router.js';
import type { Routing } from './routing/routing.js';
import { type SessionInfo, SessionTable } from './routing/session-table.js';
import { builtinRules } from './rule/builtin.js';

/** Of this package, for plugins' ranges. */
export const CORE_VERSION: string = (JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string }).version;

/** Throws ConfigError with every problem, or PluginError. Opens nothing. */
export function createKernel(config: ConfigSource | KernelInput, options: KernelOptions = {}): Kernel {
  return new RunningKernel(config, options);
}

class RunningKernel implements Kernel {
  readonly #events = new Events();
  readonly #options: KernelOptions;
  readonly #clock: Clock;
  readonly #timers: TimerWheel;
  readonly #sockets: MarkedSockets;
  readonly #outgoing: DefaultInterface;
  readonly #host: PluginHost;
  readonly #processes: ProcessFinder;
  readonly #farewell: Farewell;
  readonly #sessions: SessionTable;
  readonly #limit: ConnectionLimit;
  readonly #listeners: ListenerSet;
  readonly #routing: Routing;
  readonly #stopSignal = new CancelSource();
  /** Fires as soon as it is to stop: who waits for a list need not wait any more. */
  readonly #loadSignal = new CancelSource();
  #setup: Setup;
  /** Fixed by the first config; a reload that wants others is refused. */
  #timeouts: Timeouts = DEFAULT_TIMEOUTS;
  #generation = 1;
  #started = false;
  /** Its listeners are open, or being opened: a reload has to see to them. */
  #opened = false;
  #stopping: Promise<void> | null = null;
  /** `stop` waits for reloads no more: what one brings now would never be closed. */
  #tooLate = false;
  /** One after the other; `stop` waits for the last. */
  #reloads: Promise<void> = Promise.resolve();

  constructor(config: ConfigSource | KernelInput, options: KernelOptions) {
    const kernel = this;
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#timers = new TimerWheel(this.#clock);
    const addon = options.native === false ? null : findAddon().addon;
    this.#sockets = new MarkedSockets(openSockets(addon));
    this.#processes = systemProcessFinder(this.#timers);
    this.#sessions = new SessionTable(this.#clock, this.#events);
    const exemptions = new Exemptions();
    this.#outgoing = outgoingBy(addon, this.#clock);
    const timeouts = (): Timeouts => this.#timeouts;
    const limits = {
      timers: this.#timers,
      timeouts: {
        get plugin() {
          return timeouts().plugin;
        },
      },
      events: this.#events,
    };
    this.#farewell = new Farewell(limits);
    const resolver: Resolver = { resolve: (name, family, signal) => this.#setup.resolver.resolve(name, family, signal) };
    this.#host = new PluginHost({
      plugins: options.plugins ?? [],
      coreVersion: CORE_VERSION,
      builtin: (context) => {
        builtinTypes(context);
        for (const rule of builtinRules) context.rule(rule);
        context.inbound(tunType(() => kernel.#host.registry, options.openTun === undefined));
      },
      values: [
        provided(CLOCK, () => this.#clock),
        provided(TIMERS, () => this.#timers),
        provided(EVENTS, () => this.#events),
        provided(TIMEOUTS, timeouts),
        provided(RESOLVER, () => resolver),
        provided(SOCKETS, () => this.#sockets),
        provided(OPEN_TUN, () => options.openTun ?? openTunBy(addon)),
        provided(AUTO_ROUTE, () => (options.openTun === undefined ? setRoutesBy(addon, exemptions, this.#clock) : null)),
        provided(EXEMPTIONS, () => exemptions),
        provided(OUTGOING, () => this.#outgoing),
        provided(CIPHERS, () => openCiphers(addon)),
        provided(OWN_ENDPOINTS, () => new OwnEndpoints(this.#clock)),
        provided(INSTANCE_ID, () => randomBytes(8).toString('hex')),
      ],
      ...limits,
    });
    const checked = checkInput(config, this.#host.registry, this.#checks());
    this.#timeouts = checked.config.timeouts;
    this.#setup = new Setup(checked, this.#parts());
    this.#leaveAs(this.#setup.config);
    this.#routing = {
      get router() {
        return kernel.#setup.router;
      },
      get generation() {
        return kernel.#generation;
      },
      get sniffer() {
        return kernel.#setup.sniffer;
      },
      get timeouts() {
        return timeouts();
      },
      sessions: this.#sessions,
      fakes: this.#host.find(FAKE_IPS),
      events: this.#events,
      timers: this.#timers,
    };
    this.#limit = new ConnectionLimit(this.#setup.config.maxConnections);
    this.#listeners = new ListenerSet(this.#host.registry, this.#limit, this.#farewell, (name, type) => ({
      name,
      type,
      handleStream: (request) => handleStream(request, this.#routing),
      handlePackets: (request) => handlePackets(request, this.#routing),
      enter: (session) => enter(session, this.#routing),
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
    try {
      await this.#host.start();
      const opening = this.#reloads.then(() => this.#open());
      this.#reloads = opening.catch(() => undefined); // `stop` waits for it; the error is ours to throw
      await opening;
    } catch (error) {
      await this.stop();
      throw error;
    }
    this.#setup.start();
    this.#events.emit('kernel.started', {});
  }

  async #open(): Promise<void> {
    await this.#load(this.#setup, 'the kernel was stopped while it started');
    this.#opened = true;
    const leave = (): void => this.#leaveAs(this.#setup.config);
    await this.#listeners.apply(this.#setup.config, this.#stopSignal, { forward: leave, back: leave });
  }

  async #load(setup: Setup, stopped: string): Promise<void> {
    await setup.load(this.#loadSignal).catch((error: unknown) => {
      if (this.#stopping === null) throw error;
    });
    if (this.#stopping !== null) throw new NekitError('STOPPED', stopped);
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
    const checked = checkInput(source, this.#host.registry, this.#checks());
    const fixed = Object.entries(FIXED).filter(([, read]) => JSON.stringify(read(before.config)) !== JSON.stringify(read(checked.config)));
    if (fixed.length > 0) throw new NekitError('RESTART_NEEDED', `restart needed: ${fixed.map(([key]) => key).join(', ')} cannot change while the kernel runs`);
    const setup = new Setup(checked, this.#parts());
    try {
      if (this.#opened) await this.#replace(before, setup);
      setup.adapters.keepChoices(before.adapters);
      if (this.#tooLate) throw new NekitError('STOPPED', 'the kernel has stopped meanwhile');
    } catch (error) {
      setup.close();
      throw error;
    }
    this.#setup = setup;
    this.#leaveAs(setup.config);
    this.#generation++;
    before.close();
    setup.adapters.forgetHealth(before.adapters);
    if (this.#opened) setup.start();
    this.#events.emit('kernel.reloaded', {});
    return setup.problems;
  }

  async explain(input: ExplainInput): Promise<Explanation> {
    const setup = this.#setup;
    await setup.load(this.#loadSignal);
    const { host, port } = input.destination;
    const name = this.#routing.fakes?.domainOf(host) ?? null;
    return explain(name === null ? input : { ...input, destination: { host: name, port } }, setup.router, setup.sniffer);
  }

  sessions(): readonly SessionInfo[] {
    return this.#sessions.list();
  }

  get sessionCount(): number {
    return this.#sessions.size;
  }

  get connections(): number {
    return this.#limit.open;
  }

  listeners(): readonly ListenerInfo[] {
    return this.#listeners.list();
  }

  adapters(): readonly Adapter[] {
    return this.#setup.adapters.all();
  }

  rules(): readonly RuleInfo[] {
    return this.#setup.router.rules();
  }

  ruleProviders(): readonly ProviderInfo[] {
    return this.#setup.providers.info();
  }

  refreshRuleProvider(name: string): Promise<void> {
    return this.#setup.providers.refresh(name);
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

  async #replace(before: Setup, setup: Setup): Promise<void> {
    setup.follow(before);
    await this.#load(setup, 'the kernel stops; it takes no other config');
    setup.adapters.keepChoices(before.adapters); // what throws here must not throw when the listeners are new already
    await this.#listeners.apply(setup.config, this.#stopSignal, {
      forward: () => this.#leaveAs(setup.config),
      back: () => this.#leaveAs(before.config),
    });
  }

  /** How our own sockets stay out of a TUN with auto-route. */
  #leaveAs(config: KernelConfig): void {
    this.#sockets.mark = ownMark(config);
    this.#outgoing.enabled = detectsInterface(config);
  }

  #checks(): CheckOptions {
    const { strict = false, timeouts = {}, openTun } = this.#options;
    return { strict, timeouts, systemTun: openTun === undefined };
  }

  #parts(): Surroundings {
    const { cacheFolder } = this.#options;
    return {
      host: this.#host,
      clock: this.#clock,
      timers: this.#timers,
      events: this.#events,
      sockets: this.#sockets,
      processes: this.#processes,
      farewell: this.#farewell,
      cacheFolder,
    };
  }

  async #stop(): Promise<void> {
    this.#started = true;
    const reason = new NetError('aborted', 'the kernel stops', { code: 'STOPPED' });
    this.#loadSignal.cancel(reason);
    await this.#atMost(this.#reloads, this.#timeouts.plugin); // a listener or a section may not heed its signal
    this.#tooLate = true;
    await this.#listeners.stop();
    if (this.#sessions.size > 0) await this.#atMost(this.#sessions.empty(), this.#setup.config.timeouts.drain);
    this.#sessions.abort(reason);
    this.#stopSignal.cancel(reason);
    this.#setup.close(); // or its fetches and health checks would fail with the plugins and the sockets, and be told
    await this.#atMost(this.#setup.closed, CLOSE_MS);
    await this.#atMost(this.#limit.empty(), CLOSE_MS); // sockets tell that they are closed a turn later
    await this.#host.stop();
    this.#sockets.close();
    this.#processes.close();
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
