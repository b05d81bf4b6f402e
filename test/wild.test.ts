// A Clash config of the wild kind: 3,000 rules, 20 lists, groups within groups, anchors. It loads, is found clean, and leads every listed destination
// to the adapter that a hand-made table says. And what is wrong in it is told with its place.
import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import net from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { httpPlugin } from '@nekit/adapter-http';
import { socks5Plugin } from '@nekit/adapter-socks5';
import { checkConfig, createKernel, type ExplainInput, formatProblem, type Kernel, normaliseHost, parseConfig, parseEndpoint } from '@nekit/core';
import { within } from '@nekit/core/testing';
import { geoipPlugin } from '@nekit/rule-geoip';
import t, { type Test } from 'tap';
import { SLIPS, type Slip } from './wild/broken.js';
import { filledIn, RULES, type WildFolder, wildFolder } from './wild/folder.js';
import type { Row } from './wild/row.js';
import { OWN, TABLE } from './wild/table.js';

const plugins = [httpPlugin, socks5Plugin, geoipPlugin];
const COMMAND = fileURLToPath(new URL('../packages/cli/bin/nekit-kernel.js', import.meta.url));
/** A start on a busy machine takes seconds. */
const COMMAND_MS = 40_000;

function command(...args: string[]): Promise<{ code: number; output: string }> {
  return new Promise((resolve) => {
    execFile(process.execPath, [COMMAND, ...args], { timeout: COMMAND_MS, maxBuffer: 64 * 1024 * 1024 }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : typeof error.code === 'number' ? error.code : -1, output: stdout + stderr });
    });
  });
}

const wild: WildFolder = await wildFolder();
t.teardown(() => wild.remove());

void t.test('the config is of the wild kind', async (t) => {
  const { registry } = createKernel({}, { plugins });
  const config: unknown = parseConfig(wild.skeleton, 'config.yaml').value;
  const top = config as {
    rules: unknown[];
    'sub-rules': Record<string, unknown[]>;
    'rule-providers': Record<string, object>;
    'proxy-groups': { type: string }[];
  };
  const rules = [...top.rules, ...Object.values(top['sub-rules']).flat()];
  const kindOf = (rule: unknown): string => (typeof rule === 'string' ? (rule.split(',')[0] ?? '') : (rule as { type: string }).type);
  for (const kind of registry.rules.names()) {
    const written = rules.filter((rule) => kindOf(rule) === kind);
    t.ok(
      written.some((rule) => typeof rule === 'string') && written.some((rule) => typeof rule === 'object'),
      `${kind} stands there twice, as text and as object`,
    );
  }
  for (const type of registry.groups.names())
    t.ok(
      top['proxy-groups'].some((group) => group.type === type),
      `there is a group of type ${type}`,
    );
  t.equal(Object.keys(top['rule-providers']).length, 20, 'there are 20 lists');
  t.ok(TABLE.length >= 200, 'the table has 200 rows at least');
});

void t.test('the command finds it clean', async (t) => {
  const { code, output } = await command('check', '-c', wild.file);
  t.equal(output, `${wild.file}: 0 errors, 0 warnings\n`);
  t.equal(code, 0);
});

void t.test('every destination takes the way that the table says', async (t) => {
  const kernel = await running(wild.text, t);
  t.same(kernel.warnings, [], 'no warnings');
  t.equal(kernel.rules().filter(({ list }) => list === null).length, RULES);
  for (const row of TABLE) await explained(kernel, row, t);
  await t.test('of this process', { skip: process.platform === 'linux' ? false : 'processes are known on Linux only' }, async (t) => {
    const { source, close } = await ownConnection();
    for (const row of OWN) await explained(kernel, { ...row, rule: filledIn(row.rule), source }, t, 10);
    await close();
  });
  t.same(new Set(kernel.rules().map(({ hits }) => hits)), new Set([0]), 'explaining counts no hits');
});

void t.test('with a byte order mark and the line ends of Windows it is the same', async (t) => {
  const kernel = await running(`\ufeff${wild.text.replaceAll('\n', '\r\n')}`, t);
  t.same(kernel.warnings, [], 'no warnings');
  for (const row of TABLE) await explained(kernel, row, t);
});

void t.test('the command explains', async (t) => {
  const ask = async (...args: string[]): Promise<Record<string, unknown>> => {
    const { code, output } = await command('explain', '--json', '-c', wild.file, ...args);
    if (code !== 0) t.fail(output);
    return JSON.parse(output) as Record<string, unknown>;
  };
  t.match(await ask('MÜNCHEN.example.'), { destination: 'xn--mnchen-3ya.example:443', adapter: 'de-1', chain: [], rule: 'DOMAIN,münchen.example,de-1' });
  t.match(await ask('sub.crlf-suffix.example'), { adapter: 'REJECT', rule: 'RULE-SET,ads-text,REJECT' });
  t.match(await ask('mixed.wild.example', '--udp'), { adapter: 'office', chain: ['Office'], rule: 'COUNTRY,--,Office', addresses: ['192.0.2.10'] });
  t.match(await ask('[2001:db8::1]:27015', '--source', '192.168.88.1'), {
    adapter: /^(?:hk-1|jp-2|us-2)$/,
    chain: ['Nested', 'Balance'],
    rule: 'RULE-SET,clients,Nested,src',
  });
});

void t.test('exotic proxies are warned of and nothing more', async (t) => {
  const exotic = `proxies:
  - { name: v, type: vmess, server: 127.0.0.1, port: 1, uuid: x }
  - { name: t, type: trojan, server: 127.0.0.1, port: 2, password: x }
proxy-groups:
  - { name: all, type: url-test, include-all: true }
rules: ["DOMAIN,t.example,t", "MATCH,all"]
`;
  const { config, problems } = checkConfig(parseConfig(exotic, 'exotic.yaml'), createKernel({}, { plugins }).registry);
  t.ok(config !== null);
  t.same(
    problems.map(({ severity, code, line }) => [severity, code, line]),
    [
      ['warning', 'UNKNOWN_TYPE', 2],
      ['warning', 'UNKNOWN_TYPE', 3],
    ],
  );
});

void t.test('slips are told with their place', async (t) => {
  const { registry } = createKernel({}, { plugins });
  for (const slip of SLIPS) {
    const { text, place } = slipped(slip);
    const told = checkConfig(parseConfig(text, wild.file), registry).problems.map(formatProblem);
    const wanted = `${wild.file}:${place} `;
    const message = slip.message.replaceAll('FOLDER', wild.folder);
    const found = told.some(
      (line) =>
        line.startsWith(wanted) &&
        line
          .slice(wanted.length)
          .replace(/^(?:error|warning): /, '')
          .startsWith(message),
    );
    t.ok(found, `${slip.to}: ${wanted}${message}`, { told: told.slice(0, 5) });
  }
});

void t.test('the command tells several at once', async (t) => {
  const file = join(wild.folder, 'broken.yaml');
  const wrong = wild.text
    .replace('  - MATCH,Final', '  - MATCH,Finale\n  - DOMAIN,behind.example,DIRECT')
    .replace('path: lists/ads.yaml', 'path: lists/adds.yaml')
    .replace('IP-CIDR,127.0.0.0/8', 'IP-CIDR,127.0.0.0/80');
  await writeFile(file, wrong);
  const { code, output } = await command('check', '-c', file);
  const lines = wrong.split('\n');
  const lineOf = (text: string): number => lines.findIndex((line) => line.includes(text)) + 1;
  const list = lineOf('path: lists/adds.yaml');
  t.match(output, `${file}:${list}:${(lines[list - 1] ?? '').indexOf('lists/adds.yaml') + 1} error: there is no such file: ${wild.folder}/lists/adds.yaml\n`);
  t.match(output, `${file}:${lineOf('IP-CIDR,127.0.0.0/80')}:5 error: "127.0.0.0/80" has a prefix of 80 bits`);
  t.match(output, `${file}:${lineOf('MATCH,Finale')}:5 error: there is no proxy or group "Finale". Did you mean "Final"?`);
  t.match(output, `${file}:${lineOf('DOMAIN,behind.example')}:5 warning: nothing comes this far: the MATCH before`);
  t.match(output, '3 errors, 1 warning\n');
  t.equal(code, 1);
});

/** The config as it was written, with a slip in it, and `line:column` of where that is to be told. */
function slipped({ from, to, behind, at }: Slip): { text: string; place: string } {
  const parts = wild.skeleton.split(from);
  if (parts.length !== 2) throw new Error(`${JSON.stringify(from)} stands there ${parts.length - 1} times`);
  const text = filledIn(parts.join(to));
  const place = at === undefined ? filledIn(parts[0] ?? '').length : text.indexOf(at);
  const begin = text.lastIndexOf('\n', place) + 1;
  const column = behind === undefined ? firstOf(text, begin) : place + to.indexOf(behind) + behind.length;
  return { text, place: `${text.slice(0, begin).split('\n').length}:${column - begin + 1}` };
}

/** Where what stands in a line begins, behind its dash. */
function firstOf(text: string, begin: number): number {
  return begin + (/^ *(?:- )?/.exec(text.slice(begin, begin + 100))?.[0].length ?? 0);
}

async function running(text: string, t: Test): Promise<Kernel> {
  const kernel = createKernel(parseConfig(text, wild.file), { plugins });
  kernel.on('kernel.warning', ({ code, message }) => t.fail(`a warning: ${code} ${message}`));
  await kernel.start();
  t.teardown(() => within(kernel.stop(), 15_000, 'kernel.stop()'));
  return kernel;
}

/** The groups that choose for each connection, and their members. */
const SPREAD: Readonly<Record<string, readonly string[]>> = { Balance: ['hk-1', 'jp-2', 'us-2'], Robin: ['de-1', 'us-2'], Sticky: ['hk-1', 'jp-2'] };

/** `tries`: a process is looked for half a second, and a busy machine may need more; what was not found is known by what was asked for. */
async function explained(kernel: Kernel, row: Row, t: Test, tries = 1): Promise<void> {
  const { host, port, udp, expect, via = [], rule, list, addresses } = row;
  let found = await kernel.explain(inputOf(row));
  for (let left = tries - 1; left > 0 && found.rule !== rule; left--) found = await kernel.explain({ ...inputOf(row), requested: { host, port: left } });
  const last = found.tried.at(-1);
  // Which member a load-balance group takes is no matter of the table, but one of them it has to be.
  const spread = SPREAD[expect];
  if (spread !== undefined) t.ok(spread.includes(found.adapter), `${found.adapter} is a member of ${expect}`);
  const [adapter, chain] = spread === undefined ? [found.adapter, found.chain] : [found.chain.at(-1), found.chain.slice(0, -1)];
  const got = { adapter, chain, rule: found.rule, list: last?.list, verdict: last?.verdict };
  const wanted = { adapter: expect, chain: via, rule, list, verdict: 'match' };
  const { host: _host, port: _port, expect: _expect, via: _via, rule: _rule, ...rest } = row;
  t.same(got, wanted, `${host}:${port}${udp === true ? '/udp' : ''} ${JSON.stringify(rest)} by ${rule}`);
  if (addresses !== undefined) t.same(found.addresses, addresses, `${host} keeps to its addresses`);
}

function inputOf({ host, port, udp, source, inbound, inboundType, inboundPort, user }: Row): ExplainInput {
  const name = normaliseHost(host);
  const client = source === undefined ? undefined : parseEndpoint(source);
  if (name === null || client === null) throw new Error(`${host} or ${source} is no endpoint`);
  return {
    destination: { host: name, port },
    network: udp === true ? 'udp' : 'tcp',
    ...(client === undefined ? {} : { source: client }),
    ...(inbound === undefined ? {} : { inbound }),
    ...(inboundType === undefined ? {} : { inboundType }),
    ...(inboundPort === undefined ? {} : { inboundPort }),
    ...(user === undefined ? {} : { user }),
  };
}

/** A connection on loopback, whose client end is this process's. */
async function ownConnection(): Promise<{ source: string; close(): Promise<void> }> {
  const server = net.createServer((socket) => socket.resume());
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  const socket = net.connect(address.port, '127.0.0.1');
  await new Promise<void>((resolve, reject) => socket.once('connect', resolve).once('error', reject));
  return {
    source: `127.0.0.1:${socket.localPort}`,
    close: () =>
      new Promise((resolve) => {
        socket.destroy();
        server.close(() => resolve());
      }),
  };
}
