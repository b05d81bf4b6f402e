import { createHash } from 'node:crypto';
import type { Socket } from 'node:net';
import { pattern, startTarget, type Target } from '@nekit/core/testing';

export const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/** Sends `down` from the first moment on, hashes what comes at the same time, and after FIN adds that hash (hexadecimal) and ends. */
export function startExchange(down: Uint8Array): Promise<Target> {
  return startTarget((socket) => {
    const hash = createHash('sha256');
    socket.write(down);
    socket.on('data', (bytes: Buffer) => hash.update(bytes));
    socket.on('end', () => socket.end(hash.digest('hex')));
  });
}

/** Says nothing until FIN, then repeats the question. */
export function startAnswerAfterEnd(): Promise<Target> {
  return startTarget((socket) => {
    const parts: Buffer[] = [];
    socket.on('data', (part: Buffer) => parts.push(part));
    socket.on('end', () => socket.end(`you said: ${Buffer.concat(parts).toString()}`));
  });
}

/** Answers the first bytes with RST. */
export function startResetter(): Promise<Target> {
  return startTarget((socket: Socket) => socket.once('data', () => socket.resetAndDestroy()));
}

/** `size` bytes that differ by seed; what is made once per file is not made once per test. */
export const bytesOf = (size: number, seed: number): Buffer => Buffer.from(pattern(size, seed));

/** What the promise rejects with. */
export async function rejection(promise: Promise<unknown>): Promise<unknown> {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new Error('it did not reject');
}
