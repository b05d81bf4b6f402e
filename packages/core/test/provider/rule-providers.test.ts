import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import t from 'tap';
import { CancelSource, never } from '../../dist/net/cancel.js';
import { systemClock } from '../../dist/net/clock.js';
import { Events } from '../../dist/net/events.js';
import { TimerWheel } from '../../dist/net/timer-wheel.js';
import { InlineSource } from '../../dist/provider/list-source.js';
import type { HttpSourceConfig, ProviderConfig } from '../../dist/provider/provider-config.js';
import { defaultCacheFolder } from '../../dist/provider/provider-store.js';
import type { ProviderInfo } from '../../dist/provider/rule-provider.js';
import { RuleProviders, type RuleProvidersOptions } from '../../dist/provider/rule-providers.js';
import { compileList } from '../../dist/rule/set/compile-list.js';
import { eventually, FakeClock, FakeFacts, ruleContext, startTarget, testSession, within } from '../../dist/testing.js';
import { knownRules } from '../support/known-rules.js';
import { countingDialer, type Origin, startOrigin } from '../support/origin.js';

const HOUR = 3_600_000;
const START = Date.UTC(2026, 0, 1);

/** One kernel's worth of it: an hour hand that is moved by the test, a cache folder, and what was told. */
class World {
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

const common = { behavior: 'domain', format: 'text', sizeLimit: 1024 * 1024, interval: 0 } as const;
const http = (url: string, over: Partial<ProviderConfig & HttpSourceConfig> = {}): ProviderConfig => {
  const { path = null, proxy = 'out', headers = {}, ...rest } = over;
  return { ...common, name: 'ads', ...rest, source: { type: 'http', url, path, proxy, headers } };
};
const file = (path: string, over: Partial<ProviderConfig> = {}): ProviderConfig => ({ ...common, name: 'ads', ...over, source: { type: 'file', path } });
const inline = (payload: readonly string[], over: Partial<ProviderConfig> = {}): ProviderConfig => ({
  ...common,
  format: 'yaml',
  name: 'ads',
  ...over,
  source: { type: 'inline', payload },
});

function has(providers: RuleProviders, host: string, name = 'ads'): boolean {
  const set = providers.ruleSets.get(name) ?? assert.fail(`no set ${name}`);
  const verdict = set.current.match(testSession({ destination: { host, port: 443 } }), new FakeFacts([]), { noResolve: true, source: false });
  assert.ok(typeof verdict === 'boolean');
  return verdict;
}

function info(providers: RuleProviders, name = 'ads'): ProviderInfo {
  return providers.info().find((one) => one.name === name) ?? assert.fail(`no ${name}`);
}

/** A server whose answer is changed by the test. */
async function server(first: RequestListener): Promise<{ origin: Origin; url: string; answer(next: RequestListener): void }> {
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
const says =
  (text: string, headers: Readonly<Record<string, string>> = {}): RequestListener =>
  (_request, response) => {
    response.writeHead(200, headers);
    response.end(text);
  };
/** With an entity tag, and 304 for who has it. */
const tagged =
  (text: string, etag: string): RequestListener =>
  (request: IncomingMessage, response: ServerResponse) => {
    if (request.headers['if-none-match'] === etag) response.writeHead(304).end();
    else response.writeHead(200, { etag, 'last-modified': 'Thu, 01 Jan 2026 00:00:00 GMT' }).end(text);
  };
const status =
  (code: number): RequestListener =>
  (_request, response) => {
    response.writeHead(code).end('sorry');
  };

void t.test('inline lists and files are there after load', async () => {
  const world = await World.make();
  const path = join(world.cache, 'own.txt');
  await writeFile(path, '# a comment\r\na.example\r\n+.b.example\r\n\r\n');
  const providers = await world.running([
    inline(['x.example', '"quoted" # it is not', 'DOMAIN,y.example']),
    file(path, { name: 'file' }),
    inline([], { name: 'empty' }),
    inline(['10.0.0.0/8'], { name: 'nets', behavior: 'ipcidr' }),
    inline(['DOMAIN-SUFFIX,c.example', 'DST-PORT,25', 'RULE-SET,file', 'AND,((RULE-SET,file),(NETWORK,TCP))', 'MODULE,./a.mjs', 'NOT,((MODULE,./a.mjs))'], {
      name: 'rules',
      behavior: 'classical',
    }),
  ]);
  assert.ok(has(providers, 'x.example'));
  assert.ok(has(providers, 'a.example', 'file') && has(providers, 'www.b.example', 'file') && !has(providers, 'c.example', 'file'));
  assert.ok(has(providers, 'www.c.example', 'rules'));
  assert.equal(info(providers, 'empty').entries, 0);
  assert.deepEqual(info(providers, 'nets'), { name: 'nets', type: 'inline', behavior: 'ipcidr', format: 'yaml', entries: 1, updatedAt: START, error: null });
  assert.equal(info(providers, 'file').updatedAt, (await stat(path)).mtimeMs);
  assert.equal(world.warnings.length, 2, world.warnings.join('\n'));
  assert.match(world.warnings.join('\n'), /^RULE_PROVIDER_ENTRIES 2 of 3 entries of rule-provider "ads" were not understood .* the first: line 3: "/m);
  assert.match(world.warnings.join('\n'), /^RULE_PROVIDER_ENTRIES 4 of 6 entries of rule-provider "rules" .* line 4: RULE-SET cannot stand in a list/m);
  await providers.refresh('nets');
  await assert.rejects(providers.refresh('nest'), { code: 'UNKNOWN_RULE_PROVIDER', message: 'there is no rule-provider "nest", did you mean "nets"?' });
  assert.equal(world.clock.pending, 0, 'nothing to look at again');
  await world.end();
});

void t.test('a file is read again at its interval, and when it is asked for', async () => {
  const world = await World.make();
  const path = join(world.cache, 'own.txt');
  await writeFile(path, 'one.example\n');
  const providers = await world.running([file(path, { interval: 60 })]);
  const before = providers.ruleSets.get('ads')?.current;
  await world.clock.advance(60_000);
  await eventually(() => world.clock.pending === 1);
  assert.equal(providers.ruleSets.get('ads')?.current, before, 'unchanged: nothing is compiled');
  await writeFile(path, 'two.example\nthree.example\n');
  await world.clock.advance(60_000);
  await eventually(() => has(providers, 'two.example') && !has(providers, 'one.example'));
  await rm(path);
  await assert.rejects(providers.refresh('ads'), { code: 'RULE_PROVIDER_FAILED' });
  assert.ok(has(providers, 'two.example'), 'the last good one stays');
  assert.match(String(info(providers).error), /ENOENT/);
  await writeFile(path, 'x'.repeat(2 * 1024 * 1024));
  await assert.rejects(providers.refresh('ads'), /has 2097152 bytes, and 1048576 are allowed/);
  assert.ok(has(providers, 'two.example'));
  await writeFile(path, '');
  await providers.refresh('ads');
  assert.equal(info(providers).entries, 0, 'an empty list is a list');
  assert.equal(info(providers).error, null);
  await world.end();
});

void t.test('a list on a server', async (t) => {
  await t.test('is fetched through its adapter, kept, and asked for by its tag', async () => {
    const world = await World.make();
    const { origin, url, answer } = await server(tagged('one.example\n', '"1"'));
    const providers = await world.running([http(url, { interval: 3600, headers: { 'x-token': 't' } })]);
    assert.ok(has(providers, 'one.example'));
    assert.equal(world.dialer.dialled.length, 1, 'through the adapter');
    assert.equal(origin.requests[0]?.headers['x-token'], 't');
    assert.equal(origin.requests[0]?.headers['if-none-match'], undefined);
    const [name = '', factsName = ''] = await world.files();
    assert.equal(factsName, `${name}.meta.json`);
    const folder = join(world.cache, 'rule-providers');
    assert.equal((await stat(folder)).mode & 0o777, 0o700);
    for (const part of [name, factsName]) assert.equal((await stat(join(folder, part))).mode & 0o777, 0o600);
    assert.equal(await readFile(join(folder, name), 'utf8'), 'one.example\n');

    const before = providers.ruleSets.get('ads')?.current;
    await world.clock.advance(HOUR);
    await eventually(() => origin.requests.length === 2 && info(providers).updatedAt === START + HOUR);
    assert.equal(origin.requests[1]?.headers['if-none-match'], '"1"');
    assert.equal(origin.requests[1]?.headers['if-modified-since'], 'Thu, 01 Jan 2026 00:00:00 GMT');
    assert.equal(providers.ruleSets.get('ads')?.current, before, '304: the set stays');

    answer(tagged('two.example\n', '"2"'));
    await eventually(() => world.clock.pending === 1);
    await world.clock.advance(HOUR);
    await eventually(() => has(providers, 'two.example') && !has(providers, 'one.example'));
    await eventually(async () => (await readFile(join(folder, name), 'utf8')) === 'two.example\n');
    await eventually(() => world.clock.pending === 1); // it is done with that one: a refresh would join it
    answer(says('two.example\n')); // the server lost its tags
    await providers.refresh('ads');
    await providers.refresh('ads');
    assert.equal(origin.requests.at(-2)?.headers['if-none-match'], '"2"');
    assert.equal(origin.requests.at(-1)?.headers['if-none-match'], undefined);
    assert.deepEqual(await world.files(), [name, factsName], 'nothing else is left in the folder');
    assert.deepEqual(world.warnings, []);
    await world.end();
    await eventually(() => origin.connections() === 0);
    await origin.close();
  });

  await t.test('survives a restart without the server; what is fresh is not fetched again', async () => {
    const world = await World.make();
    const { origin, url } = await server(tagged('one.example\n', '"1"'));
    (await world.running([http(url, { interval: 3600 })])).close();
    await world.clock.advance(HOUR / 2);
    const second = await world.running([http(url, { interval: 3600 })]);
    assert.ok(has(second, 'one.example'));
    assert.equal(info(second).updatedAt, START);
    assert.equal(origin.requests.length, 1);
    await world.clock.advance(HOUR / 2);
    await eventually(() => origin.requests.length === 2);
    assert.equal(origin.requests[1]?.headers['if-none-match'], '"1"', 'by what the disk knows');
    await eventually(() => info(second).updatedAt === START + HOUR);
    second.close();
    await origin.close();
    await world.clock.advance(10 * HOUR);
    const third = await world.running([http(url)]);
    assert.ok(has(third, 'one.example'));
    assert.deepEqual(world.warnings, []);
    assert.equal(world.clock.pending, 0, 'interval 0: a copy is enough');
    await world.end();
  });

  await t.test('a copy of another URL is used and replaced, and its tag means nothing', async () => {
    const world = await World.make();
    const path = join(world.cache, 'ads.txt');
    const { origin, url } = await server((request, response) => tagged(request.url === '/new' ? 'new.example\n' : 'old.example\n', '"1"')(request, response));
    (await world.running([http(url, { path })])).close();
    const providers = await world.running([http(`${origin.url}/new`, { path })]);
    assert.ok(has(providers, 'old.example'), 'better than nothing');
    await world.clock.advance(0);
    await eventually(() => has(providers, 'new.example'));
    assert.equal(origin.requests[1]?.headers['if-none-match'], undefined);
    await eventually(async () => (await readFile(path, 'utf8')) === 'new.example\n');
    providers.close();
    await writeFile(path, 'mine.example\n');
    await utimes(path, START / 1000, START / 1000);
    const edited = await world.running([http(`${origin.url}/new`, { path, interval: 3600 })]);
    assert.ok(has(edited, 'mine.example'));
    await edited.refresh('ads');
    assert.equal(origin.requests.at(-1)?.headers['if-none-match'], undefined, 'a copy that somebody changed is not the one with that tag');
    assert.ok(has(edited, 'new.example'));
    await world.end();
    await origin.close();
  });

  await t.test('a copy that is no list, or too long, is fetched anew', async () => {
    const world = await World.make();
    const path = join(world.cache, 'ads.txt');
    const { origin, url } = await server(says('good.example\n'));
    for (const bytes of ['<html> no list </html>\n', 'x'.repeat(2 * 1024 * 1024), '']) {
      await writeFile(path, bytes);
      await writeFile(`${path}.meta.json`, bytes === '' ? '{"url": 5}' : '{');
      const providers = await world.running([http(url, { path })]);
      assert.equal(has(providers, 'good.example'), bytes !== '', 'an empty one is a list, though');
      providers.close();
    }
    assert.equal(world.warnings.length, 2);
    assert.match(world.warnings[0] ?? '', /^RULE_PROVIDER_COPY .*its copy on disk is of no use: none of its 1 entries was understood/);
    await world.end();
    await origin.close();
  });

  await t.test('whatever goes wrong, the last good one stays, in memory and on disk', async (t) => {
    const world = await World.make();
    const path = join(world.cache, 'ads.txt');
    const { origin, url, answer } = await server(tagged('good.example\n', '"1"'));
    const providers = await world.running([http(url, { path })]);
    const half: RequestListener = (_request, response) => {
      response.writeHead(200, { 'content-length': 100 });
      response.write('half.example\n', () => response.destroy());
    };
    const broken: [name: string, answer: RequestListener, message: RegExp][] = [
      ['status 500', status(500), /answers with status 500/],
      ['status 404', status(404), /status 404/],
      ['a part', status(206), /status 206/],
      ['a server that dies in the middle', half, /closed the connection in the middle/],
      ['no list', says('<!DOCTYPE html>\n<title>Log in</title>\n'), /none of its 2 entries was understood as text with behavior domain, the first: line 1: /],
      ['a compiled list', says('MRS\x01....'), /mihomo/],
      ['too long', says('long.example\n'.repeat(200_000)), /longer than the 1048576 bytes/],
      ['too long when unpacked', (_q, response) => response.writeHead(200, { 'content-encoding': 'gzip' }).end(gzipSync('x'.repeat(2_000_000))), /longer than/],
      ['broken gzip', says('good.example\n', { 'content-encoding': 'gzip' }), /gzip/],
      ['a redirect round in circles', (_q, response) => response.writeHead(302, { location: '/' }).end(), /redirects more than 5 times/],
    ];
    for (const [name, wrong, message] of broken) {
      await t.test(name, async () => {
        answer(wrong);
        await assert.rejects(within(providers.refresh('ads')), (error: Error) => {
          assert.match(error.message, /^rule-provider "ads" was not updated: /);
          assert.match(error.message, message);
          return true;
        });
        assert.ok(has(providers, 'good.example') && !has(providers, 'half.example'));
        assert.equal(await readFile(path, 'utf8'), 'good.example\n');
        assert.match(world.warnings.at(-1) ?? '', /^RULE_PROVIDER_FAILED rule-provider "ads" was not updated, the list from before stays in use: /);
      });
    }
    answer(says('a.example\nb c\n', { 'content-encoding': 'identity' }));
    await providers.refresh('ads');
    assert.ok(has(providers, 'a.example'));
    assert.match(
      world.warnings.at(-1) ?? '',
      /^RULE_PROVIDER_ENTRIES 1 of 2 entries of rule-provider "ads" were not understood and have no effect, the first: line 2: "b c"/,
    );
    assert.equal(info(providers).error, null);
    answer(status(304));
    await assert.rejects(within(providers.refresh('ads')), /status 304/, 'without a tag nobody asked for that');
    await origin.close();
    await assert.rejects(within(providers.refresh('ads')), /ECONNREFUSED/);
    assert.equal(world.clock.pending, 0, 'interval 0: nobody asked for news');
    await world.end();
  });

  await t.test('redirects and gzip are fine; an adapter that carries nothing is not', async () => {
    const world = await World.make();
    const { origin, url } = await server((request, response) => {
      if (request.url === '/ads.txt') response.writeHead(307, { location: '/real.txt' }).end();
      else response.writeHead(200, { 'content-encoding': 'gzip' }).end(gzipSync('+.zipped.example\r\n'));
    });
    const providers = await world.running([http(url), http(`${url}?2`, { name: 'none', proxy: 'PASS' })]);
    assert.ok(has(providers, 'www.zipped.example'));
    assert.equal(await readFile(join(world.cache, 'rule-providers', (await world.files())[0] ?? ''), 'utf8'), '+.zipped.example\r\n', 'kept unpacked');
    assert.match(String(info(providers, 'none').error), /"PASS" carries no connections to fetch through/);
    await world.end();
    await origin.close();
  });

  await t.test('a folder that cannot be written to costs the copy alone', async () => {
    const world = await World.make();
    const { origin, url } = await server(says('one.example\n'));
    const path = join(world.cache, 'taken', 'ads.txt');
    await writeFile(join(world.cache, 'taken'), 'a file where a folder should be');
    const providers = await world.running([http(url, { path })]);
    assert.ok(has(providers, 'one.example'));
    assert.match(world.warnings.join('\n'), /RULE_PROVIDER_COPY rule-provider "ads": no copy was kept on disk: /);
    const nowhere = await world.running([http(url)], { cacheFolder: null });
    assert.ok(has(nowhere, 'one.example'), 'without any cache folder');
    await world.end();
    await origin.close();
  });
});

void t.test('a server that is down keeps nobody waiting for long, and is asked again after growing pauses', async () => {
  const world = await World.make();
  const silent = await startTarget(() => undefined);
  const config = http(`http://127.0.0.1:${silent.port}/x`);
  const providers = world.providers([config], { timers: new TimerWheel(world.clock) });
  const loading = within(providers.load(never));
  await eventually(() => silent.connections() === 1);
  await world.clock.advance(10_100);
  await loading;
  assert.ok(!has(providers, 'one.example'), 'empty, and nothing matches');
  assert.match(world.warnings[0] ?? '', /^RULE_PROVIDER_LATE .* takes longer than 10 s to fetch: until it is here it matches nothing/);
  providers.start();
  await world.clock.advance(110_500);
  await eventually(() => silent.connections() === 0 && info(providers).error !== null);
  assert.match(world.warnings[1] ?? '', /^RULE_PROVIDER_FAILED .* could not be loaded, and matches nothing until it is: .*longer than 120000 ms/);
  await silent.close();
  await world.end();

  const again = await World.make();
  const { origin, url, answer } = await server(status(503));
  const trying = await again.running([http(url)]);
  const pauses: number[] = [];
  for (let i = 2; i <= 10; i++) {
    await eventually(() => again.clock.pending === 1);
    const from = again.clock.now();
    while (origin.requests.length < i) await again.clock.advance(500);
    pauses.push(Math.round((again.clock.now() - from) / 1000));
  }
  assert.deepEqual(pauses, [10, 20, 40, 80, 160, 320, 600, 600, 600]);
  assert.equal(again.warnings.length, 1, 'the same failure is told once');
  answer(says('one.example\n'));
  await eventually(() => again.clock.pending === 1);
  await again.clock.advance(600_000);
  await eventually(() => has(trying, 'one.example'));
  assert.equal(info(trying).error, null);
  await again.end();
  await origin.close();
});

void t.test('intervals are spread by a tenth to either side', async () => {
  for (const [random, wanted] of [
    [0, 0.9 * HOUR],
    [0.5, HOUR],
    [0.999_999, 1.1 * HOUR],
  ] as const) {
    const world = await World.make();
    world.random = random;
    const { origin, url } = await server(tagged('one.example\n', '"1"'));
    await world.running([http(url, { interval: 3600 })]);
    await world.clock.advance(wanted - 10);
    assert.equal(origin.requests.length, 1, `not before ${wanted}`);
    await world.clock.advance(20);
    await eventually(() => origin.requests.length === 2);
    await world.end();
    await origin.close();
  }
});

void t.test('load and refresh end when they are told to', async () => {
  const world = await World.make();
  const silent = await startTarget(() => undefined);
  const config = http(`http://127.0.0.1:${silent.port}/x`);
  const stop = new CancelSource();
  const providers = world.providers([config]);
  const loading = providers.load(stop);
  await eventually(() => silent.connections() === 1);
  const reason = new Error('the kernel stops');
  stop.cancel(reason);
  await assert.rejects(within(loading), reason);
  const refreshing = providers.refresh('ads');
  assert.equal(silent.accepted(), 1, 'the one that runs is the one that is waited for');
  providers.close();
  await assert.rejects(within(refreshing), /no longer in use/);
  await eventually(() => silent.connections() === 0);
  await assert.rejects(providers.refresh('ads'), /no longer in use/);
  const closing = world.providers([config]);
  const waiting = closing.load(never);
  await eventually(() => silent.connections() === 1);
  closing.close();
  await within(waiting);
  assert.deepEqual(world.warnings, []);
  await silent.close();
  await world.end();
});

void t.test('what did not change in the config is taken over', async () => {
  const world = await World.make();
  const { origin, url, answer } = await server(says('one.example\n'));
  const path = join(world.cache, 'own.txt');
  await writeFile(path, 'file.example\n');
  const configs = [http(url, { interval: 3600 }), file(path, { name: 'file' }), inline(['inline.example'], { name: 'inline' })];
  const first = await world.running(configs);
  const sets = (providers: RuleProviders): unknown[] => [...providers.ruleSets.values()].map(({ current }) => current);
  const before = sets(first);

  const second = world.providers(structuredClone(configs));
  second.adoptFrom(first);
  await second.load(never);
  assert.deepEqual(sets(second), before);
  assert.ok(
    sets(second).every((set, i) => set === before[i]),
    'the very same',
  );
  assert.equal(origin.requests.length, 1);
  second.close(); // the reload failed, and the first one goes on
  answer(says('two.example\n'));
  await first.refresh('ads');
  assert.ok(has(first, 'two.example'));

  await writeFile(path, 'changed.example\n');
  const third = world.providers([http(url, { interval: 60 }), ...configs.slice(1)]);
  third.adoptFrom(first);
  await third.load(never);
  third.start();
  first.close();
  assert.ok(has(third, 'changed.example', 'file'), 'a file is looked at');
  assert.ok(has(third, 'two.example'), 'a changed entry starts from its copy on disk');
  assert.ok(has(third, 'inline.example', 'inline'));
  assert.equal(origin.requests.length, 2);

  const tools = { geodata: { country: '/other.mmdb' } };
  const fourth = world.providers(configs, { known: () => knownRules([], tools) });
  fourth.adoptFrom(third);
  await fourth.load(never);
  assert.notEqual(fourth.ruleSets.get('inline')?.current, third.ruleSets.get('inline')?.current, 'other data files: other rules');
  await world.end();
  await origin.close();
});

void t.test('a list that nobody could load is not waited for again after a reload', async () => {
  const world = await World.make();
  const { origin, url, answer } = await server(status(500));
  const first = await world.running([http(url)]);
  const second = world.providers([http(url)]);
  second.adoptFrom(first);
  await second.load(never);
  assert.equal(origin.requests.length, 1);
  first.close();
  second.start();
  answer(says('one.example\n'));
  await world.clock.advance(10_000);
  await eventually(() => has(second, 'one.example'));
  await world.end();
  await origin.close();
});

void t.test('what rules of a list keep open ends with the list', async () => {
  const world = await World.make();
  let open = 0;
  const watched = {
    kind: 'WATCHED',
    description: 'keeps something open',
    payload: true,
    create: (_payload: string, { tools }: ReturnType<typeof ruleContext>) => {
      open++;
      tools.onClose(() => open--);
      return { match: () => false };
    },
  };
  const known = { known: () => knownRules([watched]) };
  const { origin, url, answer } = await server(says('WATCHED,1\nWATCHED,2\n'));
  const config = http(url, { behavior: 'classical' });
  const first = await world.running([config], known);
  assert.equal(open, 2);
  answer(says('WATCHED,3\n'));
  await first.refresh('ads');
  assert.equal(open, 1);
  const second = world.providers([config], known);
  second.adoptFrom(first);
  await second.load(never);
  first.close();
  assert.equal(open, 1, 'the other one has it still');
  second.close();
  assert.equal(open, 0);
  await world.end();
  await origin.close();
});

void t.test('RULE-SET asks the list as it is now', async () => {
  const world = await World.make();
  const { origin, url, answer } = await server(says('one.example\n'));
  const providers = await world.running([http(url), inline(['10.0.0.0/8'], { name: 'nets', behavior: 'ipcidr' })]);
  const known = knownRules([], { ruleSets: providers.ruleSets });
  const definition = known.definitions('RULE-SET') ?? assert.fail('no RULE-SET');
  const build = (name: string, ...words: string[]) => definition.create(name, ruleContext({ tools: known.tools, parameters: new Set(words) }));
  const to = (host: string) => testSession({ destination: { host, port: 443 }, source: { host: '10.1.1.1', port: 5 } });
  const rule = build('ads');
  assert.equal(await rule.match(to('one.example'), new FakeFacts([])), true);
  answer(says('two.example\n'));
  await providers.refresh('ads');
  assert.equal(await rule.match(to('one.example'), new FakeFacts([])), false);
  assert.equal(await rule.match(to('two.example'), new FakeFacts([])), true);
  const nets = build('nets');
  assert.deepEqual(await nets.match(to('n.example'), new FakeFacts(null, ['10.0.0.1', '192.0.2.1'])), ['10.0.0.1']);
  const facts = new FakeFacts(null, ['10.0.0.1']);
  assert.equal(await build('nets', 'no-resolve').match(to('n.example'), facts), false);
  assert.equal(facts.lookups, 0);
  assert.equal(await build('nets', 'src').match(to('n.example'), new FakeFacts([])), true);
  assert.throws(() => build('adds'), /there is no rule-provider "adds", did you mean "ads"/);
  await world.end();
  await origin.close();
});

void t.test('whoever reads the copy sees the old one or the new one', async () => {
  const world = await World.make();
  const path = join(world.cache, 'ads.txt');
  let version = 0;
  const list = (n: number): string => `v${n}.example\n`.repeat(40_000);
  const { origin, url } = await server((_request, response) => response.end(list(++version)));
  const providers = await world.running([http(url, { path })]);
  let done = false;
  const reading = (async () => {
    let reads = 0;
    for (; !done; reads++) {
      const text = await readFile(path, 'utf8');
      assert.ok(text === list(Number(/^v(\d+)/.exec(text)?.[1])), 'a whole one');
      const facts: unknown = JSON.parse(await readFile(`${path}.meta.json`, 'utf8'));
      assert.ok(typeof facts === 'object');
    }
    return reads;
  })();
  for (let i = 0; i < 30; i++) await providers.refresh('ads');
  done = true;
  assert.ok((await reading) > 5);
  assert.deepEqual((await readdir(world.cache)).sort(), ['ads.txt', 'ads.txt.meta.json']);
  await world.end();
  await origin.close();
});

void t.test('inline entries come out as they were written', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.string({ unit: 'binary', maxLength: 40 }), { maxLength: 20 }), async (payload) => {
      const copy = (await new InlineSource(payload, () => 0).fetch(null)) ?? assert.fail('nothing came');
      const seen: string[] = [];
      const buildRule = (text: string): { match(): boolean } => {
        seen.push(text);
        return { match: () => false };
      };
      await compileList(copy.bytes, { behavior: 'classical', format: 'yaml', buildRule });
      assert.deepEqual(
        seen.map((text) => text.trim()),
        payload.map((text) => text.trim()).filter((text) => text !== ''),
      );
    }),
    { numRuns: process.env.NEKIT_FULL === '1' ? 5_000 : 200 },
  );
});

void t.test('the cache folder', async () => {
  assert.equal(defaultCacheFolder({ XDG_CACHE_HOME: '/x' }), '/x/nekit-kernel');
  assert.match(String(defaultCacheFolder({ XDG_CACHE_HOME: 'relative' })), /\/\.cache\/nekit-kernel$/);
});
