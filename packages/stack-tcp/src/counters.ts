/** Everything that the stack counts, and above all why it dropped something; an index into `values`. */
export const COUNT = {
  segmentsIn: 0,
  segmentsOut: 1,
  bytesIn: 2,
  bytesOut: 3,
  opened: 4,
  accepted: 5,
  refused: 6,
  closed: 7,
  resetByPeer: 8,
  timedOut: 9,
  retransmitted: 10,
  fastRecoveries: 11,
  timeouts: 12,
  tailProbes: 13,
  windowProbes: 14,
  challengeAcks: 15,
  resetsSent: 16,
  icmpSent: 17,
  outOfOrder: 18,
  dropAddress: 19,
  dropPort: 20,
  dropFlags: 21,
  dropNoAck: 22,
  dropUnacceptable: 23,
  dropPaws: 24,
  dropNoTimestamp: 25,
  dropAckOfUnsent: 26,
  dropOldAck: 27,
  dropReset: 28,
  dropSyn: 29,
  dropMemory: 30,
  dropStray: 31,
  dropPending: 32,
  dropConnections: 33,
  dropReply: 34,
  dropIcmp: 35,
  evictedPending: 36,
  evictedHalfOpen: 37,
  evictedTimeWait: 38,
  sinkFull: 39,
  dropCrowd: 40,
  /** Timeouts that were too early. */
  undone: 41,
  /** "Unreachable" that a SYN was not told, for there were too many of them: it had a RST. */
  icmpWithheld: 42,
} as const;

export type CounterName = keyof typeof COUNT;

export class Counters {
  readonly values = new Float64Array(Object.keys(COUNT).length);

  add(index: number): void {
    this.values[index] = (this.values[index] ?? 0) + 1;
  }

  addBytes(index: number, bytes: number): void {
    this.values[index] = (this.values[index] ?? 0) + bytes;
  }

  get(name: CounterName): number {
    return this.values[COUNT[name]] ?? 0;
  }

  /** Those that are not 0, by name. */
  snapshot(): Record<string, number> {
    const all: Record<string, number> = {};
    for (const [name, index] of Object.entries(COUNT)) if ((this.values[index] ?? 0) !== 0) all[name] = this.values[index] ?? 0;
    return all;
  }
}
