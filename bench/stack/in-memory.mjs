// What one packet costs in the TCP stack, without a kernel: a stack and a very simple client on one slab in memory.
//
//   node bench/stack/in-memory.mjs [--seconds 2]
//
// sink: the stack receives and its reader takes the bytes away at once. source: it sends. relay: it receives on one connection what it sends on another, by splice and a socket in
// memory. Each with segments of the MTU and with super-packets of 64 KiB. `copy` is what moving the bytes alone costs.
import { parseArgs } from 'node:util';
import { CancelSource } from '../../packages/core/dist/index.js';
import { Arena, BatchParser, buildPacket, FLAG, PacketSlab, read32 } from '../../packages/core/dist/ip.js';
import { testStackContext } from '../../packages/core/dist/testing.js';
import { DEFAULT_SETTINGS } from '../../packages/stack-tcp/dist/settings.js';
import { TcpStack } from '../../packages/stack-tcp/dist/stack.js';

const { values } = parseArgs({ options: { seconds: { type: 'string', default: '2' }, only: { type: 'string' } } });
const seconds = Number(values.seconds);

const TX = 8 << 20;
const RX = 8 << 20;
const bytes = new Uint8Array(TX + RX + (64 << 20));

/** A stack, its slab and the packets that come and go. */
class Stage {
  constructor(mtu, largest) {
    this.sink = new PacketSlab(bytes, 0, TX, 256, mtu, largest);
    this.arena = new Arena(bytes, TX + RX);
    this.parser = new BatchParser(bytes, 256, Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8));
    this.time = 1000;
    this.requests = [];
    this.remotes = [];
    const output = { sink: this.sink, arena: this.arena, wake: () => {}, now: () => this.time };
    const context = testStackContext({
      output,
      handleStream: async (request) => {
        this.requests.push(request);
      },
      random: (length) => new Uint8Array(length).fill(7),
    });
    this.stack = new TcpStack({ ...DEFAULT_SETTINGS, maxWindow: 1 << 20, initialWindow: 1 << 20 }, context);
  }

  /** One packet in, as the device parses it. */
  put(packet) {
    bytes.set(packet, TX);
    this.parser.clear();
    if (!this.parser.add(TX, TX + packet.length, 0, true)) throw new Error('not taken');
    this.stack.input(this.parser, 0);
    this.stack.flush(this.time);
  }

  async connect(port) {
    const client = { port, next: 1, isn: 1000 };
    const base = {
      kind: 'tcp',
      source: '10.0.0.2',
      destination: '192.0.2.1',
      sourcePort: port,
      destinationPort: 80,
      window: 65535,
      payload: new Uint8Array(0),
    };
    this.put(buildPacket({ ...base, sequence: 1000, acknowledgment: 0, flags: FLAG.syn, options: { mss: 1460, windowScale: 8, sackPermitted: true } }));
    const opened = this.requests.shift().accept();
    this.stack.flush(this.time);
    client.ack = (read32(bytes, this.sink.start[0] + 24) + 1) >>> 0;
    client.seq = 1001;
    this.sink.clear();
    this.put(buildPacket({ ...base, sequence: client.seq, acknowledgment: client.ack, flags: FLAG.ack }));
    client.stream = await opened;
    return client;
  }
}

/** A socket in memory: takes everything, and has always something to give when asked to. */
class MemoryConn {
  taken = 0;
  given = 0;
  isSource = false;
  pending = 0;
  listener = null;
  send(_bytes, start, end) {
    this.taken += end - start;
    return end - start;
  }
  receive(_bytes, start, end) {
    if (!this.isSource) return 0;
    this.given += end - start;
    return end - start;
  }
  closeWrite() {}
  abort() {}
  relay() {
    return null;
  }
}

const options = () => ({ signal: new CancelSource(), idleMs: 1e9, halfCloseMs: 1e9, counters: new Float64Array(2), slot: 0 });

/** A packet of the client's, laid out once; sequence and ACK are written into it each time. */
function template(client, payload) {
  return buildPacket({
    kind: 'tcp',
    source: '10.0.0.2',
    destination: '192.0.2.1',
    sourcePort: client.port,
    destinationPort: 80,
    sequence: client.seq,
    acknowledgment: client.ack,
    flags: FLAG.ack,
    window: 65535,
    payload: new Uint8Array(payload),
  });
}

/** Fills the batch with one packet several times over, as a burst of one flow. */
function burst(stage, packet, count, client, step) {
  const { parser } = stage;
  parser.clear();
  for (let i = 0, at = TX; i < count; i++, at += (packet.length + 7) & ~7) {
    bytes.set(packet, at);
    parser.add(at, at + packet.length, 0, true);
    parser.sequence[i] = client.seq >>> 0;
    parser.acknowledgment[i] = client.ack >>> 0;
    client.seq = (client.seq + step) >>> 0;
  }
}

async function sink(payload, perBatch, kind) {
  const stage = new Stage(1500, 65535);
  const client = await stage.connect(1000);
  const remote = new MemoryConn();
  if (kind === 'relay' || kind === 'sink') void client.stream.splice(remote, options());
  stage.stack.flush(stage.time);
  const packet = template(client, payload);
  const { parser } = stage;
  burst(stage, packet, perBatch, client, 0);
  return measure(
    kind,
    payload,
    () => {
      stage.time += 0.05;
      for (let i = 0; i < perBatch; i++) {
        parser.sequence[i] = client.seq;
        client.seq = (client.seq + payload) >>> 0;
        stage.stack.input(parser, i);
      }
      stage.stack.flush(stage.time);
      stage.sink.clear();
      return perBatch;
    },
    () => {
      if (remote.taken === 0) throw new Error('nothing arrived');
    },
  );
}

async function source(largest, name) {
  const stage = new Stage(1500, largest);
  const client = await stage.connect(1000);
  const remote = new MemoryConn();
  remote.isSource = true;
  void client.stream.splice(remote, options());
  stage.stack.flush(stage.time);
  stage.sink.clear();
  const ack = template(client, 0);
  burst(stage, ack, 1, client, 0);
  const { parser } = stage;
  let sent = 0;
  return measure(
    'source',
    name,
    () => {
      stage.time += 0.05;
      parser.acknowledgment[0] = client.ack;
      stage.stack.input(parser, 0);
      stage.stack.flush(stage.time);
      let packets = 0;
      for (let i = 0; i < stage.sink.count; i++) {
        const start = stage.sink.start[i];
        const payload = stage.sink.end[i] - start - 40;
        if (payload > 0) {
          packets++;
          sent += payload;
          client.ack = (client.ack + payload) >>> 0;
        }
      }
      stage.sink.clear();
      return packets;
    },
    () => {
      if (sent === 0) throw new Error('nothing was sent');
    },
  );
}

function measure(kind, name, round, check) {
  const warm = performance.now();
  while (performance.now() - warm < 500) round();
  globalThis.gc?.();
  const heap = process.memoryUsage().heapUsed;
  const started = performance.now();
  let packets = 0;
  let rounds = 0;
  while (performance.now() - started < seconds * 1000) {
    for (let i = 0; i < 64; i++) {
      packets += round();
      rounds++;
    }
  }
  const elapsed = performance.now() - started;
  const before = process.memoryUsage().heapUsed;
  globalThis.gc?.();
  const grown = process.memoryUsage().heapUsed - heap;
  check();
  return {
    kind,
    payload: name,
    'ns/packet': Math.round((elapsed * 1e6) / packets),
    'ns/flush': Math.round((elapsed * 1e6) / rounds),
    'packets/flush': +(packets / rounds).toFixed(1),
    packets,
    'garbage B/packet': +((before - heap) / packets).toFixed(2),
    'heap growth B': grown,
  };
}

function copyCost(length) {
  const rounds = 200_000;
  const started = performance.now();
  for (let i = 0; i < rounds; i++) bytes.copyWithin(TX + ((i & 7) << 16), i & 63, length + (i & 63));
  return Math.round(((performance.now() - started) * 1e6) / rounds);
}

/** From one connection to another, each the other's socket: what the first client sends the second gets. */
async function relayed(payload, perBatch, largest) {
  const stage = new Stage(1500, largest);
  const from = await stage.connect(1000);
  const to = await stage.connect(2000);
  const [left, right] = joined();
  void from.stream.splice(left, options());
  void to.stream.splice(right, options());
  stage.stack.flush(stage.time);
  stage.sink.clear();
  // The batch: data of the first client, and behind it the second client's ACK.
  const packet = template(from, payload);
  const ack = template(to, 0);
  const { parser } = stage;
  parser.clear();
  let at = TX;
  for (let i = 0; i < perBatch; i++, at += (packet.length + 7) & ~7) {
    bytes.set(packet, at);
    parser.add(at, at + packet.length, 0, true);
  }
  bytes.set(ack, at);
  parser.add(at, at + ack.length, 0, true);
  let got = 0;
  return measure(
    'relay',
    payload,
    () => {
      stage.time += 0.05;
      for (let i = 0; i < perBatch; i++) {
        parser.sequence[i] = from.seq;
        from.seq = (from.seq + payload) >>> 0;
        stage.stack.input(parser, i);
      }
      parser.acknowledgment[perBatch] = to.ack;
      stage.stack.input(parser, perBatch);
      stage.stack.flush(stage.time);
      stage.stack.flush(stage.time); // the second connection has heard of its socket
      for (let i = 0; i < stage.sink.count; i++) {
        const start = stage.sink.start[i];
        const length = stage.sink.end[i] - start - 40;
        if (length > 0 && ((bytes[start + 22] << 8) | bytes[start + 23]) === 2000) {
          to.ack = (to.ack + length) >>> 0;
          got += length;
        }
      }
      stage.sink.clear();
      return perBatch;
    },
    () => {
      if (got === 0) throw new Error('nothing came through');
    },
  );
}

/** Two sockets in memory, each of which receives what the other is sent, through a ring. */
function joined() {
  const ends = [];
  for (const index of [0, 1]) {
    const ring = new Uint8Array(1 << 20);
    let head = 0;
    let tail = 0;
    ends.push({
      index,
      pending: 0,
      listener: null,
      put(source, start, end) {
        const count = Math.min(end - start, ring.length - (tail - head), ring.length - (tail & (ring.length - 1)));
        ring.set(source.subarray(start, start + count), tail & (ring.length - 1));
        tail += count;
        this.listener?.readable();
        return count;
      },
      send(source, start, end) {
        return ends[1 - index].put(source, start, end);
      },
      receive(target, start, end) {
        const count = Math.min(end - start, tail - head, ring.length - (head & (ring.length - 1)));
        if (count === 0) return 0;
        const from = head & (ring.length - 1);
        target.set(ring.subarray(from, from + count), start);
        head += count;
        ends[1 - index].listener?.writable();
        return count;
      },
      closeWrite() {},
      abort() {},
      relay: () => null,
    });
  }
  return ends;
}

/** One connection among many: the look-up in a large table, and no two packets of one flow in a row. */
async function crowd(flows) {
  const stage = new Stage(1500, 65535);
  const clients = [];
  for (let i = 0; i < flows; i++) {
    const client = await stage.connect(1000 + i);
    void client.stream.splice(new MemoryConn(), options());
    clients.push(client);
  }
  stage.stack.flush(stage.time);
  const { parser } = stage;
  parser.clear();
  let at = TX;
  for (let i = 0; i < 64; i++) {
    const packet = template(clients[i], 1460);
    bytes.set(packet, at);
    parser.add(at, at + packet.length, 0, true);
    at += (packet.length + 7) & ~7;
  }
  return measure(
    `sink, ${flows} flows`,
    1460,
    () => {
      stage.time += 0.05;
      for (let i = 0; i < 64; i++) {
        parser.sequence[i] = clients[i].seq;
        clients[i].seq = (clients[i].seq + 1460) >>> 0;
        stage.stack.input(parser, i);
      }
      stage.stack.flush(stage.time);
      stage.sink.clear();
      return 64;
    },
    () => {},
  );
}

/** What a connection weighs that has nothing to do: after some bytes both ways, with a splice. */
async function idle(count) {
  const stage = new Stage(1500, 0);
  stage.stack.flush(stage.time);
  globalThis.gc?.();
  const before = process.memoryUsage();
  const kept = [];
  for (let i = 0; i < count; i++) {
    const client = await stage.connect(1 + i);
    const remote = new MemoryConn();
    void client.stream.splice(remote, options());
    client.stream = null;
    burst(stage, template(client, 100), 1, client, 100);
    stage.stack.input(stage.parser, 0);
    stage.stack.flush(stage.time);
    stage.sink.clear();
    kept.push(remote);
  }
  globalThis.gc?.();
  const after = process.memoryUsage();
  const perConn = (after.heapUsed + after.arrayBuffers - before.heapUsed - before.arrayBuffers) / count;
  if (stage.stack.info.connections !== count || stage.stack.info.memory !== 0) throw new Error(JSON.stringify(stage.stack.info));
  return Math.round(perConn);
}

const rows = [];
rows.push(await sink(1460, 32, 'sink'));
rows.push(await sink(64240, 4, 'sink'));
rows.push(await crowd(64));
rows.push(await crowd(10000));
rows.push(await source(0, 1460));
rows.push(await source(65535, 64240));
rows.push(await relayed(1460, 32, 0));
rows.push(await relayed(64240, 4, 65535));
console.table(rows);
console.log(`copy inside the slab: 1460 B ${copyCost(1460)} ns, 64240 B ${copyCost(64240)} ns`);
console.log(`idle connection, splice, session and socket stand-in included: ${await idle(10000)} bytes`);
