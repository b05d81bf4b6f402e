/**
 * Plugins of one kernel: checked, set up, started, stopped; and the values that core and plugins provide to each other.
 *
 * The values live in a tsyringe child container per kernel, under symbol tokens, made by caching factories when first asked for. Nothing else
 * of the container is used and nothing outside of this file sees it: `get` is how a class comes to what it needs, once, when it is made.
 * Order, time limits and reverse stop are our own (lifecycle.ts): a container knows none of them.
 */
import 'reflect-metadata'; // tsyringe refuses to load without it

import { container, type DependencyContainer, instanceCachingFactory } from 'tsyringe';
import { NekitError } from '../net/errors.js';
import type { Events } from '../net/events.js';
import type { Timeouts } from '../net/timeouts.js';
import type { TimerWheel } from '../net/timer-wheel.js';
import type { Token } from '../net/token.js';
import { CORE, checkNames, checkPlugin } from './check.js';
import { Lifecycle } from './lifecycle.js';
import { inOrder } from './order.js';
import type { Plugin, PluginContext } from './plugin.js';
import { PluginError, reasonText } from './plugin-error.js';
import { Registration } from './registration.js';
import { Registry } from './registry.js';

export type Get = <T>(token: Token<T>) => T;

/** A value and how it is made, at most once per kernel. */
export type Provided = readonly [token: Token<unknown>, factory: (get: Get) => unknown];

/** Keeps the pair's types together: `provided(CLOCK, () => systemClock)`. */
export function provided<T>(token: Token<T>, factory: (get: Get) => T): Provided {
  return [token, factory];
}

export interface PluginHostOptions {
  readonly plugins: readonly Plugin[];
  /** For messages; the range a package asks for is checked where it is loaded. */
  readonly coreVersion: string;
  /** What core provides. */
  readonly values: readonly Provided[];
  /** Registers core's own types, before any plugin. */
  readonly builtin: (context: PluginContext) => void;
  readonly timers: TimerWheel;
  /** Only `plugin` is used, and only from `start` on. */
  readonly timeouts: Pick<Timeouts, 'plugin'>;
  readonly events: Events;
}

export class PluginHost {
  readonly registry = new Registry();
  /** In the order of setup and start. */
  readonly plugins: readonly Plugin[];
  readonly #container: DependencyContainer = container.createChildContainer();
  /** Who provides what. */
  readonly #owners = new Map<symbol, string>();
  /** Values that were asked for before. Not through the container again: adapters and inbounds ask for each connection. */
  readonly #made = new Map<symbol, Box<unknown>>();
  /** Values whose factory is running, outermost first. */
  readonly #making = new Set<symbol>();
  readonly #lifecycle: Lifecycle;

  /** Checks all plugins, then sets them up. Throws PluginError; nothing is open then, because setup does no I/O. */
  constructor(options: PluginHostOptions) {
    options.plugins.forEach((plugin, index) => void checkPlugin(plugin, `plugins[${index}]`, 'check', options.coreVersion));
    checkNames(options.plugins);
    this.plugins = inOrder(options.plugins);
    for (const [token, factory] of options.values) this.#provide(token, CORE, factory);
    this.#setUp({ name: CORE, setup: options.builtin });
    for (const plugin of this.plugins) this.#setUp(plugin);
    this.#lifecycle = new Lifecycle({ plugins: this.plugins, timers: options.timers, timeouts: options.timeouts, events: options.events });
  }

  /** Throws NekitError `UNKNOWN_TOKEN`, PluginError `TOKEN_CYCLE`, or PluginError `PLUGIN_PROVIDE_FAILED` when its factory threw. */
  get<T>(token: Token<T>): T {
    const made = this.#made.get(token);
    if (made !== undefined) return made.value as T;
    const owner = this.#owners.get(token);
    if (owner === undefined) throw new NekitError('UNKNOWN_TOKEN', `nothing provides ${nameOf(token)}; is the plugin that does loaded?`);
    if (this.#making.has(token)) {
      const path = [...this.#making, token].map(nameOf).join(' needs ');
      throw new PluginError('TOKEN_CYCLE', owner, 'provide', `values need each other: ${path}`);
    }
    const box = this.#container.resolve<Box<T>>(token);
    this.#made.set(token, box);
    return box.value;
  }

  /** null: nobody provides it. */
  find<T>(token: Token<T>): T | null {
    return this.#owners.has(token) ? this.get(token) : null;
  }

  /** In `after` order, each with a time limit. Rejects with the first PluginError; what was started before is stopped again by then. */
  start(): Promise<void> {
    return this.#lifecycle.start();
  }

  /** In reverse order; every plugin gets its chance. Never rejects and never hangs: what went wrong is returned and was emitted as `kernel.warning`. */
  stop(): Promise<readonly PluginError[]> {
    return this.#lifecycle.stop();
  }

  #setUp(plugin: Pick<Plugin, 'name' | 'setup'>): void {
    const { name } = plugin;
    const registration = new Registration(name, this.registry, {
      provide: (token, owner, factory) => this.#provide(token, owner, factory),
      get: (token) => this.get(token),
    });
    try {
      const setup: (context: PluginContext) => unknown = (context) => plugin.setup(context);
      const result = setup(registration);
      if (isThenable(result)) {
        result.then(undefined, () => undefined); // the error below says all there is to say
        throw new PluginError('PLUGIN_SETUP_ASYNC', name, 'setup', `plugin "${name}": setup must not be async; do what waits in start`);
      }
    } catch (error) {
      if (error instanceof PluginError && error.plugin === name) throw error;
      throw new PluginError('PLUGIN_SETUP_FAILED', name, 'setup', `plugin "${name}" failed in setup: ${reasonText(error)}`, { cause: error });
    } finally {
      registration.close();
    }
  }

  #provide<T>(token: Token<T>, owner: string, factory: (get: Get) => T): void {
    const other = this.#owners.get(token);
    if (other !== undefined)
      throw new PluginError('DUPLICATE_TOKEN', owner, 'setup', `${nameOf(token)} of plugin ${owner} is already provided by plugin ${other}`);
    this.#owners.set(token, owner);
    // In a box, because the caching factory would make undefined and null anew each time.
    this.#container.register<Box<T>>(token, { useFactory: instanceCachingFactory(() => ({ value: this.#make(token, owner, factory) })) });
  }

  #make<T>(token: Token<T>, owner: string, factory: (get: Get) => T): T {
    this.#making.add(token);
    try {
      return factory((wanted) => this.get(wanted));
    } catch (error) {
      if (error instanceof PluginError) throw error;
      throw new PluginError('PLUGIN_PROVIDE_FAILED', owner, 'provide', `plugin "${owner}" could not make ${nameOf(token)}: ${reasonText(error)}`, {
        cause: error,
      });
    } finally {
      this.#making.delete(token);
    }
  }
}

interface Box<T> {
  readonly value: T;
}

function nameOf(token: symbol): string {
  return (token.description ?? String(token)).replace(/^nekit\./, '');
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function';
}
