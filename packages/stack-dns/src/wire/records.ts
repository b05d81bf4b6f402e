/**
 * Records that we make ourselves. They are rare, so a codec writes them: `dns-packet`, which knows all types, has no parts of its own that run without being called, and is what
 * most of npm uses. What comes off the wire it does not read: it throws on what is broken, and makes an object for everything that it finds.
 */
import { type Answer as DnsRecord, encode } from 'dns-packet';
import { HEADER } from './message.js';

export type { DnsRecord };

/** Whole records for a reply; the codec compresses no names, so they may stand anywhere. */
export function recordBytes(answers: DnsRecord[]): Uint8Array {
  return encode({ type: 'response', answers }).subarray(HEADER);
}
