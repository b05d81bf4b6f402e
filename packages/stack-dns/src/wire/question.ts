/** A question of ours to a server. */
import { AD, CD, CLASS_IN, EDNS_UDP, HEADER, MAX_WIRE_NAME, OPT_LENGTH, RD, TYPE, write16 } from './message.js';
import type { Query } from './query.js';

/** Read-only: those who ask the same share it. */
export interface Question {
  /** On the wire, in lower case, the root's zero included. */
  readonly wire: Uint8Array;
  /** As text in lower case, without a dot at the end. Only for who looks at names of hosts: others have no text that means only them. */
  readonly name: string;
  readonly type: number;
  /** Signatures are wanted. */
  readonly dnssecOk: boolean;
  readonly checkingDisabled: boolean;
  /** The same for the same question, and for no other. */
  readonly key: string;
}

/** What a client asks. `bytes[start…]` is the query that `query` has read. */
export function questionOf(query: Query, bytes: Uint8Array, start: number): Question {
  const wire = Uint8Array.from(bytes.subarray(start + HEADER, start + query.end - 4));
  lower(wire);
  return question(wire, Buffer.from(query.name.buffer, 0, query.nameLength).toString('latin1'), query.type, query.dnssecOk, query.checkingDisabled);
}

/** A host's addresses. null: it is too long for the wire. */
export function questionFor(name: string, type: number): Question | null {
  const wire = wireName(name);
  return wire === null ? null : question(wire, name, type, false, false);
}

function question(wire: Uint8Array, name: string, type: number, dnssecOk: boolean, checkingDisabled: boolean): Question {
  const flags = (dnssecOk ? 1 : 0) + (checkingDisabled ? 2 : 0);
  return { wire, name, type, dnssecOk, checkingDisabled, key: `${type} ${flags} ${Buffer.from(wire.buffer, wire.byteOffset, wire.length).toString('latin1')}` };
}

/** `a.example` on the wire; null for what has no place there. */
export function wireName(name: string): Uint8Array | null {
  const labels = name === '' ? [] : name.split('.');
  const wire = new Uint8Array(name === '' ? 1 : name.length + 2);
  if (wire.length > MAX_WIRE_NAME) return null;
  let at = 0;
  for (const label of labels) {
    if (label.length === 0 || label.length > 63) return null;
    wire[at++] = label.length;
    for (let i = 0; i < label.length; i++) wire[at++] = label.charCodeAt(i);
  }
  return lower(wire);
}

/** Lengths are below 0x40, so only letters change. */
function lower(wire: Uint8Array): Uint8Array {
  for (let i = 0; i < wire.length; i++) {
    const code = wire[i] ?? 0;
    if (code >= 0x41 && code <= 0x5a) wire[i] = code | 0x20;
  }
  return wire;
}

export interface MessageOptions {
  readonly id: number;
  /** Random bytes, a bit for each letter: its case is a part of the secret that an answer has to know (draft-vixie-dnsext-dns0x20). null: as it is. */
  readonly spelling: Uint8Array | null;
  readonly edns: boolean;
}

/** The question as a message. */
export function queryMessage(asked: Question, { id, spelling, edns }: MessageOptions): Uint8Array {
  const { wire } = asked;
  const end = HEADER + wire.length + 4;
  const message = new Uint8Array(end + (edns ? OPT_LENGTH : 0));
  write16(message, 0, id);
  message[2] = RD;
  message[3] = asked.checkingDisabled ? CD | AD : AD;
  write16(message, 4, 1);
  message.set(wire, HEADER);
  if (spelling !== null) spell(message, HEADER, wire.length, spelling);
  write16(message, end - 4, asked.type);
  write16(message, end - 2, CLASS_IN);
  if (!edns) return message;
  write16(message, 10, 1);
  write16(message, end + 1, TYPE.OPT);
  write16(message, end + 3, EDNS_UDP);
  write16(message, end + 7, asked.dnssecOk ? 0x8000 : 0);
  return message;
}

function spell(message: Uint8Array, from: number, length: number, random: Uint8Array): void {
  for (let i = 0; i < length; i++) {
    const code = message[from + i] ?? 0;
    if (code >= 0x61 && code <= 0x7a && ((random[(i >>> 3) % random.length] ?? 0) & (1 << (i & 7))) !== 0) message[from + i] = code & ~0x20;
  }
}

/** How far a message answers the one that was sent: not at all, but for the case of its letters, or byte by byte. */
export type Match = 'no' | 'but for case' | 'yes';

/** Looks at id, QR and question; both are whole messages, `sent` of ours. */
export function matchOf(sent: Uint8Array, questionLength: number, message: Uint8Array): Match {
  const end = HEADER + questionLength;
  if (message.length < HEADER || ((message[2] ?? 0) & 0x80) === 0 || message[0] !== sent[0] || message[1] !== sent[1]) return 'no';
  // A server that understood nothing says so without the question.
  if (message.length === HEADER && message[4] === 0 && message[5] === 0 && ((message[3] ?? 0) & 0xf) !== 0) return 'yes';
  if (message.length < end || message[4] !== 0 || message[5] !== 1) return 'no';
  let match: Match = 'yes';
  for (let i = HEADER; i < end; i++) {
    const [one, other] = [sent[i] ?? 0, message[i] ?? 0];
    if (one === other) continue;
    const letter = one | 0x20;
    if ((one ^ other) !== 0x20 || letter < 0x61 || letter > 0x7a || i >= end - 4) return 'no';
    match = 'but for case';
  }
  return match;
}
