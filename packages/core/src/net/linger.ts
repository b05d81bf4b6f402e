import { NetError } from './errors.js';
import { byteLength, type Stream } from './stream.js';
import type { TimerWheel } from './timer-wheel.js';

/** What a client may still send after our last word, in bytes and ms. */
const MAX_BYTES = 64 * 1024;
const MAX_MS = 2_000;

/**
 * Says a last word and closes so that it arrives: FIN, then reading on until the client's FIN, within bounds. Closing with unread bytes
 * would send RST, which may overtake the word (RFC 9112 section 9.6). Never rejects; the stream is spent.
 */
export async function finish(stream: Stream, lastWord: Uint8Array | null, timers: TimerWheel): Promise<void> {
  const deadline = timers.after(MAX_MS, () => stream.abort(new NetError('timeout', 'the client did not close', { code: 'LINGER_TIMEOUT' })));
  try {
    if (lastWord !== null) await stream.write([lastWord]);
    await stream.closeWrite();
    let read = 0;
    for (let chunks = await stream.read(); chunks !== null; chunks = await stream.read()) {
      read += byteLength(chunks);
      if (read > MAX_BYTES) throw new NetError('protocol', 'the client goes on sending after the last word', { code: 'TOO_LONG' });
    }
  } catch (error) {
    stream.abort(error instanceof Error ? error : new NetError('aborted', 'the client left')); // it left before the word: fine
  } finally {
    deadline.cancel();
  }
}
