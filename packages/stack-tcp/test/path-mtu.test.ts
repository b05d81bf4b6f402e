// ICMP that says that a packet was too big. RFC 1191, 5927, 8201.
import { buildPacket, FLAG, type IcmpPacket, parsePacket, type TcpPacket } from '@nekit/core/ip';
import t from 'tap';
import { sending } from './support/sending.js';
import { Client, tcp, Wire } from './support/wire.js';

t.test('path MTU: only if the quoted number is in flight; smaller segments from then on; nothing else of ICMP does anything', async (t) => {
  const { client, sent, wire } = await sending(10_000, {}, { mss: 1_460, sackPermitted: true }, 60_000);
  const tooBig = (sequence: number, mtu: number, fields: Partial<IcmpPacket> = {}): TcpPacket[] => {
    const quoted = buildPacket({
      kind: 'tcp',
      source: '192.0.2.1',
      destination: '10.0.0.2',
      sourcePort: 443,
      destinationPort: client.port,
      sequence: sequence >>> 0,
      acknowledgment: 0,
      flags: FLAG.ack,
      window: 0,
      payload: new Uint8Array(0),
    });
    return tcp(
      wire.raw(
        buildPacket({ kind: 'icmp', source: '10.0.0.1', destination: '192.0.2.1', type: 3, code: 4, rest: mtu, payload: quoted.subarray(0, 28), ...fields }),
      ),
    );
  };
  t.strictSame(tooBig(client.ack - 1, 1_000), [], 'already acknowledged');
  t.strictSame(tooBig(client.ack + 50_000, 1_000), [], 'never sent');
  t.strictSame(tooBig(client.ack, 1_000, { code: 1 }), [], 'host unreachable');
  t.strictSame(tooBig(client.ack, 1_000, { code: 3 }), [], 'port unreachable');
  t.equal(wire.stack.counters.get('dropIcmp'), 4);
  const again = tooBig(client.ack, 1_000);
  t.equal(again[0]?.sequence, client.ack, 'what was too big, again');
  t.ok(again.length > 0 && again.every((packet) => packet.payload.length <= 960));
  t.strictSame(tooBig(client.ack, 1_400), [], 'it does not grow by ICMP');
  t.equal(Math.max(...tooBig(client.ack, 68).map((packet) => packet.payload.length)), 512, 'nor below 552');
  t.equal(wire.stack.info.connections, 1);
  t.ok(sent.length > 0);
  wire.raw(buildPacket({ kind: 'icmp', source: '10.0.0.1', destination: '192.0.2.1', type: 8, code: 0, rest: 1, payload: new Uint8Array(8) }));
  t.equal(wire.isTaken, false, 'an echo is for others');
});

t.test('path MTU: below 552 routers may cut what we send; each packet has an identification of its own', async (t) => {
  const wire = new Wire();
  const client = await new Client(wire).connect({ mss: 1_460 });
  await client.stream.write([new Uint8Array(3_000)]);
  const raw = (): Uint8Array[] => wire.packets().filter((packet) => packet.length > 100);
  const isWhole = (packet: Uint8Array): boolean => ((packet[6] ?? 0) & 0x40) !== 0;
  const before = raw();
  t.ok(before.length > 0 && before.every(isWhole));
  const quoted = (before[0] as Uint8Array).subarray(0, 28);
  const tell = (mtu: number): Uint8Array[] => {
    wire.feed(buildPacket({ kind: 'icmp', source: '10.0.0.1', destination: '192.0.2.1', type: 3, code: 4, rest: mtu, payload: quoted }));
    return raw();
  };
  t.ok(tell(552).every((packet) => isWhole(packet) && packet.length <= 552));
  const again = tell(296);
  t.ok(again.length > 1);
  t.notOk(again.some(isWhole));
  t.equal(new Set(again.map((packet) => (packet[4] ?? 0) * 256 + (packet[5] ?? 0))).size, again.length);
  t.ok(
    again.every((packet) => parsePacket(packet) !== null),
    'checksums are right',
  );
  t.strictSame(tell(68), [], 'there is no more to do');
});

t.test('path MTU: a flood of ICMP about nothing does not keep it out', async (t) => {
  for (const isIPv6 of [false, true]) {
    const wire = new Wire({ isIPv6 });
    const [ours, theirs, router] = isIPv6 ? ['2001:db8::1', 'fd00::2', 'fd00::1'] : ['192.0.2.1', '10.0.0.2', '10.0.0.1'];
    const client = await new Client(wire).connect({ mss: 1_400 });
    const others = [];
    for (let port = 41_000; port < 41_200; port++) others.push(await new Client(wire, 1_000, port).connect({ mss: 1_400 }));
    await client.stream.write([new Uint8Array(2_800)]);
    t.equal(tcp(wire.flush()).length, 2);
    const tooBig = (port: number): Uint8Array => {
      const packet = {
        sourcePort: 443,
        destinationPort: port,
        sequence: client.ack,
        acknowledgment: 0,
        flags: FLAG.ack,
        window: 0,
        payload: new Uint8Array(0),
      };
      const payload = buildPacket({ kind: 'tcp', source: ours, destination: theirs, ...packet }).subarray(0, isIPv6 ? 48 : 28);
      return buildPacket({ kind: 'icmp', source: router, destination: ours, type: isIPv6 ? 2 : 3, code: isIPv6 ? 0 : 4, rest: 1_300, payload });
    };
    for (let i = 0; i < 1_000; i++) t.strictSame(wire.raw(tooBig(50_000 + i)), []);
    t.ok(tcp(wire.raw(tooBig(client.port))).length > 1);
    t.equal(others.length, 200);
  }
});

t.test('path MTU of IPv6: what says less than 1,280 is discarded (RFC 8201 section 4)', async (t) => {
  const wire = new Wire({ isIPv6: true });
  const client = await new Client(wire).connect({ mss: 1_440 });
  await client.stream.write([new Uint8Array(1_440)]);
  wire.flush();
  const tooBig = (mtu: number): number[] => {
    const quoted = buildPacket({
      kind: 'tcp',
      source: '2001:db8::1',
      destination: 'fd00::2',
      sourcePort: 443,
      destinationPort: client.port,
      sequence: client.ack,
      acknowledgment: 0,
      flags: FLAG.ack,
      window: 0,
      payload: new Uint8Array(0),
    });
    const answer = wire.raw(buildPacket({ kind: 'icmp', source: 'fd00::1', destination: '2001:db8::1', type: 2, code: 0, rest: mtu, payload: quoted }));
    return tcp(answer).map((packet) => packet.payload.length);
  };
  t.strictSame(tooBig(1_279), []);
  t.strictSame(tooBig(0), []);
  t.strictSame(tooBig(1_280), [1_220, 220]);
});
