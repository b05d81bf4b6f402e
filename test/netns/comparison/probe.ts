/** One flow of crafted segments, and the record of what was answered. */
import { buildPacket, FLAG, type IcmpPacket, type TcpOptions, type TcpPacket } from '@nekit/core/ip';
import { buildSegment, describe, type Family, type Fields } from './packets.js';
import { type App, type Apps, LISTENED } from './targets.js';

/** How long an answer is waited for: beyond delayed ACKs (40 ms), below any retransmission timeout (200 ms). */
const PATIENCE_MS = 130;
const SLICES = 4;

/** How often more of 50 ms are waited for the answer to a SYN, which may need a dial: still less than its retransmission (1 s). */
const MORE = 16;

export interface Wire {
  send(packet: Uint8Array): void;
  /** Whoever takes what comes for this port from this address. */
  listen(address: string, port: number, receive: (packet: TcpPacket) => void): void;
}

export interface ProbeParts {
  readonly wire: Wire;
  readonly apps: Apps;
  readonly family: Family;
  readonly local: string;
  readonly remote: string;
  readonly port: number;
}

/** What was done, and what came of it. */
export type Step = readonly [label: string, answers: readonly string[]];

export class Probe {
  readonly record: Step[] = [];
  readonly family: Family;
  readonly port: number;
  /** Ours and the peer's first sequence number. */
  iss = 1_000;
  irs = 0;
  /** Our next number, and the next that we expect. */
  seq = 1_000;
  ack = 0;
  window = 65_535;
  /** Of each segment from now on. */
  options: TcpOptions = {};
  /** The last window field that was seen. */
  lastWindow = 0;
  /** Retransmissions are answers, too. */
  keepsRepeats = false;
  /** Where SYNs go. */
  target = LISTENED;
  readonly #parts: ProbeParts;
  readonly #heard: TcpPacket[] = [];
  readonly #seen = new Set<string>();

  constructor(parts: ProbeParts) {
    this.#parts = parts;
    this.family = parts.family;
    this.port = parts.port;
    parts.wire.listen(parts.remote, parts.port, (packet) => this.#receive(packet));
  }

  get app(): App {
    return this.#parts.apps.of(this.port);
  }

  /** The application does not read until it is told. Before `open`. */
  beLazy(): void {
    this.#parts.apps.lazy.add(this.port);
  }

  /** Segments one behind the other; then what is answered. */
  say(label: string, ...segments: readonly Fields[]): Promise<void> {
    return this.watch(label, () => {
      for (const fields of segments) this.send(fields);
    });
  }

  /** Something is done; then what is answered. */
  async watch(label: string, act: () => void | Promise<void>, ms = PATIENCE_MS): Promise<void> {
    await act();
    await pause(ms);
    const answers = this.#heard.splice(0).filter((packet) => this.keepsRepeats || !this.#isRepeat(packet));
    this.record.push([label, answers.map((packet) => describe(packet, this.iss, this.irs))]);
    for (const packet of answers) this.#take(packet);
  }

  send(fields: Fields = {}): void {
    const { wire, local, remote, port } = this.#parts;
    const { flags = FLAG.ack, sequence = this.seq, acknowledgment = this.ack, window = this.window, urgent = 0, options = this.options } = fields;
    const packet = {
      source: local,
      destination: remote,
      sourcePort: port,
      destinationPort: this.target,
      sequence: sequence >>> 0,
      acknowledgment: acknowledgment >>> 0,
    };
    wire.send(buildSegment({ ...packet, flags, window, urgent, options }, fields));
  }

  /** ICMP about the peer's segment with this sequence number. */
  icmp(type: number, code: number, rest: number, sequence: number): void {
    const { wire, local, remote, port } = this.#parts;
    const quoted = buildPacket({
      kind: 'tcp',
      source: remote,
      destination: local,
      sourcePort: this.target,
      destinationPort: port,
      sequence: sequence >>> 0,
      acknowledgment: this.seq,
      flags: FLAG.ack,
      window: 1_000,
      payload: new Uint8Array(8),
    });
    const packet: IcmpPacket = { kind: 'icmp', source: local, destination: remote, type, code, rest, payload: quoted };
    wire.send(buildPacket(packet));
  }

  /** In-order text, after which our number moves on. */
  async text(label: string, length: number, fields: Fields = {}): Promise<void> {
    await this.say(label, { payload: length, ...fields });
    this.seq = (this.seq + length) >>> 0;
  }

  /** The SYN alone: SYN-RECEIVED on the other side. */
  async syn(options: TcpOptions = { mss: 1_460 }, fields: Fields = {}): Promise<void> {
    this.seq = this.iss;
    const sent = async (): Promise<void> => {
      this.send({ flags: FLAG.syn, acknowledgment: 0, options, ...fields });
      await pause(PATIENCE_MS);
      for (let tries = 0; this.#heard.length === 0 && tries < MORE; tries++) await pause(50);
    };
    await this.watch('SYN', sent, 0);
    this.seq = (this.iss + 1) >>> 0;
  }

  /** The whole handshake. */
  async open(options: TcpOptions = { mss: 1_460 }, fields: Fields = {}): Promise<void> {
    await this.syn(options, fields);
    if (options.timestamps !== undefined) this.options = { timestamps: { value: options.timestamps.value + 1, echo: 0 } };
    await this.say('ACK', {});
    for (let tries = 0; !this.#parts.apps.has(this.port); tries++) {
      if (tries === 20) throw new Error(`port ${this.port} was not accepted: ${JSON.stringify(this.record)}`);
      await pause(50);
    }
  }

  #receive(packet: TcpPacket): void {
    this.lastWindow = packet.window;
    this.#heard.push(packet);
    if ((packet.flags & FLAG.syn) !== 0) {
      this.irs = packet.sequence;
      this.ack = (packet.sequence + 1) >>> 0;
    }
  }

  /** Text or a FIN that was there already: a retransmission, whose time is not what is compared. */
  #isRepeat(packet: TcpPacket): boolean {
    if (packet.payload.length === 0 && (packet.flags & FLAG.fin) === 0) return false;
    const name = `${packet.sequence} ${packet.payload.length} ${packet.flags & FLAG.fin}`;
    if (this.#seen.has(name)) return true;
    this.#seen.add(name);
    return false;
  }

  /** What came in order is acknowledged from now on. */
  #take(packet: TcpPacket): void {
    if ((packet.flags & (FLAG.syn | FLAG.rst)) !== 0 || packet.sequence !== this.ack) return;
    this.ack = (this.ack + packet.payload.length + ((packet.flags & FLAG.fin) === 0 ? 0 : 1)) >>> 0;
  }
}

/** Waits in slices, none of which counts for much more than it was to take: where others keep the processor busy, answers come later too. */
async function pause(ms: number): Promise<void> {
  for (let had = 0; had < ms; ) {
    const from = performance.now();
    await new Promise((resolve) => setTimeout(resolve, ms / SLICES));
    had += Math.min(performance.now() - from, (1.3 * ms) / SLICES);
  }
}

/** What is done with a probe, by name, so that each is said once. */
export type Scenarios = Readonly<Record<string, (probe: Probe) => Promise<void>>>;
