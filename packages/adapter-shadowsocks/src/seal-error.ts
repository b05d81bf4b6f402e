import { type NetError, sealedNoReply } from '@nekit/core';

/**
 * What the base failed with, for a person: a reset before anything could be opened says more here than elsewhere. All other ends of a sealed connection have the words
 * of core (`sealedError`, `sealedTruncated`), which are those of the native relay.
 */
export function baseError(error: NetError, opened: boolean): NetError {
  return !opened && error.failure === 'aborted' && RESETS.has(error.code) ? sealedNoReply(error) : error;
}

const RESETS: ReadonlySet<string> = new Set(['ECONNRESET', 'EPIPE', 'ENOTCONN']);
