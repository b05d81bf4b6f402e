/**
 * The client's side of a SOCKS5 handshake. Read first: RFC 1928 sections 3, 4 and 6; RFC 1929.
 *
 *   client: 05 | NMETHODS | METHODS            server: 05 | METHOD
 *   client: 01 | ULEN | UNAME | PLEN | PASSWD  server: 01 | STATUS          (if METHOD is 02)
 *   client: 05 | CMD | 00 | ATYP ADDR PORT     server: 05 | REP | 00 | ATYP BND.ADDR BND.PORT
 *
 * One step waits for the other: servers that read a whole buffer per step lose what is sent ahead.
 */
import { type Failure, NetError, type SocksAddress, type Stream, StreamReader } from '@nekit/core';
import { endpointAt, METHOD_NONE, METHOD_PASSWORD, METHOD_UNACCEPTABLE, measureAddressed, PASSWORD_VERSION, REP_SUCCEEDED, VERSION_5 } from './wire.js';

export interface Credentials {
  /** UTF-8, 1 to 255 bytes. */
  readonly username: string;
  /** UTF-8, at most 255 bytes. */
  readonly password: string;
}

/** What a server means by its REP octet (RFC 1928 section 6). */
const REPLIES: Readonly<Record<number, { readonly failure: Failure; readonly text: string }>> = {
  1: { failure: 'unreachable', text: 'general failure' },
  2: { failure: 'denied', text: 'not allowed by its rules' },
  3: { failure: 'unreachable', text: 'network unreachable' },
  4: { failure: 'unreachable', text: 'host unreachable' },
  5: { failure: 'refused', text: 'connection refused' },
  6: { failure: 'timeout', text: 'TTL expired' },
  7: { failure: 'protocol', text: 'command not supported' },
  8: { failure: 'protocol', text: 'address type not supported' },
};

/** The stream behind the handshake, with what the server sent behind its reply in front, and the address it bound. */
export interface Handshaken {
  readonly stream: Stream;
  readonly bound: SocksAddress;
}

/** `address` as of `encodeSocksAddress`. Rejects with NetError: 'auth' `SOCKS5_NO_METHOD` or `SOCKS5_AUTH`, `SOCKS5_REP_<n>`, 'protocol' `SOCKS5_PROTOCOL`. Leaves the stream open then. */
export async function shakeHands(stream: Stream, command: number, address: Uint8Array, credentials: Credentials | null): Promise<Handshaken> {
  const reader = new StreamReader(stream);
  await stream.write([greeting(credentials)]);
  await authenticate(stream, reader, credentials);
  const request = new Uint8Array(3 + address.length);
  request.set([VERSION_5, command, 0x00]);
  request.set(address, 3);
  await stream.write([request]);
  const bound = await readReply(reader);
  return { stream: reader.release(), bound };
}

function greeting(credentials: Credentials | null): Uint8Array {
  return Uint8Array.from(credentials === null ? [VERSION_5, 1, METHOD_NONE] : [VERSION_5, 2, METHOD_NONE, METHOD_PASSWORD]);
}

async function authenticate(stream: Stream, reader: StreamReader, credentials: Credentials | null): Promise<void> {
  const [version, method] = await reader.exactly(2);
  if (version !== VERSION_5) throw protocolError(`its answer starts with ${hex(version)} instead of 05`);
  if (method === METHOD_NONE) return;
  if (method === METHOD_UNACCEPTABLE) {
    throw new NetError('auth', `the SOCKS5 server takes none of our authentication methods${credentials === null ? '; it may want a username' : ''}`, {
      code: 'SOCKS5_NO_METHOD',
    });
  }
  if (method !== METHOD_PASSWORD || credentials === null) throw protocolError(`it chose method ${hex(method)}, which was not offered`);
  const username = Buffer.from(credentials.username);
  const password = Buffer.from(credentials.password);
  await stream.write([Buffer.concat([Uint8Array.of(PASSWORD_VERSION, username.length), username, Uint8Array.of(password.length), password])]);
  // The version octet is not looked at: servers that answer 05 here are about, and the status is what counts.
  const status = (await reader.exactly(2))[1];
  if (status !== 0x00) throw new NetError('auth', 'the SOCKS5 server refused username or password', { code: 'SOCKS5_AUTH' });
}

async function readReply(reader: StreamReader): Promise<SocksAddress> {
  // A refusal is not waited for to its end: some servers stop after the octet that matters.
  const [version, rep] = await reader.exactly(2);
  if (version !== VERSION_5) throw protocolError(`its reply starts with ${hex(version)} instead of 05`);
  if (rep !== REP_SUCCEEDED) throw replyError(rep ?? 0);
  const rest = await reader.message((first) => measureAddressed(first, 1));
  const bound = endpointAt(rest, 1);
  if (bound === null) throw protocolError(`its reply has the unknown address type ${hex(rest[1])}`);
  return bound;
}

function replyError(rep: number): NetError {
  const known = REPLIES[rep];
  if (known === undefined) return new NetError('protocol', `the SOCKS5 server answered with the unknown reply ${hex(rep)}`, { code: `SOCKS5_REP_${rep}` });
  return new NetError(known.failure, `the SOCKS5 server answered: ${known.text}`, { code: `SOCKS5_REP_${rep}` });
}

function protocolError(what: string): NetError {
  return new NetError('protocol', `not a SOCKS5 server: ${what}`, { code: 'SOCKS5_PROTOCOL' });
}

function hex(octet: number | undefined): string {
  return (octet ?? 0).toString(16).padStart(2, '0');
}
