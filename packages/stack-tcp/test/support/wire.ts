import { type Chunks, type HandleStream, NetError, type StackContext, type Stream, type StreamRequest } from '@nekit/core';
import {
  Arena,
  BatchParser,
  buildPacket,
  cutPacket,
  FLAG,
  finishPacket,
  type IcmpPacket,
  type IpStack,
  type Packet,
  PacketSlab,
  PathMtus,
  parsePacket,
  SeededRandom,
  type TcpOptions,
  type TcpPacket,
} from '@nekit/core/ip';
import { DEFAULT_SETTINGS, type TcpSettings } from '../../dist/settings.js';
import { TcpStack } from '../../dist/stack.js';
import { LendingSink } from './lending.js';

const SLAB = 1 << 20;

export interface WireOptions {
  readonly settings?: Partial<TcpSettings>;
  readonly mtu?: number;
  /** The longest super-packet; 0: none. */
  readonly largest?: number;
  /** The sink takes payloads from where they lie. */
  readonly lends?: boolean;
  readonly arenaBytes?: number;
  readonly isIPv6?: boolean;
  /** The device's own addresses with their networks. The clients are 10.0.0.2 and fd00::2. */
  readonly networks?: readonly string[];
  /** Of the clients' packets. */
  readonly hopLimit?: number;
  /** Whether a session is given. */
  readonly admits?: () => boolean;
  readonly handleStream?: HandleStream;
}

/** What a segment of the client's may say; the rest is what one expects. */
export type SegmentFields = Partial<
  Pick<
    TcpPacket,
    'sequence' | 'acknowledgment' | 'flags' | 'window' | 'options' | 'payload' | 'urgent' | 'source' | 'destination' | 'sourcePort' | 'destinationPort'
  >
>;

/** A stack with nothing around it: a segment goes in, and what the stack says to it is there at once. Time is what the test says. */
export class Wire {
  readonly stack: TcpStack;
  readonly arena: Arena;
  readonly lending: LendingSink;
  readonly requests: StreamRequest[] = [];
  time = 1_000;
  wakes = 0;
  readonly #bytes: Uint8Array;
  readonly #slab: PacketSlab;
  readonly #parser: BatchParser;
  readonly hopLimit: number;
  readonly #isIPv6: boolean;
  /** For one piece of a super-packet. */
  readonly #room: Uint8Array;

  constructor(options: WireOptions = {}) {
    const { mtu = 1_500, largest = 0, arenaBytes = 8 << 20, admits = () => true } = options;
    this.#room = new Uint8Array(largest === 0 ? 0 : 65_535);
    this.#isIPv6 = options.isIPv6 ?? false;
    this.hopLimit = options.hopLimit ?? 64;
    this.#bytes = new Uint8Array(SLAB * 2 + arenaBytes);
    this.#slab = new PacketSlab(this.#bytes, 0, SLAB, 512, mtu, largest);
    this.lending = new LendingSink(this.#slab);
    this.arena = new Arena(this.#bytes, SLAB * 2);
    this.#parser = new BatchParser(this.#bytes, 64, Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8));
    const random = new SeededRandom(7);
    let ids = 0;
    const context: StackContext = {
      output: {
        sink: options.lends === true ? this.lending : this.#slab,
        arena: this.arena,
        paths: new PathMtus(() => this.time),
        wake: () => {
          this.wakes++;
        },
        now: () => this.time,
      },
      handleStream:
        options.handleStream ??
        (async (request) => {
          this.requests.push(request);
        }),
      handlePackets: () => Promise.reject(new NetError('denied', 'not in this test')),
      networks: options.networks ?? [],
      openSession: (network, source, requested, signal) =>
        admits() ? { id: ++ids, network, inbound: 'tun', inboundType: 'TUN', inboundPort: 0, source, requested, destination: requested, signal } : null,
      random: (length) => random.bytes(length),
      get: () => {
        throw new Error('not in this test');
      },
    };
    this.stack = new TcpStack({ ...DEFAULT_SETTINGS, ...options.settings }, context);
  }

  get isIPv6(): boolean {
    return this.#isIPv6;
  }

  get drops(): Float64Array {
    return this.#parser.drops;
  }

  /** One packet, as it is; what comes back. Whether the stack took it: `isTaken`. */
  raw(...packets: readonly Uint8Array[]): Packet[] {
    this.feed(...packets);
    return this.flush();
  }

  /** The same without the flush: more of the batch is to come. */
  feed(...packets: readonly Uint8Array[]): void {
    this.#parser.clear();
    let at = SLAB;
    for (const packet of packets) {
      this.#bytes.set(packet, at);
      this.#parser.add(at, at + packet.length, 0, false);
      at += (packet.length + 7) & ~7;
    }
    for (let i = 0; i < this.#parser.length; i++) this.#input(i);
  }

  /** One packet, and `more` bytes of the segments behind it: as a device joins them, to more than a packet holds. */
  joined(packet: Uint8Array, more: Uint8Array): Packet[] {
    this.#parser.clear();
    this.#bytes.set(packet, SLAB);
    this.#bytes.set(more, SLAB + packet.length);
    this.#parser.add(SLAB, SLAB + packet.length, 0, false);
    this.#parser.segmentSize[0] = (this.#parser.end[0] ?? 0) - (this.#parser.payload[0] ?? 0);
    this.#parser.end[0] = (this.#parser.end[0] ?? 0) + more.length;
    this.#input(0);
    return this.flush();
  }

  isTaken = false;

  #input(index: number): void {
    const stack: IpStack = this.stack;
    this.isTaken = stack.input(this.#parser, index);
  }

  flush(): Packet[] {
    this.stack.flush(this.time);
    return this.drain();
  }

  /** Super-packets as they were written, before anybody has cut them: their lengths, and the segment size of each. */
  superPackets(): [length: number, segmentSize: number][] {
    this.stack.flush(this.time);
    const all: [number, number][] = [];
    for (let i = 0; i < this.#slab.count; i++) all.push([(this.#slab.end[i] ?? 0) - (this.#slab.start[i] ?? 0), this.#slab.segmentSize[i] ?? 0]);
    return all;
  }

  drain(): Packet[] {
    return this.#cut().map((bytes) => {
      const packet = parsePacket(bytes);
      if (packet === null) throw new Error('the stack sent a packet that is not well-formed');
      return packet;
    });
  }

  /** What is sent now, byte by byte. */
  packets(): Uint8Array[] {
    this.stack.flush(this.time);
    return this.#cut();
  }

  #cut(): Uint8Array[] {
    const slab = this.#slab;
    const all: Uint8Array[] = [];
    const take = (bytes: Uint8Array): void => {
      all.push(bytes.slice());
    };
    for (let i = 0; i < slab.count; i++) {
      const start = slab.start[i] ?? 0;
      const end = slab.end[i] ?? 0;
      const size = slab.segmentSize[i] ?? 0;
      if (size > 0) cutPacket(slab.bytes, start, end, size, this.#room, take);
      else {
        finishPacket(slab.bytes, start, end);
        take(slab.bytes.subarray(start, end));
      }
    }
    slab.clear();
    return all;
  }

  /** Time passes, in steps to the stack's own deadlines; everything that it says meanwhile. */
  advance(ms: number): Packet[] {
    const all = this.flush();
    const end = this.time + ms;
    for (let next = this.stack.nextDeadline(); next <= end; next = this.stack.nextDeadline()) {
      this.time = Math.max(this.time, next);
      all.push(...this.flush());
      if (this.stack.nextDeadline() <= this.time) this.time += 1;
    }
    this.time = end;
    all.push(...this.flush());
    return all;
  }
}

/** The client's end of a connection, by hand. Sequence numbers are uint32. */
export class Client {
  readonly wire: Wire;
  readonly port: number;
  /** Its next number, and what it has of ours. */
  seq: number;
  ack = 0;
  iss = 0;
  window = 65_535;
  options: TcpOptions = {};
  synAck: TcpPacket | null = null;
  #stream: Stream | null = null;

  constructor(wire: Wire, seq = 1_000, port = 40_000) {
    this.wire = wire;
    this.seq = seq;
    this.port = port;
  }

  get stream(): Stream {
    if (this.#stream === null) throw new Error('not connected');
    return this.#stream;
  }

  segment(fields: SegmentFields = {}): Uint8Array {
    const { isIPv6, hopLimit } = this.wire;
    return buildPacket({
      kind: 'tcp',
      hopLimit,
      source: isIPv6 ? 'fd00::2' : '10.0.0.2',
      destination: isIPv6 ? '2001:db8::1' : '192.0.2.1',
      sourcePort: this.port,
      destinationPort: 443,
      sequence: this.seq >>> 0,
      acknowledgment: this.ack >>> 0,
      flags: FLAG.ack,
      window: this.window,
      options: this.options,
      payload: new Uint8Array(0),
      ...fields,
    });
  }

  /** A segment; the segments that come back. */
  send(fields: SegmentFields = {}): TcpPacket[] {
    return tcp(this.wire.raw(this.segment(fields)));
  }

  /** Text, in order: the client's number moves on. */
  text(payload: Uint8Array | string, fields: SegmentFields = {}): TcpPacket[] {
    const bytes = typeof payload === 'string' ? Buffer.from(payload) : payload;
    const answer = this.send({ payload: bytes, ...fields });
    this.seq = (this.seq + bytes.length) >>> 0;
    return answer;
  }

  syn(options: TcpOptions = { mss: 1_460 }, fields: SegmentFields = {}): Packet[] {
    return this.wire.raw(this.segment({ flags: FLAG.syn, acknowledgment: 0, options, ...fields }));
  }

  /** The whole handshake. */
  async connect(options: TcpOptions = { mss: 1_460 }): Promise<this> {
    this.syn(options);
    const request = this.wire.requests.pop();
    if (request === undefined) throw new Error('no request came');
    const opening = request.accept();
    const synAck = tcp(this.wire.flush()).find((packet) => packet.destinationPort === this.port && (packet.flags & FLAG.syn) !== 0);
    if (synAck === undefined) throw new Error('no SYN-ACK came');
    this.synAck = synAck;
    this.iss = synAck.sequence;
    this.seq = (this.seq + 1) >>> 0;
    this.ack = (synAck.sequence + 1) >>> 0;
    if (options.timestamps !== undefined) this.options = { timestamps: { value: options.timestamps.value + 1, echo: synAck.options?.timestamps?.value ?? 0 } };
    this.send();
    this.#stream = await opening;
    return this;
  }

  #reading: Promise<Chunks | null> | null = null;

  /** What the connection's reader gets now: '' if it has to wait, null at the end. A read that waits is taken up again by the next call. */
  async readNow(): Promise<string | null> {
    this.#reading ??= this.stream.read();
    const chunks = await Promise.race([this.#reading, new Promise<undefined>((resolve) => setImmediate(() => resolve(undefined)))]);
    if (chunks === undefined) return '';
    this.#reading = null;
    return chunks === null ? null : Buffer.concat(chunks).toString();
  }

  /** The same, to be waited for. */
  read(): Promise<Chunks | null> {
    const reading = this.#reading ?? this.stream.read();
    this.#reading = null;
    return reading;
  }

  /** Takes note of what came: all of it acknowledged. Gives its text. */
  take(packets: readonly TcpPacket[]): Uint8Array {
    const parts: Uint8Array[] = [];
    for (const packet of packets) {
      const length = packet.payload.length + ((packet.flags & FLAG.fin) === 0 ? 0 : 1);
      if (packet.sequence !== this.ack) continue;
      this.ack = (this.ack + length) >>> 0;
      parts.push(packet.payload);
    }
    return Buffer.concat(parts);
  }
}

export function tcp(packets: readonly Packet[]): TcpPacket[] {
  return packets.filter((packet): packet is TcpPacket => packet.kind === 'tcp');
}

export function icmp(packets: readonly Packet[]): IcmpPacket[] {
  return packets.filter((packet): packet is IcmpPacket => packet.kind === 'icmp');
}

/** `SA`, `.`, `P.`: flags as tcpdump writes them, more or less. */
export function flagsOf(packet: TcpPacket): string {
  const names: [number, string][] = [
    [FLAG.syn, 'S'],
    [FLAG.fin, 'F'],
    [FLAG.rst, 'R'],
    [FLAG.psh, 'P'],
    [FLAG.ack, 'A'],
  ];
  return names
    .filter(([flag]) => (packet.flags & flag) !== 0)
    .map(([, name]) => name)
    .join('');
}
