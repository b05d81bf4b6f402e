/** For what plugins write: it may break the contract, and then one connection has failed, not the process. */
import { type NetError, toNetError } from './errors.js';

/** Who throws rather than rejects has failed all the same, and who gives what he should promise has kept it. */
export function attempt<T>(run: () => Promise<T>): Promise<T> {
  try {
    return Promise.resolve(run());
  } catch (thrown) {
    return Promise.reject(toNetError(thrown));
  }
}

/** Aborts a stream, which should never throw: there is more to be ended than this one. Takes no function, which would keep its scope alive. */
export function abortQuietly(stream: { abort(reason: Error): void } | null, reason: Error): void {
  try {
    stream?.abort(reason);
  } catch {
    // It was given up in any case, and the reason is what is told.
  }
}

/** The same of an association's `close`. */
export function closeQuietly(conn: { close(error?: NetError): void }, error: NetError | null): void {
  try {
    conn.close(error ?? undefined);
  } catch {
    // As above.
  }
}
