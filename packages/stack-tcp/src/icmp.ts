/**
 * ICMP errors about segments that we sent.
 * Read first: RFC 5927 (attacks with ICMP), RFC 1191 and RFC 8201 (path MTU), RFC 792, RFC 4443.
 * Only "too big" does anything, and only if it quotes a sequence number that is in flight; a connection that stands is never ended by ICMP.
 */
import { type PacketBatch, read16, read32 } from '@nekit/core/ip';
import { Connection, MODE, RTX, TIMESTAMP_BYTES } from './connection.js';
import { COUNT } from './counters.js';
import type { FlowTable } from './flow.js';
import type { ConnectionHost } from './host.js';
import type { Quotation } from './quotation.js';
import { before, upTo } from './sequence.js';

/** Below this we do not go, whatever a router says, but let it cut our packets: Linux's floor for IPv4. In bytes. */
const LEAST_MTU_IPV4 = 552;
/** No link of IPv6 is narrower: who says so is not believed (RFC 8201 section 4). In bytes. */
const LEAST_MTU_IPV6 = 1_280;

/** Whether the message is about one of our flows; another stack may look at it otherwise. */
export function receiveIcmp(batch: PacketBatch, index: number, table: FlowTable, quotation: Quotation, host: ConnectionHost): boolean {
  const { bytes } = batch;
  const isIPv4 = batch.version[index] === 4;
  const icmp = batch.transport[index] ?? 0;
  const type = bytes[icmp] ?? 0;
  if (isIPv4 ? type !== 3 && type !== 11 && type !== 12 : type === 0 || type > 4) return false;
  const quoted = table.size === 0 ? null : quotation.read(batch, index);
  const found = quoted === null ? null : table.findBy(quoted.flow);
  if (quoted === null || !(found instanceof Connection)) return false;
  const isTooBig = isIPv4 ? type === 3 && bytes[icmp + 1] === 4 : type === 2;
  const { sequence } = quoted;
  if (!isTooBig || before(sequence, found.sndUna) || upTo(found.sndMax, sequence)) found.env.count(COUNT.dropIcmp);
  else if (shrink(found, isIPv4 ? read16(bytes, icmp + 6) : read32(bytes, icmp + 4) >>> 0)) host.wake(found);
  else found.env.count(COUNT.dropIcmp);
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
