// Devices in memory, the faults of a path, captures, and what drives stacks.
import t from 'tap';
import {
  BatchParser,
  buildPacket,
  type DeviceHandlers,
  echoReply,
  FaultInjector,
  faultyPipe,
  type IpStack,
  type Packet,
  type PacketDevice,
  type PipeEnd,
  type PipeOptions,
  packetAt,
  parsePacket,
  pcapHeader,
  pcapRecord,
  pipeDevice,
  readPcap,
  SeededRandom,
  StackDriver,
} from '../../dist/ip.js';
import type { Clock } from '../../dist/net/clock.js';
import { FakeClock, settle } from '../../dist/testing.js';

const ping = (rest: number, length = 10): Uint8Array =>
  buildPacket({ kind: 'icmp', source: '10.0.0.2', destination: '192.0.2.1', type: 8, code: 0, rest, payload: new Uint8Array(length) });
const udp = (payload: Uint8Array): Uint8Array =>
  buildPacket({ kind: 'udp', source: '10.0.0.2', destination: '192.0.2.1', sourcePort: 1, destinationPort: 2, payload });

function put(end: PipeEnd, packet: Uint8Array, segmentSize = 0): boolean {
  const at = end.sink.reserve(packet.length, segmentSize);
  if (at !== -1) end.sink.bytes.set(packet, at);
  return at !== -1;
}

function collect(end: PipeEnd): Packet[] {
  const packets: Packet[] = [];
  end.start({
    packets: (batch) => {
      for (let i = 0; i < batch.length; i++) packets.push(packetAt(batch, i));
    },
    failed: () => {},
  });
  return packets;
}

t.test('pipeDevice: what one end flushes the other gets, in order, once it has started', async (t) => {
  const [a, b] = pipeDevice();
  for (let i = 0; i < 300; i++) {
    put(a, ping(i));
    if (i % 100 === 99) a.flush();
  }
  const packets = collect(b);
  await settle();
  t.strictSame(
    packets.map((packet) => (packet.kind === 'icmp' ? packet.rest : -1)),
    Array.from({ length: 300 }, (_, i) => i),
  );
  const failed: string[] = [];
  a.start({ packets: () => {}, failed: (error) => void failed.push(error.code) });
  b.close();
  b.close();
  t.strictSame(failed, ['DEVICE_GONE']);
});

t.test('pipeDevice: transport checksums are filled in; the queue, the slab and the MTU are bounds', async (t) => {
  const [a, b] = pipeDevice({ queuePackets: 10 });
  const packets = collect(b);
  const bytes = udp(Buffer.from('sum'));
  bytes.fill(0, 26, 28);
  put(a, bytes);
  a.flush();
  await settle();
  t.match(packets, [{ kind: 'udp' }]);
  t.equal(put(a, new Uint8Array(1_501)), false, 'longer than the MTU');
  for (let i = 0; i < 25; i++) put(a, ping(i));
  a.flush();
  t.equal(b.dropped, 15);
  await settle();
  t.equal(packets.length, 11);
  let room = 0;
  while (put(a, ping(1, 1_000))) room++;
  t.equal(room, 256);
});

t.test('pipeDevice with offload: a super-packet crosses whole', async (t) => {
  const [a, b] = pipeDevice({ offload: true });
  const sizes: number[] = [];
  b.start({ packets: (batch) => void sizes.push((batch.end[0] ?? 0) - (batch.start[0] ?? 0), batch.segmentSize[0] ?? 0), failed: () => {} });
  const packet = buildPacket({
    kind: 'tcp',
    source: '10.0.0.2',
    destination: '192.0.2.1',
    sourcePort: 1,
    destinationPort: 2,
    sequence: 0,
    acknowledgment: 0,
    flags: 16,
    window: 0,
    payload: new Uint8Array(60_000),
  });
  t.equal(put(a, packet, 1_460), true);
  a.flush();
  await settle();
  t.strictSame(sizes, [60_040, 1_460]);
});

t.test('drain: several datagrams in one packet come apart, be they all together shorter than the MTU', (t) => {
  const [a] = pipeDevice({ offload: true });
  const drained: (string | undefined)[] = [];
  const drain = (packet: Uint8Array, segmentSize: number): (string | undefined)[] => {
    drained.length = 0;
    t.ok(put(a, packet, segmentSize));
    a.drain((piece) => {
      const parsed = parsePacket(piece);
      drained.push(parsed === null ? undefined : `${parsed.kind} ${parsed.payload.length}`);
    });
    return drained;
  };
  t.strictSame(drain(udp(new Uint8Array(250)), 100), ['udp 100', 'udp 100', 'udp 50']);
  t.strictSame(drain(udp(new Uint8Array(100)), 100), ['udp 100'], 'one is whole');
  t.strictSame(drain(udp(new Uint8Array(0)), 100), ['udp 0']);
  t.strictSame(drain(udp(new Uint8Array(250)), 0), ['udp 250']);
  const tcp = { kind: 'tcp', sourcePort: 1, destinationPort: 2, sequence: 0, acknowledgment: 0, flags: 16, window: 0 } as const;
  const options = { timestamps: { value: 1, echo: 1 } };
  const segment = buildPacket({ ...tcp, source: 'fd00::2', destination: '2001:db8::1', options, payload: new Uint8Array(1_001) });
  t.strictSame(drain(segment, 500), ['tcp 500', 'tcp 500', 'tcp 1']);
  t.strictSame(drain(segment, 1_001), ['tcp 1001'], 'its options are no payload');
  t.end();
});

t.test('pipeDevice: nobody knows the key of the flow hash, unless it was given', async (t) => {
  const flows = async (options: PipeOptions): Promise<number[]> => {
    const [a, b] = pipeDevice({ ...options, arenaBytes: 0 });
    const seen: number[] = [];
    b.start({ packets: (batch) => seen.push(...batch.flow.slice(0, batch.length)), failed: () => {} });
    for (let port = 1; port <= 8; port++) a.inject(udp(new Uint8Array(port)));
    await settle();
    return seen;
  };
  const key = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8);
  t.equal((await flows({ key })).length, 8);
  t.strictSame(await flows({ key }), await flows({ key }));
  t.notSame(await flows({}), await flows({}));
  t.notSame(await flows({}), await flows({ key }));
});

t.test('the fault injector: the same seed gives the same faults, about as many as asked for', async (t) => {
  const run = async (seed: number): Promise<{ order: number[]; broken: number; at: number[] }> => {
    const clock = new FakeClock(0);
    const order: number[] = [];
    const at: number[] = [];
    let broken = 0;
    const path = new FaultInjector({ seed, loss: 0.2, duplicate: 0.1, corrupt: 0.05, reorder: 0.1, reorderMs: 5, delayMs: 10 }, clock, (bytes) => {
      const packet = parsePacket(bytes);
      if (packet?.kind !== 'icmp') broken++;
      else order.push(packet.rest);
      at.push(clock.now());
    });
    for (let i = 0; i < 1_000; i++) path.send(ping(i));
    await clock.advance(100);
    t.equal(path.passed, order.length + broken);
    t.ok(Math.abs(path.lost - 200) < 50, `${path.lost} of 1,000 lost`);
    return { order, broken, at };
  };
  const first = await run(1);
  t.strictSame(await run(1), first);
  t.notSame((await run(2)).order, first.order);
  t.ok(first.broken > 20 && first.broken < 80);
  t.ok(first.order.some((value, i) => i > 0 && value < (first.order[i - 1] ?? 0)));
  t.ok(Math.min(...first.at) >= 10);
});

t.test('the fault injector: a narrow link delays, its queue is bounded, and nothing comes after stop', async (t) => {
  const clock = new FakeClock(0);
  const at: number[] = [];
  const path = new FaultInjector({ seed: 1, rate: 100, queueBytes: 5_000 }, clock, () => void at.push(clock.now()));
  for (let i = 0; i < 100; i++) path.send(ping(i, 972));
  await clock.advance(1_000);
  t.strictSame(at.slice(0, 3), [10, 20, 30]);
  t.equal(at.length, 6);
  path.send(ping(1));
  path.stop();
  await clock.advance(1_000);
  t.equal(at.length, 6);
});

t.test('the fault injector: a narrow link keeps the order, on a clock whose timers are late by more or less', async (t) => {
  const clock = new FakeClock(0);
  const coarse: Clock = { now: () => clock.now(), after: (ms, run) => clock.after(Math.ceil(ms) + 1, run) }; // as Node's are
  const order: number[] = [];
  const path = new FaultInjector({ seed: 1, rate: 1_000, delayMs: 3 }, coarse, (bytes) => void order.push(bytes[0] ?? -1));
  for (let i = 0; i < 200; i++) {
    path.send(new Uint8Array(i % 2 === 0 ? 1_500 : 40).fill(i));
    await clock.advance(0.1 + (i % 7) * 0.15);
  }
  await clock.advance(1_000);
  t.strictSame(
    order,
    Array.from({ length: 200 }, (_, i) => i),
  );
});

t.test('the fault injector: what is held back is overtaken by the others, which keep their order', async (t) => {
  const clock = new FakeClock(0);
  const order: number[] = [];
  const at: number[] = [];
  const path = new FaultInjector({ seed: 4, reorder: 0.2, reorderMs: 30, delayMs: 10 }, clock, (bytes) => {
    order.push(bytes[0] ?? -1);
    at.push(clock.now());
  });
  for (let i = 0; i < 100; i++) {
    path.send(Uint8Array.of(i));
    t.equal(clock.pending, 1, 'one timer for all');
    await clock.advance(1);
  }
  await clock.advance(100);
  t.equal(clock.pending, 0);
  const lateness = order.map((number, i) => (at[i] ?? 0) - number);
  t.strictSame([...new Set(lateness)].sort(), [10, 40]);
  for (const late of [10, 40]) {
    const group = order.filter((_, i) => lateness[i] === late);
    t.ok(group.length > 10);
    t.strictSame(
      group,
      group.toSorted((a, b) => a - b),
    );
  }
});

t.test('the fault injector: nothing is left after stop, not even where it comes from who takes a packet', async (t) => {
  const clock = new FakeClock(0);
  let taken = 0;
  const path: FaultInjector = new FaultInjector({ seed: 1, delayMs: 5_000 }, clock, () => {
    taken++;
    if (taken === 2) path.stop();
    path.send(ping(1));
  });
  for (let i = 0; i < 10; i++) path.send(ping(i));
  await clock.advance(6_000);
  t.equal(taken, 2);
  t.equal(clock.pending, 0);
  path.send(ping(1));
  t.equal(clock.pending, 0);
});

t.test('faultyPipe: neither end keeps a timer once one of them was closed', async (t) => {
  const clock = new FakeClock(0);
  const [a, b] = faultyPipe({ clock, there: { seed: 1, delayMs: 5_000 }, back: { seed: 2, delayMs: 5_000 }, arenaBytes: 0 });
  const failed: string[] = [];
  for (const [name, end] of [
    ['a', a],
    ['b', b],
  ] as const) {
    end.start({ packets: () => {}, failed: () => void failed.push(name) });
    end.inject(ping(1));
  }
  t.equal(clock.pending, 2);
  a.close();
  t.strictSame(failed, ['b']);
  t.equal(clock.pending, 0);
});

t.test('faultyPipe: super-packets are cut in front of the path', async (t) => {
  const clock = new FakeClock(0);
  const [a, b] = faultyPipe({ clock, there: { seed: 1 }, back: { seed: 2, loss: 1 }, defer: (run) => void clock.after(0, run) });
  const got: number[] = [];
  b.start({
    packets: (batch) => {
      for (let i = 0; i < batch.length; i++) got.push((batch.end[i] ?? 0) - (batch.payload[i] ?? 0));
    },
    failed: () => {},
  });
  a.start({ packets: () => got.push(-1), failed: () => {} });
  const packet = buildPacket({ kind: 'udp', source: '10.0.0.2', destination: '192.0.2.1', sourcePort: 1, destinationPort: 2, payload: new Uint8Array(100) });
  const at = a.sink.reserve(packet.length, 0);
  a.sink.bytes.set(packet, at);
  a.flush();
  b.inject(packet);
  await clock.advance(10);
  t.strictSame(got, [100]);
  t.equal(b.path.lost, 1);
  a.close();
});

t.test('copies are copies, of a Buffer too, whose slice is a view', async (t) => {
  const packet = ping(1);
  const lent = (): Buffer => Buffer.from(packet);
  const parsed = lent();
  const value = parsePacket(parsed);
  const batched = lent();
  const batch = new BatchParser(batched, 1, new Uint8Array(8));
  batch.add(0, batched.length, 0, false);
  const reply = echoReply(batch, 0);
  const file = Buffer.concat([pcapHeader(), pcapRecord(packet, 0)]);
  const captured = readPcap(file);
  const clock = new FakeClock();
  const delivered: string[] = [];
  const path = new FaultInjector({ seed: 1, corrupt: 1, duplicate: 1 }, clock, (bytes) => void delivered.push(Buffer.from(bytes).toString('hex')));
  const sent = lent();
  path.send(sent);
  t.strictSame([sent, batched], [lent(), lent()], 'nobody has written to what was lent');
  for (const bytes of [parsed, batched, file, sent]) bytes.fill(0xee);
  await clock.advance(1);
  t.strictSame(Buffer.from(value?.payload ?? []), Buffer.alloc(10));
  t.equal(parsePacket(reply)?.kind, 'icmp');
  t.strictSame(Buffer.from(captured?.[0]?.bytes ?? []), lent());
  t.equal(new Set(delivered).size, 2, 'each copy has a wrong bit of its own');
  t.notOk(delivered.some((text) => text.includes('eeee')));
});

t.test('pcap: written and read again; other files are not', (t) => {
  const packets = [ping(1), udp(new Uint8Array(100))];
  const file = Buffer.concat([pcapHeader(), ...packets.map((packet, i) => pcapRecord(packet, 1_234_567.5 + i))]);
  const read = readPcap(file);
  t.strictSame(
    read?.map(({ at }) => at),
    [1_234_567.5, 1_234_568.5],
  );
  t.strictSame(
    read?.map(({ bytes }) => Buffer.from(bytes)),
    packets.map((packet) => Buffer.from(packet)),
  );
  t.equal(readPcap(file.subarray(0, file.length - 1))?.length, 1, 'a record that is cut off ends it');
  t.equal(readPcap(Buffer.from('no capture at all, but long enough')), null);
  t.equal(readPcap(file.subarray(0, 20)), null);
  const big = Buffer.from(file);
  for (const at of [0, 8, 12, 16, 20, 24, 28, 32, 36]) big.subarray(at, at + 4).reverse();
  for (const at of [4, 6]) big.subarray(at, at + 2).reverse();
  t.equal(readPcap(big)?.[0]?.at, 1_234_567.5, 'the other byte order');
  t.end();
});

t.test('pcap: what was read is written with the same time', (t) => {
  const random = new SeededRandom(3);
  const wrong: number[] = [];
  for (let i = 0; i < 1_000; i++) {
    const file = Buffer.concat([pcapHeader(), pcapRecord(ping(1), 0)]);
    file.writeUInt32LE(1_764_300_000 + i, 24);
    file.writeUInt32LE(i < 2 ? 999_999 * i : random.below(1_000_000), 28);
    const again = pcapRecord(ping(1), readPcap(file)?.[0]?.at ?? Number.NaN);
    if (!file.subarray(24).equals(again)) wrong.push(i);
  }
  t.strictSame(wrong, []);
  const whole = Buffer.from(pcapRecord(ping(1), 1_999.9999));
  t.strictSame([whole.readUInt32LE(0), whole.readUInt32LE(4)], [2, 0], 'rounded up to a whole second');
  t.end();
});

t.test('pcap: how long a packet was, where the capture has cut it', (t) => {
  const file = Buffer.concat([pcapHeader(), pcapRecord(ping(1), 0), pcapRecord(ping(2).subarray(0, 30), 0, 1_500), pcapRecord(ping(3), 0, 0)]);
  t.strictSame(
    readPcap(file)?.map(({ bytes, originalLength }) => [bytes.length, originalLength]),
    [
      [38, 38],
      [30, 1_500],
      [38, 38],
    ],
  );
  t.end();
});

t.test('StackDriver: the first stack that takes a packet has it; one flush per batch and per wake; one timer', async (t) => {
  const clock = new FakeClock(0);
  const [ours, theirs] = pipeDevice();
  const log: string[] = [];
  let deadline = Number.POSITIVE_INFINITY;
  const stack = (name: string, takes: boolean): IpStack => ({
    input: () => {
      log.push(`${name} input`);
      return takes;
    },
    flush: (now) => void log.push(`${name} flush ${now}`),
    nextDeadline: () => (name === 'first' ? deadline : Number.POSITIVE_INFINITY),
    close: () => void log.push(`${name} close`),
  });
  const failed: string[] = [];
  const driver = new StackDriver({ device: ours, clock, onFailed: (error) => void failed.push(error.code) });
  driver.start([stack('first', false), stack('second', true), stack('third', true)]);
  log.length = 0;
  put(theirs, ping(1));
  put(theirs, ping(2));
  theirs.flush();
  await settle();
  t.strictSame(log, ['first input', 'second input', 'first input', 'second input', 'first flush 0', 'second flush 0', 'third flush 0']);
  log.length = 0;
  driver.output.wake();
  driver.output.wake();
  await settle();
  t.equal(log.length, 3);
  deadline = 50;
  driver.output.wake();
  await settle();
  t.equal(clock.pending, 1);
  log.length = 0;
  deadline = Number.POSITIVE_INFINITY;
  await clock.advance(60);
  t.ok(log.includes('first flush 50'));
  t.equal(clock.pending, 0);
  theirs.close();
  t.strictSame(failed, ['DEVICE_GONE']);
  t.ok(log.includes('third close'));
  log.length = 0;
  driver.close();
  driver.output.wake();
  await settle();
  t.strictSame(log, []);
});

t.test('StackDriver: where a deadline is seen late, what waits in the device is read first', (t) => {
  const [device, theirs] = pipeDevice();
  const log: string[] = [];
  let deadline = 50;
  const stack: IpStack = { input: () => true, flush: (now) => void log.push(`flush ${now}`), nextDeadline: () => deadline, close: () => {} };
  let now = 0;
  const timers: (() => void)[] = [];
  const clock = {
    now: () => now,
    after: (_ms: number, run: () => void) => {
      timers.push(run);
      return () => {};
    },
  };
  const later: (() => void)[] = [];
  const driver = new StackDriver({ device, clock, defer: (run) => run(), later: (run) => void later.push(run) });
  driver.start([stack]);
  log.length = 0;
  now = 51;
  deadline = 60;
  timers.pop()?.();
  t.strictSame(log, ['flush 51'], 'in time');
  now = 70;
  timers.pop()?.();
  t.strictSame(log, ['flush 51']);
  driver.output.wake();
  t.equal(later.length, 1, 'once');
  later[0]?.();
  t.strictSame(log, ['flush 51', 'flush 70']);
  driver.close();
  theirs.close();
  t.end();
});

t.test('StackDriver: batches of which another follows are flushed with the last, even if there is none', (t) => {
  const [ours, theirs] = pipeDevice();
  const log: string[] = [];
  const stack: IpStack = {
    input: () => log.push('input') > 0,
    flush: () => void log.push('flush'),
    nextDeadline: () => Number.POSITIVE_INFINITY,
    close: () => {},
  };
  const parser = new BatchParser(ping(1), 1, Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8));
  parser.add(0, parser.bytes.length, 0, false);
  let packets: DeviceHandlers['packets'] = () => t.fail('it was not started');
  const device: PacketDevice = {
    name: 'given',
    sink: ours.sink,
    arena: ours.arena,
    start: (handlers) => {
      packets = (batch, more) => handlers.packets(batch, more);
    },
    flush: () => void log.push('sent'),
    close: () => {},
  };
  new StackDriver({ device, clock: new FakeClock(0) }).start([stack]);
  log.length = 0;
  packets(parser, true);
  packets(parser, true);
  parser.clear();
  packets(parser, false);
  t.strictSame(log, ['input', 'input', 'flush', 'sent']);
  theirs.close();
  t.end();
});

t.test('SeededRandom', (t) => {
  const random = new SeededRandom(1);
  const values = Array.from({ length: 10_000 }, () => random.below(10));
  for (let digit = 0; digit < 10; digit++) t.ok(Math.abs(values.filter((value) => value === digit).length - 1_000) < 150);
  t.equal(new SeededRandom(0).next(), new SeededRandom(0).next());
  t.end();
});
