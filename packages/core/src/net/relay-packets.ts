import { type NetError, toNetError } from './errors.js';
import type { PacketConn } from './packet-conn.js';
import type { RelayOptions, Totals } from './stream.js';
import type { TimerWheel } from './timer-wheel.js';

/**
 * Moves datagrams both ways until one side ends, the signal fires, or nothing has moved for `idleMs`. Counts payload bytes that were
 * taken. Never rejects; both conns are closed afterwards. `a` is the client's side.
 */
export async function relayPackets(a: PacketConn, b: PacketConn, options: Omit<RelayOptions, 'halfCloseMs'>, timers: TimerWheel): Promise<Totals> {
  const { counters, slot, idleMs } = options;
  let error: NetError | null = null;
  const stop = (reason: NetError | null): void => {
    error ??= reason;
    a.close(reason ?? undefined);
    b.close(reason ?? undefined);
  };
  const forget = options.signal.onCancel((reason) => stop(toNetError(reason)));
  const deadline = timers.after(idleMs, () => stop(null)); // silence is how UDP flows end
  const pump = async (from: PacketConn, to: PacketConn, counter: number): Promise<void> => {
    try {
      for (let datagrams = await from.receive(); datagrams !== null; datagrams = await from.receive()) {
        deadline.at = timers.now() + idleMs;
        const taken = to.send(datagrams);
        for (let i = 0; i < taken; i++) counters[counter] = (counters[counter] ?? 0) + (datagrams[i]?.bytes.length ?? 0);
      }
      stop(from.error);
    } catch (thrown) {
      stop(toNetError(thrown)); // by a conn that somebody else wrote
    }
  };
  await Promise.all([pump(a, b, slot), pump(b, a, slot + 1)]);
  deadline.cancel();
  forget();
  return { up: counters[slot] ?? 0, down: counters[slot + 1] ?? 0, error };
}
