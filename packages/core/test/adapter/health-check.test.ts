// The check itself, over real sockets: what is measured, which answers count, how it fails, that nothing is left behind.
import assert from 'node:assert/strict';
import t from 'tap';
import type { Adapter } from '../../dist/adapter/adapter.js';
import { HealthBook, type HealthResult } from '../../dist/adapter/health-book.js';
import { httpProbe, parseExpectedStatus } from '../../dist/adapter/health-check.js';
import { createKernel } from '../../dist/kernel.js';
import { CancelSource, never } from '../../dist/net/cancel.js';
import { NetError } from '../../dist/net/errors.js';
import type { Session } from '../../dist/net/session.js';
import { closedPort, eventually, startSilent, startTarget, testContext, within } from '../../dist/testing.js';
import { startOrigin } from '../support/origin.js';

function stage() {
  const { context, timers, events } = testContext();
  const book = new HealthBook({ timers, events, probe: httpProbe(timers) });
  const check = (url: string, expected = '*', timeoutMs = 5_000, adapter: Adapter = context.base): Promise<HealthResult> =>
    within(book.check(adapter, { url, expected: parseExpectedStatus(expected), timeoutMs }, never)).then((result) => result ?? assert.fail('nobody cancelled'));
  return { context, timers, events, book, check };
}

void t.test('which answers count', async () => {
  const origin = await startOrigin((request, response) => response.writeHead(Number(request.url?.slice(1)), { location: '/200' }).end());
  const { book, check, timers } = stage();
  const alive = async (status: number, expected?: string): Promise<boolean> => (await check(`${origin.url}/${status}`, expected)).error === null;
  for (const status of [200, 204, 302, 404, 503]) assert.ok(await alive(status), `${status}: any answer is one`);
  const ranges = '200/302/400-503';
  for (const [status, counts] of [
    [200, true],
    [204, false],
    [302, true],
    [301, false],
    [399, false],
    [400, true],
    [450, true],
    [503, true],
    [504, false],
  ] as const)
    assert.equal(await alive(status, ranges), counts, `${status}`);
  assert.equal(book.get('DIRECT', `${origin.url}/504`, ranges)?.last.error, 'answered 504, expected 200/302/400-503');
  assert.ok(origin.requests.every(({ method }) => method === 'HEAD'));
  assert.ok(origin.requests.length === 14, 'redirects are not followed');
  await eventually(() => origin.connections() === 0 && timers.size === 0);
  await origin.close();
});

void t.test('expected-status, as it is written', async () => {
  for (const text of ['', '*', ' * ']) assert.deepEqual([parseExpectedStatus(text).text, parseExpectedStatus(text).includes(599)], ['*', true]);
  assert.equal(parseExpectedStatus(' 200 / 300-400 ').text, '200/300-400');
  for (const text of ['200,204', '200,204,', '/200//204', ' 200 , 204 ']) {
    const status = parseExpectedStatus(text);
    assert.deepEqual([status.text, status.includes(204), status.includes(202)], ['200/204', true, false], 'as mihomo takes it');
  }
  assert.equal(parseExpectedStatus(' , ').text, '*');
  for (const text of ['2', '20x', '200-', '-200', '300-200', '200;300', '*,200', '99', '1000', '200-300-400'])
    assert.throws(() => parseExpectedStatus(text), text);
  assert.throws(() => parseExpectedStatus(Array.from({ length: 33 }, () => '200').join('/')), /33 ranges/);
});

void t.test('what is measured begins with the dial and ends with the head of the response', async () => {
  const origin = await startOrigin((_request, response) => void setTimeout(() => response.writeHead(200, { 'content-length': '1000000' }).flushHeaders(), 60));
  const { context, check } = stage();
  const sessions: Session[] = [];
  const slow: Adapter = {
    tag: 'slow',
    type: 'test',
    stream: {
      async dialStream(destination, options) {
        sessions.push(options.session);
        await new Promise<void>((resolve) => setTimeout(resolve, 60));
        return context.base.stream?.dialStream(destination, options) ?? assert.fail();
      },
    },
  };
  const result = await check(origin.url, '*', 5_000, slow);
  assert.ok(result.ms !== null && result.ms >= 115 && result.ms < 4_000, `${result.ms} ms: 60 for the dial and 60 for the answer, and no body`);
  const { inboundType, destination, requested } = sessions[0] ?? assert.fail();
  assert.equal(inboundType, 'Inner');
  assert.equal(`http://${destination.host}:${destination.port}`, origin.url);
  assert.equal(requested, destination);
  await origin.close();
});

void t.test('how it fails', async () => {
  const { check, book, events, timers } = stage();
  const told: string[] = [];
  events.on('health.checked', ({ adapter, url, ms, error }) => told.push(`${adapter} ${url} ${ms} ${error === null}`));
  const refused = `http://127.0.0.1:${await closedPort()}/`;
  assert.match((await check(refused)).error ?? '', /ECONNREFUSED|refused/i);
  assert.deepEqual(told, [`DIRECT ${refused} null false`]);
  assert.equal(book.get('DIRECT', refused)?.alive, false);

  const silent = await startSilent();
  const begin = performance.now();
  assert.equal((await check(`http://127.0.0.1:${silent.port}/`, '*', 150)).error, 'no answer within 150 ms');
  assert.ok(performance.now() - begin >= 145);
  await eventually(() => silent.connections() === 0 && timers.size === 0);
  await silent.close();

  const garbage = await startTarget((socket) => void socket.end('SSH-2.0-not-http\r\n'));
  assert.match((await check(`http://127.0.0.1:${garbage.port}/`)).error ?? '', /HTTP/);
  assert.ok((await check(`https://127.0.0.1:${garbage.port}/`)).error !== null, 'no TLS there');
  await garbage.close();

  assert.match((await check(refused, '*', 1_000, { tag: 'PASS', type: 'pass' })).error ?? '', /PASS carries no TCP/);
});

void t.test('a check that nobody waits for any more closes its connection', async () => {
  const silent = await startSilent();
  const { book, context, timers } = stage();
  const signal = new CancelSource();
  const url = `http://127.0.0.1:${silent.port}/`;
  try {
    const checking = book.check(context.base, { url, expected: parseExpectedStatus('*'), timeoutMs: 60_000 }, signal);
    await eventually(() => silent.connections() === 1);
    signal.cancel(new NetError('aborted', 'the kernel stops'));
    assert.equal(await within(checking), null);
    await eventually(() => silent.connections() === 0 && timers.size === 0);
    assert.equal(book.get('DIRECT', url), null);
  } finally {
    await silent.close();
  }
});

void t.test('in a kernel: groups of a config check through their members, and a reload goes on where they were', async () => {
  const origin = await startOrigin((_request, response) => response.writeHead(204).end());
  const url = `${origin.url}/check`;
  const keys = { url, interval: 3_600, lazy: false };
  const config = {
    proxies: [
      { name: 'blocked', type: 'reject', delay: 0 },
      { name: 'open', type: 'direct' },
    ],
    'proxy-groups': [
      { name: 'safe', type: 'fallback', 'include-all': true, ...keys },
      { name: 'fast', type: 'url-test', proxies: ['safe', 'blocked'], url, interval: 3_600 }, // lazy: it checks nothing here, whatever the others do
      { name: 'spread', type: 'load-balance', proxies: ['blocked', 'open'], ...keys, url: `${url}-spread` },
    ],
    rules: ['DOMAIN,spread.example,spread', 'MATCH,fast'],
  };
  const kernel = createKernel(config);
  const changes: string[] = [];
  let checks = 0;
  kernel.on('group.changed', ({ group, from, to, reason }) => changes.push(`${group}: ${from}>${to} ${reason}`));
  kernel.on('health.checked', () => checks++);
  const leaf = async (host: string) => {
    const { adapter, chain } = await kernel.explain({ destination: { host, port: 443 } });
    return [...chain, adapter].join('>');
  };
  assert.equal(await leaf('a.example'), 'fast>safe>blocked', 'before the start nothing is known');
  await kernel.start();
  await eventually(() => changes.length > 0 && checks >= 4);
  assert.deepEqual(changes, ['safe: blocked>open dead']);
  assert.equal(await leaf('a.example'), 'fast>safe>open');
  assert.equal(await leaf('spread.example'), 'spread>open', 'the one that this connection would get');
  await eventually(() => origin.connections() === 0);
  const before = origin.requests.length;
  await kernel.reload({ ...config, 'log-level': 'debug' });
  assert.equal(await leaf('a.example'), 'fast>safe>open', 'what was known is known');
  assert.equal(origin.requests.length, before);
  assert.deepEqual(changes, ['safe: blocked>open dead']);
  await kernel.stop();
  await origin.close();
});

void t.test('in a kernel: a reload forgets what was found of a proxy that had the name before, and checks anew', async (t) => {
  const origin = await startOrigin((_request, response) => response.writeHead(204).end());
  t.teardown(() => origin.close());
  const config = (type: string) => ({
    proxies: [
      { name: 'first', type },
      { name: 'second', type: 'direct' },
    ],
    'proxy-groups': [{ name: 'safe', type: 'fallback', proxies: ['first', 'second'], url: origin.url, interval: 3_600, lazy: false }],
    rules: ['MATCH,safe'],
  });
  const kernel = createKernel(config('reject'));
  t.teardown(() => kernel.stop());
  const found: string[] = [];
  kernel.on('health.checked', ({ adapter, error }) => found.push(`${adapter} ${error === null}`));
  const leaf = async () => (await kernel.explain({ destination: { host: 'a.example', port: 443 } })).adapter;
  await kernel.start();
  await eventually(() => found.length === 2);
  assert.deepEqual([...found].sort(), ['first false', 'second true']);
  assert.equal(await leaf(), 'second');
  await kernel.reload({ ...config('reject'), 'log-level': 'debug' });
  assert.equal(await leaf(), 'second', 'it is the same one');
  await kernel.reload(config('direct'));
  assert.equal(await leaf(), 'first', 'nothing is known of this one');
  await eventually(() => found.length === 4);
  assert.deepEqual(found.slice(2).sort(), ['first true', 'second true']);
  await kernel.reload(config('reject'));
  await eventually(() => found.length === 6);
  assert.equal(await leaf(), 'second');
});
