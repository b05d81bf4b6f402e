import { errorCode, type Failure, NetError, toNetError } from '../net/errors.js';
import type { CipherCode } from './cipher.js';

/** Why a sealed connection ended: what its codec said, a FIN in the middle of a record, a reset before anything was opened. */
export type SealedCode = CipherCode | 'CIPHER_TRUNCATED' | 'SEALED_NO_REPLY';

const FAILURES: Readonly<Partial<Record<SealedCode, Failure>>> = {
  CIPHER_AUTH: 'auth',
  CIPHER_TRUNCATED: 'aborted',
  SEALED_NO_REPLY: 'aborted',
};

/** The texts are those of the addon (native/socket/conn.cc). */
const TRUNCATED = 'the sealed connection ended in the middle of a record';
const NO_REPLY =
  'the other end of the sealed connection reset it before it had said anything: a wrong password or cipher, ' +
  'a clock that differs by more than 30 s, or a target that refused';

/** Behind the codec's own words, which say by how much they differ. */
const CLOCK_ADVICE = ', more than the 30 s that Shadowsocks 2022 allows: set the clocks';

/** What a codec threw, as a stream rejects with it: code and text are those of the native relay. */
export function sealedError(thrown: unknown): NetError {
  const code = errorCode(thrown);
  return thrown instanceof Error && code.startsWith('CIPHER_') ? failed(code, thrown.message, thrown) : toNetError(thrown);
}

/** FIN where `midRecord` of the codec is true. */
export function sealedTruncated(): NetError {
  return failed('CIPHER_TRUNCATED', TRUNCATED);
}

/** A reset before anything was opened: whoever sends it does not say why, and must not. */
export function sealedNoReply(cause?: unknown): NetError {
  return failed('SEALED_NO_REPLY', NO_REPLY, cause);
}

/** The addon's "CODE: text". */
export function parseSealedError(why: string): NetError {
  const colon = why.indexOf(': ');
  return colon < 0 ? failed('CIPHER_FAILED', why) : failed(why.slice(0, colon), why.slice(colon + 2));
}

function failed(code: string, message: string, cause?: unknown): NetError {
  const known: Readonly<Partial<Record<string, Failure>>> = FAILURES;
  const advice = code === 'CIPHER_CLOCK' ? CLOCK_ADVICE : '';
  return new NetError(known[code] ?? 'protocol', message + advice, { code, cause });
}
