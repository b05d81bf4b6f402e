import { constants } from 'node:os';
import { getSystemErrorName } from 'node:util';
import { NetError, toNetError } from '../net/errors.js';

/** `read` and `write` of the engine have to wait. */
export const EAGAIN = constants.errno.EAGAIN;

/** A conn cannot be peeked into. */
export const EOPNOTSUPP = constants.errno.EOPNOTSUPP;

export const ECONNRESET = constants.errno.ECONNRESET;

/** A positive errno as a NetError with the system's code; `doing` for the reader. */
export function netErrorOf(errno: number, doing: string): NetError {
  return toNetError(systemError(errno, doing));
}

/** The same as Node throws it, for who looks at `code`. */
export function systemError(errno: number, doing: string): Error {
  const code = getSystemErrorName(-errno);
  return Object.assign(new Error(`${doing} ${code}`), { code, errno: -errno });
}

/** ECONNRESET from a peer: an everyday end, so one error for all, and no stack trace for each. */
const RESET = new NetError('aborted', 'the peer reset the connection', { code: 'ECONNRESET' });

/** What a stream fails with. A socket that was connected and is no longer (ENOTCONN of `shutdown`, of `splice`) was reset. */
export function streamError(errno: number): NetError {
  const reset = errno === constants.errno.ECONNRESET || errno === constants.errno.ENOTCONN;
  return reset ? RESET : netErrorOf(errno, 'the connection failed:');
}
