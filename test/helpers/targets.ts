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

/** Sends `down`, hashes the first `length` bytes that come, sends that hash (hexadecimal) and ends. Needs no FIN before. */
export function startCounted(down: Uint8Array, length: number, host?: string): Promise<Target> {
  return startTarget((socket) => {
    const hash = createHash('sha256');
    let left = length;
    socket.write(down);
    socket.on('data', (bytes: Buffer) => {
      hash.update(bytes.subarray(0, left));
      left -= Math.min(left, bytes.length);
      if (left === 0 && !socket.writableEnded) socket.end(hash.digest('hex'));
    });
  }, host);
}

/** Sends `down` and FIN at once, and hashes what comes until the other FIN; `heard` is that hash of the first connection. */
export async function startEndsFirst(down: Uint8Array): Promise<Target & { readonly heard: Promise<string> }> {
  let tell: (hash: string) => void = () => {};
  const heard = new Promise<string>((resolve) => {
    tell = resolve;
  });
  const target = await startTarget((socket) => {
    const hash = createHash('sha256');
    socket.end(down);
    socket.on('data', (bytes: Buffer) => hash.update(bytes));
    socket.on('end', () => tell(hash.digest('hex')));
  });
  return { ...target, heard };
}

/** Says `banner` to whoever connects, and then repeats what it hears. */
export function startBanner(banner: Uint8Array, host?: string): Promise<Target> {
  return startTarget((socket) => {
    socket.write(banner);
    socket.pipe(socket);
  }, host);
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
