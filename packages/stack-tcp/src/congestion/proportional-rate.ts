import type { Connection } from '../connection.js';

/**
 * Proportional Rate Reduction: how much goes out while a loss is being made good.
 * Read first: RFC 9937. The window sinks to the threshold over one round trip, in step with what arrives, where a window that is cut at once would keep us silent for half of it and
 * then let a burst go. What was lost beyond that is filled up no faster than in slow start.
 */

/** Loss was found; `flight`: what was on its way before the ACK that told of it, `delivered`: what that ACK has delivered, in bytes. */
export function beginReduction(c: Connection, flight: number, delivered: number): void {
  c.recoverFlight = Math.max(flight, 1);
  c.recoverDelivered = 0;
  c.recoverSent = 0;
  reduce(c, delivered, false);
}

/** An ACK during recovery, or a further loss that the clock has found (`delivered` 0). `isSafe`: it acknowledges something new, and tells of no further loss. */
export function reduce(c: Connection, delivered: number, isSafe: boolean): void {
  if (c.recoverFlight === 0) return;
  const { congestion, log, mss } = c;
  const { threshold } = congestion;
  c.recoverDelivered += delivered;
  let count: number;
  if (log.inFlight > threshold) count = Math.ceil((c.recoverDelivered * threshold) / c.recoverFlight) - c.recoverSent;
  else count = Math.min(threshold - log.inFlight, Math.max(c.recoverDelivered - c.recoverSent, delivered) + (isSafe ? mss : 0));
  if (c.recoverSent === 0) count = Math.max(count, mss); // the retransmission that all of this is about
  congestion.window = log.inFlight + Math.max(0, count);
}

/** Recovery is over. */
export function endReduction(c: Connection): void {
  if (c.recoverFlight === 0) return;
  c.recoverFlight = 0;
  c.congestion.window = Math.max(c.congestion.threshold, c.mss);
}
