// The parts by themselves, against slow models: what is in flight, what has come, timers, round trips, the plugin.
import { Arena, BatchParser, buildPacket, FLAG, writeIPv4Checksum } from '@nekit/core/ip';
import fc from 'fast-check';
import t from 'tap';
import { settingsOf, tcpConfig } from '../dist/config.js';
import { connectionsAllowed } from '../dist/descriptors.js';
import { FLOW, Flow, type FlowAddress, FlowTable, flowOf } from '../dist/flow.js';
import { Greylist } from '../dist/greylist.js';
import { tcpPlugin } from '../dist/index.js';
import { SequenceNumbers } from '../dist/isn.js';
import { RangePool } from '../dist/range-pool.js';
import { ReceiveQueue } from '../dist/receive-queue.js';
import { RoundTrip } from '../dist/rtt.js';
import { SendBuffer } from '../dist/send-buffer.js';
import { before, distance, earlier, later, upTo } from '../dist/sequence.js';
import { type Timed, Timers } from '../dist/timers.js';
import { LOST, SACKED, TransmitLog } from '../dist/transmit-log.js';

t.test('sequence numbers are compared on a circle', (t) => {
  for (const base of [0, -1, 0x7fff_ffff, -0x8000_0000, 12_345]) {
    const next = (base + 1) | 0;
    t.ok(before(base, next) && !before(next, base) && !before(base, base));
    t.ok(upTo(base, base) && upTo(base, next) && !upTo(next, base));
    t.equal(distance(base, (base + 1_000) | 0), 1_000);
    t.equal(distance((base + 1_000) | 0, base), -1_000);
    t.equal(later(base, next), next);
    t.equal(earlier(base, next), base);
  }
  t.end();
});

t.test('the transmit log against one byte at a time', (t) => {
  const step = fc.record({ kind: fc.constantFrom('send', 'ack', 'sack', 'lost', 'again', 'all', 'front', 'back'), a: fc.nat(40), b: fc.nat(40) });
  fc.assert(
    fc.property(fc.integer(), fc.array(step, { maxLength: 80 }), (start, steps) => {
      const log = new TransmitLog(new RangePool());
      log.reset(start);
      let una = 0;
      let nxt = 0;
      let now = 1;
      const states: ('flight' | 'sacked' | 'lost')[] = [];
      const at = (offset: number): number => (start + offset) | 0;
      for (const { kind, a, b } of steps) {
        now += a & 1;
        if (kind === 'send') {
          nxt += a + 1;
          for (let i = 0; i <= a; i++) states.push('flight');
          log.append(at(nxt), now);
        } else if (kind === 'ack') {
          una = Math.min(nxt, una + a);
          log.begin();
          log.acknowledge(at(una));
        } else if (kind === 'sack') {
          const left = Math.min(nxt, una + a);
          const right = Math.min(nxt, left + b);
          if (left < right) {
            log.begin();
            log.sack(at(left), at(right));
            for (let i = left; i < right; i++) states[i] = 'sacked';
          }
        } else if (kind === 'lost' && log.count > 0) {
          const index = a % log.count;
          const [from, to] = [distance(start, log.startOf(index)), distance(start, log.endOf(index))];
          log.markLost(index);
          for (let i = from; i < to; i++) if (states[i] === 'flight') states[i] = 'lost';
        } else if (kind === 'all') {
          log.markAllLost(false);
          for (let i = una; i < nxt; i++) if (states[i] === 'flight') states[i] = 'lost';
        } else if (kind === 'front' && log.count > 0) {
          const index = a % log.count;
          log.markLostBefore((log.startOf(index) + 1) | 0);
          for (let i = una; i < distance(start, log.endOf(index)); i++) if (states[i] === 'flight') states[i] = 'lost';
        } else if (kind === 'back') {
          log.takeBack();
          for (let i = una; i < nxt; i++) if (states[i] === 'lost') states[i] = 'flight';
        } else if (kind === 'again') {
          const index = log.firstLost();
          if (index !== -1) {
            const from = distance(start, log.startOf(index));
            const length = Math.min(b + 1, distance(start, log.endOf(index)) - from);
            log.retransmitted(index, length, now);
            for (let i = from; i < from + length; i++) states[i] = 'flight';
          }
        }
        const count = (state: string): number => states.slice(una, nxt).filter((each) => each === state).length;
        if (log.inFlight !== count('flight') || log.sacked !== count('sacked') || log.lost !== count('lost')) return false;
        for (let index = 0; index < log.count; index++) {
          const state = log.stateOf(index);
          const expected = (state & SACKED) !== 0 ? 'sacked' : (state & LOST) !== 0 ? 'lost' : 'flight';
          const [from, to] = [distance(start, log.startOf(index)), distance(start, log.endOf(index))];
          if (from >= to) return false;
          for (let i = from; i < to; i++) if (states[i] !== expected) return false;
        }
        const first = states.slice(una, nxt).indexOf('lost');
        const found = log.firstLost();
        if ((found === -1 ? -1 : distance(start, log.startOf(found)) - una) !== first) return false;
      }
      return true;
    }),
    { numRuns: process.env.NEKIT_FULL === undefined ? 500 : 20_000 },
  );
  t.end();
});

t.test('the transmit log is bounded, however the peer cuts it up (CVE-2019-11477), and what is lost in a full one is sent once', (t) => {
  const log = new TransmitLog(new RangePool());
  log.reset(0);
  log.append(100_000, 1);
  log.begin();
  for (let at = 90_000; at < 100_000; at += 2) log.sack(at, at + 1);
  t.ok(log.count > 1_000 && log.count <= 1_024, `${log.count} ranges`);
  t.equal(log.inFlight + log.sacked, 100_000);
  log.markAllLost(false);
  let sent = 0;
  for (let index = log.firstLost(); index !== -1 && sent < 2_000; index = log.firstLost(), sent++)
    log.retransmitted(index, Math.min(536, log.endOf(index) - log.startOf(index)), 2);
  t.ok(sent <= 1_024, `${sent} segments`);
  t.match(log, { lost: 0, first: 0 });
  t.equal(log.inFlight + log.sacked, 100_000);
  log.begin();
  log.acknowledge(100_000);
  t.match(log, { inFlight: 0, sacked: 0, lost: 0, count: 0 });
  t.end();
});

t.test('the receive queue against an array', (t) => {
  fc.assert(
    fc.property(fc.integer(), fc.array(fc.tuple(fc.nat(3_000), fc.integer({ min: 1, max: 1_500 }), fc.nat(2_000)), { maxLength: 60 }), (start, steps) => {
      const arena = Arena.ofSize(1 << 20);
      const queue = new ReceiveQueue(arena);
      queue.reset(start);
      const source = (i: number): number => (i * 31 + (i >> 8)) & 255;
      const has = new Set<number>();
      let head = 0;
      let tail = 0;
      for (const [ahead, length, take] of steps) {
        const from = tail + (ahead % 3 === 0 ? 0 : ahead);
        const bytes = Uint8Array.from({ length }, (_, i) => source(from + i));
        if (queue.store((start + from) | 0, bytes, 0, length)) for (let i = from; i < from + length; i++) has.add(i);
        while (has.has(tail)) tail++;
        if (distance(start, queue.tail) !== tail || queue.readable !== tail - head) return false;
        const count = Math.min(take, queue.readable);
        if (count > 0) {
          const got = queue.copyOut(count);
          for (let i = 0; i < count; i++) if (got[i] !== source(head + i)) return false;
          queue.consume(count);
          head += count;
        }
        const blocks = new Int32Array(8);
        const blockCount = queue.sackBlocks(blocks, 4);
        for (let i = 0; i < blockCount; i++) {
          const [left, right] = [distance(start, blocks[i * 2] ?? 0), distance(start, blocks[i * 2 + 1] ?? 0)];
          if (left <= tail || left >= right || has.has(left - 1) || has.has(right)) return false;
          for (let at = left; at < right; at++) if (!has.has(at)) return false;
        }
      }
      queue.clear();
      return arena.used === 0;
    }),
  );
  t.end();
});

t.test('the receive queue in little memory: islands come and go, and what is in order is there', (t) => {
  const step = fc.record({ ahead: fc.nat(9_000), length: fc.integer({ min: 1, max: 3_000 }), take: fc.nat(4_000), isScarce: fc.boolean(), drops: fc.nat(4) });
  fc.assert(
    fc.property(fc.integer(), fc.array(step, { maxLength: 60 }), (start, steps) => {
      const arena = Arena.ofSize(24 * 1024);
      const queue = new ReceiveQueue(arena);
      queue.reset(start);
      const source = (i: number): number => (i * 31 + (i >> 8)) & 255;
      let head = 0;
      for (const { ahead, length, take, isScarce, drops } of steps) {
        const tail = distance(start, queue.tail);
        const from = tail + (ahead % 2 === 0 ? 0 : ahead);
        const isStored = queue.store(
          (queue.tail + (from - tail)) | 0,
          Uint8Array.from({ length }, (_, i) => source(from + i)),
          0,
          length,
          isScarce,
        );
        if (from === tail && isStored !== distance(start, queue.tail) >= tail + length) return false;
        if (from === tail && !isStored && queue.readable + length <= 4_096) return false; // never for want of memory that islands have
        if (drops === 0) {
          queue.dropIslands();
          if (queue.islandCount !== 0 || (queue.readable === 0 && arena.used !== 0)) return false;
        }
        const count = Math.min(take, queue.readable);
        if (count === 0) continue;
        const got = queue.copyOut(count);
        for (let i = 0; i < count; i++) if (got[i] !== source(head + i)) return false;
        queue.consume(count);
        head += count;
      }
      queue.clear();
      return arena.used === 0;
    }),
  );
  t.end();
});

t.test('the send buffer keeps what was written until it is acknowledged, wherever it wraps', (t) => {
  fc.assert(
    fc.property(fc.integer(), fc.array(fc.tuple(fc.nat(9_000), fc.nat(9_000)), { maxLength: 40 }), (start, steps) => {
      const arena = Arena.ofSize(1 << 20);
      const buffer = new SendBuffer(arena);
      buffer.reset(start);
      const source = (i: number): number => (i * 7 + (i >> 9)) & 255;
      let una = 0;
      let end = 0;
      const out = new Uint8Array(100_000);
      for (const [write, ack] of steps) {
        const bytes = Uint8Array.from({ length: write }, (_, i) => source(end + i));
        end += buffer.write(bytes, 0, write, 60_000);
        if (end - una > 60_000 || buffer.length !== end - una) return false;
        buffer.copyTo(out, 5, (start + una) | 0, end - una);
        for (let i = una; i < end; i++) if (out[5 + i - una] !== source(i)) return false;
        una = Math.min(end, una + ack);
        buffer.acknowledge((start + una) | 0);
      }
      buffer.clear();
      return arena.used === 0;
    }),
  );
  t.end();
});

t.test('a ring that had to grow has more memory at once the next time, if there is some', (t) => {
  const arena = Arena.ofSize(1 << 20);
  const buffer = new SendBuffer(arena);
  buffer.reset(0);
  const put = (length: number): number => buffer.write(new Uint8Array(length), 0, length, 1 << 20);
  put(200_000);
  put(100_000);
  t.equal(buffer.capacity, 512 * 1024);
  buffer.acknowledge(buffer.end);
  put(100_000);
  t.equal(buffer.capacity, 256 * 1024, 'twice of what it needs');
  buffer.acknowledge(buffer.end);
  put(1_000);
  t.equal(buffer.capacity, 4_096, 'not for little');
  buffer.acknowledge(buffer.end);
  put(200_000);
  put(300_000);
  buffer.acknowledge(buffer.end);
  arena.allocate(512 * 1024);
  t.equal(put(300_000), 300_000);
  t.equal(buffer.capacity, 512 * 1024, 'there is no more');
  t.end();
});

t.test('flows whose hash is the same are told apart by every word of their addresses and by their ports', (t) => {
  class Each extends Flow {
    readonly kind = FLOW.pending;
  }
  for (const words of [1, 4]) {
    const header = 16 + 8 * words;
    const bytes = new Uint8Array(64 * 16);
    const parser = new BatchParser(bytes, 16, new Uint8Array(8));
    const fields = { kind: 'tcp', sourcePort: 1, destinationPort: 2, sequence: 0, acknowledgment: 0, flags: FLAG.syn, window: 0 } as const;
    const [source, destination] = words === 1 ? ['10.0.0.2', '192.0.2.1'] : ['fd00::2', '2001:db8::1'];
    const first = buildPacket({ ...fields, source, destination, payload: new Uint8Array(0) });
    // The last byte of each word of both addresses, and of both ports.
    const places = Array.from({ length: 2 * words }, (_, i) => (words === 1 ? 12 : 8) + 4 * i + 3);
    for (const [i, place] of [0, ...places, header - (words === 1 ? 3 : 7), header - (words === 1 ? 1 : 5)].entries()) {
      bytes.set(first, i * 64);
      if (place > 0) bytes[i * 64 + place] = (bytes[i * 64 + place] ?? 0) ^ 0x10;
      if (words === 1) writeIPv4Checksum(bytes, i * 64);
      parser.add(i * 64, i * 64 + first.length, 0, true);
    }
    t.equal(parser.length, 2 * words + 3);
    parser.flow.fill(7);
    const flows = Array.from({ length: parser.length }, (_, i) => new Each(flowOf(parser, i)));
    for (const [i, flow] of flows.entries()) {
      const table = new FlowTable();
      for (const other of flows) if (other !== flow) table.add(other);
      t.strictSame([table.find(parser, i), table.findBy(flow)], [null, null], `${i} is none of the others`);
      table.add(flow);
      table.add(new Each({ ...flowOf(parser, i), localPort: 999 }));
      t.equal(table.find(parser, i), flow);
      t.equal(table.findBy(flowOf(parser, i)), flow);
      table.delete(flow);
      t.equal(table.find(parser, i), null);
      t.equal(table.size, flows.length);
    }
  }
  t.end();
});

t.test('initial numbers and timestamp offsets depend on every part of the tuple: RFC 6528', (t) => {
  const numbers = new SequenceNumbers((length) => new Uint8Array(length).fill(3));
  const base = { version: 6, remotePort: 1, localPort: 2, remote0: 1, remote1: 2, remote2: 3, remote3: 4, local0: 5, local1: 6, local2: 7, local3: 8, hash: 0 };
  const both = (flow: FlowAddress): string => {
    numbers.mix(flow);
    return `${numbers.initial(1_000)} ${numbers.timestampOffset()}`;
  };
  const names = Object.keys(base).filter((name) => name !== 'hash') as (keyof typeof base)[];
  const all = [both(base), ...names.map((name) => both({ ...base, [name]: base[name] + 16 }))].flatMap((each) => each.split(' '));
  t.equal(new Set(all).size, 2 * (names.length + 1));
  t.equal(both(base), `${all[0]} ${all[1]}`);
  t.end();
});

t.test('a SYN that was dropped in a crowd is known by its flow and its number, a second later and not at once', (t) => {
  const greylist = new Greylist();
  t.notOk(greylist.hasAsked(800, 1, 0));
  t.notOk(greylist.hasAsked(800, 1, 100), 'at once');
  t.ok(greylist.hasAsked(800, 1, 1_000));
  t.notOk(greylist.hasAsked(800, 1, 1_001), 'once');
  t.notOk(greylist.hasAsked(800, 2, 2_001), 'another number');
  t.notOk(greylist.hasAsked(801, 2, 3_001), 'another flow that has the same place');
  t.notOk(greylist.hasAsked(801, 2, 3_001 + 60_000), 'a minute later it is a new one');
  t.end();
});

t.test('timers: in the order of their time, across the wrap, once', (t) => {
  fc.assert(
    fc.property(fc.integer(), fc.array(fc.tuple(fc.nat(20), fc.nat(1_000), fc.boolean()), { maxLength: 80 }), (start, steps) => {
      const timers = new Timers();
      const fired: number[] = [];
      const all: (Timed & { wanted: number | null })[] = Array.from({ length: 21 }, (_, id) => ({
        timerAt: 0,
        timerSlot: -1,
        wanted: null,
        due: () => void fired.push(id),
      }));
      for (const [id, wait, isDelete] of steps) {
        const timed = all[id];
        if (timed === undefined) continue;
        if (isDelete) {
          timers.delete(timed);
          timed.wanted = null;
        } else {
          timers.set(timed, (start + wait) | 0);
          timed.wanted = Math.min(timed.wanted ?? wait, wait);
        }
      }
      const expected = all.flatMap(({ wanted }) => (wanted === null ? [] : [wanted])).sort((x, y) => x - y);
      for (let now = 0; now <= 1_000; now += 50) timers.run((start + now) | 0);
      return timers.size === 0 && fired.length === expected.length && fired.every((id, i) => all[id]?.wanted === expected[i]);
    }),
  );
  t.end();
});

t.test('the round trip: RFC 6298', (t) => {
  const rtt = new RoundTrip();
  t.equal(rtt.rto, 1_000, 'before the first');
  rtt.sample(100);
  t.equal(rtt.smoothed, 100);
  t.equal(rtt.rto, 300, 'SRTT + 4 x RTT / 2');
  for (let i = 0; i < 50; i++) rtt.sample(100);
  t.equal(rtt.rto, 200, 'the floor');
  rtt.backOff();
  rtt.backOff();
  t.equal(rtt.rto, 800);
  for (let i = 0; i < 20; i++) rtt.backOff();
  t.equal(rtt.rto, 60_000, 'the ceiling');
  rtt.progress();
  t.equal(rtt.rto, 200);
  rtt.sample(1_000);
  t.ok(rtt.rto > 1_000);
  t.equal(rtt.least, 100);
  t.end();
});

t.test('the plugin registers the stack; its config is strict', (t) => {
  const types: string[] = [];
  const no = (): never => {
    throw new Error('not by this plugin');
  };
  tcpPlugin.setup({
    stack: ({ type }) => types.push(type),
    adapter: no,
    inbound: no,
    protocol: no,
    rule: no,
    section: no,
    resolver: no,
    nameHook: no,
    provide: no,
    get: no,
  });
  t.strictSame(types, ['tcp']);
  t.match(settingsOf(tcpConfig.parse({ 'max-pending': 7, congestion: 'reno' }), 99), { maxPending: 7, congestion: 'reno', maxConnections: 99, nagle: false });
  for (const bad of [{ nagel: true }, { 'max-pending': 0 }, { 'give-up': 1_000 }, { 'max-window': 1 << 30 }])
    t.equal(tcpConfig.safeParse(bad).success, false, JSON.stringify(bad));
  t.equal(connectionsAllowed('Limit\nMax open files            1024                 4096                 files\n'), 960);
  t.equal(connectionsAllowed('Max open files            1048576              1048576              files\n'), 16_384);
  t.equal(connectionsAllowed(''), 16_384);
  t.equal(connectionsAllowed('Max open files            20              20              files\n'), 16);
  t.ok(connectionsAllowed() >= 16);
  t.end();
});
