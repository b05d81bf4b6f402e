/** Zones of IPv6 addresses: `%eth0` and `%2` may be one interface. Read first: RFC 4007 section 11. */
import { type NetworkInterfaceInfo, networkInterfaces } from 'node:os';

type Interfaces = () => NodeJS.Dict<NetworkInterfaceInfo[]>;

/** Of canonical addresses. A person writes the name of an interface, the system tells its index. */
export function isSameAddress(one: string, other: string, interfaces: Interfaces = networkInterfaces): boolean {
  if (one === other) return true;
  const [mark, otherMark] = [one.indexOf('%'), other.indexOf('%')];
  if (mark === -1 || otherMark === -1 || one.slice(0, mark) !== other.slice(0, otherMark)) return false;
  const index = zoneIndex(one.slice(mark + 1), interfaces);
  return index !== null && index === zoneIndex(other.slice(otherMark + 1), interfaces);
}

/** null: there is no such interface, or it has no address of its link. */
function zoneIndex(zone: string, interfaces: Interfaces): number | null {
  if (/^\d+$/.test(zone)) return Number(zone);
  return interfaces()[zone]?.find(({ scopeid = 0 }) => scopeid > 0)?.scopeid ?? null;
}
