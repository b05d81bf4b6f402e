/** The ClientHello of TLS. Read first: RFC 8446 section 4.1.2, RFC 6066 section 3 (server_name), RFC 9849 (Encrypted Client Hello). */
import { ByteReader } from './byte-reader.js';
import { type Finding, found } from './finding.js';

const CLIENT_HELLO = 1;
const SERVER_NAME = 0x0000;
const ENCRYPTED_CLIENT_HELLO = 0xfe0d;
const HOST_NAME = 0;
const OUTER_HELLO = 0;

/** The most that a hello may have, its header of four bytes included. The longest in use, with keys of post-quantum schemes, have some 2 KiB. */
export const MAX_HELLO = 16 * 1024;

/**
 * How long the handshake message is that begins with these bytes, its header included; 0: they do not tell yet; -1: it is no ClientHello that could be one.
 */
export function helloLength(bytes: Uint8Array): number {
  if (bytes.length > 0 && bytes[0] !== CLIENT_HELLO) return -1;
  if (bytes.length < 4) return 0;
  const length = 4 + new ByteReader(bytes, 1).uint(3);
  return length > MAX_HELLO ? -1 : length;
}

/** The server_name of a handshake message that is all there. */
export function nameInHello(message: Uint8Array): Finding {
  const hello = new ByteReader(message, 4);
  hello.skip(2 + 32); // legacy_version, random
  hello.skip(hello.u8()); // legacy_session_id
  hello.skip(hello.u16()); // cipher_suites
  hello.skip(hello.u8()); // legacy_compression_methods
  if (hello.left === 0) return 'none'; // a hello of old has no extensions
  const extensions = hello.part(hello.u16());
  if (hello.isShort || hello.left > 0) return 'none';
  let name: string | null = null;
  let ech = false;
  while (extensions.left > 0) {
    const type = extensions.u16();
    const content = extensions.part(extensions.u16());
    if (extensions.isShort) return 'none';
    if (type === ENCRYPTED_CLIENT_HELLO) ech = content.u8() === OUTER_HELLO && !content.isShort;
    if (type !== SERVER_NAME) continue;
    if (name !== null) return 'none'; // each extension once (RFC 8446 section 4.2): of two names either may be meant
    name = hostNameIn(content);
    if (name === null) return 'none';
  }
  return name === null ? 'none' : found(name, ech);
}

function hostNameIn(extension: ByteReader): string | null {
  const list = extension.part(extension.u16());
  if (extension.isShort || extension.left > 0) return null;
  let name: string | null = null;
  while (list.left > 0) {
    const type = list.u8();
    const value = list.take(list.u16());
    if (list.isShort) return null;
    if (type !== HOST_NAME) continue;
    if (name !== null) return null;
    name = Buffer.from(value.buffer, value.byteOffset, value.length).toString('latin1');
  }
  return name;
}
