// The figures as tables.
import { digits, ratio, table } from '../report.mjs';
import { medianOf, pairedRatio } from '../statistics.mjs';
import { LOOPBACK, OURS, OURS_PLAIN } from './proxies.mjs';

export function render({ tests, idle, loop }, names) {
  const sheets = Object.values(tests);
  const bulk = sheets.filter(({ kind }) => kind === 'bulk' || kind === 'fairness');
  const small = sheets.filter(({ kind }) => kind === 'connections' || kind === 'udp');
  return [
    ...bulkTables(
      'direct',
      bulk.filter(({ label }) => !label.endsWith('SOCKS5')),
      names,
    ),
    ...bulkTables(
      'on by SOCKS5',
      bulk.filter(({ label }) => label.endsWith('SOCKS5')),
      names,
    ),
    ...small.flatMap((sheet) => smallTable(sheet, names)),
    ...idleTable(idle),
    ...loopTables(loop),
  ].join('\n\n');
}

function bulkTables(title, sheets, names) {
  if (sheets.length === 0) return [];
  const rows = names.filter((name) => sheets.some(({ peers }) => peers[name] !== undefined));
  const head = ['', ...sheets.map(({ label, congestion }) => `${label.replace(', SOCKS5', '')} (${congestion})`)];
  const cells = (of) => rows.map((name) => [name, ...sheets.map((sheet) => of(sheet.peers, name))]);
  const fairness = sheets.filter(({ kind }) => kind === 'fairness');
  return [
    `TUN, MTU 1500, ${title}: Gbit/s`,
    table(
      head,
      cells((peers, name) => digits(medianOf(peers[name], 'gbits'))),
    ),
    `The proxy: cores it used; Gbit/s per core; RSS afterwards, MiB`,
    table(
      head,
      cells(
        (peers, name) =>
          `${digits(medianOf(peers[name], 'cores'))}; ${digits(medianOf(peers[name], 'gbitsPerCore'), 1)}; ${digits(medianOf(peers[name], 'rss') / 1024, 0)}`,
      ),
    ),
    `${OURS} divided by (medians of ratios within a round)`,
    table(
      head,
      cells((peers, name) => ratio(pairedRatio(peers[OURS], peers[name], 'gbits'))),
    ),
    ...(rows.includes(OURS_PLAIN)
      ? [
          `${OURS_PLAIN} divided by`,
          table(
            head,
            cells((peers, name) => ratio(pairedRatio(peers[OURS_PLAIN], peers[name], 'gbits'))),
          ),
        ]
      : []),
    ...(rows.includes(LOOPBACK)
      ? [
          `Divided by ${LOOPBACK}`,
          table(
            head,
            cells((peers, name) => ratio(pairedRatio(peers[name], peers[LOOPBACK], 'gbits'))),
          ),
        ]
      : []),
    ...fairness.flatMap(({ peers }) => [
      'Fairness: Jain',
      table(
        ['', 'Jain'],
        rows.map((name) => [name, digits(medianOf(peers[name], 'jain'), 3)]),
      ),
    ]),
  ];
}

const TITLES = {
  connections: 'Connections, 64 at a time: connect, 64-byte ping, close',
  udp: 'Datagrams of 1400 bytes to an echo and back, 64 on their way at any time',
};

function smallTable({ kind, congestion, peers }, names) {
  const lost = (rounds) => rounds.reduce((total, round) => total + (round?.lost ?? 0), 0);
  return [
    `${TITLES[kind]} (${congestion})`,
    table(
      ['', 'per second', 'p50 ms', 'p99 ms', 'lost', 'CPU us each', 'cores', 'RSS MiB', `${OURS} divided by`],
      names
        .filter((name) => peers[name] !== undefined)
        .map((name) => [
          name,
          digits(medianOf(peers[name], 'rate'), 0),
          digits(medianOf(peers[name], 'p50')),
          digits(medianOf(peers[name], 'p99')),
          lost(peers[name]),
          digits(medianOf(peers[name], 'cpuUsEach'), 1),
          digits(medianOf(peers[name], 'cores')),
          digits(medianOf(peers[name], 'rss') / 1024, 0),
          ratio(pairedRatio(peers[OURS], peers[name], 'rate')),
        ]),
    ),
  ];
}

function idleTable(idle) {
  const rows = Object.entries(idle);
  if (rows.length === 0) return [];
  return [
    'Memory of idle connections, KiB each (RSS above the start, above warm-up) 4 s after the last came, and 30 s; RSS in MiB',
    table(
      ['', 'open', 'above start', 'above warm', 'above start, 30 s', 'start MiB', 'held MiB', '30 s MiB'],
      rows.map(([name, { count, rssAboveStart, rssAboveWarm, rssLater, begin, held, later }]) => [
        name,
        count,
        digits(rssAboveStart),
        digits(rssAboveWarm),
        digits(rssLater),
        digits(begin.rss / 1024, 0),
        digits(held.rss / 1024, 0),
        digits(later.rss / 1024, 0),
      ]),
    ),
  ];
}

function loopTables(loop) {
  return Object.entries(loop).flatMap(([name, { delays, packets, heapGrowth, collections, collectedMs }]) => [
    `${name}: how late the event loop is under load, ms`,
    table(
      ['', 'p50', 'p99', 'max', 'Gbit/s'],
      Object.entries(delays).map(([label, { p50, p99, max, gbits }]) => [label, digits(p50), digits(p99), digits(max, 1), digits(gbits)]),
    ),
    `${name}: ${digits(packets / 1e6, 1)} million packets: the heap grew by ${heapGrowth} bytes; ${collections} collections took ${digits(collectedMs, 1)} ms`,
  ]);
}
