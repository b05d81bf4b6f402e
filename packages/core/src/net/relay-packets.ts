import { closeQuietly } from './attempt.js';
import { type NetError, toNetError } from './errors.js';
import type { PacketConn } from './packet-conn.js';
import type { RelayOptions, Totals } from './stream.js';
import type { TimerWheel } from './timer-wheel.js';

/**
 * Moves datagrams both ways until one side ends, the signal fires, or nothing has moved for `idleMs`. Counts payload bytes that were
 * taken. Never rejects; both conns are closed afterwards. `a` is the client's side.
 */
export function relayPackets(a: PacketConn, b: PacketConn, options: Omit<RelayOptions, 'halfCloseMs'>, timers: TimerWheel): Promise<Totals> {
  return new Promise((resolve) => {
    const { counters, slot, idleMs, signal } = options;
    let isOver = false;
    const stop = (error: NetError | null): void => {
      if (isOver) return;
      isOver = true;
      deadline.cancel();
      signal.remove(listener);
      closeQuietly(a, error);
      closeQuietly(b, error);
      resolve({ up: counters[slot] ?? 0, down: counters[slot + 1] ?? 0, error });
    };
    const pump = async (from: PacketConn, to: PacketConn, counter: number): Promise<void> => {
      try {
        for (let datagrams = await from.receive(); datagrams !== null; datagrams = await from.receive()) {
          if (isOver) return; // the counters may be another session's by now
          deadline.at = timers.now() + idleMs;
          const taken = to.send(datagrams);
          for (let i = 0; i < taken; i++) counters[counter] = (counters[counter] ?? 0) + (datagrams[i]?.bytes.length ?? 0);
        }
        stop(from.error ?? null); // a plugin's may have no such property
      } catch (thrown) {
        stop(toNetError(thrown)); // by a conn that somebody else wrote
      }
    };
    const listener = { cancelled: (reason: Error): void => stop(toNetError(reason)) };
    const deadline = timers.after(idleMs, () => stop(null)); // silence is how UDP flows end
    signal.add(listener);
    void pump(a, b, slot);
    void pump(b, a, slot + 1);
  });
}
