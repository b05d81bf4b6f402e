// A hundred new versions of a list, in a process of its own: what was replaced is let go of, here and in the folder.
import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { runChild } from '../support/child.js';

const full = process.env.NEKIT_FULL === '1';
const ENTRIES = full ? 250_000 : 20_000;
const RELOADS = 100;
/** What is left after the last of them may be more than after the tenth by this, in bytes: the heap is never quite the same twice. */
const SLACK = full ? 24 * 1024 * 1024 : 6 * 1024 * 1024;

const dist = new URL('../../dist/', import.meta.url).href;

const program = (cache: string): string => `
  import http from 'node:http';
  import v8 from 'node:v8';
  import vm from 'node:vm';
  import { Events } from '${dist}net/events.js';
  import { RuleProviders } from '${dist}provider/rule-providers.js';
  import { builtinRules } from '${dist}rule/builtin.js';
  import { ConfigRuleTools } from '${dist}rule/tools.js';
  import { FakeFacts, testContext, testSession } from '${dist}testing.js';

  v8.setFlagsFromString('--expose-gc');
  const gc = vm.runInNewContext('gc');
  let version = 0;
  const server = http.createServer((request, response) => {
    version++;
    const tag = version;
    response.writeHead(200, { etag: JSON.stringify(String(tag)) });
    for (let i = 0; i < ${ENTRIES}; i += 1000)
      response.write(Array.from({ length: 1000 }, (_, j) => 'DOMAIN-SUFFIX,n' + (i + j) + '.v' + tag + '.example\\nIP-CIDR,' + ((i + j) >> 16) + '.' + (((i + j) >> 8) & 255) + '.' + ((i + j) & 255) + '.' + tag + '/32\\n').join(''));
    response.end('DST-PORT,' + tag + '\\n');
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { context, timers } = testContext();
  const kinds = new Map(builtinRules.map((definition) => [definition.kind, definition]));
  const tools = new ConfigRuleTools({ checking: false, folder: '.' });
  const source = { type: 'http', url: 'http://127.0.0.1:' + server.address().port + '/', path: null, proxy: 'DIRECT', headers: {} };
  const config = { name: 'big', behavior: 'classical', format: 'text', sizeLimit: 2 ** 28, interval: 0, source };
  let providers = null;
  const next = async () => {
    const made = new RuleProviders(new Map([['big', config]]), {
      clock: { now: () => performance.now(), after: () => () => undefined },
      timers,
      events: new Events(),
      adapters: () => context.base,
      known: () => ({ definitions: (kind) => kinds.get(kind), kinds: () => kinds.keys(), tools }),
      cacheFolder: ${JSON.stringify(cache)},
    });
    if (providers !== null) made.adoptFrom(providers);
    await made.load({ reason: null, add() {}, remove() {}, onCancel: () => () => undefined });
    made.start();
    providers?.close();
    providers = made;
  };
  const used = async () => {
    for (let i = 0; i < 3; i++) {
      gc();
      await new Promise((resolve) => setImmediate(resolve));
    }
    const { heapUsed, external, rss } = process.memoryUsage();
    return { used: heapUsed + external, rss };
  };
  await next();
  const measured = [];
  for (let i = 1; i <= ${RELOADS}; i++) {
    if (i % 4 === 0) await next(); // a reload of the config
    await providers.refresh('big');
    if (i === 10 || i === ${RELOADS}) measured.push(await used());
  }
  const set = providers.ruleSets.get('big').current;
  const matches = (host) => set.match(testSession({ destination: { host, port: 1 } }), new FakeFacts([]), { noResolve: true, source: false });
  const right = matches('a.n7.v' + version + '.example') && !matches('a.n7.v' + (version - 1) + '.example');
  const entries = providers.info()[0].entries;
  providers.close();
  server.close();
  process.stdout.write(JSON.stringify({ measured, right, entries }));
`;

void t.test(`${RELOADS} versions of a list of ${2 * ENTRIES + 1} entries`, { timeout: 600_000 }, async (t) => {
  const cache = await mkdtemp(join(tmpdir(), 'nekit-memory-'));
  const ended = await runChild(program(cache), { ms: full ? 540_000 : 60_000 });
  assert.equal(ended.code, 0, ended.stderr);
  const { measured, right, entries } = JSON.parse(ended.stdout) as { measured: { used: number; rss: number }[]; right: boolean; entries: number };
  assert.equal(right, true);
  assert.equal(entries, 2 * ENTRIES + 1);
  const [early, late] = measured;
  assert.ok(early !== undefined && late !== undefined);
  t.comment(`after 10: ${mib(early.used)}, rss ${mib(early.rss)}; after ${RELOADS}: ${mib(late.used)}, rss ${mib(late.rss)}`);
  assert.ok(late.used - early.used < SLACK, `${mib(early.used)} grew to ${mib(late.used)}`);
  assert.equal((await readdir(join(cache, 'rule-providers'))).length, 2, 'one copy and its facts');
  await rm(cache, { recursive: true });
});

function mib(bytes: number): string {
  return `${(bytes / 1024 / 1024).toFixed(1)} MiB`;
}
