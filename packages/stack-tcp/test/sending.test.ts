// What goes out: windows, congestion, probes, keep-alive, the buffer. RFC 9293 section 3.8; RFC 5681, 6298, 6928, 9438.
import { FLAG, type TcpPacket } from '@nekit/core/ip';
import t from 'tap';
import { offsets, SACK, sending, total } from './support/sending.js';
import { Client, tcp, Wire } from './support/wire.js';

const error = (thrown: unknown): unknown => thrown;

t.test('the initial window is ten segments (RFC 6928), and slow start doubles it', async (t) => {
  const { client, sent, wire } = await sending(400_000);
  t.equal(sent.length, 10);
  t.ok(sent.every((packet) => packet.payload.length === 1_000));
  wire.time += 50;
  client.take(sent);
  const second = client.send();
  t.equal(second.length, 20);
  wire.time += 50;
  client.take(second);
  t.equal(client.send().length, 40);
});

for (const congestion of ['reno', 'cubic'] as const)
  t.test(`after a silence longer than the timeout a connection begins with its first window again: RFC 5681 section 4.1 (${congestion})`, async (t) => {
    const { client, sent, wire } = await sending(300_000, { settings: { congestion } });
    let got = client.take(sent).length;
    let most = 0;
    for (let i = 0; i < 100 && got < 300_000; i++) {
      wire.time += 5;
      const packets = client.send();
      most = Math.max(most, packets.length);
      got += client.take(packets).length;
    }
    client.send();
    t.equal(got, 300_000);
    t.ok(most > 40, `${most} segments at once`);
    wire.time += 100;
    await client.stream.write([new Uint8Array(40_000)]);
    const soon = tcp(wire.flush());
    t.equal(soon.length, 40, 'a little later it goes on as before');
    client.take(soon);
    client.send();
    wire.time += 1_500;
    await client.stream.write([new Uint8Array(40_000)]);
    t.equal(tcp(wire.flush()).length, 10);
  });

t.test('a delay that grows ends slow start (RFC 9406), but not towards programs of this host, where no network can queue', async (t) => {
  for (const congestion of ['reno', 'cubic'] as const)
    for (const isIPv6 of [false, true])
      for (const [networks, hopLimit, isFromHost] of [
        [['10.0.0.2/30', 'fd00::2/126'], 64, true],
        [['10.0.0.2/30', 'fd00::2/126'], 63, false], // forwarded, and masqueraded
        [['10.0.0.1/30', 'fd00::1/126', 'fd00::2:0:0:2/126'], 64, false],
        [[], 64, false],
      ] as const) {
        const { client, sent, wire } = await sending(900_000, { settings: { congestion }, isIPv6, networks, hopLimit });
        let packets = sent;
        // Round trips of 10 ms, then longer ones; every segment is acknowledged by itself.
        for (const wait of [10, 10, 10, 30, 60]) {
          wire.time += wait;
          const next: TcpPacket[] = [];
          for (const packet of packets) {
            client.take([packet]);
            next.push(...client.send());
          }
          packets = next;
        }
        const told = `${packets.length} segments in the sixth round, ${congestion}, ${isIPv6 ? 'IPv6' : 'IPv4'}, ${networks.join(' ')}, hop limit ${hopLimit}`;
        t.equal(packets.length === 320, isFromHost, told);
      }
});

t.test('a SYN-ACK that was sent again: a timeout of 3 s, or by a timestamp (RFC 6298 section 5.7); one segment if it was twice', async (t) => {
  for (const [waited, isStamped, segments, timeout] of [
    [0, false, 10, 240],
    [1_000, false, 10, 3_000],
    [1_000, true, 10, 240],
    [3_000, false, 1, 3_000],
  ] as const) {
    const wire = new Wire();
    const client = new Client(wire);
    client.syn({ mss: 1_000, ...(isStamped ? { timestamps: { value: 5, echo: 0 } } : {}) });
    const opening = wire.requests[0]?.accept();
    const synAck = [...tcp(wire.flush()), ...tcp(wire.advance(waited))].at(-1);
    client.seq++;
    client.ack = ((synAck?.sequence ?? 0) + 1) >>> 0;
    if (isStamped) client.options = { timestamps: { value: 6, echo: synAck?.options?.timestamps?.value ?? 0 } };
    wire.time += 80;
    client.send();
    await (await opening)?.write([new Uint8Array(20_000)]);
    t.equal(tcp(wire.flush()).length, segments, `first window after ${waited} ms`);
    t.strictSame(tcp(wire.advance(timeout - 20)), [], `${timeout} ms`);
    t.ok(tcp(wire.advance(40)).length > 0, `${timeout} ms, and no more`);
  }
});

t.test("never beyond the peer's window, nor above its MSS; PSH with the last byte", async (t) => {
  const { client, sent } = await sending(5_000, {}, { mss: 700 }, 2_000);
  t.equal(total(sent), 1_400, 'whole segments');
  t.ok(sent.every((packet) => packet.payload.length <= 700));
  client.take(sent);
  client.window = 60_000;
  const rest = client.send();
  t.equal(total(rest), 3_600);
  t.strictSame(
    rest.map((packet) => (packet.flags & FLAG.psh) !== 0),
    [false, false, false, false, false, true],
  );
});

t.test('super-packets: one reservation for many segments, whole ones but for the last', async (t) => {
  const wire = new Wire({ largest: 65_535 });
  const client = await new Client(wire).connect({ mss: 1_460, windowScale: 7, sackPermitted: true });
  client.window = 8_000;
  client.send();
  void client.stream.write([new Uint8Array(200_000)]);
  const first = wire.superPackets();
  t.strictSame(first, [[40 + 14_600, 1_460]]);
  client.take(tcp(wire.drain()));
  wire.feed(client.segment());
  for (const [length, segmentSize] of wire.superPackets()) {
    t.ok(length <= 65_535);
    t.equal(segmentSize, 1_460);
    t.equal((length - 40) % 1_460, 0);
  }
  const pieces = tcp(wire.drain());
  t.equal(client.take(pieces).length, 29_200, 'cut into segments with numbers and checksums of their own');
});

t.test('payloads are lent where the sink takes them from where they lie, and go out intact, also again', async (t) => {
  const wire = new Wire({ largest: 65_535, lends: true });
  const client = await new Client(wire).connect({ mss: 1_460, windowScale: 7, sackPermitted: true });
  client.window = 8_000;
  client.send();
  const data = Uint8Array.from({ length: 300_000 }, (_, i) => (i * 7) % 251);
  void client.stream.write([data]);
  const got: number[] = [];
  let pieces = tcp(wire.flush());
  wire.time += 2_000; // the first flight is lost
  pieces = tcp(wire.flush());
  for (let round = 0; round < 200 && got.length < data.length; round++) {
    got.push(...client.take(pieces));
    wire.time += 10;
    pieces = client.send();
    if (pieces.length === 0) pieces = tcp(wire.advance(1_000));
  }
  t.ok(wire.lending.lent > 4, `${wire.lending.lent} payloads`);
  t.equal(Buffer.compare(Buffer.from(got), Buffer.from(data)), 0);
});

t.test('programs of this host get more at once than a packet holds, until something is lost; all others do not', async (t) => {
  for (const isIPv6 of [false, true])
    for (const hasOwn of [true, false]) {
      const told = `${isIPv6 ? 'IPv6' : 'IPv4'}, ${hasOwn ? 'the' : 'not the'} device's own address`;
      const networks = hasOwn ? ['10.0.0.2/30', 'fd00::2/126'] : ['10.0.0.1/30', 'fd00::1/126'];
      const wire = new Wire({ largest: 65_535, lends: true, isIPv6, networks });
      const client = await new Client(wire).connect({ mss: 1_440, windowScale: 7, sackPermitted: true });
      client.window = 8_000;
      client.send();
      const data = Uint8Array.from({ length: 3_000_000 }, (_, i) => (i * 7) % 251);
      void client.stream.write([data]);
      const got: Uint8Array[] = [];
      let length = 0;
      /** Everything up to so many bytes, each flight acknowledged as a whole. */
      const takeUpTo = (end: number): void => {
        let pieces = tcp(wire.flush());
        for (let round = 0; round < 1_000 && length < end; round++) {
          const isWhole = (piece: TcpPacket): boolean => piece.payload.length === 1_440 || (piece.payload.length < 1_440 && (piece.flags & FLAG.psh) !== 0);
          t.ok(pieces.every(isWhole), 'whole segments, but for the last of what was there');
          const taken = client.take(pieces);
          got.push(taken);
          length += taken.length;
          wire.time += 10;
          pieces = client.send();
          if (pieces.length === 0) pieces = tcp(wire.advance(1_000));
        }
      };
      takeUpTo(1_500_000);
      t.equal(wire.lending.longest > 65_535, hasOwn, `${wire.lending.longest} bytes, ${told}`);
      t.ok(wire.lending.longest <= 256_000);
      // A flight is lost, and sent again.
      tcp(wire.flush());
      wire.time += 2_000;
      got.push(client.take(tcp(wire.flush())));
      length = got.reduce((sum, part) => sum + part.length, 0);
      wire.lending.longest = 0;
      takeUpTo(data.length);
      t.ok(wire.lending.longest > 30_000 && wire.lending.longest <= 65_535, `${wire.lending.longest} bytes after a loss, ${told}`);
      t.equal(Buffer.compare(Buffer.concat(got), data), 0, told);
    }
});

t.test('a closed window: probes for ever with growing gaps as long as they are answered; then everything, and the FIN (gVisor 13393)', async (t) => {
  const { client, sent, wire } = await sending(5_000, {}, { mss: 1_000 }, 2_000);
  await client.stream.closeWrite();
  client.take(sent);
  client.window = 0;
  client.send();
  const gaps: number[] = [];
  let last = wire.time;
  for (let ms = 0; ms < 40 * 60_000; ms += 50) {
    const probes = tcp(wire.advance(50));
    if (probes.length === 0) continue;
    t.match(probes, [{ sequence: client.ack, payload: { length: 1 } }]);
    gaps.push(wire.time - last);
    last = wire.time;
    client.send(); // answered, and still closed
  }
  t.ok(gaps.length > 30 && gaps.length < 60, `${gaps.length} probes in 40 minutes`);
  t.ok((gaps[0] ?? 0) <= 1_100, 'the first one after a timeout');
  for (let i = 1; i < gaps.length; i++) t.ok((gaps[i] ?? 0) >= (gaps[i - 1] ?? 0) - 60 && (gaps[i] ?? 0) <= 60_100);
  client.window = 10_000;
  const rest = client.send();
  t.equal(client.take(rest).length, 3_000);
  t.equal((rest.at(-1)?.flags ?? 0) & FLAG.fin, FLAG.fin);
});

t.test('both have ended, and the client takes nothing more: not for ever', async (t) => {
  const { client, sent, wire } = await sending(5_000, {}, { mss: 1_000 }, 2_000);
  client.take(sent);
  client.window = 0;
  client.send({ flags: FLAG.fin | FLAG.ack });
  client.seq++;
  t.equal(await client.stream.read(), null);
  await client.stream.closeWrite();
  let last: TcpPacket | undefined;
  for (let ms = 0; ms < 500_000 && wire.stack.info.connections > 0; ms += 500) {
    const probes = tcp(wire.advance(500));
    last = probes.at(-1) ?? last;
    if (probes.length > 0 && wire.stack.info.connections > 0) client.send();
  }
  t.match(wire.stack.info, { connections: 0, memory: 0, timers: 0, counters: { timedOut: 1 } });
  t.equal(last?.flags, FLAG.rst | FLAG.ack);
});

t.test('the window opens by the answer to a probe that got through', async (t) => {
  const { client, sent, wire } = await sending(3_000, {}, { mss: 1_000 }, 1_000);
  client.take(sent);
  client.window = 0;
  client.send();
  const probe = tcp(wire.advance(2_000)).slice(0, 1);
  t.equal(client.take(probe).length, 1);
  client.window = 5_000;
  const rest = client.send();
  t.strictSame(offsets(client, rest), [1_001, 2_001]);
});

t.test('a FIN that a closed window has no room for is sent as a probe', async (t) => {
  const { client, sent, wire } = await sending(1_000, {}, { mss: 1_000 }, 1_000);
  client.take(sent);
  client.window = 0;
  client.send();
  await client.stream.closeWrite();
  const probe = tcp(wire.advance(3_000));
  t.ok(probe.length > 0 && probe.every((packet) => (packet.flags & FLAG.fin) !== 0 && packet.sequence === client.ack));
  client.take(probe.slice(0, 1));
  client.send();
  t.strictSame(tcp(wire.advance(100_000)), [], 'and rests when it was acknowledged');
  t.equal(wire.stack.info.timers, 0);
});

t.test('the peer takes its window back: what is in flight is kept, nothing new goes, and it is no reason to give up', async (t) => {
  const { client, sent, wire } = await sending(20_000, {}, { mss: 1_000 }, 20_000);
  t.equal(sent.length, 10);
  client.window = 0;
  client.send();
  for (let i = 0; i < 60; i++) {
    const again = tcp(wire.advance(30_000));
    t.ok(
      offsets(client, again).every((offset) => offset === 0),
      'only the head, as a probe',
    );
    client.send();
  }
  client.window = 30_000;
  client.send();
  let got = 0;
  for (let i = 0; i < 200 && got < 20_000; i++) {
    got += client.take(tcp(wire.advance(100))).length;
    got += client.take(client.send()).length;
  }
  t.equal(got, 20_000);
});

t.test('the peer takes its window back and goes on sending: what answers it lies in its window (RFC 9293 MUST-34)', async (t) => {
  for (const left of [0, 2_500]) {
    const { client, sent, wire } = await sending(20_000, {}, { mss: 1_000 }, 20_000);
    t.equal(sent.length, 10);
    client.window = left;
    client.send();
    for (let i = 0; i < 3; i++) {
      const answers = [...client.text(new Uint8Array(1_000)), ...tcp(wire.advance(50))].filter(({ payload }) => payload.length === 0);
      t.equal(answers.length > 0, true);
      for (const answer of answers) t.match(answer, { flags: FLAG.ack, sequence: (client.ack + left) >>> 0, acknowledgment: client.seq });
    }
  }
});

t.test('an older segment does not bring back its window: SND.WL1 and SND.WL2 of RFC 9293 section 3.10.7.4', async (t) => {
  const wire = new Wire();
  const client = await new Client(wire).connect({ mss: 1_000 });
  const late = client.segment({ window: 0, payload: new Uint8Array(100) });
  client.text(new Uint8Array(100));
  client.text(new Uint8Array(100));
  wire.raw(late);
  await client.stream.write([Buffer.from('there is room')]);
  const sent = tcp(wire.flush());
  t.equal(total(sent), 13, 'an older sequence number');
  const older = client.segment({ window: 0 });
  client.take(sent);
  client.send();
  wire.raw(older);
  await client.stream.write([Buffer.from('still')]);
  t.equal(total(tcp(wire.flush())), 5, 'an older acknowledgment');
});

t.test('silly windows: a small window gets no small segments while anything is in flight, and something after a while', async (t) => {
  const { client, sent, wire } = await sending(10_000, {}, { mss: 1_000 }, 4_000);
  client.take(sent.slice(0, 3));
  client.window = 1_100; // 1,000 in flight, room for 100
  t.strictSame(client.send(), []);
  client.take(sent.slice(3));
  client.window = 100;
  t.strictSame(client.send(), []);
  const forced = tcp(wire.advance(3_000));
  t.equal(forced[0]?.payload.length, 100);
});

t.test('a small window gets at once what fits it exactly, if that is all there is: RFC 9293 section 3.8.6.2.1', async (t) => {
  const { client, sent } = await sending(4_100, {}, { mss: 1_000 }, 4_000);
  client.take(sent);
  client.window = 100;
  t.match(client.send(), [{ flags: FLAG.ack | FLAG.psh, payload: { length: 100 } }]);
});

t.test('a sink that is full: the rest goes out a little later, be it text, an ACK or a reset', async (t) => {
  const wire = new Wire();
  const clients: Client[] = [];
  for (let i = 0; i < 600; i++) clients.push(await new Client(wire, 1_000, 2_000 + i).connect());
  const rounds: [string, (client: Client) => void][] = [
    ['text', (client): void => void client.stream.write([Buffer.from('text')])],
    ['the ACK of a FIN', (client): void => wire.feed(client.segment({ flags: FLAG.ack | FLAG.fin }))],
    ['a reset', (client): void => client.stream.abort(new Error('enough'))],
  ];
  for (const [name, act] of rounds) {
    for (const client of clients) act(client);
    t.equal(tcp(wire.flush()).length, 512, name);
    t.ok(wire.stack.nextDeadline() <= wire.time + 1);
    t.equal(tcp(wire.advance(1)).length, 88, `the rest of it, ${name}`);
    t.strictSame(tcp(wire.advance(50)), []);
  }
  t.match(wire.stack.info, { connections: 0, timers: 0 });
});

t.test('a receiver whose whole buffer is smaller than a segment gets at once what it has room for (gVisor 1398)', async (t) => {
  const wire = new Wire();
  const client = new Client(wire);
  client.window = 500;
  await client.connect({ mss: 1_460 });
  await client.stream.write([new Uint8Array(2_000)]);
  for (let sent = tcp(wire.flush()), i = 0; i < 4; i++, sent = client.send()) {
    t.match(sent, [{ payload: { length: 500 } }]);
    client.take(sent);
  }
});

t.test('the first two duplicate ACKs send something new: RFC 3042', async (t) => {
  for (const sackPermitted of [false, true]) {
    const { client, sent } = await sending(30_000, {}, { mss: 1_000, sackPermitted }, 60_000);
    t.equal(sent.length, 10);
    for (const [at, next] of [
      [1_000, 10_000],
      [2_000, 11_000],
    ] as const) {
      const sack: [number, number][] = [[(client.iss + 2_001) >>> 0, (client.iss + 2_001 + at) >>> 0]];
      t.strictSame(offsets(client, client.send(sackPermitted ? { options: { sack } } : {})), [next]);
    }
  }
});

t.test('a clock that jumps by an hour in the middle (a machine that slept), also where its milliseconds wrap: nobody is given up', async (t) => {
  for (const start of [1_000, 2 ** 31 - 1_000, 2 ** 32 - 1_000]) {
    const wire = new Wire();
    wire.time = start;
    const client = await new Client(wire).connect(SACK);
    await client.stream.write([new Uint8Array(5_000)]);
    tcp(wire.flush());
    wire.time += 3_600_000;
    const again = tcp(wire.flush());
    t.equal(again.length, 1, 'one segment again');
    client.ack = (client.ack + 5_000) >>> 0;
    client.send();
    client.text('still here');
    t.equal(await client.readNow(), 'still here');
    t.equal(wire.stack.info.connections, 1);
    t.equal(wire.stack.counters.get('timedOut'), 0);
    t.ok(wire.stack.nextDeadline() - wire.time < 1_000, 'the next timer is not an hour away');
  }
});

t.test('Nagle, if asked for', async (t) => {
  for (const nagle of [false, true]) {
    const wire = new Wire({ settings: { nagle } });
    const client = await new Client(wire).connect();
    await client.stream.write([Buffer.from('a')]);
    t.equal(wire.flush().length, 1);
    await client.stream.write([Buffer.from('b')]);
    t.equal(wire.flush().length, nagle ? 0 : 1);
    client.ack++;
    t.equal(client.send().length, nagle ? 1 : 0);
  }
});

t.test('keep-alive, if asked for: probes after silence; an answer is enough; without one it ends', async (t) => {
  const wire = new Wire({ settings: { keepAliveMs: 60_000 } });
  const client = await new Client(wire).connect();
  t.strictSame(tcp(wire.advance(59_000)), []);
  t.equal(wire.stack.nextDeadline(), 61_000, 'until then the timer rests');
  const busy = await new Client(new Wire({ settings: { keepAliveMs: 60_000 } })).connect();
  busy.wire.advance(10_000);
  busy.text('x');
  t.equal(busy.wire.stack.nextDeadline(), busy.wire.time + 40, 'but for a delayed ACK');
  t.match(tcp(wire.advance(2_000)), [{ sequence: client.ack - 1, payload: { length: 0 }, acknowledgment: client.seq }]);
  client.send();
  t.strictSame(tcp(wire.advance(59_000)), []);
  await client.stream.write([Buffer.from('x')]);
  t.ok(
    tcp(wire.advance(100_000)).every((packet) => packet.sequence === client.ack && packet.payload.length === 1),
    'none while something is in flight: its timer is enough (RFC 9293, MUST-26)',
  );
  client.ack = (client.ack + 1) >>> 0;
  client.window = 0;
  client.send();
  await client.stream.write([Buffer.from('y')]);
  t.ok(
    tcp(wire.advance(200_000)).every((packet) => packet.payload.length === 1),
    'nor beside window probes',
  );
  client.window = 60_000;
  client.send();
  client.ack = (client.ack + 1) >>> 0;
  client.send();
  const reading = client.stream.read().catch(error);
  for (let i = 0; i < 90; i++) {
    wire.advance(10_000);
    client.send({ sequence: client.seq + 0x4000_0000, flags: FLAG.rst }); // by somebody who knows no more than the addresses
  }
  t.match(await reading, { code: 'ETIMEDOUT' });
  const silent = new Wire();
  await new Client(silent).connect();
  t.strictSame(silent.advance(10 * 3_600_000), [], 'and none without');
});

t.test('writing: the buffer is bounded, and who waits goes on when there is room', async (t) => {
  const { client, sent, wire, written } = await sending(3_000_000);
  let isDone = false;
  void written.then(() => {
    isDone = true;
  });
  await new Promise(setImmediate);
  t.equal(isDone, false);
  t.ok(wire.stack.info.memory <= 131_072, 'twice what may be in flight, 64 KiB at least');
  let got = client.take(sent).length;
  for (let i = 0; i < 5_000 && got < 3_000_000; i++) {
    wire.time += 1;
    got += client.take(client.send()).length;
  }
  client.send();
  await new Promise(setImmediate);
  t.equal(got, 3_000_000);
  t.equal(isDone, true);
  t.equal(wire.stack.info.memory, 0);
});

t.test('a writer that starves for memory is woken when there is some (gVisor 10243)', async (t) => {
  const wire = new Wire({ arenaBytes: 2 * 4_096 });
  const clients = [await new Client(wire, 1, 1_001).connect(), await new Client(wire, 1, 1_002).connect(), await new Client(wire, 1, 1_003).connect()];
  const writing = clients.map((client) => client.stream.write([new Uint8Array(4_000)]));
  let sent = tcp(wire.flush());
  t.equal(new Set(sent.map((packet) => packet.destinationPort)).size, 2, 'two have memory');
  for (const client of clients) {
    client.take(sent.filter((packet) => packet.destinationPort === client.port));
  }
  sent = [...clients.slice(0, 2).flatMap((client) => client.send()), ...tcp(wire.advance(100))];
  t.equal(new Set(sent.map((packet) => packet.destinationPort)).size, 1, 'and then the third');
  await Promise.all(writing);
});
