import { NetError } from '@nekit/core';
import { type Connection, FAILURE } from './connection.js';

/** What a stream says of a connection that has failed. */
export function errorOf(c: Connection): NetError {
  if (c.failure === FAILURE.timeout) return new NetError('timeout', 'the client does not answer any more', { code: 'ETIMEDOUT' });
  if (c.failure === FAILURE.reset) return new NetError('aborted', 'reset by the client', { code: 'ECONNRESET' });
  return new NetError('aborted', 'the connection was ended', { code: 'ECONNABORTED' });
}
