/**
 * Read first: SIP022 section 3.2.3. In front of the address, inside of what is sealed:
 *
 *   +------+-----------+-------------------+----------------+----------+
 *   | type | timestamp | client session id | padding length |  padding |
 *   |  1   |  u64be    | 8, replies only   |     u16be      | variable |
 *   +------+-----------+-------------------+----------------+----------+
 *     0 from a client, 1 from a server; seconds since 1970
 */

export const FROM_CLIENT = 0;
export const FROM_SERVER = 1;

/** Bytes of a session id. */
export const ID_LENGTH = 8;

/** Seconds that the clocks of both ends may differ by. */
const MAX_CLOCK_SKEW = 30;

/**
 * How long what was seen must be known, in ms. A timestamp may be 30 s off in both directions and is in whole seconds, so a request or packet can be repeated for 61 s
 * after it was first seen. SIP022 asks for 60 s.
 */
export const REPLAYABLE = 64_000;

const HIGH = 2 ** 32;

/** Without padding, in bytes. */
export function mainHeaderLength(type: number): number {
  return 1 + 8 + (type === FROM_SERVER ? ID_LENGTH : 0) + 2;
}

/** Writes the header with so many zeros of padding; where it ends. `clientId`: replies only. */
export function writeMainHeader(bytes: Uint8Array, at: number, type: number, seconds: number, clientId: Uint8Array | null, padding: number): number {
  bytes[at] = type;
  writeNumber(bytes, at + 1, Math.floor(seconds / HIGH), seconds);
  let end = at + 9;
  if (clientId !== null) {
    bytes.set(clientId, end);
    end += ID_LENGTH;
  }
  bytes[end] = padding >> 8;
  bytes[end + 1] = padding & 0xff;
  end += 2;
  bytes.fill(0, end, end + padding);
  return end + padding;
}

/** Where the address begins; -1: of the wrong type, too old or too new, for another session, or cut off. */
export function readMainHeader(bytes: Uint8Array, at: number, end: number, type: number, seconds: number, clientId: Uint8Array | null): number {
  const length = mainHeaderLength(type);
  if (end - at < length || bytes[at] !== type) return -1;
  const told = readWord(bytes, at + 1) * HIGH + readWord(bytes, at + 5);
  if (Math.abs(told - seconds) > MAX_CLOCK_SKEW) return -1;
  if (clientId !== null) for (let i = 0; i < ID_LENGTH; i++) if (bytes[at + 9 + i] !== clientId[i]) return -1;
  const padding = ((bytes[at + length - 2] ?? 0) << 8) | (bytes[at + length - 1] ?? 0);
  return at + length + padding > end ? -1 : at + length + padding;
}

/** Four bytes, big-endian. */
export function readWord(bytes: Uint8Array, at: number): number {
  return (((bytes[at] ?? 0) << 24) | ((bytes[at + 1] ?? 0) << 16) | ((bytes[at + 2] ?? 0) << 8) | (bytes[at + 3] ?? 0)) >>> 0;
}

/** Eight bytes, big-endian. */
export function writeNumber(bytes: Uint8Array, at: number, high: number, low: number): void {
  writeWord(bytes, at, high);
  writeWord(bytes, at + 4, low);
}

function writeWord(bytes: Uint8Array, at: number, word: number): void {
  const bits = word >>> 0; // of what has more than 32 bits, the lower ones
  bytes[at] = bits >>> 24;
  bytes[at + 1] = (bits >>> 16) & 0xff;
  bytes[at + 2] = (bits >>> 8) & 0xff;
  bytes[at + 3] = bits & 0xff;
}
