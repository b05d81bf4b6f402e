import { buildPacket, FLAG, parsePacket, type TcpPacket } from '@nekit/core/ip';

/** One end of a flow, as its stack sees it. */
export interface BridgeEnd {
  /** What the stack believes to be the client, and its target. */
  readonly client: string;
  readonly clientPort: number;
  readonly target: string;
  readonly targetPort: number;
  /** Of the SYN that the stack was sent. */
  readonly isn: number;
  readonly timestamp: number;
  /** Of the stack's SYN-ACK. */
  readonly iss: number;
  readonly ownTimestamp: number;
}

/**
 * Two stacks that both believe to have been called: what one of them sends is turned round so that the other takes it for its client's. Addresses and ports change sides, and
 * sequence numbers and timestamps are moved to where the handshake with that stack began.
 */
export function turnRound(bytes: Uint8Array, from: BridgeEnd, to: BridgeEnd): Uint8Array | null {
  const packet = parsePacket(bytes);
  if (packet?.kind !== 'tcp') return null;
  const { options = {} } = packet;
  const sent = (to.isn - from.iss) | 0;
  const received = (to.iss - from.isn) | 0;
  const hasAck = (packet.flags & FLAG.ack) !== 0;
  const turned: TcpPacket = {
    ...packet,
    source: to.client,
    sourcePort: to.clientPort,
    destination: to.target,
    destinationPort: to.targetPort,
    sequence: (packet.sequence + sent) >>> 0,
    acknowledgment: hasAck ? (packet.acknowledgment + received) >>> 0 : 0,
    options: {
      ...(options.sack === undefined
        ? {}
        : { sack: options.sack.map(([left, right]): [number, number] => [(left + received) >>> 0, (right + received) >>> 0]) }),
      ...(options.timestamps === undefined
        ? {}
        : {
            timestamps: {
              value: (options.timestamps.value - from.ownTimestamp + to.timestamp) >>> 0,
              echo: (options.timestamps.echo - from.timestamp + to.ownTimestamp) >>> 0,
            },
          }),
    },
  };
  return buildPacket(turned);
}
