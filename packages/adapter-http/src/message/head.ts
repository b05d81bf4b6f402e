/**
 * Read first: RFC 9112 section 2 (message format).
 *
 *   start-line CRLF *( field-line CRLF ) CRLF [ body ]
 *
 * Node's parser (llhttp) judges every head; we only find where one ends, so that not a byte behind it is swallowed: what follows
 * may be a tunnel's payload, or belong to the next message.
 */
import { NetError, type StreamReader } from '@nekit/core';

/** The longest head, in bytes, from start line to empty line. What browsers and servers accept at most is 8 to 256 KiB. */
export const MAX_HEAD = 64 * 1024;

const CR = 0x0d;
const LF = 0x0a;

/**
 * Takes one head, up to and including its empty line. null: the stream ended before its first byte.
 * Rejects with NetError `HTTP_HEAD_TOO_LONG`, `HTTP_BARE_LF` (a line that ends in LF alone is where parsers disagree), or 'aborted' when
 * the stream ends inside of it.
 */
export async function readHead(reader: StreamReader): Promise<Uint8Array | null> {
  let scanned = 0;
  for (;;) {
    const bytes = await reader.peek(scanned + 1);
    if (bytes.length <= scanned) {
      if (scanned === 0) return null;
      throw new NetError('aborted', 'the peer closed the connection in the middle of a message head', { code: 'UNEXPECTED_END' });
    }
    for (let at = bytes.indexOf(LF, scanned); at !== -1 && at < MAX_HEAD; at = bytes.indexOf(LF, at + 1)) {
      if (bytes[at - 1] !== CR) throw new NetError('protocol', 'a line of the message head ends in LF without CR', { code: 'HTTP_BARE_LF' });
      if (at >= 3 && bytes[at - 2] === LF) return reader.exactly(at + 1);
    }
    if (bytes.length >= MAX_HEAD) throw new NetError('protocol', `the message head is longer than ${MAX_HEAD} bytes`, { code: 'HTTP_HEAD_TOO_LONG' });
    scanned = bytes.length;
  }
}

/** Whether a head is one of HTTP: Node's parser takes RTSP and ICE, too. */
export function isHttpResponse(head: Uint8Array): boolean {
  return firstLine(head).startsWith('HTTP/');
}

/** The same of a request, its words parted by one space each. HTTP/0.9 has no version, which the parser reports. */
export function isHttpRequest(head: Uint8Array): boolean {
  const words = firstLine(head).split(' ');
  return words.length === 2 || (words.length === 3 && words[1] !== '' && (words[2] ?? '').startsWith('HTTP/'));
}

/** What a client with prior knowledge of HTTP/2 begins with (RFC 9113 section 3.4); Node's parser only stops at it. */
export function isHttp2Preface(head: Uint8Array): boolean {
  return firstLine(head).startsWith('PRI * HTTP/2');
}

function firstLine(head: Uint8Array): string {
  return Buffer.from(head.subarray(0, head.indexOf(CR))).toString('latin1');
}
