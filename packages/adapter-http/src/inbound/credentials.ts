/** Read first: RFC 7617 (Basic), RFC 9110 section 11.7 (Proxy-Authenticate, Proxy-Authorization). */
import type { IncomingMessage } from 'node:http';
import type { Users } from '@nekit/core';
import { valuesOf } from '../message/fields.js';
import { RequestRefused } from './refusal.js';

const CHALLENGE = ['Proxy-Authenticate', 'Basic realm="nekit-kernel", charset="UTF-8"'];

/** The user that a request comes from; undefined where nobody has to say. Throws RequestRefused 407. */
export function authenticate(request: IncomingMessage, users: Users | null): string | undefined {
  if (users === null) return undefined;
  const given = valuesOf(request.rawHeaders, 'proxy-authorization');
  if (given.length === 0) throw new RequestRefused(407, 'HTTP_AUTH_REQUIRED', 'this proxy wants a user name and password', { fields: CHALLENGE });
  const [user, password] = given.length === 1 ? decode(given[0] ?? '') : ['', ''];
  if (!users.check(user, password)) throw new RequestRefused(407, 'HTTP_AUTH_FAILED', 'wrong user name or password', { fields: CHALLENGE });
  return user;
}

/** Both are empty where it is no Basic: the check is done all the same. */
function decode(value: string): [user: string, password: string] {
  const token = /^basic +([A-Za-z0-9+/_-]+={0,2}) *$/i.exec(value)?.[1] ?? '';
  const text = Buffer.from(token, 'base64').toString('utf8');
  const colon = text.indexOf(':');
  return colon === -1 ? ['', ''] : [text.slice(0, colon), text.slice(colon + 1)];
}
