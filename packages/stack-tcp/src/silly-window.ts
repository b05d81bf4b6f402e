import type { Connection } from './connection.js';

/**
 * Whether something new is worth a segment: silly windows at the sender (RFC 9293 section 3.8.6.2.1) and Nagle. A full one, all there is, or half of the largest window ever seen.
 * In bytes: `data` waits, `window` is left of the peer's, `room` of the congestion window.
 */
export function mayGo(c: Connection, data: number, window: number, room: number, isProbing: boolean): boolean {
  const usable = Math.min(window, room);
  if (usable <= 0) return false;
  if (Math.min(data, usable) >= c.mss) return true;
  if (room < Math.min(data, c.mss) && c.log.inFlight > 0) return false;
  if (data <= window) return !c.env.settings.nagle || c.log.count === 0 || c.isFinQueued;
  return isProbing || window >= c.maxSndWnd >> 1;
}
