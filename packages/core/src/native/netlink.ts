/**
 * Read first: netlink(7), rtnetlink(7). Messages as bytes: a header, a fixed part of the message's kind, then attributes, each aligned to four bytes.
 *
 *   +--------+------+-------+-----+-----+------------+-------------------------+
 *   | length | type | flags | seq | pid | fixed part | length type value pad … |
 *   |   4    |  2   |   2   |  4  |  4  |            |   2     2               |
 *   +--------+------+-------+-----+-----+------------+-------------------------+
 *
 * All numbers are in the machine's order, addresses and ports of rules' ranges excepted.
 */
import { endianness } from 'node:os';
import { parseAddress } from '../net/address.js';
import { systemError } from './errno.js';

const LITTLE = endianness() === 'LE';

export const FLAG_REQUEST = 0x1;
export const FLAG_ACK = 0x4;
export const FLAG_REPLACE = 0x100;
export const FLAG_EXCLUSIVE = 0x200;
export const FLAG_CREATE = 0x400;
const FLAG_DUMP = 0x300;
/** In an answer: what is listed has changed meanwhile. */
const FLAG_INTERRUPTED = 0x10;

const HEADER = 16;
const TYPE_ERROR = 2;
const TYPE_DONE = 3;

/** A list that changes all the time is taken as it is after so many tries. */
const DUMP_TRIES = 4;

const AF_INET = 2;
const AF_INET6 = 10;

/** The family as netlink's fixed parts have it. */
export function familyNumber(family: 4 | 6): number {
  return family === 4 ? AF_INET : AF_INET6;
}

/** The bytes of an address that was checked before. */
export function addressBytes(address: string): Uint8Array {
  const bytes = parseAddress(address);
  if (bytes === null) throw new TypeError(`${address} is no IP address`);
  return bytes;
}

/** What the addon gives: the answer of the kernel to one request, or a negative errno. */
export type NetlinkCall = (request: Uint8Array) => Uint8Array | number;

/** One message on its way. */
export class NetlinkMessage {
  #bytes = new Uint8Array(256);
  #view = new DataView(this.#bytes.buffer);
  #length = HEADER;

  /** `fixed`: what stands between header and attributes. */
  constructor(type: number, flags: number, fixed: Uint8Array) {
    this.#view.setUint16(4, type, LITTLE);
    this.#view.setUint16(6, flags | FLAG_REQUEST, LITTLE);
    this.#view.setUint32(8, 1, LITTLE);
    this.#bytes.set(fixed, HEADER);
    this.#length += fixed.length;
  }

  attribute(type: number, value: Uint8Array): this {
    const end = this.#length + 4 + value.length;
    if (aligned(end) > this.#bytes.length) this.#grow(aligned(end));
    this.#view.setUint16(this.#length, 4 + value.length, LITTLE);
    this.#view.setUint16(this.#length + 2, type, LITTLE);
    this.#bytes.set(value, this.#length + 4);
    this.#length = aligned(end);
    return this;
  }

  uint8(type: number, value: number): this {
    return this.attribute(type, Uint8Array.of(value));
  }

  uint32(type: number, value: number): this {
    const bytes = new Uint8Array(4);
    new DataView(bytes.buffer).setUint32(0, value, LITTLE);
    return this.attribute(type, bytes);
  }

  /** With the zero at the end that the kernel wants. */
  text(type: number, value: string): this {
    return this.attribute(type, Buffer.from(`${value}\0`));
  }

  bytes(): Uint8Array {
    this.#view.setUint32(0, this.#length, LITTLE);
    return this.#bytes.subarray(0, this.#length);
  }

  #grow(length: number): void {
    const bytes = new Uint8Array(2 * length);
    bytes.set(this.#bytes);
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer);
  }
}

/** One message of an answer. */
export interface NetlinkReply {
  readonly type: number;
  /** From behind the header on: the fixed part, then attributes. */
  readonly body: Uint8Array;
  /** The list that this belongs to was changed while it was written. */
  readonly interrupted: boolean;
}

/** Asks for a list. Throws as `netlinkAsk`; ENOBUFS where it is longer than 16 MiB. */
export function netlinkDump(call: NetlinkCall, type: number, fixed: Uint8Array, doing: string, add?: (message: NetlinkMessage) => void): NetlinkReply[] {
  for (let tries = 1; ; tries++) {
    const message = new NetlinkMessage(type, FLAG_DUMP, fixed);
    add?.(message);
    const replies = netlinkAsk(call, message, doing);
    if (tries === DUMP_TRIES || !replies.some(({ interrupted }) => interrupted)) return replies;
  }
}

/** Sends one request. Throws an error whose `code` is the system's (`EPERM`, `EEXIST`, `ENODEV` …); `doing` is for its reader. */
export function netlinkAsk(call: NetlinkCall, message: NetlinkMessage, doing: string): NetlinkReply[] {
  const answer = call(message.bytes());
  if (typeof answer === 'number') throw systemError(-answer, `${doing}:`);
  const replies: NetlinkReply[] = [];
  const view = new DataView(answer.buffer, answer.byteOffset, answer.length);
  for (let at = 0; at + HEADER <= answer.length; ) {
    const length = view.getUint32(at, LITTLE);
    if (length < HEADER || at + length > answer.length) break;
    const type = view.getUint16(at + 4, LITTLE);
    if (type === TYPE_ERROR) {
      const error = length >= HEADER + 4 ? view.getInt32(at + HEADER, LITTLE) : 0;
      if (error !== 0) throw systemError(Math.abs(error), `${doing}:`);
    } else {
      const interrupted = (view.getUint16(at + 6, LITTLE) & FLAG_INTERRUPTED) !== 0;
      const body = answer.subarray(at + HEADER, at + length);
      // The end of a list says whether it was cut short, by an error or by a change.
      const error = type === TYPE_DONE && body.length >= 4 ? view.getInt32(at + HEADER, LITTLE) : 0;
      if (error < 0) throw systemError(-error, `${doing}:`);
      if (type !== TYPE_DONE || interrupted) replies.push({ type, body, interrupted });
    }
    at += aligned(length);
  }
  return replies;
}

/** Attributes of a reply by their type; of one that comes twice the last. */
export function attributesOf(body: Uint8Array, fixedLength: number): Map<number, Uint8Array> {
  const attributes = new Map<number, Uint8Array>();
  const view = new DataView(body.buffer, body.byteOffset, body.length);
  for (let at = fixedLength; at + 4 <= body.length; ) {
    const length = view.getUint16(at, LITTLE);
    if (length < 4 || at + length > body.length) break;
    attributes.set(view.getUint16(at + 2, LITTLE) & 0x3fff, body.subarray(at + 4, at + length));
    at += aligned(length);
  }
  return attributes;
}

/** A number of an attribute or a fixed part; 0 where there is none. */
export function uint32At(bytes: Uint8Array | undefined, at = 0): number {
  if (bytes === undefined || bytes.length < at + 4) return 0;
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length).getUint32(at, LITTLE);
}

/** Two bytes in the machine's order. */
export function uint16Bytes(...values: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(2 * values.length);
  const view = new DataView(bytes.buffer);
  for (const [index, value] of values.entries()) view.setUint16(2 * index, value, LITTLE);
  return bytes;
}

export function uint16At(bytes: Uint8Array | undefined, at = 0): number {
  if (bytes === undefined || bytes.length < at + 2) return 0;
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length).getUint16(at, LITTLE);
}

/** Of a text attribute, without the zero at its end; '' where there is none. */
export function textOf(bytes: Uint8Array | undefined): string {
  return bytes === undefined ? '' : Buffer.from(bytes).toString().replace(/\0.*$/su, '');
}

export function setUint32(bytes: Uint8Array, at: number, value: number): void {
  new DataView(bytes.buffer, bytes.byteOffset, bytes.length).setUint32(at, value, LITTLE);
}

function aligned(length: number): number {
  return (length + 3) & ~3;
}
