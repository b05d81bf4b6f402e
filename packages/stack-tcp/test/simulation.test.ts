// Our stack against a peer that was written for itself, and against itself, on a clock of its own: loss, reordering, duplicates, corruption, narrow links, tiny windows, wrapping
// numbers, ends of all kinds. 1,000 runs; 10,000 with NEKIT_FULL; NEKIT_SEED=n runs one of each, NEKIT_RUNS=n as many. Two of three are against the peer.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { simulateMirror } from './simulation/mirror.js';
import { type Outcome, type Scenario, scenarioOf, simulate } from './simulation/scenario.js';

const full = process.env.NEKIT_FULL !== undefined;
const only = process.env.NEKIT_SEED === undefined ? null : Number(process.env.NEKIT_SEED);
const runs = only === null ? Number(process.env.NEKIT_RUNS ?? (full ? 10_000 : 1_000)) : 1;

t.setTimeout(full ? 900_000 : 120_000);

const mirrored = only === null ? Math.floor(runs / 3) : 1;

async function simulateAll(t: Test, count: number, simulateOne: (scenario: Scenario) => Promise<Outcome>, reached: readonly string[]): Promise<void> {
  let bytes = 0;
  let aborted = 0;
  const seen = new Set<string>();
  for (let i = 0; i < count; i++) {
    const seed = only ?? i + 1;
    const outcome = await simulateOne(scenarioOf(seed));
    bytes += outcome.bytes;
    if (outcome.aborted) aborted++;
    for (const name of Object.keys(outcome.counters)) seen.add(name);
    if (outcome.problems.length > 0) t.fail(`NEKIT_SEED=${seed}: ${outcome.problems.join('; ')}`, { scenario: scenarioOf(seed), counters: outcome.counters });
  }
  t.comment(`${bytes} bytes, ${aborted} runs cut off`);
  if (only !== null) return;
  t.ok(bytes > count * 20_000);
  // The runs go everywhere: a counter that nothing reaches would make them worth less.
  for (const name of reached) t.ok(seen.has(name), name);
}

const REACHED = [
  'retransmitted',
  'fastRecoveries',
  'timeouts',
  'tailProbes',
  'windowProbes',
  'outOfOrder',
  'dropPaws',
  'dropMemory',
  'resetByPeer',
  'dropUnacceptable',
];

t.test(`${runs - mirrored} runs against the model peer`, (t) =>
  simulateAll(t, only === null ? runs - mirrored : 1, simulate, [...REACHED, 'refused', 'icmpSent']),
);

t.test(`${mirrored} runs against itself`, (t) => simulateAll(t, mirrored, simulateMirror, REACHED));

/** 400 kB each way over 20 ms and 2,000 bytes per ms; one column per receive buffer, one row per loss. */
const LOSSES = [0, 0.001, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3];
const BUFFERS = [1_460, 8_192, 32_768, 131_072, 262_144];
const SNAPSHOT = fileURLToPath(new URL('../test/simulation/throughput.txt', import.meta.url));

t.test('throughput over loss and buffer is what it was', { skip: only === null ? false : 'one run was asked for' }, async (t) => {
  const lines = [
    'kB/s that the client reads, over the loss in both directions (rows) and its receive buffer (columns)',
    `loss  ${BUFFERS.map((buffer) => String(buffer).padStart(8)).join('')}`,
  ];
  for (const loss of LOSSES) {
    const cells: string[] = [];
    for (const receiveBuffer of BUFFERS) cells.push(String(await throughput(loss, receiveBuffer)).padStart(8));
    lines.push(`${String(loss).padEnd(6)}${cells.join('')}`);
  }
  const table = `${lines.join('\n')}\n`;
  if (!existsSync(SNAPSHOT) || process.env.NEKIT_UPDATE !== undefined) writeFileSync(SNAPSHOT, table);
  t.equal(table, readFileSync(SNAPSHOT, 'utf8'), 'NEKIT_UPDATE=1 writes it anew; look at the difference before you commit it');
});

async function throughput(loss: number, receiveBuffer: number): Promise<number> {
  const down = 400_000;
  const scenario: Scenario = {
    ...scenarioOf(4_242),
    isIPv6: false,
    up: 0,
    down,
    loss,
    duplicate: 0,
    corrupt: 0,
    reorder: 0,
    delayMs: 20,
    jitterMs: 0,
    rate: 2_000,
    receiveBuffer,
    readDelayMs: 0,
    serverPauseMs: 0,
    mss: 1_460,
    mtu: 1_500,
    windowScale: 3,
    hasTimestamps: true,
    hasSack: true,
    delayedAckMs: 40,
    congestionWindow: 20,
    dialMs: 0,
    acceptFirst: false,
    congestion: 'cubic',
    initialWindow: 65_536,
    aborter: null,
    waitsForEnd: false,
    arenaBytes: 8 << 20,
  };
  const outcome = await simulate(scenario);
  if (outcome.problems.length > 0) throw new Error(outcome.problems.join('; '));
  return Math.round(down / outcome.ms);
}
