// Lists from files, inline, and what becomes of them over reloads.
import assert from 'node:assert/strict';
import { rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import t from 'tap';
import { CancelSource, never } from '../../dist/net/cancel.js';
import { InlineSource } from '../../dist/provider/list-source.js';
import { defaultCacheFolder } from '../../dist/provider/provider-store.js';
import type { RuleProviders } from '../../dist/provider/rule-providers.js';
import { compileList } from '../../dist/rule/set/compile-list.js';
import { eventually, FakeFacts, ruleContext, startSilent, testSession, within } from '../../dist/testing.js';
import { knownRules } from '../support/known-rules.js';
import { file, has, http, info, inline, START, says, server, status, World } from '../support/rule-lists.js';

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

void t.test('load and refresh end when they are told to', async () => {
  const world = await World.make();
  const silent = await startSilent();
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

void t.test('data files that were replaced, though not in the config, are other data files', async () => {
  const world = await World.make();
  const country = join(world.cache, 'country.mmdb');
  const geosite = join(world.cache, 'geosite.dat');
  await writeFile(country, 'one');
  const known = { known: () => knownRules([], { folder: world.cache, geodata: { country } }) };
  const configs = [inline(['inline.example'])];
  let before = await world.running(configs, known);
  for (const [what, change, same] of [
    ['nothing', () => Promise.resolve(), true],
    ['the database', () => writeFile(country, 'another'), false],
    ['a geosite.dat beside the config', () => writeFile(geosite, 'one'), false],
    ['nothing again', () => Promise.resolve(), true],
    ['that geosite.dat', () => writeFile(geosite, 'another'), false],
    ['a database that is gone', () => rm(country), false],
  ] as const) {
    await change();
    const next = world.providers(configs, known);
    next.adoptFrom(before);
    await next.load(never);
    assert.equal(next.ruleSets.get('ads')?.current === before.ruleSets.get('ads')?.current, same, what);
    before.close();
    before = next;
  }
  await world.end();
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
      // Spaces that are not ASCII are no blank to a list: such an entry is one that is not understood.
      const trimmed = (texts: readonly string[]): string[] => texts.map((text) => text.trim()).filter((text) => text !== '');
      assert.deepEqual(trimmed(seen), trimmed(payload));
    }),
    { numRuns: process.env.NEKIT_FULL === '1' ? 5_000 : 200 },
  );
});

void t.test('the cache folder', async () => {
  assert.equal(defaultCacheFolder({ XDG_CACHE_HOME: '/x' }), '/x/nekit-kernel');
  assert.match(String(defaultCacheFolder({ XDG_CACHE_HOME: 'relative' })), /\/\.cache\/nekit-kernel$/);
});
