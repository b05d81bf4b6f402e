/** Read first: RFC 4559 section 6 (NTLM and Negotiate authenticate the connection, not the request). */
import { type Fields, valuesOf } from './fields.js';

/** At the head of a field or behind a comma. One inside a quoted string is found, too, which does no harm. */
const SCHEME = /(?:^|,)[ \t]*(?:ntlm|negotiate|kerberos)(?![^ \t,])/i;

/** Whether a request's head authenticates the connection that it goes on. */
export function authenticatesConnection(fields: Fields): boolean {
  return valuesOf(fields, 'authorization').some((value) => SCHEME.test(value));
}

/** Whether a response's head asks for that, or goes on with it. */
export function challengesConnection(fields: Fields): boolean {
  return valuesOf(fields, 'www-authenticate').some((value) => SCHEME.test(value));
}
