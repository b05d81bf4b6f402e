// Packets as values and as a batch: RFC 791, 8200, 9293, 768, 792, 4443; checksums by RFC 1071.
import fc from 'fast-check';
import t from 'tap';
import {
  Arena,
  BatchParser,
  buildPacket,
  cutPacket,
  FLAG,
  FlowHash,
  fold,
  PARSE_DROP,
  type Packet,
  packetAt,
  parsePacket,
  sumOf,
  type TcpPacket,
} from '../../dist/ip.js';

const KEY = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8);
const V4 = { source: '10.0.0.2', destination: '192.0.2.1' };
const V6 = { source: 'fd00::2', destination: '2001:db8::1' };
const TCP: Omit<TcpPacket, 'source' | 'destination'> = {
  kind: 'tcp',
  sourcePort: 40_000,
  destinationPort: 443,
  sequence: 0xffff_fff0,
  acknowledgment: 7,
  flags: FLAG.ack | FLAG.psh,
  window: 500,
  urgent: 0,
  options: { timestamps: { value: 1, echo: 0xffff_ffff }, sack: [[1, 0xffff_ffff]] },
  payload: Buffer.from('hello'),
};

t.test('what is built is parsed again', (t) => {
  for (const ip of [V4, V6]) {
    const packets: Packet[] = [
      { ...TCP, ...ip },
      {
        ...TCP,
        ...ip,
        flags: FLAG.syn,
        options: { mss: 1_460, windowScale: 7, sackPermitted: true, timestamps: { value: 9, echo: 0 } },
        payload: new Uint8Array(0),
      },
      { kind: 'udp', ...ip, sourcePort: 53, destinationPort: 1, payload: Buffer.from('odd') },
      { kind: 'udp', ...ip, sourcePort: 53, destinationPort: 1, payload: new Uint8Array(0) },
      { kind: 'icmp', ...ip, type: 8, code: 0, rest: 0x1234_5678, payload: Buffer.from('ping') },
      { kind: 'other', ...ip, protocol: 89, payload: Buffer.from('ospf') },
    ];
    for (const packet of packets) {
      const bytes = buildPacket(packet);
      const parsed = parsePacket(bytes);
      const { payload: _payload, ...fields } = packet;
      t.match(parsed, { ...fields, hopLimit: 64 }, `${packet.kind} ${ip.source}`);
      t.equal(Buffer.from(parsed?.payload ?? []).toString(), Buffer.from(packet.payload).toString());
      for (let i = 0; i < bytes.length; i++) t.equal(parsePacket(bytes.subarray(0, i)), null);
    }
  }
  t.throws(() => buildPacket({ ...TCP, ...V4, destination: 'fd00::1' }), RangeError);
  t.throws(() => buildPacket({ ...TCP, ...V4, payload: new Uint8Array(65_500) }), RangeError);
  t.throws(() => buildPacket({ ...TCP, ...V4, options: { sack: Array.from({ length: 5 }, (): [number, number] => [1, 2]) } }), RangeError);
  t.end();
});

t.test('the longest packets: IPv6 does not count its header', (t) => {
  const other = { kind: 'other', protocol: 253 } as const;
  const udp = { kind: 'udp', sourcePort: 1, destinationPort: 2 } as const;
  for (const [ip, most] of [
    [V4, 65_515],
    [V6, 65_535],
  ] as const)
    for (const [kind, header] of [
      [other, 0],
      [udp, 8],
    ] as const) {
      const payload = new Uint8Array(most - header).fill(1);
      const parsed = parsePacket(buildPacket({ ...kind, ...ip, payload }));
      t.match(parsed, { ...kind, ...ip });
      t.equal(Buffer.compare(parsed?.payload ?? new Uint8Array(0), payload), 0);
      t.throws(() => buildPacket({ ...kind, ...ip, payload: new Uint8Array(most - header + 1) }), RangeError);
    }
  t.end();
});

t.test('the payload of what is no kind of its own stays as it is', (t) => {
  for (const [source, destination] of [
    ['192.0.2.1', '192.0.2.2'],
    ['2001:db8::1', '2001:db8::2'],
  ] as const)
    for (const protocol of [1, 6, 17, 58, 89]) {
      const payload = Uint8Array.from({ length: 40 }, (_, i) => i);
      t.same(buildPacket({ kind: 'other', source, destination, protocol, payload }).subarray(-40), payload);
    }
  t.end();
});

t.test('one bit that is wrong makes it no packet, or changes only what no checksum covers', (t) => {
  for (const ip of [V4, V6]) {
    const bytes = buildPacket({ ...TCP, ...ip });
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const copy = bytes.slice();
      copy[bit >>> 3] = (copy[bit >>> 3] ?? 0) ^ (1 << (bit & 7));
      const parsed = parsePacket(copy);
      if (parsed === null || (copy[0] ?? 0) >>> 4 !== (bytes[0] ?? 0) >>> 4) continue;
      // IPv6 has no checksum of its own: traffic class, flow label and hop limit are free, another protocol is another packet.
      t.equal(ip, V6);
      if (parsed.kind !== 'other') t.match(parsed, { source: ip.source, destination: ip.destination, sequence: TCP.sequence, flags: TCP.flags });
    }
  }
  t.end();
});

t.test('the checksum of any bytes at any place', (t) => {
  const slow = (bytes: Uint8Array): number => {
    let sum = 0;
    for (let i = 0; i < bytes.length; i += 2) {
      sum += ((bytes[i] ?? 0) << 8) + (bytes[i + 1] ?? 0);
      if (sum > 0xffff) sum -= 0xffff;
    }
    return ~sum & 0xffff;
  };
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat(7), (bytes, shift) => {
      const slab = new Uint8Array(400);
      slab.set(bytes, shift);
      return fold(sumOf(slab, shift, shift + bytes.length, 0)) === slow(bytes);
    }),
  );
  const large = new Uint8Array(65_535).fill(0xff);
  t.equal(fold(sumOf(large, 0, large.length, 0)), slow(large));
  t.equal(fold(0x1_ffff_ffff), 0xfffe);
  t.end();
});

t.test('drops have their reason', (t) => {
  const dropOf = (bytes: Uint8Array): string => {
    const parser = new BatchParser(bytes, 1, KEY);
    if (parser.add(0, bytes.length, 0, false)) return '';
    return Object.entries(PARSE_DROP).find(([, index]) => parser.drops[index] === 1)?.[0] ?? 'none';
  };
  const v4 = buildPacket({ ...TCP, ...V4 });
  const v6 = buildPacket({ ...TCP, ...V6 });
  const change = (bytes: Uint8Array, at: number, value: number, ipChecksum = true): Uint8Array => {
    const copy = bytes.slice();
    copy[at] = value;
    if (ipChecksum && (copy[0] ?? 0) >>> 4 === 4) {
      copy.fill(0, 10, 12);
      const sum = fold(sumOf(copy, 0, ((copy[0] ?? 0) & 15) * 4, 0));
      copy[10] = sum >>> 8;
      copy[11] = sum;
    }
    return copy;
  };
  t.equal(dropOf(v4), '');
  t.equal(dropOf(v4.subarray(0, 19)), 'short');
  t.equal(dropOf(change(v4, 0, 0x75)), 'version');
  t.equal(dropOf(change(v4, 0, 0x44)), 'header');
  t.equal(dropOf(change(v4, 3, 255)), 'length');
  t.equal(dropOf(change(v4, 8, 3, false)), 'checksum');
  t.equal(dropOf(change(v4, 24, 1)), 'checksum');
  t.equal(dropOf(change(v4, 32, 0x10)), 'transport');
  t.equal(dropOf(change(v4, 32, 0xf0)), 'transport');
  t.equal(dropOf(change(v6, 5, 255)), 'length');
  t.equal(dropOf(change(v6, 41, 1)), 'checksum');
  const udp6 = buildPacket({ kind: 'udp', ...V6, sourcePort: 1, destinationPort: 2, payload: Buffer.from('x') });
  udp6.fill(0, 46, 48);
  t.equal(dropOf(udp6), 'checksum', 'IPv6 has no UDP without checksum');
  const udp4 = buildPacket({ kind: 'udp', ...V4, sourcePort: 1, destinationPort: 2, payload: Buffer.from('x') });
  udp4.fill(0, 26, 28);
  t.equal(dropOf(udp4), '', 'IPv4 has');
  const routed = Buffer.concat([v4.subarray(0, 20), Buffer.from([0x83, 4, 4, 0]), v4.subarray(20)]);
  routed[3] = routed.length;
  t.equal(dropOf(change(routed, 0, 0x46)), 'sourceRoute');
  t.end();
});

t.test('IPv6 extension headers are walked, and bounded', (t) => {
  const inner = buildPacket({ ...TCP, ...V6, options: {} });
  const withHeaders = (...headers: [kind: number, bytes: number[]][]): Uint8Array => {
    const parts: Uint8Array[] = [];
    for (const [i, [, bytes]] of headers.entries()) parts.push(Uint8Array.from([headers[i + 1]?.[0] ?? 6, ...bytes]));
    const packet = Buffer.concat([inner.subarray(0, 40), ...parts, inner.subarray(40)]);
    packet[6] = headers[0]?.[0] ?? 6;
    packet.writeUInt16BE(packet.length - 40, 4);
    return packet;
  };
  const eight = [0, 0, 0, 0, 0, 0, 0];
  const reason = (packet: Uint8Array): string => {
    const parser = new BatchParser(packet, 1, KEY);
    if (parser.add(0, packet.length, 0, false)) return packetAt(parser, 0).kind;
    return Object.entries(PARSE_DROP).find(([, index]) => parser.drops[index] === 1)?.[0] ?? 'none';
  };
  t.equal(reason(withHeaders([0, eight])), 'tcp');
  t.equal(reason(withHeaders([0, eight], [60, [1, 1, 12, ...eight, ...eight.slice(2)]], [60, eight])), 'tcp');
  t.equal(reason(withHeaders([44, [0, 0, 0, 0, 0, 0, 9]])), 'tcp', 'an atomic fragment (RFC 6946)');
  t.equal(reason(withHeaders([44, [0, 0, 1, 0, 0, 0, 9]])), 'other', 'more fragments');
  t.equal(reason(withHeaders([44, [0, 1, 0, 0, 0, 0, 9]])), 'other', 'a later fragment');
  t.equal(reason(withHeaders([43, [0, 0, 1, 0, 0, 0, 0]])), 'sourceRoute', 'RH0 (RFC 5095)');
  t.equal(reason(withHeaders([43, [0, 0, 0, 0, 0, 0, 0]])), 'tcp', 'RH0 at its end is passed over as any unknown one is');
  t.equal(reason(withHeaders([43, [0, 4, 0, 0, 0, 0, 0]])), 'tcp', 'another kind at its end');
  t.equal(reason(withHeaders([43, [0, 4, 1, 0, 0, 0, 0]])), 'sourceRoute', 'and not');
  t.equal(reason(withHeaders([60, eight], [0, eight])), 'extension', 'hop-by-hop must be first');
  t.equal(reason(withHeaders(...Array.from({ length: 9 }, (): [number, number[]] => [60, eight]))), 'extension');
  t.equal(reason(withHeaders([60, [200, 0, 0, 0, 0, 0, 0]])), 'extension', 'longer than the packet');
  for (const kind of [0, 60]) {
    t.equal(reason(withHeaders([kind, [0, 5, 2, 0, 0, 1, 0]])), 'tcp', 'a router alert and padding');
    t.equal(reason(withHeaders([kind, [0, 0x1e, 3, 0, 0, 0, 0]])), 'tcp', 'an unknown option that may be skipped');
    for (const refused of [0x5e, 0x9e, 0xde])
      t.equal(reason(withHeaders([kind, [0, refused, 3, 0, 0, 0, 0]])), 'extension', `option ${refused}: RFC 8200 section 4.2`);
    t.equal(reason(withHeaders([kind, [0, 1, 5, 0, 0, 0, 0]])), 'extension', 'an option that is longer than its header');
    t.equal(reason(withHeaders([kind, [0, 0, 0, 0, 0, 0, 1]])), 'extension', 'an option without a length');
  }
  t.end();
});

t.test('the flow hash: keyed, the same for one flow, spread over many', (t) => {
  const hash = (key: Uint8Array, port: number): number => {
    const bytes = buildPacket({ ...TCP, ...V4, sourcePort: port });
    const parser = new BatchParser(bytes, 1, key);
    parser.add(0, bytes.length, 0, false);
    return parser.flow[0] ?? 0;
  };
  t.equal(hash(KEY, 5), hash(KEY, 5));
  t.not(hash(KEY, 5), hash(KEY.slice().reverse(), 5));
  const buckets = new Uint32Array(64);
  for (let port = 1; port <= 6_400; port++) {
    const bucket = hash(KEY, port) & 63;
    buckets[bucket] = (buckets[bucket] ?? 0) + 1;
  }
  t.ok(Math.min(...buckets) > 60 && Math.max(...buckets) < 150);
  t.ok(new FlowHash(KEY).of(new Uint8Array(8), 0, 2, 0, 6) >= 0);
  t.end();
});

t.test('super-packets are cut into what they stand for', (t) => {
  for (const ip of [V4, V6]) {
    const payload = Buffer.alloc(5_000, 'segments ');
    const whole = buildPacket({ ...TCP, ...ip, flags: FLAG.ack | FLAG.psh | FLAG.fin, payload });
    const pieces: TcpPacket[] = [];
    cutPacket(whole, 0, whole.length, 1_448, new Uint8Array(2_000), (piece) => {
      const packet = parsePacket(piece.slice());
      if (packet?.kind === 'tcp') pieces.push(packet);
    });
    t.strictSame(
      pieces.map((piece) => piece.payload.length),
      [1_448, 1_448, 1_448, 656],
    );
    t.strictSame(
      pieces.map((piece) => piece.flags),
      [FLAG.ack, FLAG.ack, FLAG.ack, FLAG.ack | FLAG.psh | FLAG.fin],
    );
    t.strictSame(
      pieces.map((piece) => piece.sequence),
      [0, 1_448, 2_896, 4_344].map((at) => (0xffff_fff0 + at) % 0x1_0000_0000),
    );
    t.equal(Buffer.concat(pieces.map((piece) => piece.payload)).toString(), payload.toString());
    t.match(pieces[1]?.options, TCP.options);
  }
  t.end();
});

t.test('and those of UDP, each piece a datagram of its own', (t) => {
  for (const ip of [V4, V6]) {
    const payload = Buffer.alloc(3_000, 'datagrams ');
    const whole = buildPacket({ kind: 'udp', ...ip, sourcePort: 53, destinationPort: 40_000, payload });
    const pieces: Uint8Array[] = [];
    cutPacket(whole, 0, whole.length, 1_200, new Uint8Array(2_000), (piece) => pieces.push(piece.slice()));
    const packets = pieces.map(parsePacket);
    t.match(packets, Array(3).fill({ kind: 'udp', ...ip, sourcePort: 53, destinationPort: 40_000 }));
    t.strictSame(
      packets.map((packet) => packet?.payload.length),
      [1_200, 1_200, 600],
    );
    t.equal(Buffer.concat(packets.map((packet) => packet?.payload ?? Buffer.alloc(0))).toString(), payload.toString());
  }
  t.end();
});

t.test('the arena: blocks do not overlap, neighbours grow together again, and it is bounded', (t) => {
  const size = 4 << 20;
  const arena = new Arena(new Uint8Array(size + 100), 100);
  t.equal(arena.size, size);
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.integer({ min: 0, max: 8 }), fc.boolean()), { maxLength: 300 }), (steps) => {
      const held: [offset: number, size: number][] = [];
      for (const [order, isRelease] of steps) {
        if (isRelease && held.length > 0) {
          const [block] = held.splice(order % held.length, 1);
          if (block !== undefined) arena.release(...block);
        } else {
          const offset = arena.allocate(4_096 << order);
          if (offset === -1) continue;
          const end = offset + (4_096 << order);
          if (offset < 100 || end > size + 100) throw new Error('outside');
          for (const [other, length] of held) if (offset < other + length && other < end) throw new Error('overlap');
          held.push([offset, 4_096 << order]);
        }
      }
      for (const block of held) arena.release(...block);
      if (arena.used !== 0) throw new Error('leak');
      const all = [1, 2, 3, 4].map(() => arena.allocate(1 << 20));
      if (all.includes(-1) || arena.allocate(4_096) !== -1) throw new Error('fragmented');
      for (const offset of all) arena.release(offset, 1 << 20);
    }),
  );
  t.throws(() => arena.release(100, 4_096), /no block/);
  t.end();
});
