/**
 * ICMP errors about segments that we sent.
 * Read first: RFC 5927 (attacks with ICMP), RFC 1191 and RFC 8201 (path MTU), RFC 792, RFC 4443.
 * Only "too big" does anything, and only if it quotes a sequence number that is in flight; a connection that stands is never ended by ICMP.
 */
import { IPV4_HEADER, IPV6_HEADER, type PacketBatch, PROTOCOL, read16, read32, TCP_HEADER } from '@nekit/core/ip';
import { Connection, MODE, RTX, TIMESTAMP_BYTES } from './connection.js';
import { COUNT } from './counters.js';
import type { TcpEnvironment } from './environment.js';
import type { FlowAddress, FlowTable } from './flow.js';
import type { ConnectionHost } from './host.js';
import { before, upTo } from './sequence.js';

/** Below this we do not go, whatever a router says, but let it cut our packets: Linux's floor for IPv4. In bytes. */
const LEAST_MTU_IPV4 = 552;
/** No link of IPv6 is narrower: who says so is not believed (RFC 8201 section 4). In bytes. */
const LEAST_MTU_IPV6 = 1_280;

/** Whether the message is about one of our flows; another stack may look at it otherwise. */
export function receiveIcmp(batch: PacketBatch, index: number, table: FlowTable, env: TcpEnvironment, host: ConnectionHost): boolean {
  const { bytes } = batch;
  const isIPv4 = batch.version[index] === 4;
  const icmp = batch.transport[index] ?? 0;
  const type = bytes[icmp] ?? 0;
  if (isIPv4 ? type !== 3 && type !== 11 && type !== 12 : type === 0 || type > 4) return false;
  const flow = table.size === 0 ? null : quotedFlow(bytes, batch.payload[index] ?? 0, batch.end[index] ?? 0, isIPv4);
  if (flow === null) return false;
  if (!env.mayLookUp(host.now)) {
    env.count(COUNT.dropIcmp);
    return true;
  }
  const found = table.findQuoted(flow);
  if (!(found instanceof Connection)) return false;
  const isTooBig = isIPv4 ? type === 3 && bytes[icmp + 1] === 4 : type === 2;
  const quoted = (batch.payload[index] ?? 0) + (isIPv4 ? ((bytes[batch.payload[index] ?? 0] ?? 0) & 0x0f) * 4 : IPV6_HEADER);
  const sequence = read32(bytes, quoted + 4);
  if (!isTooBig || before(sequence, found.sndUna) || upTo(found.sndMax, sequence)) env.count(COUNT.dropIcmp);
  else if (shrink(found, isIPv4 ? read16(bytes, icmp + 6) : read32(bytes, icmp + 4) >>> 0)) host.wake(found);
  else env.count(COUNT.dropIcmp);
  return true;
}

/** Smaller segments from here on, and what was too big once more. */
function shrink(c: Connection, mtu: number): boolean {
  if (c.version === 6 && mtu < LEAST_MTU_IPV6) return false;
  const mss = Math.max(LEAST_MTU_IPV4, mtu) - c.headerBytes - (c.hasTimestamps ? TIMESTAMP_BYTES : 0);
  const isNarrower = mtu < LEAST_MTU_IPV4 && !c.isFragmentable;
  if (mss >= c.mss && !isNarrower) return false;
  c.isFragmentable ||= isNarrower;
  c.mss = Math.min(c.mss, mss);
  c.congestion.resize(c.mss);
  c.log.markAllLost(false);
  if (c.mode === MODE.open) {
    c.mode = MODE.recovery; // without a reduction: the path is narrow, not crowded (RFC 1191 section 6.3)
    c.recoveryPoint = c.sndNxt;
  }
  if (c.rtxKind === RTX.tailProbe || c.rtxKind === RTX.reordering) c.isRearmDue = true;
  return true;
}

/** The flow of a packet of ours that is quoted in `bytes[start, end)`, as the client sees it turned round. */
function quotedFlow(bytes: Uint8Array, start: number, end: number, isIPv4: boolean): FlowAddress | null {
  const header = isIPv4 ? ((bytes[start] ?? 0) & 0x0f) * 4 : IPV6_HEADER;
  if (end - start < header + 8 || header < IPV4_HEADER || (bytes[start] ?? 0) >>> 4 !== (isIPv4 ? 4 : 6)) return null;
  if (bytes[start + (isIPv4 ? 9 : 6)] !== PROTOCOL.tcp || header + TCP_HEADER > 0xffff) return null;
  const local = start + (isIPv4 ? 12 : 8);
  const remote = local + (isIPv4 ? 4 : 16);
  return {
    version: isIPv4 ? 4 : 6,
    hash: 0,
    localPort: read16(bytes, start + header),
    remotePort: read16(bytes, start + header + 2),
    local0: read32(bytes, local),
    local1: isIPv4 ? 0 : read32(bytes, local + 4),
    local2: isIPv4 ? 0 : read32(bytes, local + 8),
    local3: isIPv4 ? 0 : read32(bytes, local + 12),
    remote0: read32(bytes, remote),
    remote1: isIPv4 ? 0 : read32(bytes, remote + 4),
    remote2: isIPv4 ? 0 : read32(bytes, remote + 8),
    remote3: isIPv4 ? 0 : read32(bytes, remote + 12),
  };
}
