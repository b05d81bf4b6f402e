import { type PacketBatch, read32 } from '@nekit/core/ip';

/** What a tuple can be to us. */
export const FLOW = { pending: 0, connection: 1, timeWait: 2 } as const;

/** Addresses and ports of one flow as int32 words: compared with a packet, and written into one, without an object. */
export abstract class Flow {
  /** See FLOW. */
  abstract readonly kind: number;
  readonly version: number;
  /** The client's side. */
  readonly remotePort: number;
  /** Ours: what the client wanted to reach. */
  readonly localPort: number;
  readonly remote0: number;
  readonly remote1: number;
  readonly remote2: number;
  readonly remote3: number;
  readonly local0: number;
  readonly local1: number;
  readonly local2: number;
  readonly local3: number;
  /** The batch's hash of it, as int32. */
  readonly hash: number;
  /** The next one with this hash. */
  next: Flow | null = null;

  constructor(from: FlowAddress) {
    this.version = from.version;
    this.remotePort = from.remotePort;
    this.localPort = from.localPort;
    this.remote0 = from.remote0;
    this.remote1 = from.remote1;
    this.remote2 = from.remote2;
    this.remote3 = from.remote3;
    this.local0 = from.local0;
    this.local1 = from.local1;
    this.local2 = from.local2;
    this.local3 = from.local3;
    this.hash = from.hash;
  }
}

/** The fields of a Flow that say which one it is. */
export type FlowAddress = Pick<
  Flow,
  'version' | 'remotePort' | 'localPort' | 'remote0' | 'remote1' | 'remote2' | 'remote3' | 'local0' | 'local1' | 'local2' | 'local3' | 'hash'
>;

/** The flow of a packet, the other way round: its source is the remote side. */
export function flowOf(batch: PacketBatch, index: number): FlowAddress {
  const { bytes } = batch;
  const isIPv4 = batch.version[index] === 4;
  const at = (batch.start[index] ?? 0) + (isIPv4 ? 12 : 8);
  const local = at + (isIPv4 ? 4 : 16);
  return {
    version: isIPv4 ? 4 : 6,
    remotePort: batch.sourcePort[index] ?? 0,
    localPort: batch.destinationPort[index] ?? 0,
    remote0: read32(bytes, at),
    remote1: isIPv4 ? 0 : read32(bytes, at + 4),
    remote2: isIPv4 ? 0 : read32(bytes, at + 8),
    remote3: isIPv4 ? 0 : read32(bytes, at + 12),
    local0: read32(bytes, local),
    local1: isIPv4 ? 0 : read32(bytes, local + 4),
    local2: isIPv4 ? 0 : read32(bytes, local + 8),
    local3: isIPv4 ? 0 : read32(bytes, local + 12),
    hash: (batch.flow[index] ?? 0) | 0,
  };
}

/** All flows by their tuple. The hash is the batch's, which is keyed: nobody can fill one chain. */
export class FlowTable {
  size = 0;
  readonly #flows = new Map<number, Flow>();

  find(batch: PacketBatch, index: number): Flow | null {
    let flow = this.#flows.get((batch.flow[index] ?? 0) | 0) ?? null;
    while (flow !== null && !isOf(flow, batch, index)) flow = flow.next;
    return flow;
  }

  add(flow: Flow): void {
    flow.next = this.#flows.get(flow.hash) ?? null;
    this.#flows.set(flow.hash, flow);
    this.size++;
  }

  delete(flow: Flow): void {
    const first = this.#flows.get(flow.hash);
    if (first === undefined) return;
    if (first === flow) {
      if (flow.next === null) this.#flows.delete(flow.hash);
      else this.#flows.set(flow.hash, flow.next);
      this.size--;
      return;
    }
    for (let before = first; before.next !== null; before = before.next) {
      if (before.next !== flow) continue;
      before.next = flow.next;
      this.size--;
      return;
    }
  }

  *[Symbol.iterator](): IterableIterator<Flow> {
    for (const first of this.#flows.values()) for (let flow: Flow | null = first; flow !== null; flow = flow.next) yield flow;
  }

  /** The flow of this address. */
  findBy(address: FlowAddress): Flow | null {
    let flow = this.#flows.get(address.hash) ?? null;
    while (flow !== null && !isSame(flow, address)) flow = flow.next;
    return flow;
  }
}

function isOf(flow: Flow, batch: PacketBatch, index: number): boolean {
  if (flow.remotePort !== batch.sourcePort[index] || flow.localPort !== batch.destinationPort[index] || flow.version !== batch.version[index]) return false;
  const { bytes } = batch;
  const start = batch.start[index] ?? 0;
  if (flow.version === 4) return read32(bytes, start + 12) === flow.remote0 && read32(bytes, start + 16) === flow.local0;
  return (
    read32(bytes, start + 8) === flow.remote0 &&
    read32(bytes, start + 12) === flow.remote1 &&
    read32(bytes, start + 16) === flow.remote2 &&
    read32(bytes, start + 20) === flow.remote3 &&
    read32(bytes, start + 24) === flow.local0 &&
    read32(bytes, start + 28) === flow.local1 &&
    read32(bytes, start + 32) === flow.local2 &&
    read32(bytes, start + 36) === flow.local3
  );
}

function isSame(flow: Flow, other: FlowAddress): boolean {
  return (
    flow.version === other.version &&
    flow.remotePort === other.remotePort &&
    flow.localPort === other.localPort &&
    flow.remote0 === other.remote0 &&
    flow.remote1 === other.remote1 &&
    flow.remote2 === other.remote2 &&
    flow.remote3 === other.remote3 &&
    flow.local0 === other.local0 &&
    flow.local1 === other.local1 &&
    flow.local2 === other.local2 &&
    flow.local3 === other.local3
  );
}
