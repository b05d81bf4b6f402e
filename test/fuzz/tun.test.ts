// Packets that nobody would send, through all that a TUN puts them through: fragments put together, TCP, UDP, pings, refusals. Nothing throws or grows, nothing that must not be said is
// said, and who asks something proper is answered. 20,000 packets; three million with NEKIT_FULL. NEKIT_SEED=n is where fast-check begins.
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { SeededRandom } from '@nekit/core/ip';
import { settle } from '@nekit/core/testing';
import fc from 'fast-check';
import t from 'tap';
import { flood } from './tun/floods.js';
import { shuffle } from './tun/fragments.js';
import { packetsOf } from './tun/packets.js';
import { Probes } from './tun/probes.js';
import { BOUNDS, higher, type Loaded, type Peaks, TunStacks } from './tun/stacks.js';

const full = process.env.NEKIT_FULL !== undefined;
const RUNS = full ? 600 : 40;
const PACKETS_PER_RUN = full ? 5_000 : 500;
const seed = Number(process.env.NEKIT_SEED ?? (full ? Math.floor(Math.random() * 0x7fff_ffff) : 3));
/** From when all code is warm to the end, in bytes: one byte for each packet would be 2.7 MB. */
const MOST_GROWTH = 2 << 20;
/** How much of each bound must have been in use at some time. */
const REACHED_SHARE = full ? 0.9 : 0.05;
const WARM_RUNS = full ? RUNS / 10 : RUNS / 2;

t.setTimeout(full ? 600_000 : 120_000);

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

/** The least of some looks: buffers of the last run are given back by a thread of the engine's, when it gets to it. */
async function memoryInUse(): Promise<number> {
  let least = Number.POSITIVE_INFINITY;
  for (let i = 0; i < 6; i++) {
    await settle();
    collect();
    const { heapUsed, external } = process.memoryUsage();
    least = Math.min(least, heapUsed + external);
  }
  return least;
}

interface Ran {
  readonly packets: number;
  readonly answered: number;
  readonly unlucky: number;
  readonly said: ReadonlyMap<string, number>;
  readonly reached: Readonly<Record<string, number>>;
  readonly peaks: Peaks;
}

async function run(seed: number, wanted: number): Promise<Ran> {
  const random = new SeededRandom(seed);
  const loaded: Loaded = random.chance(0.2) ? 'none' : random.chance(0.6) ? 'udp' : 'tcp and udp';
  const probes = new Probes(random, loaded !== 'none');
  const tun = new TunStacks(random, loaded, (packet) => probes.take(packet));
  let packets = 0;
  let unlucky = 0;
  while (packets < wanted) {
    const isFlood = random.chance(0.03);
    const many = isFlood ? flood(random) : [];
    for (const most = random.chance(0.5) ? 1 + random.below(4) : 1 + random.below(55); many.length < most; ) many.push(...packetsOf(random, tun.heard));
    if (random.chance(0.3)) shuffle(random, many);
    // A flood may push aside what is not whole, or not yet answered; but not what comes when it is over.
    const question = !isFlood && random.chance(0.5) ? probes.ask() : [];
    for (const packet of question) many.splice(random.below(many.length + 1), 0, packet);
    if (random.chance(0.5)) many.splice(random.below(many.length + 1), 0, probes.lie());
    const { full } = tun;
    for (const packet of many) tun.send(packet);
    await tun.turn();
    packets += many.length;
    const missed = probes.missed();
    // Only where there was no room for it may an answer be missing.
    if (missed > 0 && tun.full === full) throw new Error(`not answered: ${missed}`);
    unlucky += missed;
    tun.carrier.stir();
    if (random.chance(0.05)) await tun.pass(random.below(random.chance(0.05) ? 100_000 : 3_000));
  }
  await tun.end();
  await settle();
  const { associations, streams } = tun.carrier;
  return {
    packets,
    answered: probes.answered,
    unlucky,
    said: tun.judge.seen,
    reached: { associations, streams, givenUp: tun.fragments.reassembly.dropped },
    peaks: tun.peaks,
  };
}

/** What must have been said, or the packets were worth less than they seem. */
const SAID = ['udp4', 'udp6', 'tcp4', 'tcp6', 'icmp4 0', 'icmp4 3', 'icmp4 11', 'icmp6 1', 'icmp6 3', 'icmp6 4', 'icmp6 129'];

t.test('packets that nobody would send', async (t) => {
  const rejections: unknown[] = [];
  const note = (error: unknown): void => void rejections.push(error);
  process.on('unhandledRejection', note);
  t.teardown(() => process.off('unhandledRejection', note));
  const said = new Map<string, number>();
  const reached = new Map<string, number>();
  let packets = 0;
  let answered = 0;
  let unlucky = 0;
  let peaks: Peaks = { held: 0, bytes: 0, ports: 0, waiting: 0, peers: 0 };
  let runs = 0;
  let warm = 0;
  const began = Date.now();
  await fc.assert(
    fc.asyncProperty(fc.integer(), async (seed) => {
      const ran = await run(seed, PACKETS_PER_RUN);
      packets += ran.packets;
      answered += ran.answered;
      unlucky += ran.unlucky;
      for (const [name, count] of ran.said) said.set(name, (said.get(name) ?? 0) + count);
      for (const [name, count] of Object.entries(ran.reached)) reached.set(name, (reached.get(name) ?? 0) + count);
      peaks = higher(peaks, ran.peaks);
      runs++;
      if (runs === WARM_RUNS) warm = await memoryInUse();
    }),
    { seed, numRuns: RUNS, endOnFailure: true, includeErrorInReport: true, plugins: [fc.interruptAfterTimeLimit(500_000, { failOnInterrupt: true })] },
  );
  const now = await memoryInUse();
  t.comment(`NEKIT_SEED=${seed}: ${packets} packets, ${answered} questions answered, ${(Date.now() - began) / 1_000} s, ${now} bytes in use after ${warm}`);
  t.comment(
    `said: ${[...said].map(([name, count]) => `${name}: ${count}`).join(', ')}; ${[...reached].map(([name, count]) => `${name}: ${count}`).join(', ')}`,
  );
  t.same(rejections, []);
  t.ok(packets >= RUNS * PACKETS_PER_RUN, `${packets} packets`);
  t.ok(now - warm < MOST_GROWTH, `${now - warm} bytes more than after ${WARM_RUNS} runs`);
  t.ok(answered > packets / 100, `${answered} questions answered`);
  t.ok(unlucky < answered / 20, `${unlucky} found no room for their answer`);
  for (const name of SAID) t.ok(said.has(name), name);
  for (const [name, count] of reached) t.ok(count > 0, name);
  for (const [name, bound] of Object.entries(BOUNDS) as [keyof Peaks, number][])
    t.ok(peaks[name] > bound * REACHED_SHARE, `${name}: ${peaks[name]} of ${bound}`);
});

t.test('bytes of no shape', async (t) => {
  const tun = new TunStacks(new SeededRandom(seed), 'tcp and udp', () => {});
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.uint8Array({ maxLength: 200 }), fc.constantFrom(0x45, 0x60, 0x4f, 0x6f), fc.constantFrom(0, 1, 6, 17, 43, 44, 58, 60)), {
        maxLength: 20,
      }),
      async (all) => {
        for (const [bytes, first, protocol] of all) {
          if (bytes.length > 10) {
            bytes[0] = first;
            bytes[first >>> 4 === 4 ? 9 : 6] = protocol;
          }
          tun.send(bytes);
        }
        await tun.turn();
      },
    ),
    { seed, numRuns: full ? 20_000 : 500, endOnFailure: true, includeErrorInReport: true },
  );
  await t.resolves(tun.end(), 'nothing is left of them');
});
