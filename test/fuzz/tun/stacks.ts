// The stacks of a TUN, composed as its inbound does it, on one end of a pipe; what they say goes to a judge.
import { Identifications, type PacketDevice, PacketSlab, type PipeEnd, PROTOCOL, pipeDevice, type SeededRandom, StackDriver } from '@nekit/core/ip';
import { FakeClock, testStackContext } from '@nekit/core/testing';
import { FragmentStack } from '../../../packages/core/dist/inbound/tun/fragment-stack.js';
import { GuardedStack } from '../../../packages/core/dist/inbound/tun/guarded-stack.js';
import { LeftoverStack } from '../../../packages/core/dist/inbound/tun/leftover-stack.js';
import { DEFAULT_LIMITS } from '../../../packages/core/dist/ip/reassembly.js';
import { DEFAULT_SETTINGS } from '../../../packages/stack-tcp/dist/settings.js';
import { TcpStack } from '../../../packages/stack-tcp/dist/stack.js';
import { DEFAULT_UDP_LIMITS, UdpStack } from '../../../packages/stack-udp/dist/udp-stack.js';
import { four, ipPacket } from './build.js';
import { Carrier } from './carrier.js';
import { Judge, type Whole } from './judge.js';
import type { Heard } from './packets.js';

const MTU = 1_500;
const ARENA = 4 << 20;
const UDP_LIMITS = { ...DEFAULT_UDP_LIMITS, mappings: 128, idle: 60_000, dnsIdle: 5_000, waiting: 64 * 1024, peers: 128 };
const TCP_LIMITS = { maxPending: 50, maxHalfOpen: 20, maxTimeWait: 20, maxConnections: 200, timeWaitMs: 500, giveUpMs: 100_000, initialWindow: 16_384 };
const NOWHERE = new Set(['198.19.99.99', 'fdfe::63']);

/** Nobody answers it. */
const LAST = ipPacket({ version: 4, source: four(198, 18, 0, 1), destination: four(192, 0, 2, 1) }, PROTOCOL.none, new Uint8Array(8));

/** Which plugins are loaded. */
export type Loaded = 'none' | 'udp' | 'tcp and udp';

/** What may be held at a time: datagrams that are not whole and their bytes, client ports, bytes that wait for adapters, remotes that are remembered. */
export const BOUNDS = {
  held: DEFAULT_LIMITS.datagrams,
  bytes: DEFAULT_LIMITS.bytes,
  ports: UDP_LIMITS.mappings,
  waiting: UDP_LIMITS.waiting,
  peers: UDP_LIMITS.peers,
};
export type Peaks = Readonly<Record<keyof typeof BOUNDS, number>>;

/** On top of a datagram's bytes; counted after it was let in. */
const OVERHEAD = 128;

/** Each client port keeps so many remotes at least. */
const LEAST_PEERS = 8;

export function higher(one: Peaks, other: Peaks): Peaks {
  const most = (name: keyof Peaks): number => Math.max(one[name], other[name]);
  return { held: most('held'), bytes: most('bytes'), ports: most('ports'), waiting: most('waiting'), peers: most('peers') };
}

export class TunStacks {
  readonly clock = new FakeClock();
  readonly judge: Judge;
  readonly carrier: Carrier;
  readonly fragments: FragmentStack;
  readonly udp: UdpStack | null;
  readonly tcp: TcpStack | null;
  /** The last segment of ours that may be answered. */
  heard: Heard | null = null;
  peaks: Peaks = { held: 0, bytes: 0, ports: 0, waiting: 0, peers: 0 };
  readonly #driver: StackDriver;
  readonly #slab: PacketSlab;
  readonly #far: PipeEnd;
  #run: (() => void)[] = [];

  constructor(random: SeededRandom, loaded: Loaded, take: (packet: Whole) => void) {
    const soon = (run: () => void): void => void this.#run.push(run);
    const [near, far] = pipeDevice({
      mtu: MTU,
      defer: soon,
      arenaBytes: loaded === 'tcp and udp' ? ARENA : 0,
      queueBytes: 2 << 20,
      key: Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8),
    });
    if (!(near.sink instanceof PacketSlab)) throw new Error('the pipe writes to something else');
    this.#far = far;
    this.#slab = near.sink;
    this.judge = new Judge(MTU, (packet) => {
      this.#hear(packet);
      take(packet);
    });
    this.carrier = new Carrier(random);
    const device: PacketDevice = {
      name: near.name,
      sink: near.sink,
      arena: near.arena,
      start: (handlers) => near.start(handlers),
      flush: () => near.drain((packet) => this.judge.look(packet)),
      close: () => near.close(),
    };
    this.#driver = new StackDriver({ device, clock: this.clock, defer: soon, later: soon });
    const { output } = this.#driver;
    const plain = testStackContext({
      output,
      handleStream: this.carrier.stream,
      handlePackets: this.carrier.packets,
      random: (length) => random.bytes(length),
    });
    const context = {
      ...plain,
      openSession: (...[network, source, requested, signal]: Parameters<typeof plain.openSession>) =>
        NOWHERE.has(requested.host) ? null : plain.openSession(network, source, requested, signal),
    };
    const identifications = new Identifications((length) => random.bytes(length));
    this.udp = loaded === 'none' ? null : new UdpStack({ context, identifications, limits: UDP_LIMITS });
    this.tcp = loaded === 'tcp and udp' ? new TcpStack({ ...DEFAULT_SETTINGS, ...TCP_LIMITS }, context) : null;
    const guarded = [this.tcp, this.udp].flatMap((stack) => (stack === null ? [] : [new GuardedStack(stack, fail)]));
    const behind = [...guarded, new LeftoverStack({ output, echo: true, identifications, onUdp: () => {} })];
    this.fragments = new FragmentStack(behind, output, identifications);
    this.#driver.start([this.fragments, ...behind]);
  }

  /** Packets that found no room so far, on their way in or out: whoever is not answered then has had bad luck. */
  get full(): number {
    return this.#slab.full + (this.udp?.dropped.full ?? 0);
  }

  send(packet: Uint8Array): void {
    this.#far.inject(packet);
  }

  /** Everything that was sent arrives, and all that comes of it is done. */
  async turn(): Promise<void> {
    for (let i = 0; i < 4 || this.#run.length > 0; i++) {
      if (i > 100) throw new Error('it never rests');
      for (const run of this.#run.splice(0)) run();
      for (let turn = 0; turn < 4; turn++) await Promise.resolve();
    }
    this.#check();
  }

  async pass(ms: number): Promise<void> {
    await this.clock.advance(ms);
    await this.turn();
  }

  /** Ends everything, and looks whether that is so. */
  async end(): Promise<void> {
    this.carrier.endDials();
    await this.turn();
    // Nothing is said for longer than anything may wait.
    await this.pass(2 * UDP_LIMITS.idle);
    this.send(LAST);
    await this.turn();
    const left = this.#held();
    if (Object.values(left).some((count) => count !== 0)) throw new Error(`left after two minutes: ${JSON.stringify(left)}`);
    if (this.tcp === null && this.clock.pending !== 0) throw new Error(`${this.clock.pending} timers left after two minutes`);
    this.#driver.close();
    for (let i = 0; i < 20 && (this.tcp?.info.connections ?? 0) > 0; i++) await this.pass(10);
    const { connections = 0, memory = 0, timers = 0, pending = 0 } = this.tcp?.info ?? {};
    if (connections + memory + timers + pending + this.clock.pending !== 0) {
      throw new Error(`left at the end: ${JSON.stringify({ connections, memory, timers, pending, clock: this.clock.pending })}`);
    }
    this.#far.close();
  }

  #held(): Peaks {
    const { size: held, bytes } = this.fragments.reassembly;
    return { held, bytes, ports: this.udp?.size ?? 0, waiting: this.udp?.waiting ?? 0, peers: this.udp?.peers ?? 0 };
  }

  #check(): void {
    const held = this.#held();
    this.peaks = higher(this.peaks, held);
    const isRight =
      Object.values(held).every((count) => count >= 0) &&
      held.held <= BOUNDS.held &&
      held.bytes <= BOUNDS.bytes &&
      held.ports <= BOUNDS.ports &&
      held.waiting <= BOUNDS.waiting + OVERHEAD &&
      held.peers <= BOUNDS.peers + LEAST_PEERS * held.ports &&
      this.clock.pending <= 1 &&
      (this.tcp === null || this.#isBounded(this.tcp.info));
    if (!isRight) throw new Error(`out of bounds: ${JSON.stringify({ ...held, timers: this.clock.pending, tcp: this.tcp?.info })}`);
  }

  #isBounded({ memory, pending, halfOpen, timeWait, connections }: TcpStack['info']): boolean {
    return (
      memory <= ARENA &&
      pending <= TCP_LIMITS.maxPending &&
      halfOpen <= TCP_LIMITS.maxHalfOpen &&
      timeWait <= TCP_LIMITS.maxTimeWait &&
      connections <= TCP_LIMITS.maxConnections + TCP_LIMITS.maxHalfOpen
    );
  }

  #hear({ version, source, destination, protocol, body }: Whole): void {
    if (protocol !== PROTOCOL.tcp || ((body[13] ?? 0) & 0x04) !== 0) return;
    const view = new DataView(body.buffer, body.byteOffset, body.length);
    this.heard = {
      pair: { version, source, destination },
      sourcePort: view.getUint16(0),
      destinationPort: view.getUint16(2),
      sequence: view.getUint32(4),
      acknowledgment: view.getUint32(8),
    };
  }
}

function fail(error: unknown): never {
  throw error instanceof Error ? error : new Error(String(error));
}
