// Lists from servers: when they are asked, what is kept.
import assert from 'node:assert/strict';
import { readdir, readFile, stat, utimes, writeFile } from 'node:fs/promises';
import type { RequestListener } from 'node:http';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import t from 'tap';
import { never } from '../../dist/net/cancel.js';
import { TimerWheel } from '../../dist/net/timer-wheel.js';
import { eventually, startSilent, within } from '../../dist/testing.js';
import { HOUR, has, http, info, START, says, server, status, tagged, World } from '../support/rule-lists.js';

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

  await t.test('a copy that was cut off is used with a warning, and fetched at once', async () => {
    const world = await World.make();
    const path = join(world.cache, 'ads.txt');
    const { origin, url } = await server(tagged('one.example\ntwo.example\n', '"1"'));
    (await world.running([http(url, { path, interval: 3600 })])).close();
    for (const left of ['one.example\n', '']) {
      await writeFile(path, left);
      const providers = await world.running([http(url, { path, interval: 3600 })]);
      assert.equal(has(providers, 'one.example'), left !== '');
      assert.equal(info(providers).updatedAt, 0);
      assert.match(world.warnings.at(-1) ?? '', /^RULE_PROVIDER_COPY rule-provider "ads": its copy on disk is used until .*: it was changed or cut off/);
      const asked = origin.requests.length;
      await world.clock.advance(0);
      await eventually(() => has(providers, 'two.example'));
      assert.equal(origin.requests[asked]?.headers['if-none-match'], undefined);
      await eventually(async () => (await readFile(path, 'utf8')) === 'one.example\ntwo.example\n');
      providers.close();
    }
    assert.equal(world.warnings.length, 2);
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
      ['a page with a bare word', says('<html>\n<p>Please\nsign\n<b>in</b>\n'), /3 of its 4 entries are not understood, the first: line 1: /],
      ['nothing', says(''), /what came is empty, and the list from before has 1 entries/],
      ['comments', says('# rate limited\n\n'), /what came is empty/],
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
    answer(says('a.example\n'));
    await providers.refresh('ads');
    answer(status(304));
    await assert.rejects(within(providers.refresh('ads')), /status 304/, 'without a tag nobody asked for that');
    await origin.close();
    await assert.rejects(within(providers.refresh('ads')), /ECONNREFUSED/);
    assert.equal(world.clock.pending, 0, 'interval 0: nobody asked for news');
    await world.end();
  });

  await t.test('a list that begins empty, or with more problems than entries, may stay so', async () => {
    const world = await World.make();
    const { origin, url, answer } = await server(says('# nothing yet\n'));
    const providers = await world.running([http(url)]);
    for (const [text, entries] of [
      ['# still nothing\n', 0],
      ['a.example\nb c\nd e\n', 1],
      ['x.example\ny.example\nb c\nd e\nf g\n', 2],
    ] as const) {
      answer(says(text));
      await providers.refresh('ads');
      assert.equal(info(providers).entries, entries);
    }
    await world.end();
    await origin.close();
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
  const silent = await startSilent();
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
