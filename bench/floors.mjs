// The floors that the project sets itself, as data, and the verdict on them.
import { NEKIT, NEKIT_TS } from './peers.mjs';
import { medianOf, pairedRatio } from './statistics.mjs';

const ONE = ['up 1', 'down 1'];
const EIGHT = ['up 8', 'down 8'];

/**
 * atLeast: the figure, as a multiple of a peer's in the same round (median over rounds).
 * notAbove: the median of the figure is not above the peer's.
 * atMost: the figure itself, of the idle test.
 */
const FLOORS = [
  { entrant: NEKIT, tests: ONE, figure: 'gbits', atLeast: { v2ray: 1.4, 'sing-box': 1.0 } },
  { entrant: NEKIT, tests: ONE, figure: 'gbitsPerCore', atLeast: { v2ray: 2.5, 'sing-box': 1.0 } },
  { entrant: NEKIT, tests: EIGHT, figure: 'gbits', atLeast: { v2ray: 1.0, 'sing-box': 1.0 } },
  { entrant: NEKIT, tests: EIGHT, figure: 'gbitsPerCore', atLeast: { v2ray: 1.8 } },
  { entrant: NEKIT, tests: ['connections'], figure: 'rate', atLeast: { microsocks: 1.3, v2ray: 1.5, 'sing-box': 1.0 } },
  { entrant: NEKIT, tests: ['connections'], figure: 'p99', notAbove: ['microsocks', 'v2ray', 'sing-box'] },
  { entrant: NEKIT, tests: ['http', 'connect'], figure: 'rate', atLeast: { v2ray: 1.0 } },
  { entrant: NEKIT, tests: ['idle'], figure: 'rssAboveStart', atMost: 6 },
  { entrant: NEKIT, tests: ['idle'], figure: 'rssReturned', atMost: 1.2 },
  { entrant: NEKIT_TS, tests: [...ONE, ...EIGHT], figure: 'gbits', atLeast: { 'plain-node': 0.95 } },
  { entrant: NEKIT_TS, tests: ['connections'], figure: 'rate', atLeast: { 'plain-node': 0.8 } },
  { entrant: NEKIT_TS, tests: ['idle'], figure: 'rssAboveStart', atMost: 20 },
];

const NAMES = {
  gbits: 'Gbit/s',
  gbitsPerCore: 'Gbit/s per core',
  rate: 'per second',
  p99: 'ms p99',
  rssAboveStart: 'KiB each above start',
  rssReturned: 'x the RSS at the start, after all closed',
};

/** One verdict for each floor whose test was run with its entrant. `ok` is null where the peer has no figures to compare with. */
export function judge(outcome) {
  return FLOORS.flatMap((floor) => floor.tests.flatMap((test) => (test === 'idle' ? idleVerdict(floor, outcome) : speedVerdicts(floor, test, outcome))));
}

function idleVerdict({ entrant, figure, atMost }, { idle }) {
  const measured = idle[entrant];
  if (measured === undefined) return [];
  const value = measured[figure];
  return [{ ok: value <= atMost, text: `${entrant}, ${measured.count} idle: ${value.toFixed(2)} ${NAMES[figure]} (at most ${atMost})` }];
}

function speedVerdicts({ entrant, figure, atLeast = {}, notAbove = [] }, test, { tests, versions }) {
  const sheet = tests[test];
  const ours = sheet?.peers[entrant];
  if (ours === undefined) return [];
  const verdict = (peer, value, ok, text) => {
    const where = `${entrant}, ${test} (${sheet.congestion})`;
    if (!Number.isNaN(value)) return { ok, text: `${where}: ${text}` };
    const why = sheet.peers[peer] === undefined ? versions[peer] : 'no figures, see PROBLEM';
    return { ok: null, text: `${where}: ${NAMES[figure]} against ${peer} (${why})`, peer, why };
  };
  const ratios = Object.entries(atLeast).map(([peer, least]) => {
    const ratio = pairedRatio(ours, sheet.peers[peer], figure);
    return verdict(peer, ratio, ratio >= least, `${ratio.toFixed(3)}x ${peer} in ${NAMES[figure]} (at least ${least}x)`);
  });
  const limits = notAbove.map((peer) => {
    const [mine, theirs] = [medianOf(ours, figure), medianOf(sheet.peers[peer], figure)];
    return verdict(peer, mine + theirs, mine <= theirs, `${mine.toFixed(2)} ${NAMES[figure]} (not above ${theirs.toFixed(2)} of ${peer})`);
  });
  return [...ratios, ...limits];
}

/** A line for each verdict; what could not be judged in one line for each reason. */
export function told(verdicts) {
  const skipped = new Map();
  for (const { ok, peer, why } of verdicts) {
    if (ok !== null) continue;
    const what = `against ${peer}: ${why}`;
    skipped.set(what, (skipped.get(what) ?? 0) + 1);
  }
  return [
    ...verdicts.filter(({ ok }) => ok !== null).map(({ ok, text }) => `${ok ? 'PASS' : 'FAIL'} ${text}`),
    ...[...skipped].map(([what, count]) => `SKIP ${count} ${count === 1 ? 'floor' : 'floors'} ${what}`),
  ];
}
