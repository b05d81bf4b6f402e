/** TLS over TCP: a ClientHello in one record or in many. Read first: RFC 8446 section 5.1. */
import { helloLength, nameInHello } from './client-hello.js';
import type { Finding } from './finding.js';

const HANDSHAKE = 22;
const RECORD_HEADER = 5;
/** Plaintext of a record (RFC 8446 section 5.1). */
const MAX_RECORD = 1 << 14;

/** Looks at everything that the client has sent so far. */
export function sniffTls(bytes: Uint8Array): Finding {
  const parts: Uint8Array[] = [];
  let length = 0;
  let wanted = 0;
  for (let at = 0; at < bytes.length; ) {
    if (bytes[at] !== HANDSHAKE || (at + 1 < bytes.length && bytes[at + 1] !== 3)) return 'none';
    if (at + RECORD_HEADER > bytes.length) return 'more';
    const size = ((bytes[at + 3] ?? 0) << 8) | (bytes[at + 4] ?? 0);
    if (size === 0 || size > MAX_RECORD) return 'none';
    const part = bytes.subarray(at + RECORD_HEADER, at + RECORD_HEADER + size);
    parts.push(part);
    length += part.length;
    if (wanted === 0) {
      wanted = helloLength(parts.length === 1 ? part : Buffer.concat(parts));
      if (wanted === -1) return 'none';
    }
    if (wanted > 0 && length >= wanted) return nameInHello((parts.length === 1 ? part : Buffer.concat(parts)).subarray(0, wanted));
    at += RECORD_HEADER + size;
  }
  return 'more';
}
