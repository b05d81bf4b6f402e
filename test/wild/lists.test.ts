// Lists of rules as a kernel meets them: from a server that dies in mid-download, with a million lines, and again and again.
import { fork } from 'node:child_process';
import { createWriteStream } from 'node:fs';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import http from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { finished } from 'node:stream/promises';
import { fileURLToPath } from 'node:url';
import { createKernel, type Kernel, parseConfig } from '@nekit/core';
import { eventually, within } from '@nekit/core/testing';
import t, { type Test } from 'tap';
import type { Measured } from './reload-process.js';

const full = process.env.NEKIT_FULL === '1';
/** Lines of each large list. */
const LINES = full ? 1_000_000 : 100_000;
const RELOADS = full ? 100 : 10;
/** Whatever is waited for: the machine may be busy. */
const LIMIT_MS = full ? 60_000 : 20_000;
/** Of a test: 100 reloads of a million lines take minutes. */
const TEST_MS = full ? 800_000 : 110_000;

/** What the server does with a request. */
type Manner = (response: http.ServerResponse) => void;

const serve =
  (list: string): Manner =>
  (response) =>
    response.end(list);
const die =
  (headers: http.OutgoingHttpHeaders): Manner =>
  (response) => {
    response.writeHead(200, headers);
    response.write('one.example\ntwo.exa', () => response.destroy());
  };
const hang: Manner = (response) => {
  response.writeHead(200, { 'content-length': 1000 });
  response.write('one.example\ntwo.exa');
};

const FIRST = 'one.example\n+.two.example\n';
const SECOND = 'three.example\n';

void t.test('a list from a server that dies in mid-download', { timeout: 110_000 }, async (t) => {
  const folder = await folderFor(t);
  let manner: Manner = die({ 'content-length': 1000 });
  let requests = 0;
  const server = http.createServer((_request, response) => {
    requests++;
    manner(response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the server has no port');
  const config = `rule-providers:
  remote: { type: http, behavior: domain, format: text, url: "http://127.0.0.1:${address.port}/list.txt", path: lists/remote.txt }
rules: ["RULE-SET,remote,REJECT", "MATCH,DIRECT"]
`;
  const warnings: string[] = [];
  const start = async (): Promise<Kernel> => {
    const kernel = createKernel(parseConfig(config, join(folder, 'config.yaml')), { cacheFolder: null });
    kernel.on('kernel.warning', ({ code }) => warnings.push(code));
    await within(kernel.start(), LIMIT_MS, 'kernel.start()');
    return kernel;
  };
  const copy = (): Promise<string> => readFile(join(folder, 'lists/remote.txt'), 'utf8');
  const fails = (kernel: Kernel): Promise<unknown> => t.rejects(within(kernel.refreshRuleProvider('remote'), LIMIT_MS), { code: 'RULE_PROVIDER_FAILED' });

  const kernel = await start();
  t.same(warnings, ['RULE_PROVIDER_FAILED'], 'the first download fails, which is told');
  t.equal(await adapterFor(kernel, 'one.example'), 'DIRECT', 'half a list is none');
  t.same(await readdir(folder), [], 'and is not kept');

  manner = serve(FIRST);
  await within(kernel.refreshRuleProvider('remote'), LIMIT_MS);
  t.match(kernel.ruleProviders(), [{ name: 'remote', entries: 2, error: null }]);
  t.equal(await adapterFor(kernel, 'x.two.example'), 'REJECT', 'the second is whole');
  t.equal(await copy(), FIRST);

  for (const [what, next] of Object.entries({
    'with a length': die({ 'content-length': 1000 }),
    'in chunks': die({ 'transfer-encoding': 'chunked' }),
    'with an error instead': (response: http.ServerResponse) => response.writeHead(503).end('one.example\n'),
    'with a page instead': serve('<html>\n<body>Please log in!</body>\n</html>\n'),
  })) {
    manner = next;
    await fails(kernel);
    t.type(kernel.ruleProviders()[0]?.error, 'string', `${what}: it is told`);
    t.same([await adapterFor(kernel, 'one.example'), await adapterFor(kernel, 'x.two.example')], ['REJECT', 'REJECT'], `${what}: the last good one stays`);
    t.equal(await copy(), FIRST, `${what}: on disk, too`);
  }
  t.same((await readdir(join(folder, 'lists'))).sort(), ['remote.txt', 'remote.txt.meta.json'], 'nothing half done lies around');

  await within(kernel.reload(parseConfig(`${config}mode: rule\n`, join(folder, 'config.yaml'))), LIMIT_MS, 'kernel.reload()');
  t.equal(await adapterFor(kernel, 'one.example'), 'REJECT', 'a reload keeps it');

  manner = hang;
  const before = requests;
  const hanging = kernel.refreshRuleProvider('remote').then(
    () => 'it came',
    () => 'it failed',
  );
  await eventually(() => requests > before, LIMIT_MS, 'the request');
  await within(kernel.stop(), LIMIT_MS, 'kernel.stop() in mid-download');
  t.equal(await within(hanging, LIMIT_MS), 'it failed', 'a stop does not wait for it');

  manner = die({ 'content-length': 1000 });
  const again = await start();
  t.equal(await adapterFor(again, 'one.example'), 'REJECT', 'the next start has the copy');
  await fails(again);
  t.equal(await adapterFor(again, 'one.example'), 'REJECT');
  manner = serve(SECOND);
  await within(again.refreshRuleProvider('remote'), LIMIT_MS);
  t.same([await adapterFor(again, 'one.example'), await adapterFor(again, 'three.example')], ['DIRECT', 'REJECT'], 'news are taken');
  t.equal(await copy(), SECOND);
  await within(again.stop(), LIMIT_MS, 'kernel.stop()');
});

void t.test(`lists of ${LINES} lines`, { timeout: TEST_MS }, async (t) => {
  const folder = await folderFor(t);
  for (const name of ['a', 'b']) {
    await write(join(folder, `${name}-names.txt`), (i) => `${i % 2 === 0 ? '' : '+.'}n${i}.${name}.bulk.example`);
    await write(join(folder, `${name}-networks.txt`), network);
  }

  await t.test('are there soon, and right', { timeout: TEST_MS }, async (t) => {
    const kernel = createKernel(parseConfig(bulkConfig('a'), join(folder, 'config.yaml')));
    kernel.on('kernel.warning', ({ code, message }) => t.fail(`a warning: ${code} ${message}`));
    const begin = performance.now();
    await within(kernel.start(), LIMIT_MS, 'kernel.start()');
    t.comment(`${LINES} names and ${LINES} networks: ${Math.round(performance.now() - begin)} ms to load`);
    t.same(
      kernel.ruleProviders().map(({ entries }) => entries),
      [LINES, LINES],
    );
    const last = LINES - 1;
    for (const [host, adapter] of [
      ['n0.a.bulk.example', 'REJECT'],
      ['x.n0.a.bulk.example', 'DIRECT'],
      ['n1.a.bulk.example', 'REJECT'],
      ['x.y.n1.a.bulk.example', 'REJECT'],
      ['xn1.a.bulk.example', 'DIRECT'],
      [`n${last}.a.bulk.example`, 'REJECT'],
      [`x.n${last}.a.bulk.example`, 'REJECT'],
      [`n${LINES}.a.bulk.example`, 'DIRECT'],
      ['n0.b.bulk.example', 'DIRECT'],
      ['1.0.0.255', 'block'],
      ['1.0.1.0', 'DIRECT'],
      ['0.255.255.255', 'DIRECT'],
      ['::ffff:1.0.2.0', 'block'],
      [addressOf(last, 255), 'block'],
      [addressOf(last, 256), 'DIRECT'],
      [addressOf(LINES, 0), 'DIRECT'],
    ] as const)
      t.equal(await adapterFor(kernel, host), adapter, `${host} takes ${adapter}`);
    await within(kernel.stop(), LIMIT_MS, 'kernel.stop()');
  });

  await t.test(`${RELOADS} reloads leave memory as it is`, { timeout: TEST_MS }, async (t) => {
    const { bytes, loadMs } = await reloaded(folder, t);
    t.equal(bytes.length, RELOADS + 1);
    const [first = 0, ...others] = bytes.slice(2);
    const growth = Math.max(...others.slice(-3)) - first;
    const mib = (value: number): string => `${(value / 2 ** 20).toFixed(1)} MiB`;
    t.comment(
      `a reload takes ${Math.round(loadMs)} ms; memory in use after every ${RELOADS / 10}: ${bytes
        .filter((_, i) => i % (RELOADS / 10) === 0)
        .map(mib)
        .join(', ')}`,
    );
    // Both lists together are some 60 bytes a line in this sum, which counts buffers twice: what a single reload leaves behind would show.
    t.ok(growth < LINES * 5 + 2 ** 20, `it grew by ${mib(growth)}`);
  });
});

async function folderFor(t: Test): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'nekit-lists-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

async function adapterFor(kernel: Kernel, host: string): Promise<string> {
  return (await kernel.explain({ destination: { host: host.replace('::ffff:', ''), port: 443 } })).adapter;
}

function bulkConfig(name: string): string {
  return `rule-providers:
  names: { type: file, behavior: domain, format: text, path: ${name}-names.txt }
  networks: { type: file, behavior: ipcidr, format: text, path: ${name}-networks.txt }
proxies: [{ name: block, type: reject, delay: 0 }]
rules: ["RULE-SET,names,REJECT", "RULE-SET,networks,block,no-resolve"]
`;
}

/** Every second network of 256 addresses from 1.0.0.0 on, so that no two of them are one larger one. */
function network(i: number): string {
  return `${addressOf(i, 0)}/24`;
}

function addressOf(i: number, offset: number): string {
  const value = 2 ** 24 + i * 512 + offset;
  return [24, 16, 8, 0].map((shift) => (value >>> shift) & 255).join('.');
}

async function write(file: string, line: (i: number) => string): Promise<void> {
  const stream = createWriteStream(file);
  for (let from = 0; from < LINES; from += 10_000) {
    const some = Array.from({ length: Math.min(10_000, LINES - from) }, (_, i) => `${line(from + i)}\n`);
    if (!stream.write(some.join(''))) await new Promise<void>((resolve) => stream.once('drain', () => resolve()));
  }
  stream.end();
  await finished(stream);
}

/** In a process of its own, where nothing else takes memory. */
function reloaded(folder: string, t: Test): Promise<Measured> {
  const file = fileURLToPath(new URL('reload-process.js', import.meta.url));
  const child = fork(file, [folder, String(RELOADS), bulkConfig('a'), bulkConfig('b')], {
    execArgv: ['--expose-gc'],
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
  t.teardown(() => child.kill('SIGKILL'));
  return new Promise((resolve, reject) => {
    child.once('message', (message) => resolve(message as Measured));
    child.once('error', reject);
    child.once('exit', (code) => reject(new Error(`the process ended with ${code} and said nothing`)));
  });
}
