/** Crafted segments, and what is said of an answer: numbers relative to both sides' first, so that two stacks can be compared. */
import { buildPacket, FLAG, PROTOCOL, type TcpOptions, type TcpPacket, writeTransportChecksum } from '@nekit/core/ip';

export type Family = 4 | 6;

/** What a segment says; the rest is what one expects at that point of the flow. Sequence and acknowledgment number are uint32. */
export interface Fields {
  readonly flags?: number;
  readonly sequence?: number;
  readonly acknowledgment?: number;
  readonly window?: number;
  readonly urgent?: number;
  readonly options?: TcpOptions;
  /** Instead of `options`: as they are; filled up with zeros to whole words. */
  readonly rawOptions?: readonly number[];
  /** Bytes of payload; a number: so many. */
  readonly payload?: Uint8Array | number;
  readonly breaksChecksum?: boolean;
}

export function buildSegment(packet: Omit<TcpPacket, 'kind' | 'payload'>, fields: Fields): Uint8Array {
  const { payload = 0, rawOptions } = fields;
  const text = typeof payload === 'number' ? new Uint8Array(payload).fill(0x2e) : payload;
  const options = rawOptions === undefined ? null : new Uint8Array((rawOptions.length + 3) & ~3);
  options?.set(rawOptions ?? []);
  const body = options === null ? text : Uint8Array.from([...options, ...text]);
  const bytes = buildPacket({ kind: 'tcp', ...packet, ...(options === null ? {} : { options: {} }), payload: body });
  const transport = (bytes[0] ?? 0) >>> 4 === 4 ? 20 : 40;
  if (options !== null) bytes[transport + 12] = ((20 + options.length) / 4) << 4;
  writeTransportChecksum(bytes, 0, PROTOCOL.tcp, transport, bytes.length);
  if (fields.breaksChecksum === true) bytes[transport + 16] = (bytes[transport + 16] ?? 0) ^ 0x55;
  return bytes;
}

const LETTERS: readonly (readonly [number, string])[] = [
  [FLAG.syn, 'S'],
  [FLAG.fin, 'F'],
  [FLAG.rst, 'R'],
  [FLAG.psh, 'P'],
  [FLAG.ack, 'A'],
  [FLAG.urg, 'U'],
  [0x40, 'E'],
  [0x80, 'W'],
];

/** `PA seq=1 ack=101 len=10 win>0 <ts>`. */
export function describe(packet: TcpPacket, iss: number, irs: number): string {
  const letters = LETTERS.filter(([flag]) => (packet.flags & flag) !== 0).map(([, letter]) => letter);
  const words = [letters.join('') || '-', `seq=${(packet.sequence - irs) >>> 0}`];
  if ((packet.flags & FLAG.ack) !== 0) words.push(`ack=${(packet.acknowledgment - iss) >>> 0}`);
  if (packet.payload.length > 0) words.push(`len=${packet.payload.length}`);
  if ((packet.flags & FLAG.rst) === 0) words.push(packet.window === 0 ? 'win=0' : 'win>0');
  const options = describeOptions(packet.options ?? {}, iss);
  if (options !== '') words.push(`<${options}>`);
  return words.join(' ');
}

function describeOptions(options: TcpOptions, iss: number): string {
  const words: string[] = [];
  if (options.mss !== undefined) words.push(`mss ${options.mss}`);
  if (options.sackPermitted === true) words.push('sackOK');
  if (options.timestamps !== undefined) words.push('ts');
  if (options.windowScale !== undefined) words.push('ws');
  if (options.sack !== undefined) words.push(`sack ${options.sack.map(([left, right]) => `${(left - iss) >>> 0}-${(right - iss) >>> 0}`).join(',')}`);
  return words.join(' ');
}

/** The options of a SYN that asks for everything. */
export const EVERYTHING: TcpOptions = { mss: 1_460, sackPermitted: true, timestamps: { value: 1_000, echo: 0 }, windowScale: 7 };
