/** Plugins for tests, and a host for them. */
import type { Test } from 'tap';
import { z } from 'zod';
import { Events } from '../../dist/net/events.js';
import { TimerWheel } from '../../dist/net/timer-wheel.js';
import { token } from '../../dist/net/token.js';
import { PluginHost, type PluginHostOptions } from '../../dist/plugin/host.js';
import { definePlugin, type Plugin, type PluginContext } from '../../dist/plugin/plugin.js';
import { PluginError } from '../../dist/plugin/plugin-error.js';
import { FakeClock } from '../../dist/testing/fake-clock.js';

export const LIMIT = 1_000;
export const NAME = token<string>('test.Name');
export const COUNTER = token<{ count: number }>('test.Counter');

export function setUp(plugins: readonly Plugin[], options: Partial<PluginHostOptions> = {}) {
  const clock = new FakeClock();
  const timers = new TimerWheel(clock, 10);
  const events = new Events();
  const warnings: string[] = [];
  events.on('kernel.warning', ({ code, message }) => void warnings.push(`${code} ${message}`));
  const host = new PluginHost({ plugins, coreVersion: '0.1.0', values: [], builtin: () => {}, timers, timeouts: { plugin: LIMIT }, events, ...options });
  return { host, clock, timers, warnings };
}

/** A plugin that writes down what is called. */
export function logging(log: string[], name: string, after: readonly string[] = [], more: Partial<Plugin> = {}): Plugin {
  return {
    name,
    api: 1,
    after,
    setup: () => void log.push(`setup ${name}`),
    start: async () => void log.push(`start ${name}`),
    stop: async () => void log.push(`stop ${name}`),
    ...more,
  };
}

export function only(setup: (context: PluginContext) => void, name = 'mine'): Plugin {
  return definePlugin({ name, api: 1, setup });
}

export function thrown(run: () => unknown): unknown {
  try {
    run();
  } catch (error) {
    return error;
  }
  throw new Error('it did not throw');
}

export function pluginError(t: Test, error: unknown, code: string, plugin: string, hook: string, message: RegExp): void {
  t.ok(error instanceof PluginError, `${String(error)} is a PluginError`);
  t.match(error, { code, plugin, hook, message });
}

export const rejection = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => Promise.reject(new Error('it did not reject')),
    (error: unknown) => error,
  );

export const schema = z.object({ server: z.string() });
export const adapter = (type: string, group = false) => ({ type, group, config: schema, create: () => ({ tag: 'x', type }) });
export const protocol = (name: string) => ({ name, takes: () => true, serve: async () => {} });
export const rule = (kind: string) => ({ kind, description: 'test', payload: true, create: () => ({ match: () => true }) });
export const inbound = (type: string) => ({ type, config: schema, create: () => ({ start: async () => {}, stop: async () => {} }) });
