// What looked lost and was only late: the reordering window of RACK, and timeouts that were too early. RFC 8985 section 6.2, RFC 3522, 4015, 5682.
import { buildPacket, FLAG, type TcpOptions, type TcpPacket } from '@nekit/core/ip';
import t from 'tap';
import { offsets, SACK, sending, total } from './support/sending.js';
import { Client, type SegmentFields, tcp, Wire } from './support/wire.js';

const MS = 40;
const STAMPED = { timestamps: { value: 1_000, echo: 0 } };

/** Its answers take a while: so there is a round trip. */
class Distant extends Client {
  trip = MS;

  override send(fields: SegmentFields = {}): TcpPacket[] {
    this.wire.time += this.trip;
    return super.send(fields);
  }

  static async open(options: TcpOptions): Promise<Distant> {
    const client = await new Distant(new Wire({ settings: { congestion: 'reno' } })).connect(options);
    client.trip = 0;
    return client;
  }

  /** Bytes of what was sent, counted from its beginning, as blocks of an option. */
  blocks(...ranges: [number, number][]): SegmentFields {
    return { options: { sack: ranges.map(([left, right]): [number, number] => [(this.iss + 1 + left) >>> 0, (this.iss + 1 + right) >>> 0]) } };
  }

  get taken(): number {
    return (this.ack - this.iss - 1) >>> 0;
  }

  /** A router says that the path takes no more than 800 bytes. */
  narrow(): void {
    const header = this.segment({
      source: '192.0.2.1',
      destination: '10.0.0.2',
      sourcePort: 443,
      destinationPort: this.port,
      sequence: this.ack,
      acknowledgment: this.seq,
      options: {},
    });
    this.wire.raw(buildPacket({ kind: 'icmp', source: '10.0.0.1', destination: '192.0.2.1', type: 3, code: 4, rest: 800, payload: header.subarray(0, 28) }));
  }

  /** Two segments, the first of which comes `late` ms after the second, or never: whether it was sent again. `copies` that came twice are told of. */
  async pair(late: number | null, copies = 2): Promise<boolean> {
    const { wire } = this;
    const at = this.taken;
    await this.stream.write([new Uint8Array(2_000)]);
    if (tcp(wire.flush()).length !== 2) throw new Error('not two segments');
    wire.time += MS;
    const again = this.send(this.blocks([at + 1_000, at + 2_000]));
    again.push(...tcp(wire.advance(late ?? 60)));
    const isAgain = total(again) > 0;
    if (late === null) wire.time += MS;
    this.ack = (this.ack + 2_000) >>> 0;
    this.send();
    if (isAgain && late !== null) for (let i = 0; i < copies; i++) this.send(this.blocks([at, at + 1_000]));
    return isAgain;
  }
}

t.test('the reordering window grows by a quarter of the round trip per round with a D-SACK, and is kept for 16 recoveries: RFC 8985 section 6.2', async (t) => {
  const client = await Distant.open(SACK);
  t.notOk(await client.pair(5), 'a quarter of 40 ms from the beginning');
  t.ok(await client.pair(25));
  t.ok(await client.pair(25), 'two D-SACKs of one round are one step: 20 ms');
  for (let i = 0; i < 5; i++) t.notOk(await client.pair(25), '30 ms');
  for (let i = 0; i < 15; i++) t.ok(await client.pair(null), 'a loss is found');
  t.notOk(await client.pair(25), 'still 30 ms');
  t.ok(await client.pair(null));
  t.ok(await client.pair(25), '10 ms after the 16th');
  t.equal(client.wire.stack.counters.get('timeouts'), 0);
});

t.test('the reordering window is never longer than the round trip: RFC 8985 section 6.2', async (t) => {
  const client = await Distant.open(SACK);
  await client.pair(5);
  for (let i = 0; i < 20; i++) {
    await client.pair(0);
    client.send(client.blocks([client.taken - 1_000, client.taken]));
  }
  t.notOk(await client.pair(35));
  t.ok(await client.pair(null), 'found lost within 60 ms, and not after 20 quarters');
  t.equal(client.wire.stack.counters.get('timeouts'), 0);
});

interface Delayed {
  readonly client: Distant;
  readonly wire: Wire;
  /** What was in flight when the timer ran out, and everything that was sent for the first time since. */
  readonly flight: TcpPacket[];
  /** What was sent meanwhile. */
  readonly copies: TcpPacket[];
  /** An ACK, with the timestamp of `packet` as its echo; how many segments are sent for the first time, and again. */
  readonly say: (packet: TcpPacket, more?: SegmentFields) => { fresh: number; again: number };
  /** The same of everything up to the end of `packet`. */
  readonly answer: (packet: TcpPacket, more?: SegmentFields) => { fresh: number; again: number };
}

/** A flight of which nothing is heard for `ms`: twenty segments, or what is left of `bytes`. */
async function delayed(options: TcpOptions, bytes = 200_000, ms = 400, window = 60_000): Promise<Delayed> {
  const client = await Distant.open({ mss: 1_000, ...options });
  const { wire } = client;
  client.window = options.windowScale === undefined ? window : window >> options.windowScale;
  const seen = new Set<number>();
  const flight: TcpPacket[] = [];
  const note = (packets: readonly TcpPacket[]): { fresh: number; again: number } => {
    const sent = packets.filter(({ payload }) => payload.length > 0);
    const fresh = sent.filter(({ sequence }) => !seen.has(sequence));
    for (const { sequence } of fresh) seen.add(sequence);
    flight.push(...fresh);
    return { fresh: fresh.length, again: sent.length - fresh.length };
  };
  const say: Delayed['say'] = (packet, more = {}) => {
    const echo = packet.options?.timestamps?.value;
    const stamp = echo === undefined ? {} : { timestamps: { value: 2_000 + wire.time, echo } };
    return note(client.send({ ...more, options: { ...stamp, ...more.options } }));
  };
  const answer: Delayed['answer'] = (packet, more) => {
    client.ack = (packet.sequence + packet.payload.length) >>> 0;
    return say(packet, more);
  };
  client.send();
  client.stream.write([new Uint8Array(bytes)]).catch(() => {});
  note(tcp(wire.flush()));
  wire.time += MS;
  for (const packet of flight.splice(0)) answer(packet);
  const copies = tcp(wire.advance(ms));
  note(copies);
  return { client, wire, flight, copies, say, answer };
}

const at = (flight: readonly TcpPacket[], index: number): TcpPacket => {
  const packet = flight[index];
  if (packet === undefined) throw new Error(`there is no segment ${index}`);
  return packet;
};

const EIFEL: [string, TcpOptions][] = [
  ['timestamps and SACK (RFC 3522)', { ...SACK, ...STAMPED }],
  ['timestamps (RFC 3522)', STAMPED],
];
const FRTO: [string, TcpOptions][] = [
  ['SACK (RFC 5682 section 3)', SACK],
  ['neither SACK nor timestamps (RFC 5682 section 2)', {}],
];

for (const [name, options] of [...EIFEL, ...FRTO])
  t.test(`a timeout that was too early, with ${name}: one segment is sent twice, and the window comes back`, async (t) => {
    const { client, wire, flight, copies, say, answer } = await delayed(options);
    const late = flight.slice();
    t.ok(late.length >= 20);
    t.equal(wire.stack.counters.get('timeouts'), 1);
    t.ok(copies.length <= 2, 'the head, and a probe of the tail');
    for (const packet of late) {
      const { fresh, again } = answer(packet);
      t.equal(again, 0);
      t.ok(fresh <= (packet === late[0] && options.timestamps !== undefined ? 1 : 2), 'no burst');
    }
    t.ok(flight.length >= 2 * late.length, 'as much is in flight as before');
    const head = at(late, 0).sequence - client.iss - 1;
    say(
      copies.find(({ sequence }) => sequence === at(late, 0).sequence) ?? at(late, 0),
      options.sackPermitted === true ? client.blocks([head, head + 900]) : {},
    );
    wire.time += MS;
    for (const packet of flight.slice(late.length, 2 * late.length)) t.equal(answer(packet).again, 0);
    t.match(wire.stack.info.counters, { timeouts: 1, retransmitted: 1, undone: 1 });
    t.notOk('fastRecoveries' in wire.stack.info.counters);
    // What was measured since then is what counts for the timer.
    wire.advance(300);
    t.equal(wire.stack.counters.get('timeouts'), 2, 'not twice as long, be there a probe before it');
  });

for (const [name, options] of EIFEL) {
  t.test(`several timeouts that were too early, with ${name}`, async (t) => {
    const { wire, flight, answer } = await delayed(options, 200_000, 1_500);
    t.equal(wire.stack.counters.get('timeouts'), 3);
    const late = flight.slice();
    for (const packet of late) t.equal(answer(packet).again, 0);
    t.ok(flight.length >= 2 * late.length);
    t.equal(wire.stack.counters.get('retransmitted'), 3);
  });

  t.test(`several timeouts, with ${name}: a copy that is not the last one is a copy, too`, async (t) => {
    const { flight, copies, answer } = await delayed(options, 200_000, 1_500);
    const head = copies.filter(({ sequence }) => sequence === at(flight, 0).sequence);
    t.equal(head.length, 3);
    t.strictSame(answer(at(head, 0)), { fresh: 0, again: 2 });
  });

  t.test(`a timeout in time, with ${name}: the first ACK is for the copy, or says that both have come`, async (t) => {
    for (const way of ['copy', 'both']) {
      if (way === 'both' && options.sackPermitted !== true) continue;
      const { client, flight, copies, answer } = await delayed(options);
      const head = at(flight, 0);
      const copy = copies.find(({ sequence }) => sequence === head.sequence);
      t.ok(copy);
      const start = head.sequence - client.iss - 1;
      const first = way === 'both' ? answer(head, client.blocks([start, start + 900])) : answer({ ...head, ...copy });
      t.strictSame(first, { fresh: 0, again: 2 }, 'slow start');
    }
  });
}

for (const [name, options] of FRTO) {
  const isSelective = options.sackPermitted === true;

  t.test(`a timeout in time, with ${name}: two new segments, and after a duplicate ACK three that are lost`, async (t) => {
    const { client, wire, flight, answer, say } = await delayed(options);
    const beyond = at(flight, flight.length - 1).sequence + 1_000 - client.iss - 1;
    t.strictSame(answer(at(flight, 0)), { fresh: 2, again: 0 });
    wire.time += MS;
    const duplicate = say(at(flight, 0), isSelective ? client.blocks([beyond, beyond + 1_000]) : {});
    t.strictSame(duplicate, { fresh: 0, again: 2 }, 'one of the new ones is still under way');
    wire.time += MS;
    const { fresh, again } = answer(at(flight, 1));
    t.ok(fresh === 0 && again > 0, 'and so on');
    t.equal(wire.stack.counters.get('timeouts'), 1);
  });

  t.test(`only a part of the copy is acknowledged, with ${name}: slow start`, async (t) => {
    const { flight, answer } = await delayed(options);
    const head = at(flight, 0);
    const { fresh, again } = answer({ ...head, payload: head.payload.subarray(0, 500) });
    t.ok(fresh === 0 && again > 0);
  });

  t.test(`a timeout in time, with ${name}: a second one right after the two new segments`, async (t) => {
    const { wire, flight, answer } = await delayed(options);
    t.strictSame(answer(at(flight, 0)), { fresh: 2, again: 0 });
    wire.advance(1_000);
    t.equal(wire.stack.counters.get('timeouts'), 2);
    t.strictSame(answer(at(flight, 1)), { fresh: 0, again: 2 }, 'slow start');
  });

  t.test(`where nothing new can be sent, with ${name}: slow start, as ever`, async (t) => {
    const ended = await delayed(options, 30_000);
    t.equal(ended.flight.length, 20);
    t.strictSame(ended.answer(at(ended.flight, 0)), { fresh: 0, again: 2 }, 'there is nothing');
    const narrow = await delayed(options, 200_000, 400, 12_800);
    const isNarrow = { window: narrow.client.window - (1_000 >> (options.windowScale ?? 0)) };
    t.strictSame(narrow.answer(at(narrow.flight, 0), isNarrow), { fresh: 0, again: 2 }, 'the window has no room');
    const all = await delayed(options);
    t.equal(all.answer(at(all.flight, all.flight.length - 1)).again, 0, 'everything has arrived');
  });
}

for (const [name, options] of [...EIFEL, ...FRTO])
  t.test(`the path has become narrower, with ${name}: what was too large goes again`, async (t) => {
    const { client, wire, flight, answer } = await delayed(options);
    client.narrow();
    t.equal(wire.stack.counters.get('dropIcmp'), 0);
    const before = wire.stack.counters.get('retransmitted');
    answer(at(flight, 0));
    t.ok(wire.stack.counters.get('retransmitted') > before);
    if (options.timestamps !== undefined) return;
    const second = await delayed(options);
    t.equal(second.answer(at(second.flight, 0)).fresh, 2);
    second.client.narrow();
    const { counters } = second.wire.stack;
    const out = counters.get('segmentsOut');
    second.answer(at(second.flight, 1));
    t.equal(counters.get('segmentsOut'), out, 'the same between the two ACKs: no more than three may be under way');
  });

t.test('SACK tells that a timeout was too early, and a hole in what is late is no loss yet (RFC 5682 section 3, step 3 b)', async (t) => {
  const { client, wire, flight, say, answer } = await delayed(SACK);
  const late = flight.slice();
  t.equal(answer(at(late, 0)).fresh, 2);
  wire.time += 2;
  const start = at(late, 2).sequence - client.iss - 1;
  t.equal(say(at(late, 0), client.blocks([start, start + 1_000])).again, 0);
  wire.advance(5);
  for (const packet of late.slice(2)) t.equal(answer(packet).again, 0);
  t.match(wire.stack.info.counters, { timeouts: 1, retransmitted: 1, undone: 1 });
});

t.test('SACK tells that a timeout was too early, and what is missing is lost: nothing but that goes again', async (t) => {
  const { client, wire, flight, say, answer } = await delayed(SACK);
  const start = at(flight, 2).sequence - client.iss - 1;
  answer(at(flight, 0));
  say(at(flight, 0), client.blocks([start, start + 1_000]));
  wire.advance(20);
  t.match(wire.stack.info.counters, { timeouts: 1, retransmitted: 2, fastRecoveries: 1 });
});

t.test('a SACK before the first ACK after a timeout changes nothing: two new segments (RFC 5682 section 3, step 2)', async (t) => {
  const { client, flight, say, answer } = await delayed(SACK);
  const start = at(flight, 5).sequence - client.iss - 1;
  t.strictSame(say(at(flight, 0), client.blocks([start, start + 1_000])), { fresh: 0, again: 0 });
  t.strictSame(answer(at(flight, 0), client.blocks([start, start + 1_000])), { fresh: 2, again: 0 });
});

t.test('the copy has overtaken the original, and both are told of before the second ACK: not decided yet', async (t) => {
  const { client, wire, flight, say, answer } = await delayed(SACK);
  const start = at(flight, 0).sequence - client.iss - 1;
  t.strictSame(answer(at(flight, 0)), { fresh: 2, again: 0 });
  t.strictSame(say(at(flight, 0), client.blocks([start, start + 1_000])), { fresh: 0, again: 0 });
  for (const packet of flight.slice(1, 20)) t.equal(answer(packet).again, 0);
  t.equal(wire.stack.counters.get('retransmitted'), 1);
});

t.test('the peer had closed its window, and opens it: what was sent into it was dropped', async (t) => {
  const { client, wire, flight, say, answer } = await delayed(SACK, 200_000, 0);
  const { window } = client;
  client.window = 0;
  say(at(flight, 0));
  wire.advance(400);
  t.equal(wire.stack.counters.get('timeouts'), 1);
  client.window = window;
  say(at(flight, 0));
  const { fresh, again } = answer(at(flight, 0));
  t.ok(fresh === 0 && again > 0);
});

t.test('a duplicate ACK before any other after a timeout, without SACK: slow start (RFC 5682 section 2.1, step 2 a)', async (t) => {
  const { flight, say, answer } = await delayed({});
  t.strictSame(say(at(flight, 0)), { fresh: 0, again: 1 }, 'one has left the path');
  const { fresh, again } = answer(at(flight, 1));
  t.ok(fresh === 0 && again > 0);
});

t.test('copies of several timeouts bring duplicate ACKs, which are no loss (RFC 6582 section 3.2)', async (t) => {
  const { wire, flight, copies, say, answer } = await delayed(STAMPED, 200_000, 1_500);
  answer(at(flight, 0));
  const again = copies.filter(({ sequence }) => sequence === at(flight, 0).sequence);
  t.equal(again.length, 3);
  for (const copy of again) t.equal(say(copy).again, 0);
  t.notOk('fastRecoveries' in wire.stack.info.counters);
});

t.test('a FIN is no duplicate ACK: RFC 5681 section 2', async (t) => {
  const { client, wire, sent } = await sending(20_000, {}, { mss: 1_000 }, 60_000);
  t.equal(sent.length, 10);
  const answers = [1, 2, 3, 4].flatMap(() => client.send({ flags: FLAG.fin | FLAG.ack }));
  t.strictSame(offsets(client, answers), []);
  t.match(wire.stack.info.counters, { segmentsOut: 15 });
  t.notOk('fastRecoveries' in wire.stack.info.counters);
});

for (const sackPermitted of [false, true])
  t.test(
    `half of ten segments after a loss, not of the two more that limited transmit has sent (RFC 5681 section 3.2, step 2), ${sackPermitted ? 'with' : 'without'} SACK`,
    async (t) => {
      const { client, sent } = await sending(60_000, {}, { mss: 1_000, sackPermitted }, 60_000);
      t.equal(sent.length, 10);
      const answers: number[] = [];
      for (let i = 1; i <= 8; i++) {
        client.wire.time += i === 1 ? 40 : 0;
        const sack: [number, number][] = [[(client.iss + 1_001) >>> 0, (client.iss + 1_001 + i * 1_000) >>> 0]];
        answers.push(offsets(client, client.send(sackPermitted ? { options: { sack } } : {})).length);
      }
      // 12 in flight and one of them lost: by the eighth 4 are left, and a fifth may go.
      t.strictSame(answers, [1, 1, 1, 0, 0, 0, 0, 1]);
    },
  );
