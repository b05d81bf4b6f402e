// The stacks that the TUN inbound brings itself.
import assert from 'node:assert/strict';
import t from 'tap';
import { BroadcastStack } from '../../dist/inbound/tun/broadcast-stack.js';
import { FragmentStack } from '../../dist/inbound/tun/fragment-stack.js';
import { GuardedStack } from '../../dist/inbound/tun/guarded-stack.js';
import { LeftoverStack } from '../../dist/inbound/tun/leftover-stack.js';
import { BatchParser } from '../../dist/ip/batch-parser.js';
import { writeFragments } from '../../dist/ip/fragment.js';
import { Identifications } from '../../dist/ip/identifications.js';
import type { IpStack } from '../../dist/ip/ip-stack.js';
import { buildPacket, type Packet, parsePacket } from '../../dist/ip/packet.js';
import { PacketSlab } from '../../dist/ip/packet-slab.js';
import { FLAG } from '../../dist/ip/protocol.js';
import { SeededRandom } from '../../dist/ip/random.js';
import { StackDriver } from '../../dist/ip/stack-driver.js';
import { text, udp, Wire } from '../support/tun-wire.js';

const FAMILIES = [
  { source: '198.18.0.1', destination: '203.0.113.7', echo: 8, reply: 0, unreachable: [3, 3] },
  { source: 'fdfe:dcba:9876::1', destination: '2001:db8::7', echo: 128, reply: 129, unreachable: [1, 4] },
] as const;

const numbers = (): Identifications => new Identifications((length) => new SeededRandom(5).bytes(length));

interface Left {
  readonly wire: Wire;
  readonly leftover: LeftoverStack;
  readonly fragments: FragmentStack;
  readonly told: () => number;
}

/** What the inbound has where no stack is loaded. */
function left(echo = true, mtu = 1500): Left {
  const wire = new Wire(mtu);
  const driver = new StackDriver({ device: wire.near, clock: wire.clock, defer: wire.defer });
  let told = 0;
  const leftover = new LeftoverStack({ output: driver.output, echo, identifications: numbers(), onUdp: () => told++ });
  const fragments = new FragmentStack([leftover], driver.output, numbers());
  driver.start([fragments, leftover]);
  return { wire, leftover, fragments, told: () => told };
}

void t.test('echo requests are answered, and nothing else of ICMP', async () => {
  for (const { source, destination, echo, reply } of FAMILIES) {
    const { wire, leftover } = left();
    for (const length of [0, 1, 56, 1400])
      wire.send({ kind: 'icmp', source, destination, type: echo, code: 0, rest: 0x1234_0001 + length, payload: text(length) });
    await wire.turn();
    const answers = wire.answers();
    assert.equal(answers.length, 4);
    for (const [i, answer] of answers.entries()) {
      assert.ok(answer?.kind === 'icmp', 'with the right checksums');
      const length = [0, 1, 56, 1400][i] ?? 0;
      assert.deepEqual([answer.source, answer.destination, answer.type, answer.code, answer.rest], [destination, source, reply, 0, 0x1234_0001 + length]);
      assert.deepEqual(Buffer.from(answer.payload), Buffer.from(text(length)));
    }
    // A reply, an error, what we answer in the other version.
    for (const type of [reply, 3, 1, echo === 8 ? 128 : 8]) wire.send({ kind: 'icmp', source, destination, type, code: 0, rest: 0, payload: text(28) });
    await wire.turn();
    assert.equal(wire.answers().length, 0);
    assert.equal(leftover.unclaimed, 4);
  }
});

void t.test('icmp: drop', async () => {
  for (const { source, destination, echo } of FAMILIES) {
    const { wire, leftover } = left(false);
    wire.send({ kind: 'icmp', source, destination, type: echo, code: 0, rest: 1, payload: text(8) });
    await wire.turn();
    assert.deepEqual([wire.answers().length, leftover.unclaimed], [0, 1]);
  }
});

void t.test('a ping in fragments is put together, in any order, and answered in fragments', async () => {
  for (const { source, destination, echo, reply } of FAMILIES) {
    const { wire, fragments } = left();
    for (const order of [(parts: Uint8Array[]) => parts, (parts: Uint8Array[]) => parts.reverse()]) {
      wire.sendFragments({ kind: 'icmp', source, destination, type: echo, code: 0, rest: 9, payload: text(20_000) }, 1500, order);
      await wire.turn();
      assert.ok(wire.out.length > 10 && wire.out.every((bytes) => bytes.length <= 1500));
      const back = left();
      let whole: Packet | null = null;
      const taker: IpStack = {
        input: (batch, index) => {
          whole = parsePacket(batch.bytes.slice(batch.start[index], batch.end[index]));
          return true;
        },
        flush: () => undefined,
        nextDeadline: () => Number.POSITIVE_INFINITY,
        close: () => undefined,
      };
      const driver = new StackDriver({ device: back.wire.near, clock: back.wire.clock, defer: back.wire.defer });
      driver.start([new FragmentStack([taker], driver.output, numbers())]);
      for (const bytes of wire.out.splice(0)) back.wire.send(bytes);
      await back.wire.turn();
      const answer = whole as Packet | null;
      assert.ok(answer?.kind === 'icmp');
      assert.deepEqual([answer.type, answer.payload.length], [reply, 20_000]);
    }
    assert.equal(fragments.reassembly.size, 0);
  }
});

void t.test(
  'a datagram that is never whole: its sender is told after a minute, if the first fragment came (RFC 1122 section 3.3.2, RFC 8200 section 4.5)',
  async () => {
    for (const { source, destination, echo } of FAMILIES) {
      const isIPv4 = echo === 8;
      const udp = { kind: 'udp', source, destination, sourcePort: 4_000, destinationPort: 53, payload: text(3_000) } as const;
      const icmp = { kind: 'icmp', source, destination, code: 0, rest: 1, payload: text(3_000) } as const;
      const cases: readonly [what: string, packet: Packet, part: number, isTold: boolean][] = [
        ['the first', udp, 0, true],
        ['another one', udp, 1, false],
        ['the last', udp, 2, false],
        ['of a ping', { ...icmp, type: echo }, 0, true],
        ['of an ICMP error', { ...icmp, type: isIPv4 ? 3 : 1 }, 0, false],
        ['to a group', { ...udp, destination: isIPv4 ? '224.0.0.9' : 'ff02::9' }, 0, false],
      ];
      for (const [what, packet, part, isTold] of cases) {
        const { wire, fragments } = left();
        let sent: Uint8Array = new Uint8Array();
        wire.sendFragments(packet, 1_500, (parts) => {
          sent = parts[part] ?? assert.fail();
          return [sent];
        });
        await wire.turn();
        await wire.clock.advance(59_000);
        await wire.turn();
        assert.deepEqual([wire.answers().length, fragments.reassembly.size], [0, 1], what);
        await wire.clock.advance(1_001);
        await wire.turn();
        assert.deepEqual([fragments.reassembly.size, fragments.reassembly.dropped, wire.clock.pending], [0, 1, 0], what);
        const answers = wire.answers();
        assert.equal(answers.length, isTold ? 1 : 0, what);
        if (!isTold) continue;
        const [answer] = answers;
        assert.ok(answer?.kind === 'icmp', 'with the right checksums');
        assert.deepEqual([answer.source, answer.destination, answer.type, answer.code, answer.rest], [destination, source, isIPv4 ? 11 : 3, 1, 0]);
        assert.deepEqual(Buffer.from(answer.payload), Buffer.from(sent.subarray(0, isIPv4 ? 548 : 1_232)));
      }
    }
  },
);

void t.test('nor are senders told of more than 50 at once', async () => {
  const { wire, fragments } = left();
  for (let i = 0; i < 60; i++) {
    wire.sendFragments(udp('198.18.0.1', '203.0.113.7', text(3_000)), 1_500, ([first]) => [first ?? assert.fail()], i);
    await wire.turn();
  }
  assert.equal(fragments.reassembly.size, 60);
  await wire.clock.advance(60_000);
  await wire.turn();
  assert.deepEqual([fragments.reassembly.size, wire.answers().length], [0, 50]);
});

void t.test('what leaves in fragments has an identification that nobody can guess: RFC 7739', async () => {
  const [, { source, destination, echo }] = FAMILIES;
  const { wire } = left();
  for (let i = 0; i < 20; i++) wire.send({ kind: 'icmp', source, destination, type: echo, code: 0, rest: i, payload: text(2_000) });
  await wire.turn();
  const numbers = wire.out.flatMap((bytes) => (bytes[6] === 44 && bytes[42] === 0 ? [Buffer.from(bytes).readUInt32BE(44)] : []));
  assert.equal(new Set(numbers).size, 20);
  assert.ok(new Set(numbers.slice(1).map((number, i) => number - (numbers[i] ?? 0))).size > 15);
});

void t.test('a packet that came in fragments belongs to the flow of those that came whole', async () => {
  for (const { source, destination } of FAMILIES) {
    const wire = new Wire();
    const flows: number[] = [];
    const taker: IpStack = {
      input: (batch, index) => flows.push(batch.flow[index] ?? 0) > 0,
      flush: () => undefined,
      nextDeadline: () => Number.POSITIVE_INFINITY,
      close: () => undefined,
    };
    const driver = new StackDriver({ device: wire.near, clock: wire.clock, defer: wire.defer });
    driver.start([new FragmentStack([taker], driver.output, numbers()), taker]);
    const segment: Packet = {
      kind: 'tcp',
      source,
      destination,
      sourcePort: 40_000,
      destinationPort: 443,
      sequence: 1,
      acknowledgment: 1,
      flags: FLAG.ack,
      window: 1,
      options: {},
      payload: text(1_400),
    };
    wire.send(segment);
    await wire.turn();
    wire.sendFragments(segment, 1_300);
    await wire.turn();
    assert.equal(flows.length, 2);
    assert.equal(flows[1], flows[0]);
    wire.send({ ...segment, sourcePort: 40_001 });
    await wire.turn();
    assert.notEqual(flows[2], flows[0]);
  }
});

void t.test('fragments that never become whole are forgotten in time, and with the stack', async () => {
  const { wire, fragments } = left();
  wire.sendFragments(udp('198.18.0.1', '203.0.113.7', text(5000)), 1500, (parts) => parts.slice(1));
  await wire.turn();
  assert.equal(fragments.reassembly.size, 1);
  await wire.clock.advance(61_000);
  wire.send(udp('198.18.0.1', '203.0.113.7'));
  await wire.turn();
  assert.deepEqual([fragments.reassembly.size, fragments.reassembly.dropped], [0, 1]);
  wire.sendFragments(udp('198.18.0.1', '203.0.113.7', text(5000)), 1500, (parts) => parts.slice(1));
  await wire.turn();
  fragments.close();
  assert.equal(fragments.reassembly.size, 0);
});

void t.test('a fragment within a fragment goes round once, and to nobody', async () => {
  const { wire, leftover, fragments } = left();
  const inner = buildPacket({
    kind: 'other',
    source: 'fd00::1',
    destination: 'fd00::2',
    protocol: 44,
    payload: Uint8Array.of(17, 0, 0, 1, 0, 0, 0, 1, ...text(1600)),
  });
  const slab = new PacketSlab(new Uint8Array(10_000), 0, 10_000, 10, 1280, 0);
  // The fragment header of the outer one says that another follows.
  assert.ok(writeFragments(slab, inner, 0, inner.length, 3));
  for (let i = 0; i < slab.count; i++) wire.send(slab.bytes.slice(slab.start[i], slab.end[i]));
  await wire.turn();
  assert.deepEqual([wire.answers().length, leftover.unclaimed, fragments.reassembly.size], [0, 1, 0]);
});

void t.test('UDP: "port unreachable" with what it is about, and it is told once', async () => {
  for (const { source, destination, unreachable } of FAMILIES) {
    const { wire, told } = left();
    const sent = buildPacket(udp(source, destination));
    wire.send(sent);
    wire.send(udp(source, destination, text(1400)));
    await wire.turn();
    const [first, second] = wire.answers();
    assert.ok(first?.kind === 'icmp' && second?.kind === 'icmp');
    assert.deepEqual([first.source, first.destination, first.type, first.code], [destination, source, ...unreachable]);
    assert.deepEqual(Buffer.from(first.payload), Buffer.from(sent), 'a short packet is quoted whole');
    assert.equal(second.payload.length, source.includes(':') ? 1280 - 48 : 576 - 28, 'a long one as far as the RFCs allow');
    assert.equal(told(), 1);
  }
});

void t.test(
  'a protocol that nobody takes: "protocol unreachable", or the place of the Next Header (RFC 1122 section 3.2.2.1, RFC 8200 section 4)',
  async () => {
    for (const { source, destination, echo } of FAMILIES) {
      const isIPv4 = echo === 8;
      const { wire, leftover } = left();
      const sent = buildPacket({ kind: 'other', source, destination, protocol: 132, payload: text(40) });
      wire.send(sent);
      await wire.turn();
      const [answer] = wire.answers();
      assert.ok(answer?.kind === 'icmp', 'with the right checksums');
      assert.deepEqual([answer.source, answer.destination], [destination, source]);
      assert.deepEqual([answer.type, answer.code, answer.rest], isIPv4 ? [3, 2, 0] : [4, 1, 6]);
      assert.deepEqual(Buffer.from(answer.payload), Buffer.from(sent));
      if (!isIPv4) {
        // Destination options of 8 bytes, and of 16.
        for (const [chain, pointer] of [
          [Uint8Array.of(132, 0, 1, 4, 0, 0, 0, 0), 40],
          [Uint8Array.of(60, 1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 132, 0, 1, 4, 0, 0, 0, 0), 56],
        ] as const) {
          wire.send({ kind: 'other', source, destination, protocol: 60, payload: Buffer.concat([chain, text(40)]) });
          await wire.turn();
          const [pointed] = wire.answers();
          assert.ok(pointed?.kind === 'icmp');
          assert.deepEqual([pointed.type, pointed.code, pointed.rest], [4, 1, pointer]);
        }
      }
      // Nothing next, TCP where there is no stack for it; and no more than 50 at once.
      const other = { source, destination, payload: text(40) };
      wire.send({ kind: 'tcp', ...other, sourcePort: 1, destinationPort: 2, sequence: 1, acknowledgment: 0, flags: 2, window: 1 });
      wire.send({ kind: 'other', ...other, protocol: 59 });
      wire.send({ kind: 'other', source, destination: isIPv4 ? '224.0.0.1' : 'ff02::1', protocol: 132, payload: text(40) });
      await wire.turn();
      assert.equal(wire.answers().length, isIPv4 ? 1 : 0, 'in IPv4 59 is a protocol like others');
      await wire.clock.advance(1_000);
      for (let i = 0; i < 80; i++) wire.send(sent);
      await wire.turn();
      assert.equal(wire.answers().length, 50);
      assert.ok(leftover.unclaimed >= 30);
    }
  },
);

void t.test('an IPv6 path that is narrower than the device: long answers go in shorter fragments, for ten minutes (RFC 8201, RFC 8200 section 5)', async () => {
  const [, { source, destination, echo }] = FAMILIES;
  const { wire } = left(true, 9_000);
  const ping = async (from: string, length: number): Promise<number> => {
    wire.send({ kind: 'icmp', source: from, destination, type: echo, code: 0, rest: 1, payload: text(length) });
    await wire.turn();
    return Math.max(...wire.out.splice(0).map((bytes) => bytes.length));
  };
  const tell = async (mtu: number, about: string, from: string = destination, protocol = 58): Promise<void> => {
    const quoted = buildPacket({ kind: 'other', source: from, destination: about, protocol, payload: text(100) });
    wire.send({ kind: 'icmp', source: '2001:db8:1::1', destination, type: 2, code: 0, rest: mtu, payload: quoted });
    await wire.turn();
    assert.equal(wire.out.length, 0);
  };
  assert.equal(await ping(source, 3_000), 3_048);
  await tell(1_279, source);
  await tell(1_500, source, '2001:db8::ffff');
  await tell(1_500, source, destination, 6);
  assert.equal(await ping(source, 3_000), 3_048, 'too little, about the packet of another, and what is for TCP to judge');
  await tell(1_500, source);
  assert.equal(await ping(source, 3_000), 1_496);
  assert.equal(await ping(source, 1_452), 1_500);
  assert.equal(await ping('fd00::9', 3_000), 3_048, 'to others as before');
  await tell(1_280, source);
  await tell(1_400, source);
  assert.equal(await ping(source, 3_000), 1_280, 'it does not grow');
  await wire.clock.advance(600_000);
  assert.equal(await ping(source, 3_000), 3_048);
});

void t.test('UDP: a burst of 50, then 1,000 in a second', async () => {
  const { wire, leftover } = left();
  await wire.clock.advance(10_000);
  const flood = async (count: number): Promise<number> => {
    for (let i = 0; i < count; i++) {
      wire.send(udp('198.18.0.1', '203.0.113.7'));
      if (i % 50 === 49) await wire.turn();
    }
    await wire.turn();
    return wire.answers().length;
  };
  assert.equal(await flood(300), 50);
  assert.equal(leftover.unclaimed, 250);
  await wire.clock.advance(20);
  assert.equal(await flood(300), 20);
  await wire.clock.advance(60_000);
  assert.equal(await flood(300), 50, 'no more is saved up than a burst');
});

void t.test('no more than half a MiB of answers waits for one flush', async () => {
  const { wire } = left(true, 9_000);
  const pings = async (count: number, payload: Uint8Array): Promise<number> => {
    for (let i = 0; i < count; i++) wire.send({ kind: 'icmp', source: '198.18.0.1', destination: '203.0.113.7', type: 8, code: 0, rest: i, payload });
    await wire.turn();
    return wire.answers().length;
  };
  assert.equal(await pings(200, text(8)), 200, 'ping -l 200');
  assert.equal(await pings(200, text(8_000)), Math.floor((512 * 1024) / 8_028));
  assert.equal(await pings(10, text(8)), 10, 'the room is there again');
  const one = new BatchParser(
    buildPacket({ kind: 'icmp', source: '198.18.0.1', destination: '203.0.113.7', type: 8, code: 0, rest: 1, payload: text(8) }),
    1,
    text(8),
  );
  assert.ok(one.add(0, one.bytes.length, 0, false));
  const sink = new PacketSlab(new Uint8Array(100_000), 0, 100_000, 1_000, 1_500, 0);
  const driver = new StackDriver({ device: wire.near, clock: wire.clock, defer: wire.defer });
  const other = new LeftoverStack({ output: { ...driver.output, sink }, echo: true, identifications: numbers(), onUdp: () => undefined });
  for (let i = 0; i < 600; i++) other.input(one, 0);
  other.flush();
  assert.equal(sink.count, 512, 'nor more than 512');
});

void t.test("the broadcast address of the device's network is nobody", async () => {
  const wire = new Wire();
  const driver = new StackDriver({ device: wire.near, clock: wire.clock, defer: wire.defer });
  const leftover = new LeftoverStack({ output: driver.output, echo: true, identifications: numbers(), onUdp: () => undefined });
  const broadcast = new BroadcastStack(['198.18.0.1/30', 'fd00::1/126', '10.0.0.9/31', '10.1.2.3/32', '172.16.5.4/12']);
  driver.start([broadcast, leftover]);
  const ping = (source: string, to: string): void => wire.send({ kind: 'icmp', source, destination: to, type: 8, code: 0, rest: 1, payload: text(8) });
  for (const to of ['198.18.0.3', '172.31.255.255']) ping('198.18.0.1', to);
  ping('198.18.0.3', '203.0.113.7');
  wire.send(udp('198.18.0.1', '198.18.0.3', text(8)));
  await wire.turn();
  assert.deepEqual([wire.answers().length, broadcast.dropped, leftover.unclaimed], [0, 4, 0]);
  for (const to of ['198.18.0.2', '198.18.0.4', '10.0.0.9', '10.1.2.3', '172.32.0.0']) ping('198.18.0.1', to);
  await wire.turn();
  assert.deepEqual([wire.answers().length, broadcast.dropped], [5, 4]);
});

void t.test('240.0.0.0/4 is answered as any other network is', async () => {
  const { wire, leftover } = left();
  for (const [source, destination] of [
    ['198.18.0.1', '240.0.0.1'],
    ['198.18.0.1', '255.255.255.254'],
    ['240.0.0.1', '203.0.113.7'],
  ] as const) {
    wire.send({ kind: 'icmp', source, destination, type: 8, code: 0, rest: 1, payload: text(8) });
    await wire.turn();
    assert.deepEqual(
      wire.answers().map((answer) => [answer?.source, answer?.destination]),
      [[destination, source]],
    );
  }
  assert.equal(leftover.unclaimed, 0);
});

void t.test('what goes to many, or comes from nobody, is never answered', async () => {
  const { wire, leftover, told } = left();
  const pairs = [
    ['198.18.0.1', '224.0.0.251'],
    ['198.18.0.1', '255.255.255.255'],
    ['198.18.0.1', '127.0.0.1'],
    ['127.0.0.1', '203.0.113.7'],
    ['0.0.0.0', '203.0.113.7'],
    ['224.0.0.1', '203.0.113.7'],
    ['203.0.113.7', '203.0.113.7'],
    ['fdfe:dcba:9876::1', 'ff02::1'],
    ['fdfe:dcba:9876::1', '::1'],
    ['::', '2001:db8::7'],
    ['::1', '2001:db8::7'],
    ['ff02::1', '2001:db8::7'],
    ['2001:db8::7', '2001:db8::7'],
    ['::ffff:10.0.0.1', '::ffff:10.0.0.2'],
  ] as const;
  for (const [source, destination] of pairs) {
    wire.send(udp(source, destination));
    wire.send({ kind: 'icmp', source, destination, type: source.includes(':') ? 128 : 8, code: 0, rest: 0, payload: text(8) });
  }
  await wire.turn();
  assert.deepEqual([wire.answers().length, leftover.unclaimed, told()], [0, 2 * pairs.length, 0]);
});

void t.test('a stack that throws loses its packet, and is told of once', async () => {
  const wire = new Wire();
  const driver = new StackDriver({ device: wire.near, clock: wire.clock, defer: wire.defer });
  const told: unknown[] = [];
  const fail = (where: string) => (): never => {
    throw new Error(where);
  };
  const broken: IpStack = { input: fail('input'), flush: fail('flush'), nextDeadline: fail('nextDeadline'), close: fail('close') };
  const guarded = new GuardedStack(broken, (error) => told.push(error instanceof Error ? error.message : error));
  const taken: number[] = [];
  const behind: IpStack = {
    input: (_batch, index) => taken.push(index) > 0,
    flush: () => undefined,
    nextDeadline: () => Number.POSITIVE_INFINITY,
    close: () => undefined,
  };
  driver.start([guarded, behind]);
  wire.send(udp('198.18.0.1', '203.0.113.7'));
  await wire.turn();
  driver.close();
  assert.deepEqual([taken, told], [[], ['flush']]);
  assert.ok(guarded.failures >= 5);
  const none = new GuardedStack({ ...broken, nextDeadline: () => Number.NaN }, () => assert.fail());
  assert.equal(none.nextDeadline(), Number.POSITIVE_INFINITY);
});
