// The figures of a run as tables.
import { NEKIT, NEKIT_TS } from './peers.mjs';
import { medianOf, pairedRatio } from './statistics.mjs';

const YARDSTICKS = ['v2ray', 'sing-box', 'microsocks', 'plain-node'];
const NOTHING = '-';
const TITLES = {
  connections: 'Connections, 64 at a time: connect, SOCKS5 CONNECT, 64-byte ping, close',
  connect: 'Connections, 64 at a time: connect, HTTP CONNECT, 64-byte ping, close',
  http: 'HTTP requests (absolute-form, keep-alive, 128-byte body) over 64 connections',
};

export function facts({ machine: m, settings, versions }) {
  return [
    `${m.cpu}, ${m.cores} cores, ${m.memoryGiB} GiB, Linux ${m.kernel}, Node ${m.node}, commit ${m.commit}`,
    `load before ${m.loadBefore.toFixed(2)}, ${m.busyCores.toFixed(2)} cores busy; ${m.namespace ? 'own network namespace' : 'NO namespace of our own: congestion control and TIME_WAIT are the machine’s'}`,
    `client, proxy and server share the cores: ratios within this run count, digits do not; ${settings.rounds} rounds of ${settings.seconds} s`,
    ...Object.entries(versions).map(([name, version]) => `  ${name}: ${version}`),
  ].join('\n');
}

/** @param names     of the entrants, in the order of the tables */
export function render({ tests, idle }, names) {
  const all = Object.entries(tests);
  const bulk = all.filter(([, { kind }]) => kind === 'bulk');
  const small = all.filter(([, { kind }]) => kind !== 'bulk');
  return [
    ...(bulk.length > 0 ? bulkTables(bulk, names) : []),
    ...small.flatMap(([label, sheet]) => smallTable(label, sheet, names)),
    ...ratioTables(all, names),
    ...(Object.keys(idle).length > 0 ? idleTable(idle) : []),
  ].join('\n\n');
}

function bulkTables(bulk, names) {
  const rows = names.filter((name) => bulk.some(([, { peers }]) => peers[name] !== undefined));
  const proxies = rows.filter((name) => name !== 'direct');
  const tests = bulk.map(([label, { congestion }]) => `${label} (${congestion})`);
  const last = bulk[bulk.length - 1][1];
  const perCore = ({ peers }, name) => `${digits(medianOf(peers[name], 'gbitsPerCore'), 1)} (${digits(medianOf(peers[name], 'cpuMsPerGbit'), 0)})`;
  return [
    'Bulk, Gbit/s',
    table(
      ['', ...tests],
      rows.map((name) => [name, ...bulk.map(([, { peers }]) => digits(medianOf(peers[name], 'gbits')))]),
    ),
    'Bulk, Gbit/s per core of the proxy (CPU ms per Gbit); RSS afterwards, MiB',
    table(
      ['', ...tests, 'RSS'],
      proxies.map((name) => [name, ...bulk.map(([, sheet]) => perCore(sheet, name)), digits(medianOf(last.peers[name], 'rss') / 1024, 0)]),
    ),
  ];
}

function smallTable(label, { congestion, kind, peers }, names) {
  const sum = (rounds, figure) => rounds.reduce((total, round) => total + (round?.[figure] ?? 0), 0);
  const http = kind === 'requests';
  return [
    `${TITLES[label]} (${congestion})`,
    table(
      ['', 'per second', 'p50 ms', 'p99 ms', 'failed', 'CPU us each', 'RSS MiB', ...(http ? ['opened', 'sent again'] : [])],
      names
        .filter((name) => peers[name] !== undefined)
        .map((name) => {
          const rounds = peers[name];
          return [
            name,
            digits(medianOf(rounds, 'rate'), 0),
            digits(medianOf(rounds, 'p50')),
            digits(medianOf(rounds, 'p99')),
            sum(rounds, 'failed'),
            digits(medianOf(rounds, 'cpuUsEach'), 0),
            digits(medianOf(rounds, 'rss') / 1024, 0),
            ...(http ? [sum(rounds, 'opened'), sum(rounds, 'retried')] : []),
          ];
        }),
    ),
  ];
}

const FIGURES = {
  bulk: [
    ['Gbit/s', 'gbits'],
    ['Gbit/s per core', 'gbitsPerCore'],
  ],
  small: [
    ['per second', 'rate'],
    ['per second and core', 'ratePerCore'],
    ['p99 (less is better)', 'p99'],
  ],
};

/** Each pair [ours, theirs] is a column: medians of the ratios within a round. */
function ratioTable(title, tests, heads, pairs) {
  const rows = tests
    .flatMap(([label, { kind, peers }]) =>
      FIGURES[kind === 'bulk' ? 'bulk' : 'small'].map(([name, figure]) => [
        `${label}, ${name}`,
        ...pairs.map(([ours, theirs]) => ratio(pairedRatio(peers[ours], peers[theirs], figure))),
      ]),
    )
    .filter(([, ...cells]) => cells.some((cell) => cell !== NOTHING));
  return [title, table(['', ...heads], rows)];
}

function ratioTables(tests, names) {
  const measured = (name) => tests.some(([, { peers }]) => peers[name] !== undefined);
  const yardsticks = YARDSTICKS.filter(measured);
  const others = names.filter((name) => name.startsWith(NEKIT) && name !== NEKIT && measured(name));
  const parts = [];
  for (const ours of [NEKIT, NEKIT_TS].filter((name) => measured(name) && yardsticks.length > 0)) {
    parts.push(
      ...ratioTable(
        `${ours} divided by`,
        tests,
        yardsticks,
        yardsticks.map((theirs) => [ours, theirs]),
      ),
    );
  }
  if (measured(NEKIT) && others.length > 0) {
    parts.push(
      ...ratioTable(
        `Divided by ${NEKIT}`,
        tests,
        others,
        others.map((ours) => [ours, NEKIT]),
      ),
    );
  }
  return parts;
}

function idleTable(idle) {
  const rows = Object.entries(idle);
  return [
    `Memory of idle relayed connections, KiB each (RSS above start, above warm-up; PSS above warm-up); RSS in MiB, and after all closed divided by the start`,
    table(
      ['', 'open', 'above start', 'above warm', 'PSS', 'start MiB', 'held MiB', 'after MiB', 'after / start', 's after'],
      rows.map(([name, one]) => [
        name,
        one.count,
        digits(one.rssAboveStart),
        digits(one.rssAboveWarm),
        digits(one.pssAboveWarm),
        ...[one.start, one.held, one.after].map(({ rss }) => digits(rss / 1024, 0)),
        digits(one.rssReturned),
        one.afterSeconds,
      ]),
    ),
  ];
}

export function table(head, rows) {
  const all = [head, ...rows].map((row) => row.map(String));
  const widths = head.map((_, column) => Math.max(...all.map((row) => (row[column] ?? '').length)));
  const line = (row) => row.map((cell, column) => (column === 0 ? cell.padEnd(widths[column]) : cell.padStart(widths[column]))).join('  ');
  return [line(all[0]), widths.map((width) => '-'.repeat(width)).join('  '), ...all.slice(1).map(line)].join('\n');
}

export function digits(value, places = 2) {
  return Number.isFinite(value) ? value.toFixed(places) : NOTHING;
}

export function ratio(value) {
  return Number.isFinite(value) ? `${value.toFixed(2)}x` : NOTHING;
}
