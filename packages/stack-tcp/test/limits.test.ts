// What a stack takes at most of handshakes: pending dials, half-open ones, connections.
import { isNetError, NetError } from '@nekit/core';
import { FLAG } from '@nekit/core/ip';
import t from 'tap';
import { Client, tcp, Wire } from './support/wire.js';

t.test('limits', async (t) => {
  const flood = (wire: Wire, count: number, from = 0): void => {
    for (let i = from; i < from + count; i++) new Client(wire, 1, 1_000 + (i % 60_000)).syn({}, { source: `10.1.${(i >> 8) & 255}.${i & 255}` });
  };
  t.test('pending dials: bounded; one that has asked again is not ended; after a while there is room', async (t) => {
    const wire = new Wire({ settings: { maxPending: 100 } });
    const patient = new Client(wire, 1, 999);
    patient.syn();
    flood(wire, 500);
    t.equal(wire.stack.info.pending, 50);
    t.equal(wire.requests.length, 50);
    t.equal(wire.stack.counters.get('dropCrowd'), 451);
    wire.time += 2_000;
    wire.flush();
    patient.syn();
    flood(wire, 20, 1_000);
    t.equal(wire.stack.counters.get('evictedPending'), 20, 'those that have not asked again made room');
    t.equal(wire.stack.info.pending, 50);
    t.equal(wire.requests[0]?.session.signal.reason, null, 'the patient one has its place');
    t.match(wire.requests[1]?.session.signal.reason, { code: 'TOO_MANY_PENDING' });
  });
  t.test('a flood that says everything twice is bounded, too', async (t) => {
    const wire = new Wire({ settings: { maxPending: 100 } });
    flood(wire, 500);
    flood(wire, 500);
    t.equal(wire.stack.info.pending, 50, 'at once, it is no retransmission');
    wire.time += 1_000;
    wire.flush();
    flood(wire, 500);
    t.match(wire.stack.info, { pending: 100, counters: { dropPending: 400 } });
  });
  t.test('half open: bounded, the oldest goes', async (t) => {
    const wire = new Wire({ settings: { maxHalfOpen: 20, maxPending: 100 } });
    flood(wire, 50);
    t.equal(wire.requests.length, 10);
    wire.time += 1_000;
    flood(wire, 50);
    t.equal(wire.requests.length, 50);
    const ends = wire.requests.map((request) =>
      request.accept().then(
        () => null,
        (error: unknown) => error,
      ),
    );
    wire.flush();
    t.equal(wire.stack.info.halfOpen, 20);
    t.equal(wire.stack.counters.get('evictedHalfOpen'), 30);
    t.ok(isNetError(await ends[0]));
    const honest = new Client(wire, 1, 999);
    honest.syn();
    wire.time += 1_000;
    t.ok((await honest.connect()).stream, 'and it goes on answering');
  });
  t.test('a flood: clients are let in, with their second SYN if not with their first, and none of them is reset', async (t) => {
    // 20,000 per second, and the limits that there are; a tenth of both in a short run.
    const scale = process.env.NEKIT_FULL === undefined ? 10 : 1;
    const bound = 4_096 / scale;
    const wire = new Wire({
      settings: { maxPending: bound, maxHalfOpen: bound },
      handleStream: (request) =>
        request.accept().then(
          () => {},
          () => {}, // one of the flood that made room
        ),
    });
    const honest = Array.from({ length: 40 }, (_, i) => ({ client: new Client(wire, 1, 500 + i), at: 100 + i * 100, tries: 0, isOpen: false, isReset: false }));
    const gaps = [0, 1_000, 3_000]; // RFC 6298
    const syn = { flags: FLAG.syn, acknowledgment: 0, options: { mss: 1_460 } };
    let most = 0;
    for (let ms = 0, i = 0; ms < 8_000; ms++) {
      wire.time++;
      for (let n = 0; n < 20 / scale; n++, i++) {
        wire.feed(new Client(wire, 1, 1_000 + (i % 60_000)).segment({ ...syn, source: `10.1.${(i >> 8) & 255}.${i & 255}` }));
      }
      for (const one of honest) {
        if (one.isOpen || ms - one.at !== gaps[one.tries]) continue;
        one.tries++;
        wire.feed(one.client.segment(syn));
      }
      const answers = tcp(wire.flush());
      for (const one of honest) {
        for (const answer of answers) {
          if (answer.destinationPort !== one.client.port || answer.destination !== '10.0.0.2') continue;
          if ((answer.flags & FLAG.rst) !== 0) one.isReset = true;
          else if ((answer.flags & FLAG.syn) !== 0) {
            one.isOpen = true;
            one.client.seq = 2;
            one.client.ack = (answer.sequence + 1) >>> 0;
            wire.feed(one.client.segment());
          }
        }
      }
      most = Math.max(most, wire.stack.info.pending + wire.stack.info.halfOpen);
    }
    t.equal(honest.filter(({ isOpen }) => isOpen).length, 40, 'all are let in');
    t.equal(honest.filter(({ isReset }) => isReset).length, 0);
    t.ok(
      honest.some(({ tries }) => tries > 1),
      'some with their second SYN',
    );
    t.ok(most <= bound / 2 + 40, `${most} were waiting at most`);
    t.ok(wire.stack.counters.get('dropCrowd') > 10_000 / scale);
    wire.advance(5_000);
    wire.feed(new Client(wire, 1, 400).segment(syn));
    t.ok(
      tcp(wire.flush()).some(({ destinationPort, flags }) => destinationPort === 400 && (flags & FLAG.syn) !== 0),
      'and a little later a first SYN is enough again',
    );
  });
  t.test('connections: one more is refused', async (t) => {
    const wire = new Wire({ settings: { maxConnections: 2 } });
    await new Client(wire, 1, 1_001).connect();
    await new Client(wire, 1, 1_002).connect();
    const [reset] = tcp(new Client(wire, 1, 1_003).syn());
    t.equal(reset?.flags, FLAG.rst | FLAG.ack);
    t.equal(wire.stack.counters.get('dropConnections'), 1);
  });
  t.test('per client address, if asked for', async (t) => {
    const wire = new Wire({ settings: { maxPendingPerSource: 3 } });
    for (let port = 1; port <= 5; port++) new Client(wire, 1, port).syn();
    new Client(wire, 1, 1).syn({}, { source: '10.0.0.9' });
    t.equal(wire.requests.length, 4);
    wire.requests[0]?.reject(new NetError('refused', 'no'));
    new Client(wire, 1, 6).syn();
    t.equal(wire.requests.length, 5);
  });
});
