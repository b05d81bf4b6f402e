import { type NekitError, NetError } from '@nekit/core';
import type { Peer } from './seal-options.js';

/** What a codec threw, for a person. `opened`: it has opened something before, so the keys are right. */
export function sealError(error: unknown, peer: Peer, opened: boolean): NetError {
  if (!isCoded(error)) return new NetError('protocol', `the sealed connection failed: ${String(error)}`, { code: 'CIPHER_FAILED', cause: error });
  const { code, message } = error;
  const told = (failure: 'auth' | 'protocol', text: string): NetError => new NetError(failure, text, { code, cause: error });
  if (code === 'CIPHER_CLOCK')
    return told('protocol', `the ${peer}'s clock differs from ours by ${secondsOf(message)} s, and Shadowsocks 2022 allows 30: set the clocks`);
  if (code === 'CIPHER_AUTH' && opened) return told('protocol', `bytes from the ${peer} were altered on the way`);
  if (code === 'CIPHER_AUTH') return told('auth', `what the ${peer} sends cannot be opened: wrong password or cipher, or altered bytes`);
  if (code === 'CIPHER_PROTOCOL') return told('protocol', `the ${peer} breaks the protocol: ${message}`);
  return told('protocol', `the sealed connection failed: ${message}`);
}

/** "the peer's clock differs by -43 s": the sign only says who is late, and nobody knows which clock is right. */
function secondsOf(message: string): string {
  return /\d+/.exec(message)?.[0] ?? 'more than 30';
}

/** Of any copy of core, or of the addon. */
function isCoded(error: unknown): error is Pick<NekitError, 'code' | 'message'> {
  return error instanceof Error && 'code' in error && typeof error.code === 'string';
}

/** The other end went away without a word: what a person may look for. Others' errors are given back as they are. */
export function silentEnd(error: NetError, peer: Peer): NetError {
  if (peer === 'client' || error.failure !== 'aborted' || !RESETS.has(error.code)) return error;
  return new NetError('aborted', 'the server reset the connection before it said anything: wrong password or cipher, or the target refused', {
    code: 'SS_RESET',
    cause: error,
  });
}

const RESETS: ReadonlySet<string> = new Set(['ECONNRESET', 'EPIPE']);

/** FIN where more had to come. */
export function cutOff(peer: Peer): NetError {
  return new NetError('aborted', `the ${peer} closed the connection in the middle of a record`, { code: 'UNEXPECTED_END' });
}
