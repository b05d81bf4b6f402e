/** Messages for tests, by a codec that is not the one under test. */
import { type Answer, decode, encode, type Packet, type RecordType } from 'dns-packet';

export interface QueryOptions {
  readonly id?: number;
  readonly edns?: number;
  readonly dnssecOk?: boolean;
  readonly flags?: number;
}

export function queryBytes(name: string, type: RecordType, { id = 0x1234, edns, dnssecOk = false, flags = 0x0100 }: QueryOptions = {}): Uint8Array {
  const additionals: Answer[] =
    edns === undefined
      ? []
      : [{ type: 'OPT', name: '.', udpPayloadSize: edns, extendedRcode: 0, ednsVersion: 0, flags: dnssecOk ? 0x8000 : 0, flag_do: dnssecOk, options: [] }];
  return Uint8Array.from(encode({ type: 'query', id, flags, questions: [{ type, name, class: 'IN' }], additionals }));
}

/** The type by its number, for those that the codec does not know. */
export function withType(message: Uint8Array, type: number, nameLength: number): Uint8Array {
  const copy = Uint8Array.from(message);
  const at = 12 + nameLength + 2;
  copy[at] = type >>> 8;
  copy[at + 1] = type;
  return copy;
}

export function decoded(message: Uint8Array | null): Packet & { readonly rcode: number; readonly id: number } {
  if (message === null) throw new Error('there is no message');
  const packet = decode(Buffer.from(message));
  return { ...packet, id: packet.id ?? 0, rcode: (message[3] ?? 0) & 0xf };
}

/** What an answer's records say, in short: `A 192.0.2.1`. */
export function said(message: Uint8Array | null): string[] {
  return (decoded(message).answers ?? []).map((answer) => `${answer.type} ${'data' in answer ? JSON.stringify(answer.data).replaceAll('"', '') : ''}`);
}

export interface ReplyOptions {
  readonly answers?: Answer[];
  readonly authorities?: Answer[];
  readonly rcode?: number;
  readonly edns?: boolean;
  readonly truncated?: boolean;
}

/** The reply of a server to a query that it got. */
export function replyTo(query: Uint8Array, { answers = [], authorities = [], rcode = 0, edns = false, truncated = false }: ReplyOptions): Uint8Array {
  const additionals: Answer[] = edns
    ? [{ type: 'OPT', name: '.', udpPayloadSize: 1232, extendedRcode: 0, ednsVersion: 0, flags: 0, flag_do: false, options: [] }]
    : [];
  const { questions = [] } = decode(Buffer.from(query));
  const bytes = Uint8Array.from(encode({ type: 'response', id: 0, flags: 0x0180, questions, answers, authorities, additionals }));
  // Names as they were asked: the codec may have changed their case.
  const length = questionLength(query);
  bytes.set(query.subarray(12, 12 + length), 12);
  bytes[0] = query[0] ?? 0;
  bytes[1] = query[1] ?? 0;
  bytes[2] = (bytes[2] ?? 0) | (truncated ? 2 : 0);
  bytes[3] = ((bytes[3] ?? 0) & 0xf0) | rcode;
  return bytes;
}

export function questionLength(message: Uint8Array): number {
  let at = 12;
  while ((message[at] ?? 0) !== 0) at += (message[at] ?? 0) + 1;
  return at + 5 - 12;
}
