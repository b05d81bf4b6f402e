/** Long header packets of a client, and the opening of an Initial. Read first: RFC 9000 sections 12.2 and 17.2, RFC 9001 sections 5.3 and 5.4. */
import { createCipheriv, createDecipheriv } from 'node:crypto';
import { ByteReader } from '../byte-reader.js';
import { type InitialKeys, QUIC_VERSIONS, type QuicVersion } from './initial-keys.js';

const LONG_HEADER = 0x80;
const FIXED_BIT = 0x40;
const RETRY_AFTER_INITIAL = 3;
const MAX_ID = 20;
const SAMPLE = 16;
const TAG = 16;

/** A packet of a datagram, still closed. */
export interface LongPacket {
  readonly version: QuicVersion;
  readonly isInitial: boolean;
  readonly destinationId: Uint8Array;
  /** Where it begins, its packet number, and where it ends. */
  readonly start: number;
  readonly number: number;
  readonly end: number;
}

/** The packet that begins at `start`; null: none of ours, of a version that we do not know, or cut. */
export function readLongPacket(datagram: Uint8Array, start: number): LongPacket | null {
  const reader = new ByteReader(datagram, start);
  const first = reader.u8();
  if ((first & LONG_HEADER) === 0 || (first & FIXED_BIT) === 0) return null;
  const number = reader.uint(4);
  const version = QUIC_VERSIONS.find((known) => known.number === number);
  if (version === undefined) return null;
  const destinationId = idIn(reader);
  const sourceId = idIn(reader);
  if (destinationId === null || sourceId === null) return null;
  // Of both versions the types follow each other in the order Initial, 0-RTT, Handshake, Retry, from where Initial is.
  const type = (((first >> 4) & 3) - version.initialType) & 3;
  if (type === RETRY_AFTER_INITIAL) return null; // servers send those
  if (type === 0) reader.skip(reader.varint()); // the token
  const length = reader.varint();
  const at = reader.at;
  reader.skip(length);
  return reader.isShort ? null : { version, isInitial: type === 0, destinationId, start, number: at, end: at + length };
}

function idIn(reader: ByteReader): Uint8Array | null {
  const length = reader.u8();
  if (length > MAX_ID) return null;
  const id = reader.take(length);
  return reader.isShort ? null : id;
}

/** The frames of an Initial; null: it was sealed with other keys, or damaged. */
export function openInitial(datagram: Uint8Array, packet: LongPacket, { key, iv, hp }: InitialKeys): Uint8Array | null {
  const { start, number, end } = packet;
  // The sample lies where it would if the packet number had four bytes.
  if (end - number < 4 + SAMPLE) return null;
  const mask = createCipheriv('aes-128-ecb', hp, null).update(datagram.subarray(number + 4, number + 4 + SAMPLE));
  const header = Buffer.from(datagram.subarray(start, number + 4));
  header[0] = (header[0] ?? 0) ^ ((mask[0] ?? 0) & 0x0f);
  const numberLength = ((header[0] ?? 0) & 3) + 1;
  const nonce = Buffer.from(iv);
  for (let i = 0; i < numberLength; i++) {
    const at = number - start + i;
    const byte = (header[at] ?? 0) ^ (mask[1 + i] ?? 0);
    header[at] = byte;
    // A client that has heard nothing yet writes its packet numbers in full (RFC 9000 section 17.1).
    const place = nonce.length - numberLength + i;
    nonce[place] = (nonce[place] ?? 0) ^ byte;
  }
  const opener = createDecipheriv('aes-128-gcm', key, nonce);
  opener.setAAD(header.subarray(0, number - start + numberLength));
  opener.setAuthTag(datagram.subarray(end - TAG, end));
  const frames = opener.update(datagram.subarray(number + numberLength, end - TAG));
  try {
    opener.final();
  } catch {
    return null; // the tag is wrong: nothing more is to be learned from why
  }
  return frames;
}
