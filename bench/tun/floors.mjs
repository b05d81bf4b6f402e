// What the project wants of itself with a TUN, and the verdict.
import { medianOf, pairedRatio } from '../statistics.mjs';
import { GVISOR, LOOPBACK, MIXED, OURS, OURS_PLAIN, PASTA, SYSTEM } from './proxies.mjs';

/**
 * least: ours divided by theirs in the same round, median over rounds; `of`: several peers mean the best of them in that test.
 * most: the same, of medians, where less is better. atLeast, atMost: the figure itself.
 */
const FLOORS = [
  { test: /^(?:up|down) 1$/, figure: 'gbits', of: [LOOPBACK], least: 0.55 },
  { test: /^(?:up|down) 8$/, figure: 'gbits', of: [LOOPBACK], least: 0.45 },
  { test: /^(?:up|down) \d+$/, figure: 'gbits', of: [PASTA], least: 1 },
  { test: /^(?:up|down) \d+$/, ours: OURS_PLAIN, figure: 'gbits', of: [GVISOR], least: 1 },
  { test: /, SOCKS5$/, figure: 'gbits', of: [GVISOR], least: 1.5 },
  { test: /, SOCKS5$/, figure: 'gbits', of: [GVISOR, SYSTEM, MIXED], least: 1 },
  { test: /^connections$/, figure: 'rate', of: [GVISOR, SYSTEM, MIXED], least: 1 },
  { test: /^connections$/, figure: 'p99', of: [GVISOR, SYSTEM, MIXED], most: 2 },
  { test: /^udp$/, figure: 'rate', of: [GVISOR, SYSTEM, MIXED], least: 1.5 },
  { test: /^fairness$/, figure: 'jain', atLeast: 0.9 },
];
const IDLE_KIB = 4;
const LOOP_MS = 10;
/** Bytes of heap after very many packets: what is left is noise of the runtime. */
const HEAP_GROWTH = 1 << 20;

const NAMES = { gbits: 'Gbit/s', rate: 'per second', p99: 'ms p99', jain: 'Jain' };

export function judge({ tests, idle, loop, versions }) {
  return [...Object.values(tests).flatMap((sheet) => sheetVerdicts(sheet, versions)), ...idleVerdicts(idle), ...loopVerdicts(loop)];
}

function sheetVerdicts({ label, congestion, peers }, versions) {
  return FLOORS.filter(({ test, ours = OURS }) => test.test(label) && peers[ours] !== undefined).flatMap(
    ({ ours = OURS, figure, of, least, most, atLeast }) => {
      const where = `${ours}, ${label} (${congestion})`;
      const mine = medianOf(peers[ours], figure);
      if (of === undefined) return [{ ok: mine >= atLeast, text: `${where}: ${mine.toFixed(3)} ${NAMES[figure]} (at least ${atLeast})` }];
      const there = of.filter((name) => Number.isFinite(medianOf(peers[name], figure)));
      if (there.length === 0) {
        const why = peers[of[0]] === undefined ? (versions[of[0]] ?? 'not here') : 'no figures, see PROBLEM';
        return [{ ok: null, text: `${where}: ${NAMES[figure]} against ${of.join(', ')}`, peer: of[0], why }];
      }
      const worst = there.sort((a, b) => medianOf(peers[b], figure) - medianOf(peers[a], figure));
      const best = most === undefined ? worst[0] : worst.at(-1);
      const ratio = most === undefined ? pairedRatio(peers[ours], peers[best], figure) : mine / medianOf(peers[best], figure);
      const limit = most === undefined ? `at least ${least}x` : `at most ${most}x`;
      const figures = `${mine.toPrecision(4)} and ${medianOf(peers[best], figure).toPrecision(4)}`;
      return [
        { ok: most === undefined ? ratio >= least : ratio <= most, text: `${where}: ${ratio.toFixed(2)}x ${best} in ${NAMES[figure]} (${limit}; ${figures})` },
      ];
    },
  );
}

function idleVerdicts(idle) {
  const ours = idle[OURS];
  if (ours === undefined) return [];
  return [
    {
      ok: ours.rssAboveStart <= IDLE_KIB,
      text: `${OURS}, ${ours.count} idle: ${ours.rssAboveStart.toFixed(2)} KiB each above the start (at most ${IDLE_KIB})`,
    },
  ];
}

function loopVerdicts(loop) {
  return Object.entries(loop).flatMap(([name, { delays, packets, heapGrowth }]) => [
    ...Object.entries(delays).map(([label, { p99 }]) => ({
      ok: p99 <= LOOP_MS,
      text: `${name}, ${label}: the event loop is late by ${p99.toFixed(1)} ms at p99 (at most ${LOOP_MS})`,
    })),
    {
      ok: heapGrowth <= HEAP_GROWTH,
      text: `${name}: the heap grew by ${heapGrowth} bytes over ${(packets / 1e6).toFixed(1)} million packets (at most ${HEAP_GROWTH})`,
    },
  ]);
}
