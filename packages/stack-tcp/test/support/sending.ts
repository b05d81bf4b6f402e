import type { TcpPacket } from '@nekit/core/ip';
import { Client, tcp, Wire, type WireOptions } from './wire.js';

export const SACK = { mss: 1_000, windowScale: 7, sackPermitted: true };

/** A connection with so much to send, and what it has sent at once. */
export async function sending(
  bytes: number,
  given: WireOptions = {},
  options: object = SACK,
  window = 8_000,
): Promise<{ wire: Wire; client: Client; sent: TcpPacket[]; written: Promise<void> }> {
  const wire = new Wire({ settings: { congestion: 'reno' }, ...given });
  const client = await new Client(wire).connect(options);
  client.window = window;
  client.send();
  const written = client.stream.write([Uint8Array.from({ length: bytes }, (_, i) => i % 251)]);
  const sent = tcp(wire.flush());
  return { wire, client, sent, written };
}

export const total = (packets: readonly TcpPacket[]): number => packets.reduce((sum, packet) => sum + packet.payload.length, 0);
export const offsets = (client: Client, packets: readonly TcpPacket[]): number[] =>
  packets.filter((packet) => packet.payload.length > 0).map((packet) => packet.sequence - client.iss - 1);
