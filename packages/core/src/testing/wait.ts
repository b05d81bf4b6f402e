import type { Stream } from '../net/stream.js';

/** Waits until `check` holds, looking again every few milliseconds; rejects after `ms` (5,000) with what it was waiting for. */
export async function eventually(check: () => boolean | Promise<boolean>, ms = 5_000, what: string = check.toString()): Promise<void> {
  const end = performance.now() + ms;
  while (!(await check())) {
    if (performance.now() > end) throw new Error(`not within ${ms} ms: ${what}`);
    await new Promise<void>((resolve) => setTimeout(resolve, 5));
  }
}

/** The promise's outcome, or an error after `ms` (5,000). */
export async function within<T>(promise: Promise<T>, ms = 5_000, what = 'the promise'): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} did not settle within ${ms} ms`)), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Everything that comes until FIN. */
export async function collect(stream: Stream): Promise<Buffer> {
  const all: Uint8Array[] = [];
  for (let chunks = await stream.read(); chunks !== null; chunks = await stream.read()) all.push(...chunks.map((chunk) => Uint8Array.from(chunk)));
  return Buffer.concat(all);
}

/** Writes everything, with backpressure, then FIN. */
export async function send(stream: Stream, bytes: Uint8Array, chunkSize = 16 * 1024): Promise<void> {
  for (let start = 0; start < bytes.length; start += chunkSize) await stream.write([bytes.slice(start, start + chunkSize)]);
  await stream.closeWrite();
}
