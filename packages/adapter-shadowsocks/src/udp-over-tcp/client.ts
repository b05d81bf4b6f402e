import { type DialOptions, type Endpoint, encodeSocksAddress, type PacketConn, type StreamDialer, type TimerWheel } from '@nekit/core';
import { FramedPackets } from './framed-packets.js';
import { type UotVersion, uotDestination } from './wire.js';

/** One association on one stream of `dialer`, to any peer. Rejects with a NetError and leaves nothing behind. */
export async function dialUdpOverTcp(dialer: StreamDialer, version: UotVersion, timers: TimerWheel, { session, signal }: DialOptions): Promise<PacketConn> {
  const stream = await dialer.dialStream(uotDestination(version), { session, signal });
  return new FramedPackets(stream, { timers, only: null, ...(version === 2 ? { head } : {}) });
}

/** "Frames for any peer", and one that the server may log. */
function head(peer: Endpoint): Uint8Array {
  return Buffer.concat([Uint8Array.of(0), encodeSocksAddress(peer, 'UDP-over-TCP')]);
}
