/** A world for lists of rules: its clock, its folder, its servers. */
import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { never } from '../../dist/net/cancel.js';
import { systemClock } from '../../dist/net/clock.js';
import { Events } from '../../dist/net/events.js';
import { TimerWheel } from '../../dist/net/timer-wheel.js';
import type { HttpSourceConfig, ProviderConfig } from '../../dist/provider/provider-config.js';
import type { ProviderInfo } from '../../dist/provider/rule-provider.js';
import { RuleProviders, type RuleProvidersOptions } from '../../dist/provider/rule-providers.js';
import { FakeClock, FakeFacts, testSession, within } from '../../dist/testing.js';
import { knownRules } from './known-rules.js';
import { countingDialer, type Origin, startOrigin } from './origin.js';

export const HOUR = 3_600_000;
export const START = Date.UTC(2026, 0, 1);

/** One kernel's worth of it: an hour hand that is moved by the test, a cache folder, and what was told. */
export class World {
  readonly clock = new FakeClock();
  readonly events = new Events();
  readonly dialer = countingDialer();
  readonly warnings: string[] = [];
  readonly cache: string;
  random = 0.5;
  readonly #started = this.clock.now();
  readonly #open: RuleProviders[] = [];

  private constructor(cache: string) {
    this.cache = cache;
    this.events.on('kernel.warning', ({ code, message }) => this.warnings.push(`${code} ${message}`));
  }

  static async make(): Promise<World> {
    return new World(await mkdtemp(join(tmpdir(), 'nekit-providers-')));
  }

  providers(configs: readonly ProviderConfig[], over: Partial<RuleProvidersOptions> = {}): RuleProviders {
    const providers = new RuleProviders(new Map(configs.map((config) => [config.name, config])), {
      clock: this.clock,
      timers: new TimerWheel(systemClock, 10),
      events: this.events,
      adapters: (tag) => (tag === 'out' ? { tag, type: 'direct', stream: this.dialer } : undefined),
      known: () => knownRules(),
      cacheFolder: this.cache,
      random: () => this.random,
      wallClock: () => this.now(),
      ...over,
    });
    this.#open.push(providers);
    return providers;
  }

  /** Loaded and started. */
  async running(configs: readonly ProviderConfig[], over?: Partial<RuleProvidersOptions>): Promise<RuleProviders> {
    const providers = this.providers(configs, over);
    await within(providers.load(never));
    providers.start();
    return providers;
  }

  now(): number {
    return START + this.clock.now() - this.#started;
  }

  async files(): Promise<string[]> {
    return (await readdir(join(this.cache, 'rule-providers'))).sort();
  }

  async end(): Promise<void> {
    for (const providers of this.#open) providers.close();
    assert.equal(this.clock.pending, 0, 'no timer is left');
    await rm(this.cache, { recursive: true, maxRetries: 5 });
  }
}

export const common = { behavior: 'domain', format: 'text', sizeLimit: 1024 * 1024, interval: 0 } as const;
export const http = (url: string, over: Partial<ProviderConfig & HttpSourceConfig> = {}): ProviderConfig => {
  const { path = null, proxy = 'out', headers = {}, ...rest } = over;
  return { ...common, name: 'ads', ...rest, source: { type: 'http', url, path, proxy, headers } };
};
export const file = (path: string, over: Partial<ProviderConfig> = {}): ProviderConfig => ({ ...common, name: 'ads', ...over, source: { type: 'file', path } });
export const inline = (payload: readonly string[], over: Partial<ProviderConfig> = {}): ProviderConfig => ({
  ...common,
  format: 'yaml',
  name: 'ads',
  ...over,
  source: { type: 'inline', payload },
});

export function has(providers: RuleProviders, host: string, name = 'ads'): boolean {
  const set = providers.ruleSets.get(name) ?? assert.fail(`no set ${name}`);
  const verdict = set.current.match(testSession({ destination: { host, port: 443 } }), new FakeFacts([]), { noResolve: true, source: false });
  assert.ok(typeof verdict === 'boolean');
  return verdict;
}

export function info(providers: RuleProviders, name = 'ads'): ProviderInfo {
  return providers.info().find((one) => one.name === name) ?? assert.fail(`no ${name}`);
}

/** A server whose answer is changed by the test. */
export async function server(first: RequestListener): Promise<{ origin: Origin; url: string; answer(next: RequestListener): void }> {
  let now = first;
  const origin = await startOrigin((request, response) => now(request, response));
  return {
    origin,
    url: `${origin.url}/ads.txt`,
    answer: (next) => {
      now = next;
    },
  };
}
export const says =
  (text: string, headers: Readonly<Record<string, string>> = {}): RequestListener =>
  (_request, response) => {
    response.writeHead(200, headers);
    response.end(text);
  };
/** With an entity tag, and 304 for who has it. */
export const tagged =
  (text: string, etag: string): RequestListener =>
  (request: IncomingMessage, response: ServerResponse) => {
    if (request.headers['if-none-match'] === etag) response.writeHead(304).end();
    else response.writeHead(200, { etag, 'last-modified': 'Thu, 01 Jan 2026 00:00:00 GMT' }).end(text);
  };
export const status =
  (code: number): RequestListener =>
  (_request, response) => {
    response.writeHead(code).end('sorry');
  };
