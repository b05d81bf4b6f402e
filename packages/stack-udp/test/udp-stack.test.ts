import assert from 'node:assert/strict';
import { type Datagram, NetError, type PacketConn, type PacketRequest } from '@nekit/core';
import {
  BatchParser,
  buildPacket,
  Identifications,
  type Packet,
  type PacketBatch,
  PacketSlab,
  type PipeEnd,
  parsePacket,
  pipeDevice,
  Reassembly,
  SeededRandom,
  StackDriver,
} from '@nekit/core/ip';
import { FakeClock, settle, testSession } from '@nekit/core/testing';
import t from 'tap';
import { portsAllowed } from '../dist/descriptors.js';
import { DEFAULT_UDP_LIMITS, type UdpLimits, UdpStack } from '../dist/udp-stack.js';

interface Association {
  readonly request: PacketRequest;
  readonly conn: PacketConn;
  readonly got: { readonly peer: string; readonly text: string }[];
  end(): void;
}

/** A stack on one end of a pipe; what comes out of it at the other. */
class Bench {
  readonly clock = new FakeClock();
  readonly driver: StackDriver;
  readonly stack: UdpStack;
  readonly far: PipeEnd;
  readonly out: Uint8Array[] = [];
  readonly associations: Association[] = [];
  /** Refuses instead of accepting. */
  refuse = false;
  /** Takes what comes. */
  reads = true;
  /** Addresses that stand for nothing. */
  readonly nowhere = new Set<string>();
  #run: (() => void)[] = [];

  constructor(limits: Partial<UdpLimits> = {}, mtu = 1500, offload = false) {
    const [near, far] = pipeDevice({ mtu, offload, defer: (run) => this.#run.push(run), arenaBytes: 0 });
    this.far = far;
    far.start({
      packets: (batch) => {
        for (let i = 0; i < batch.length; i++) this.out.push(batch.bytes.slice(batch.start[i], batch.end[i]));
      },
      failed: () => undefined,
    });
    this.driver = new StackDriver({ device: near, clock: this.clock, defer: (run) => this.#run.push(run) });
    this.stack = new UdpStack({
      identifications: new Identifications((length) => new SeededRandom(7).bytes(length)),
      limits: { ...DEFAULT_UDP_LIMITS, ...limits },
      context: {
        output: this.driver.output,
        openSession: (network, source, requested, signal) =>
          this.nowhere.has(requested.host) ? null : testSession({ network, source, requested, signal, inbound: 'tun', inboundType: 'TUN' }),
        handlePackets: (request) => this.#handle(request),
      },
    });
    this.driver.start([this.stack]);
  }

  async #handle(request: PacketRequest): Promise<void> {
    const conn = request.accept();
    if (this.refuse) {
      request.reject(new NetError('denied', 'no'));
      return;
    }
    let end = (): void => {};
    const got: { peer: string; text: string }[] = [];
    const ended = new Promise<void>((resolve) => (end = resolve));
    this.associations.push({ request, conn, got, end });
    const read = async (): Promise<void> => {
      for (let all = await conn.receive(); all !== null; all = await conn.receive()) {
        for (const { bytes, peer } of all) got.push({ peer: `${peer.host} ${peer.port}`, text: Buffer.from(bytes).toString('latin1') });
      }
    };
    await (this.reads ? Promise.race([read(), ended]) : ended);
  }

  send(packet: Packet | Uint8Array): void {
    this.far.inject(packet instanceof Uint8Array ? packet : buildPacket(packet));
  }

  async turn(): Promise<void> {
    for (let i = 0; i < 5; i++) {
      for (const run of this.#run.splice(0)) run();
      await settle();
    }
  }
}

const udp = (source: string, sourcePort: number, destination: string, destinationPort: number, text: string): Packet => ({
  kind: 'udp',
  source,
  destination,
  sourcePort,
  destinationPort,
  payload: Buffer.from(text, 'latin1'),
});

const datagram = (host: string, port: number, text: string): Datagram => ({ bytes: Buffer.from(text, 'latin1'), peer: { host, port } });

void t.test('datagrams there and back, and from remotes that were never asked (full cone)', async () => {
  for (const [client, server, other] of [
    ['10.0.0.1', '192.0.2.9', '203.0.113.4'],
    ['240.0.0.1', '241.0.0.9', '255.255.255.254'],
    ['fd00::1', '2001:db8::9', '2001:db8:1::4'],
  ] as const) {
    const bench = new Bench();
    bench.send(udp(client, 4000, server, 53, 'one'));
    bench.send(udp(client, 4000, other, 80, 'two'));
    bench.send(udp(client, 4001, server, 53, 'three'));
    await bench.turn();
    const [first, second] = bench.associations;
    assert.equal(bench.associations.length, 2);
    assert.deepEqual(first?.got, [
      { peer: `${server} 53`, text: 'one' },
      { peer: `${other} 80`, text: 'two' },
    ]);
    assert.deepEqual(second?.got, [{ peer: `${server} 53`, text: 'three' }]);
    const { session } = first?.request ?? assert.fail();
    assert.deepEqual(
      [session.network, session.inbound, session.inboundType, session.source, session.destination],
      ['udp', 'tun', 'TUN', { host: client, port: 4000 }, { host: server, port: 53 }],
    );
    const sent = first?.conn.send([datagram(server, 53, 'answer'), datagram('2001:db8:ffff::1', 1, '6'), datagram('198.51.100.200', 9, 'unasked')]);
    await bench.turn();
    assert.equal(sent, 2, 'one of them is of the other family');
    const packets = bench.out.map((bytes) => parsePacket(bytes));
    assert.equal(packets.length, 2);
    const [answer] = packets;
    assert.ok(answer?.kind === 'udp');
    assert.deepEqual(
      [answer.source, answer.sourcePort, answer.destination, answer.destinationPort, Buffer.from(answer.payload).toString()],
      [server, 53, client, 4000, 'answer'],
    );
    bench.driver.close();
    assert.equal(bench.stack.size, 0);
  }
});

void t.test('a refused one is answered with "port unreachable", at a bounded rate', async () => {
  const bench = new Bench();
  bench.refuse = true;
  bench.send(udp('10.0.0.1', 4000, '192.0.2.9', 443, 'q'.repeat(1_300)));
  bench.send(udp('fd00::1', 4000, '2001:db8::9', 443, 'q'.repeat(1_300)));
  await bench.turn();
  const [four, six] = bench.out.map((bytes) => parsePacket(bytes));
  assert.ok(four?.kind === 'icmp' && six?.kind === 'icmp');
  assert.deepEqual([four.source, four.destination, four.type, four.code], ['192.0.2.9', '10.0.0.1', 3, 3]);
  assert.deepEqual([six.source, six.destination, six.type, six.code], ['2001:db8::9', 'fd00::1', 1, 4]);
  assert.deepEqual(
    bench.out.map(({ length }) => length),
    [576, 1280],
    'as much of it as fits (RFC 1812 section 4.3.2.3, RFC 4443 section 2.4)',
  );
  assert.deepEqual([four.payload[9], four.payload[20], four.payload[21]], [17, 4000 >> 8, 4000 & 255]);
  assert.equal(bench.stack.size, 0);
  for (let port = 1; port < 1000; port++) {
    bench.send(udp('10.0.0.1', port, '192.0.2.9', 443, 'quic'));
    if (port % 20 === 0) await bench.turn();
  }
  await bench.turn();
  assert.equal(bench.out.length, 100);
  bench.driver.close();
});

void t.test('what goes to many, or comes from nobody, is counted and dropped', async () => {
  const bench = new Bench();
  const bad = [
    ['10.0.0.1', '224.0.0.251'],
    ['10.0.0.1', '255.255.255.255'],
    ['127.0.0.1', '192.0.2.9'],
    ['10.0.0.1', '127.0.0.1'],
    ['0.0.0.0', '192.0.2.9'],
    ['10.0.0.1', '10.0.0.1'],
    ['fd00::1', 'ff02::fb'],
    ['fd00::1', '::1'],
    ['::', '2001:db8::1'],
  ] as const;
  for (const [source, destination] of bad) bench.send(udp(source, 5353, destination, 5353, 'x'));
  bench.send(udp('10.0.0.1', 53, '192.0.2.9', 0, 'x'));
  await bench.turn();
  assert.equal(bench.stack.dropped.addresses, bad.length + 1);
  assert.equal(bench.associations.length, 0);
  assert.equal(bench.out.length, 0);
  bench.driver.close();
});

void t.test('from source port 0 datagrams go one way: RFC 768', async () => {
  for (const [client, server] of [
    ['10.0.0.1', '192.0.2.9'],
    ['fd00::1', '2001:db8::9'],
  ] as const) {
    const bench = new Bench({ idle: 60_000 });
    bench.send(udp(client, 0, server, 514, 'syslog'));
    await bench.turn();
    const [first] = bench.associations;
    assert.deepEqual(first?.got, [{ peer: `${server} 514`, text: 'syslog' }]);
    await bench.clock.advance(59_000);
    assert.equal(first?.conn.send([datagram(server, 514, 'answer')]), 0);
    await bench.turn();
    await bench.clock.advance(2_000);
    await bench.turn();
    assert.deepEqual([bench.out.length, bench.stack.size, bench.stack.dropped.addresses], [0, 0, 0], 'nor do answers keep it');
    bench.driver.close();
  }
});

void t.test('what a remote cannot have sent is not said to come from it', async () => {
  for (const [client, server, nobody] of [
    ['10.0.0.1', '192.0.2.9', ['127.0.0.1', '127.1.2.3', '0.0.0.0', '224.0.0.251', '255.255.255.255', '10.0.0.1', 'a.name']],
    ['fd00::1', '2001:db8::9', ['::', '::1', 'ff02::fb', '::ffff:10.0.0.9', 'fd00::1', '192.0.2.9']],
  ] as const) {
    const bench = new Bench();
    bench.send(udp(client, 4000, server, 9, 'x'));
    await bench.turn();
    const { conn } = bench.associations[0] ?? assert.fail();
    for (const host of nobody) assert.equal(conn.send([datagram(host, 53, 'no')]), 0, host);
    assert.equal(conn.send([datagram(server, 0, 'no')]), 0, 'port 0');
    assert.equal(conn.send([datagram(server, 9, 'yes')]), 1);
    await bench.turn();
    assert.equal(bench.out.length, 1);
    bench.driver.close();
  }
});

void t.test('mappings end after silence, sooner when they only asked name servers, and the least recently used makes room', async () => {
  const bench = new Bench({ mappings: 3, idle: 60_000, dnsIdle: 5_000 });
  bench.send(udp('10.0.0.1', 1, '192.0.2.9', 53, 'dns'));
  bench.send(udp('10.0.0.1', 2, '192.0.2.9', 53, 'dns'));
  bench.send(udp('10.0.0.1', 2, '192.0.2.9', 123, 'ntp'));
  bench.send(udp('10.0.0.1', 3, '192.0.2.9', 53, 'dns'));
  await bench.turn();
  assert.equal(bench.stack.size, 3);
  assert.equal(bench.associations[0]?.request.idleMs, 60_000, 'what carries it does not end before');
  await bench.clock.advance(4_000);
  bench.send(udp('10.0.0.1', 3, '192.0.2.9', 53, 'again'));
  await bench.turn();
  await bench.clock.advance(2_000);
  await bench.turn();
  assert.equal(bench.stack.size, 2, 'the first has gone');
  assert.equal(await bench.associations[0]?.conn.receive(), null);
  // Number 3 was used last; number 2 makes room.
  bench.send(udp('10.0.0.1', 4, '192.0.2.9', 123, 'x'));
  bench.send(udp('10.0.0.1', 5, '192.0.2.9', 123, 'x'));
  await bench.turn();
  assert.equal(bench.stack.size, 3);
  assert.equal(await bench.associations[1]?.conn.receive(), null);
  await bench.clock.advance(61_000);
  await bench.turn();
  assert.equal(bench.stack.size, 0);
  assert.equal(bench.stack.nextDeadline(), Number.POSITIVE_INFINITY);
  assert.equal(bench.clock.pending, 0);
});

void t.test('use counts at once, either way: of a storm of new ports none takes the place of one that is used', async () => {
  const bench = new Bench({ mappings: 32 });
  bench.send(udp('10.0.0.1', 1, '192.0.2.9', 443, 'steady'));
  bench.send(udp('10.0.0.1', 2, '192.0.2.9', 443, 'asks once'));
  bench.send(udp('10.0.0.1', 3, '192.0.2.9', 443, 'silent'));
  await bench.turn();
  for (let i = 0; i < 50; i++) {
    await bench.clock.advance(20);
    bench.send(udp('10.0.0.1', 1, '192.0.2.9', 443, 'steady'));
    bench.associations[1]?.conn.send([datagram('192.0.2.9', 443, 'answer')]);
    for (let port = 0; port < 6; port++) bench.send(udp('10.0.0.1', 1_000 + 6 * i + port, '192.0.2.9', 53, 'dns'));
    await bench.turn();
  }
  assert.equal(bench.associations.length, 3 + 300, 'none was opened anew');
  assert.equal(bench.associations[0]?.got.length, 51);
  assert.equal(bench.associations[1]?.conn.send([datagram('192.0.2.9', 443, 'answer')]), 1);
  assert.equal(bench.associations[2]?.conn.send([datagram('192.0.2.9', 443, 'answer')]), 0, 'the silent one made room');
  assert.equal(bench.stack.size, 32);
  bench.driver.close();
});

void t.test('a port that was used a moment ago does not make room, as long as another is silent', async () => {
  const bench = new Bench({ mappings: 4 });
  const use = (port: number): void => bench.send(udp('10.0.0.1', port, '192.0.2.9', 443, 'x'));
  const answer = (port: number): number | undefined => bench.associations[port - 1]?.conn.send([datagram('192.0.2.9', 443, 'answer')]);
  for (const port of [1, 2, 3, 4]) use(port);
  await bench.turn();
  await bench.clock.advance(5);
  use(1);
  assert.equal(answer(2), 1);
  use(5);
  await bench.turn();
  await bench.clock.advance(5);
  assert.deepEqual([answer(1), answer(2), answer(3)], [1, 1, 0]);
  use(6);
  await bench.turn();
  assert.deepEqual([answer(1), answer(2), answer(4), answer(5), answer(6)], [1, 1, 0, 1, 1]);
  // All are in use: one goes all the same.
  await bench.clock.advance(5);
  for (const port of [1, 2, 5, 6]) assert.equal(answer(port), 1);
  use(7);
  await bench.turn();
  assert.equal(bench.stack.size, 4);
  assert.equal(answer(7), 1);
  bench.driver.close();
});

void t.test('what leaves whole and may be cut on its way has an identification of its own: RFC 6864 section 4.1', async () => {
  const bench = new Bench();
  bench.send(udp('10.0.0.1', 1, '192.0.2.9', 443, 'x'));
  await bench.turn();
  for (let i = 0; i < 20; i++) bench.associations[0]?.conn.send([datagram('192.0.2.9', 443, 'answer')]);
  await bench.turn();
  const identifications = bench.out.map((bytes) => (bytes[4] ?? 0) * 256 + (bytes[5] ?? 0));
  assert.equal(identifications.length, 20);
  assert.ok(
    bench.out.every((bytes) => parsePacket(bytes) !== null && ((bytes[6] ?? 0) & 0xbf) === 0),
    'not a fragment, and its checksum is right',
  );
  assert.ok(new Set(identifications).size === 20 && !identifications.includes(0));
  const steps = identifications.slice(1).map((number, i) => number - (identifications[i] ?? 0));
  assert.ok(new Set(steps).size > 15, 'nor can it be guessed (RFC 7739)');
  bench.driver.close();
});

void t.test('what leaves in fragments has an identification that nobody can guess: RFC 7739', async () => {
  const bench = new Bench();
  bench.send(udp('fd00::1', 1, '2001:db8::9', 443, 'x'));
  await bench.turn();
  for (let i = 0; i < 20; i++) bench.associations[0]?.conn.send([datagram('2001:db8::9', 443, 'y'.repeat(2_000))]);
  await bench.turn();
  const numbers = bench.out.flatMap((bytes) => (bytes[6] === 44 && bytes[42] === 0 ? [Buffer.from(bytes).readUInt32BE(44)] : []));
  assert.equal(new Set(numbers).size, 20);
  assert.ok(new Set(numbers.slice(1).map((number, i) => number - (numbers[i] ?? 0))).size > 15);
  bench.driver.close();
});

void t.test('remotes of all ports are bounded together: each port keeps its last ones, and gives them back when it ends', async () => {
  const bench = new Bench({ peers: 50 });
  for (let port = 1; port <= 4; port++) {
    for (let remote = 1; remote <= 100; remote++) bench.send(udp('10.0.0.1', port, '192.0.2.9', remote, `${remote}`));
    await bench.turn();
    assert.equal(bench.associations[port - 1]?.got.length, 100);
    assert.equal(bench.stack.peers, 50 + 8 * (port - 1));
  }
  await bench.clock.advance(301_000);
  await bench.turn();
  assert.deepEqual([bench.stack.size, bench.stack.peers], [0, 0]);
  bench.driver.close();
});

void t.test('each refused remote of a port is answered, and each datagram to it', async () => {
  for (const [client, prefix] of [
    ['10.0.0.1', '192.0.2.'],
    ['fd00::1', '2001:db8::'],
  ] as const) {
    const bench = new Bench();
    bench.reads = false;
    const send = (remote: number, text: string): void => bench.send(udp(client, 4000, `${prefix}${remote}`, 443, text));
    /** Refuses what has come, and who was said to be unreachable. */
    const refuse = async (): Promise<(string | undefined)[]> => {
      await bench.turn();
      const { request, conn } = bench.associations[0] ?? assert.fail();
      const rejecting: { reject(error: NetError, peer: Datagram['peer']): void } = request;
      for (const { peer } of (await conn.receive()) ?? []) rejecting.reject(new NetError('denied', 'no'), peer);
      await bench.turn();
      return bench.out.splice(0).map((bytes) => {
        const packet = parsePacket(bytes);
        return packet?.kind === 'icmp' ? packet.source.slice(prefix.length) : undefined;
      });
    };
    for (const remote of [1, 2, 3]) send(remote, 'first');
    assert.deepEqual(await refuse(), ['1', '2', '3']);
    for (const remote of [2, 1, 2]) send(remote, 'again');
    assert.deepEqual(await refuse(), ['2', '1', '2']);
    bench.associations[0]?.conn.send([datagram(`${prefix}9`, 443, 'of another remote')]);
    await bench.turn();
    assert.equal(bench.out.splice(0).length, 1);
    send(1, 'after an answer');
    assert.deepEqual(await refuse(), ['1']);
    // More of them than are kept: the first ones are answered from their next datagram on.
    for (let remote = 10; remote < 30; remote++) send(remote, 'many');
    assert.equal((await refuse()).length, 16);
    send(10, 'once more');
    assert.deepEqual(await refuse(), ['10']);
    bench.driver.close();
  }
});

void t.test('super-packets are cut on the way in, and made on the way out', async () => {
  const bench = new Bench({}, 1500, true);
  const slab = new PacketSlab(new Uint8Array(70_000), 0, 70_000, 4, 1500, 65_535);
  const whole = buildPacket(udp('10.0.0.1', 4000, '192.0.2.9', 443, 'a'.repeat(1000) + 'b'.repeat(1000) + 'c'.repeat(10)));
  slab.bytes.set(whole);
  const parser = new BatchParser(slab.bytes, 1, new Uint8Array(8));
  assert.ok(parser.add(0, whole.length, 1000, true));
  assert.ok(bench.stack.input(parser, 0));
  await bench.turn();
  assert.deepEqual(
    bench.associations[0]?.got.map(({ text }) => text.length),
    [1000, 1000, 10],
  );
  const peer = Object.freeze({ host: '192.0.2.9', port: 443 });
  const reply = (length: number): Datagram => ({ bytes: new Uint8Array(length).fill(length), peer });
  assert.equal(bench.associations[0]?.conn.send([reply(500), reply(500), reply(20), reply(500), reply(0)]), 5);
  await bench.turn();
  assert.deepEqual(
    bench.out.map((bytes) => bytes.length - 28),
    [1020, 500, 0],
  );
  // Linux refuses to cut one into more.
  bench.out.length = 0;
  assert.equal(bench.associations[0]?.conn.send(Array.from({ length: 150 }, () => reply(10))), 150);
  await bench.turn();
  assert.deepEqual(
    bench.out.map((bytes) => bytes.length - 28),
    [640, 640, 220],
  );
  bench.driver.close();
});

void t.test('datagrams above the MTU go in fragments', async () => {
  for (const [client, server] of [
    ['10.0.0.1', '192.0.2.9'],
    ['fd00::1', '2001:db8::9'],
  ] as const) {
    const bench = new Bench();
    bench.send(udp(client, 4000, server, 9, 'x'));
    await bench.turn();
    const { conn } = bench.associations[0] ?? assert.fail();
    assert.equal(conn.send([datagram(server, 9, 'y'.repeat(5000)), datagram(server, 9, 'z'.repeat(65_500))]), client.includes(':') ? 2 : 2);
    assert.equal(conn.send([datagram(server, 9, 'z'.repeat(65_530))]), 0);
    await bench.turn();
    const reassembly = new Reassembly();
    const wholes: (Packet | null)[] = [];
    for (const bytes of bench.out) {
      assert.ok(bytes.length <= 1500);
      const parser = new BatchParser(bytes, 1, new Uint8Array(8));
      assert.ok(parser.add(0, bytes.length, 0, false));
      const whole = reassembly.add(bytes, 0, bytes.length, parser.transport[0] ?? 0, parser.version[0] ?? 0, 0);
      if (whole !== null) wholes.push(parsePacket(whole));
    }
    assert.deepEqual(
      wholes.map((packet) => packet?.payload.length),
      [5000, 65_500],
    );
    bench.driver.close();
  }
});

void t.test('to who is behind a narrower IPv6 path datagrams go in shorter fragments: RFC 8201', async () => {
  const bench = new Bench({}, 9_000);
  const [client, server] = ['fd00::1', '2001:db8::9'];
  bench.send(udp(client, 4000, server, 9, 'x'));
  await bench.turn();
  const { conn } = bench.associations[0] ?? assert.fail();
  const send = async (...lengths: number[]): Promise<number[]> => {
    assert.equal(conn.send(lengths.map((length) => datagram(server, 9, 'y'.repeat(length)))), lengths.length);
    await bench.turn();
    return bench.out.splice(0).map((bytes) => bytes.length);
  };
  const whole = parsePacket(buildPacket(udp(server, 9, client, 4000, 'y'.repeat(3_000)))) ?? assert.fail();
  assert.deepEqual(await send(3_000), [3_048]);
  bench.driver.output.paths.learn(...tooBig(whole, 1_500));
  assert.deepEqual(await send(3_000, 1_452, 1_453), [1_496, 1_496, 160, 1_500, 1_496, 61]);
  assert.deepEqual(await send(1_000), [1_048]);
  bench.driver.close();
});

/** "Packet too big" about one of ours, as a batch. */
function tooBig(whole: Packet, mtu: number): [PacketBatch, number] {
  const message = buildPacket({
    kind: 'icmp',
    source: '2001:db8:1::1',
    destination: whole.source,
    type: 2,
    code: 0,
    rest: mtu,
    payload: buildPacket(whole).subarray(0, 1_200),
  });
  const parser = new BatchParser(message, 1, new Uint8Array(8));
  assert.ok(parser.add(0, message.length, 0, false));
  return [parser, 0];
}

void t.test('who handles a port ends it', async () => {
  const bench = new Bench();
  bench.send(udp('10.0.0.1', 4000, '192.0.2.9', 9, 'x'));
  await bench.turn();
  bench.associations[0]?.end();
  await bench.turn();
  assert.equal(bench.stack.size, 0);
  bench.driver.close();
});

void t.test('nobody fetches them: 512 datagrams of a port wait, the rest is dropped and counted', async () => {
  const bench = new Bench();
  bench.reads = false;
  for (let i = 0; i < 600; i++) {
    bench.send(udp('10.0.0.1', 4000, '192.0.2.9', 9, 'x'));
    if (i % 50 === 49) await bench.turn();
  }
  assert.equal(bench.stack.dropped.full, 88);
  assert.equal(bench.stack.waiting, 512 * (1 + 128));
  assert.equal((await bench.associations[0]?.conn.receive())?.length, 512);
  assert.equal(bench.stack.waiting, 0);
  bench.driver.close();
});

void t.test('ports that nobody reads fill the memory of all, but who waits for a datagram gets it', async () => {
  const bench = new Bench({ waiting: 2_000 });
  bench.reads = false;
  const text = 'x'.repeat(100);
  for (let i = 0; i < 20; i++) bench.send(udp('10.0.0.1', 4000, '192.0.2.9', 9, text));
  await bench.turn();
  assert.equal(bench.stack.waiting, 9 * (100 + 128), 'the last one that begins within the limit');
  assert.equal(bench.stack.dropped.full, 11);
  bench.reads = true;
  bench.send(udp('10.0.0.1', 4001, '192.0.2.9', 9, text)); // the first of a port has no reader yet
  await bench.turn();
  assert.equal(bench.stack.dropped.full, 12);
  for (let turn = 0; turn < 3; turn++) {
    for (const word of ['one', 'two']) bench.send(udp('10.0.0.1', 4001, '192.0.2.9', 9, word));
    await bench.turn();
  }
  assert.deepEqual(
    bench.associations[1]?.got.map((one) => one.text),
    ['one', 'two', 'one', 'two', 'one', 'two'],
  );
  assert.equal(bench.stack.dropped.full, 12);
  assert.equal(bench.stack.waiting, 9 * (100 + 128));
  bench.driver.close();
  assert.equal(bench.stack.waiting, 0);
});

void t.test('an address that stands for nothing: port unreachable at once, whether it is the first of its port or not', async () => {
  for (const [client, server, nowhere] of [
    ['10.0.0.1', '192.0.2.9', '198.18.0.99'],
    ['fd00::1', '2001:db8::9', 'fdfe::99'],
  ] as const) {
    const bench = new Bench();
    bench.nowhere.add(nowhere);
    const refused = async (): Promise<string[]> => {
      await bench.turn();
      return bench.out.splice(0).map((bytes) => {
        const packet = parsePacket(bytes);
        return packet?.kind === 'icmp' ? `${packet.source} ${packet.type} ${packet.code}` : 'something else';
      });
    };
    const unreachable = client.includes(':') ? `${nowhere} 1 4` : `${nowhere} 3 3`;
    bench.send(udp(client, 4000, nowhere, 80, 'first'));
    assert.deepEqual([await refused(), bench.associations.length, bench.stack.size], [[unreachable], 0, 0]);
    bench.send(udp(client, 4000, server, 80, 'one'));
    bench.send(udp(client, 4000, nowhere, 80, 'further'));
    assert.deepEqual(await refused(), [unreachable]);
    bench.nowhere.clear();
    bench.send(udp(client, 4000, nowhere, 80, 'somebody'));
    await bench.turn();
    assert.deepEqual(
      bench.associations[0]?.got.map(({ text }) => text),
      ['one', 'somebody'],
    );
    assert.deepEqual(bench.out, []);
  }
});

t.test('ports are bounded by descriptors, of which connections keep half', async (t) => {
  t.equal(portsAllowed(8_192, 'Limit\nMax open files            1024                 4096                 files\n'), 512);
  t.equal(portsAllowed(8_192, 'Max open files            1048576              1048576              files\n'), 8_192);
  t.equal(portsAllowed(8_192, 'Max open files            unlimited            unlimited            files\n'), 8_192);
  t.equal(portsAllowed(8_192, 'Max open files            10                   10                   files\n'), 8);
  t.ok(portsAllowed(8_192) >= 8);
});
