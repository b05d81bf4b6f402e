import { NetError } from './errors.js';
import { byteLength, type Stream } from './stream.js';
import { DEFAULT_TIMEOUTS } from './timeouts.js';
import type { TimerWheel } from './timer-wheel.js';

/** What a client may still send after our last word, in bytes and ms. */
const MAX_BYTES = 64 * 1024;
const MAX_MS = 2_000;

/**
 * Says a last word and closes so that it arrives: FIN, then reading on until the client's FIN, within bounds. Closing with unread bytes
 * would send RST, which may overtake the word (RFC 9112 section 9.6). So would an abort cut off what a slow reader has not taken yet: once the
 * FIN is handed over a client that is silent is left to the system, which goes on delivering and answers what comes then. Until then, while what
 * was written before fills the way, it has `halfCloseMs`. Never rejects; the stream is spent.
 */
export async function finish(stream: Stream, lastWord: Uint8Array | null, timers: TimerWheel, halfCloseMs: number = DEFAULT_TIMEOUTS.halfClose): Promise<void> {
  let isSaid = false;
  const deadline = timers.after(halfCloseMs, () => {
    if (isSaid && stream.leave !== undefined) stream.leave();
    else stream.abort(new NetError('timeout', 'the client did not close', { code: 'LINGER_TIMEOUT' }));
  });
  try {
    if (lastWord !== null) await stream.write([lastWord]);
    await stream.closeWrite();
    isSaid = true;
    deadline.move(MAX_MS);
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
