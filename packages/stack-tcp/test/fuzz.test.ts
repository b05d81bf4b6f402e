// Packets that nobody would send: mutated, cut, from the middle of nowhere. Nothing throws, nothing grows. 20,000 packets; ten million with NEKIT_FULL.
import { buildPacket, FLAG, type Packet, SeededRandom } from '@nekit/core/ip';
import fc from 'fast-check';
import t from 'tap';
import { Client, tcp, Wire } from './support/wire.js';

const full = process.env.NEKIT_FULL !== undefined;
const RUNS = full ? 2_000 : 40;
const PACKETS_PER_RUN = full ? 5_000 : 500;

t.setTimeout(full ? 900_000 : 120_000);

const VALUES = [0, 1, 2, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000, 0xffff, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff];

/** A segment that has something to do with the connection, or not. */
function segmentOf(random: SeededRandom, client: Client): Uint8Array {
  const near = (around: number): number => (random.chance(0.9) ? around + random.below(3_000) - 1_500 : random.next()) >>> 0;
  const odd = (): number => VALUES[random.below(VALUES.length)] ?? 0;
  const flags = random.chance(0.7) ? FLAG.ack | (random.chance(0.1) ? FLAG.fin : 0) : random.below(256);
  const stamps = random.chance(0.7) ? { timestamps: { value: 10_000 + random.below(2_000), echo: odd() } } : {};
  const sack = random.chance(0.4) ? { sack: Array.from({ length: 1 + random.below(2) }, (): [number, number] => [near(client.ack), near(client.ack)]) } : {};
  const syn = (flags & FLAG.syn) === 0 ? {} : { mss: odd() & 0xffff, windowScale: random.below(256) };
  const options = { ...stamps, ...sack, ...syn };
  return client.segment({
    sequence: random.chance(0.5) ? client.seq : near(client.seq),
    acknowledgment: random.chance(0.5) ? client.ack : near(client.ack),
    flags: random.chance(0.98) ? flags & ~FLAG.rst : flags,
    window: odd() & 0xffff,
    options,
    payload: random.bytes(random.chance(0.5) ? 0 : random.below(1_400)),
    urgent: odd() & 0xffff,
  });
}

/** Bits turned, bytes cut off or put behind; sometimes with the checksums made right again by chance only. */
function mutate(random: SeededRandom, packet: Uint8Array): Uint8Array {
  const copy = packet.slice();
  for (let i = random.below(4); i >= 0; i--) copy[random.below(copy.length)] = random.next();
  return random.chance(0.2) ? copy.slice(0, random.below(copy.length)) : copy;
}

async function run(seed: number, packets: number): Promise<{ wire: Wire; answers: number }> {
  const random = new SeededRandom(seed);
  const isIPv6 = random.chance(0.3);
  const wire = new Wire({
    isIPv6,
    arenaBytes: 64 * 4_096,
    settings: { maxPending: 50, maxHalfOpen: 20, maxTimeWait: 20, timeWaitMs: 500, initialWindow: 16_384, acceptFirst: random.chance(0.3) },
  });
  const offered = {
    mss: 1_460,
    windowScale: random.below(15),
    ...(random.chance(0.7) ? { sackPermitted: true } : {}),
    ...(random.chance(0.5) ? { timestamps: { value: 10_000, echo: 0 } } : {}),
  };
  let client: Client | null = null;
  let port = 1_000;
  let answers = 0;
  for (let i = 0; i < packets; i++) {
    if (client === null || random.chance(0.005)) {
      client = new Client(wire, random.chance(0.3) ? 0xffff_fc00 : random.next(), port++ & 0xffff);
      client.syn(offered);
      const request = wire.requests.pop();
      wire.requests.length = 0;
      const opening = request?.accept();
      opening?.catch(() => {}); // whatever comes of it
      for (const packet of tcp(wire.flush())) if ((packet.flags & FLAG.syn) !== 0) client.ack = (packet.sequence + 1) >>> 0;
      client.seq = (client.seq + 1) >>> 0;
      client.send();
      void opening?.then((stream) => use(stream, random)).catch(() => {});
      for (let turn = 0; turn < 4; turn++) await Promise.resolve();
    }
    const segment = segmentOf(random, client);
    const got: Packet[] = wire.raw(random.chance(0.2) ? mutate(random, segment) : segment);
    answers += got.length;
    if (random.chance(0.3)) client.take(tcp(got));
    if (random.chance(0.05)) answers += wire.advance(random.below(2_000)).length;
    if ((i & 15) === 0) await Promise.resolve();
  }
  return { wire, answers };
}

/** Reads and writes a little, as an application would. */
async function use(
  stream: { read(): Promise<unknown>; write(chunks: Uint8Array[]): Promise<void>; closeWrite(): Promise<void> },
  random: SeededRandom,
): Promise<void> {
  await stream.write([random.bytes(random.below(30_000))]);
  for (let i = 0; i < 50; i++) if ((await stream.read()) === null) break;
  await stream.closeWrite();
}

t.test('segments that nobody would send', async (t) => {
  let packets = 0;
  await fc.assert(
    fc.asyncProperty(fc.integer(), async (seed) => {
      const { wire, answers } = await run(seed, PACKETS_PER_RUN);
      packets += PACKETS_PER_RUN;
      const { info } = wire.stack;
      const bounds = info.memory <= wire.arena.size && info.pending <= 50 && info.halfOpen <= 20 && info.timeWait <= 20 && answers < PACKETS_PER_RUN * 60;
      if (!bounds) throw new Error(JSON.stringify({ ...info, answers }));
      wire.stack.close();
      wire.drain();
      for (let i = 0; i < 20 && wire.stack.info.connections > 0; i++) wire.advance(10);
      const after = wire.stack.info;
      if (after.connections + after.memory + after.timers + after.pending !== 0) throw new Error(`left: ${JSON.stringify(after)}`);
    }),
    { numRuns: RUNS, interruptAfterTimeLimit: 600_000, markInterruptAsFailure: true },
  );
  t.ok(packets >= RUNS * PACKETS_PER_RUN, `${packets} packets`);
});

t.test('bytes of no shape', (t) => {
  const wire = new Wire();
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 200 }),
      fc.constantFrom(0x45, 0x60, 0x4f, 0x6f),
      fc.constantFrom(0, 6, 17, 43, 44, 58, 60),
      (bytes, first, protocol) => {
        if (bytes.length > 10) {
          bytes[0] = first;
          bytes[first >>> 4 === 4 ? 9 : 6] = protocol;
        }
        wire.raw(bytes);
      },
    ),
    { numRuns: full ? 200_000 : 5_000 },
  );
  t.match(wire.stack.info, { connections: 0, pending: 0 });
  t.end();
});

t.test('ICMP that quotes anything', async (t) => {
  const wire = new Wire();
  const client = await new Client(wire).connect();
  await client.stream.write([new Uint8Array(5_000)]);
  wire.flush();
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 80 }), fc.nat(40), fc.nat(20), fc.nat(), (payload, type, code, rest) => {
      wire.raw(buildPacket({ kind: 'icmp', source: '10.0.0.1', destination: '192.0.2.1', type, code, rest: rest >>> 0, payload }));
    }),
    { numRuns: full ? 200_000 : 2_000 },
  );
  t.equal(wire.stack.info.connections, 1);
});
