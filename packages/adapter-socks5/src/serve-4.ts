/**
 * SOCKS4 and 4a. Read first: "SOCKS: A protocol for TCP proxy across firewalls" (Ying-Da Lee) and its extension
 * "SOCKS 4A: A Simple Extension to SOCKS 4 Protocol".
 *
 *   client: 04 | CD | DSTPORT (2) | DSTIP (4) | USERID | 00 [| NAME | 00]     us: 00 | CD | 0000 | 00000000
 *
 * NAME is there when DSTIP is 0.0.0.x with x other than 0: the client could not resolve it. USERID is a claim and no credential.
 */
import { formatAddress, hostOfName, NetError, portAt } from '@nekit/core';
import type { Client, NextStep } from './client.js';
import { GRANTED_4, REJECTED_4, reply4 } from './reply.js';
import { COMMAND_CONNECT, MAX_TEXT } from './wire.js';

const NUL = Uint8Array.of(0);

/** Rejects with NetError for a client that breaks the protocol or leaves. */
export async function serve4(client: Client): Promise<NextStep> {
  const { reader, connection } = client;
  const fixed = (await reader.exactly(8)).subarray(1);
  await reader.until(NUL, MAX_TEXT + 1);
  const address = fixed.subarray(3, 7);
  const host = isNameMark(address) ? hostOfName((await reader.until(NUL, MAX_TEXT + 1)).subarray(0, -1)) : formatAddress(address);
  const port = portAt(fixed, 1);
  client.handshakeDone();
  if (connection.users !== null)
    return refuse(client, new NetError('auth', 'SOCKS4 has no authentication, and this listener wants it', { code: 'SOCKS4_AUTH' }));
  if (fixed[0] !== COMMAND_CONNECT) return refuse(client, requestError(`command ${fixed[0]} is not supported`));
  if (host === null) return refuse(client, requestError('the host is neither an address nor a name'));
  if (port === 0) return refuse(client, requestError('nothing can be reached on port 0'));
  const session = client.session('tcp', 'SOCKS4', { host, port }, null);
  return () => client.connect(session, reply4(GRANTED_4), () => reply4(REJECTED_4));
}

function isNameMark(address: Uint8Array): boolean {
  return address[0] === 0 && address[1] === 0 && address[2] === 0 && address[3] !== 0;
}

function requestError(why: string): NetError {
  return new NetError('protocol', why, { code: 'SOCKS_REQUEST' });
}

function refuse(client: Client, error: NetError): NextStep {
  client.report(error);
  return () => client.end(reply4(REJECTED_4));
}
