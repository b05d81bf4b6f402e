// Medians, ratios, tables and the floors.

export function median(values) {
  if (values.length === 0) return Number.NaN;
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** The median over rounds of ours divided by theirs in the same round: what drifts with the machine cancels out. */
export function pairedRatio(ours, theirs) {
  const ratios = [];
  for (const [round, value] of ours.entries()) {
    const other = theirs[round];
    if (typeof value === 'number' && typeof other === 'number' && other > 0) ratios.push(value / other);
  }
  return median(ratios);
}

export function table(head, rows) {
  const all = [head, ...rows].map((row) => row.map(String));
  const widths = head.map((_, column) => Math.max(...all.map((row) => (row[column] ?? '').length)));
  const line = (row) => row.map((cell, column) => (column === 0 ? cell.padEnd(widths[column]) : cell.padStart(widths[column]))).join('  ');
  return [line(all[0]), widths.map((width) => '-'.repeat(width)).join('  '), ...all.slice(1).map(line)].join('\n');
}

export function digits(value, places = 2) {
  return typeof value === 'number' && Number.isFinite(value) ? value.toFixed(places) : '-';
}

const OURS = 'nekit-kernel';
const YARDSTICK = 'plain-node';
const BULK_FLOOR = 0.95;
const RATE_FLOOR = 0.8;
const IDLE_FLOOR_KIB = 20;

/**
 * The floors that the project sets itself. `outcome.bulk[test][peer]` and `outcome.connections[peer]` are lists by round,
 * `outcome.idle[peer]` is one measurement. What was not measured is no verdict.
 */
export function floors(outcome) {
  const verdicts = [];
  for (const [test, peers] of Object.entries(outcome.bulk)) {
    const ratio = pairedRatio(field(peers[OURS], 'gbits'), field(peers[YARDSTICK], 'gbits'));
    if (!Number.isNaN(ratio)) verdicts.push({ ok: ratio >= BULK_FLOOR, text: `bulk ${test}: ${digits(ratio)}x plain Node (floor ${BULK_FLOOR}x)` });
  }
  const rate = pairedRatio(field(outcome.connections[OURS], 'rate'), field(outcome.connections[YARDSTICK], 'rate'));
  if (!Number.isNaN(rate)) verdicts.push({ ok: rate >= RATE_FLOOR, text: `connections: ${digits(rate)}x plain Node (floor ${RATE_FLOOR}x)` });
  const idle = outcome.idle[OURS]?.rssAboveStart;
  if (idle !== undefined) verdicts.push({ ok: idle <= IDLE_FLOOR_KIB, text: `idle: ${digits(idle, 1)} KiB each above start (floor ${IDLE_FLOOR_KIB} KiB)` });
  return verdicts;
}

/** One field of every round; a round that failed has none. */
export function field(rounds, name) {
  return (rounds ?? []).map((round) => round?.[name]);
}

function medianOf(rounds, name) {
  return median(field(rounds, name).filter((value) => typeof value === 'number'));
}

export function render(outcome, names) {
  const parts = [];
  const tests = Object.keys(outcome.bulk);
  const yard = (test) => field(outcome.bulk[test][YARDSTICK], 'gbits');
  if (tests.length > 0) {
    const cell = (name, test) =>
      `${digits(medianOf(outcome.bulk[test][name], 'gbits'))} (${digits(pairedRatio(field(outcome.bulk[test][name], 'gbits'), yard(test)))}x)`;
    parts.push(
      'Bulk, Gbit/s (ratio to plain Node)',
      table(
        ['', ...tests],
        names.map((name) => [name, ...tests.map((test) => cell(name, test))]),
      ),
    );
    const measured = names.filter((name) => name !== 'direct');
    parts.push(
      'CPU of the proxy, ms per Gbit; RSS after the bulk tests, MiB',
      table(
        ['', ...tests, 'RSS'],
        measured.map((name) => [
          name,
          ...tests.map((test) => digits(medianOf(outcome.bulk[test][name], 'cpuMsPerGbit'), 1)),
          digits(medianOf(outcome.bulk[tests.at(-1)][name], 'rss') / 1024, 0),
        ]),
      ),
    );
  }
  if (Object.keys(outcome.connections).length > 0) {
    const rate = field(outcome.connections[YARDSTICK], 'rate');
    parts.push(
      'Connections, 64 at a time: connect, SOCKS5, 64-byte ping, close',
      table(
        ['', 'per second', 'ratio', 'p50 ms', 'p99 ms', 'failed', 'CPU us each'],
        names.map((name) => {
          const rounds = outcome.connections[name];
          const failed = field(rounds, 'failed').reduce((sum, value) => sum + (value ?? 0), 0);
          return [
            name,
            digits(medianOf(rounds, 'rate'), 0),
            `${digits(pairedRatio(field(rounds, 'rate'), rate))}x`,
            digits(medianOf(rounds, 'p50'), 1),
            digits(medianOf(rounds, 'p99'), 1),
            failed,
            digits(medianOf(rounds, 'cpuUsEach'), 0),
          ];
        }),
      ),
    );
  }
  const idle = Object.entries(outcome.idle);
  if (idle.length > 0) {
    parts.push(
      `Memory of ${idle[0][1].count} idle relayed connections, KiB each (RSS above start, above warm-up; PSS above warm-up; RSS kept after they ended)`,
      table(
        ['', 'above start', 'above warm', 'PSS', 'kept', 'start MiB', 'held MiB'],
        idle.map(([name, one]) => [
          name,
          digits(one.rssAboveStart, 1),
          digits(one.rssAboveWarm, 1),
          digits(one.pssAboveWarm, 1),
          digits(one.kept, 1),
          digits(one.start.rss / 1024, 0),
          digits(one.held.rss / 1024, 0),
        ]),
      ),
    );
  }
  return parts.join('\n\n');
}
