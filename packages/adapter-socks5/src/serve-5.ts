/**
 * The server's side of SOCKS5. Read first: RFC 1928 sections 3 to 6, RFC 1929.
 *
 *   client: 05 | NMETHODS | METHODS            us: 05 | METHOD      (FF: none will do)
 *   client: 01 | ULEN | UNAME | PLEN | PASSWD  us: 01 | STATUS      (00: welcome)
 *   client: 05 | CMD | 00 | ATYP ADDR PORT     us: 05 | REP | 00 | ATYP BND.ADDR BND.PORT
 *
 * The client may send all of it, and payload behind it, without waiting. Each request gets exactly one reply.
 */
import { isUtf8 } from 'node:buffer';
import { NetError, type Users } from '@nekit/core';
import type { Client, NextStep } from './client.js';
import { reply5, repOf } from './reply.js';
import { serveAssociation } from './udp-association.js';
import {
  COMMAND_ASSOCIATE,
  COMMAND_CONNECT,
  endpointAt,
  METHOD_NONE,
  METHOD_PASSWORD,
  METHOD_UNACCEPTABLE,
  measureAddressed,
  PASSWORD_VERSION,
  REP_COMMAND,
  REP_GENERAL,
  REP_SUCCEEDED,
  REP_TYPE,
  VERSION_5,
} from './wire.js';

/** Rejects with NetError for a client that breaks the protocol or leaves. */
export async function serve5(client: Client): Promise<NextStep> {
  const { reader, connection } = client;
  const read = reader.message(measureGreeting);
  const greeting = read instanceof Promise ? await read : read;
  const method = chooseMethod(greeting.subarray(2), connection.users);
  await client.say(Buffer.from([VERSION_5, method]));
  if (method === METHOD_UNACCEPTABLE) {
    const wanted = connection.users === null ? 'none or username/password' : 'username/password';
    client.report(new NetError('auth', `the client does not offer the authentication ${wanted}`, { code: 'SOCKS5_NO_METHOD' }));
    return () => client.end();
  }
  let user: string | null = null;
  if (method === METHOD_PASSWORD) {
    const credentials = await readCredentials(client);
    if (connection.users !== null) {
      if (credentials === null || !connection.users.check(credentials.username, credentials.password)) {
        client.report(new NetError('auth', 'wrong username or password', { code: 'SOCKS5_AUTH' }));
        return () => client.end(Buffer.from([PASSWORD_VERSION, 0x01]));
      }
      user = credentials.username;
    }
    await client.say(Buffer.from([PASSWORD_VERSION, 0x00]));
  }
  const asked = reader.message(measureRequest);
  return serveRequest(client, asked instanceof Promise ? await asked : asked, user);
}

function measureGreeting(first: Uint8Array): number {
  const methods = first[1];
  return methods === undefined ? 0 : 2 + methods;
}

/** A wrong version is told at once, and so is an unknown address type. */
function measureRequest(first: Uint8Array): number {
  return first[0] !== undefined && first[0] !== VERSION_5 ? 1 : measureAddressed(first, 3);
}

/** With users, only a password will do. Without, who offers nothing but a password is let in with any: it only wants to be asked. */
function chooseMethod(offered: Uint8Array, users: Users | null): number {
  if (users === null && offered.includes(METHOD_NONE)) return METHOD_NONE;
  return offered.includes(METHOD_PASSWORD) ? METHOD_PASSWORD : METHOD_UNACCEPTABLE;
}

/** Whole, NULs included. null: no text, so nobody's. */
async function readCredentials({ reader }: Client): Promise<{ username: string; password: string } | null> {
  const version = await reader.byte();
  if (version !== PASSWORD_VERSION) throw new NetError('protocol', `a password request cannot start with ${version}`, { code: 'SOCKS_PROTOCOL' });
  const username = Buffer.from(await reader.exactly(await reader.byte()));
  const password = Buffer.from(await reader.exactly(await reader.byte()));
  // Decoding would turn each broken sequence into the same replacement character: different bytes could pass as one another.
  if (!isUtf8(username) || !isUtf8(password)) return null;
  return { username: username.toString(), password: password.toString() };
}

function serveRequest(client: Client, request: Uint8Array, user: string | null): NextStep {
  const [version, command = 0, , type = 0] = request;
  if (version !== VERSION_5) throw new NetError('protocol', `a SOCKS5 request cannot start with ${version}`, { code: 'SOCKS_PROTOCOL' });
  const asked = endpointAt(request, 3);
  client.handshakeDone();
  if (asked === null) return refuse(client, REP_TYPE, `unknown address type ${type}`);
  if (command === COMMAND_ASSOCIATE) return () => serveAssociation(client, asked, user);
  if (command !== COMMAND_CONNECT) return refuse(client, REP_COMMAND, `command ${command} is not supported`);
  const { host, port } = asked;
  if (host === null) return refuse(client, REP_GENERAL, 'the host is neither an address nor a name');
  if (port === 0) return refuse(client, REP_GENERAL, 'nothing can be reached on port 0');
  const session = client.session('tcp', 'SOCKS5', { host, port }, user);
  return () => client.connect(session, reply5(REP_SUCCEEDED), (error) => reply5(repOf(error)));
}

function refuse(client: Client, rep: number, why: string): NextStep {
  client.report(new NetError('protocol', why, { code: 'SOCKS_REQUEST' }));
  return () => client.end(reply5(rep));
}
