/** A network interface's settings over rtnetlink: up, MTU, queue length, addresses. Synchronous: the kernel answers within the call. */
import { formatAddress } from '../net/address.js';
import { errorCode } from '../net/errors.js';
import {
  addressBytes,
  attributesOf,
  FLAG_ACK,
  FLAG_CREATE,
  FLAG_REPLACE,
  familyNumber,
  type NetlinkCall,
  NetlinkMessage,
  netlinkAsk,
  netlinkDump,
  setUint32,
  textOf,
  uint32At,
} from './netlink.js';

const RTM_NEWLINK = 16;
const RTM_GETLINK = 18;
const RTM_NEWADDR = 20;
const RTM_GETADDR = 22;

const IFLA_IFNAME = 3;
const IFLA_MTU = 4;
const IFLA_MASTER = 10;
const IFLA_TXQLEN = 13;
const IFLA_CARRIER = 33;

const IFA_ADDRESS = 1;
const IFA_LOCAL = 2;
const IFA_FLAGS = 8;
/** IFA_F_NODAD: an address of a point-to-point device of our own has no rival, and is usable at once. */
const NO_DUPLICATE_DETECTION = 0x02;

const IFF_UP = 0x1;
const IFF_LOOPBACK = 0x8;
/** It has a carrier. */
const IFF_RUNNING = 0x40;

/** What the system says where IPv6 is switched off (net.ipv6.conf.all.disable_ipv6) or not there. */
const NO_IPV6: readonly string[] = ['EACCES', 'EOPNOTSUPP', 'EAFNOSUPPORT'];

/** How to come by CAP_NET_ADMIN. */
export const NET_ADMIN = `not permitted: run it with sudo, or give node the right with: sudo setcap cap_net_admin+ep "$(readlink -f "$(command -v node)")"`;

/** `struct ifinfomsg`, `struct ifaddrmsg`. */
const LINK_FIXED = 16;
const ADDRESS_FIXED = 8;

export interface LinkInfo {
  readonly index: number;
  readonly mtu: number;
  readonly queueLength: number;
  readonly up: boolean;
}

export interface LinkSettings {
  readonly up?: boolean;
  /** Bytes. */
  readonly mtu?: number;
  /** Packets that wait for us in the kernel. */
  readonly queueLength?: number;
}

/** An address with the length of its network. */
export interface LinkAddress {
  readonly address: string;
  readonly prefix: number;
}

export function isWithoutIpv6(error: unknown): boolean {
  return NO_IPV6.includes(errorCode(error));
}

/** Throws with the system's code: ENODEV where there is no such interface (in this network namespace). */
export function linkInfo(call: NetlinkCall, name: string): LinkInfo {
  const message = new NetlinkMessage(RTM_GETLINK, FLAG_ACK, new Uint8Array(LINK_FIXED)).text(IFLA_IFNAME, name);
  const reply = netlinkAsk(call, message, `interface ${name}`).find(({ type }) => type === RTM_NEWLINK);
  const attributes = reply === undefined ? new Map<number, Uint8Array>() : attributesOf(reply.body, LINK_FIXED);
  return {
    index: uint32At(reply?.body, 4),
    mtu: uint32At(attributes.get(IFLA_MTU)),
    queueLength: uint32At(attributes.get(IFLA_TXQLEN)),
    up: (uint32At(reply?.body, 8) & IFF_UP) !== 0,
  };
}

/** Throws with the system's code. */
export function setLink(call: NetlinkCall, index: number, settings: LinkSettings): void {
  const fixed = new Uint8Array(LINK_FIXED);
  setUint32(fixed, 4, index);
  if (settings.up !== undefined) {
    setUint32(fixed, 8, settings.up ? IFF_UP : 0);
    setUint32(fixed, 12, IFF_UP);
  }
  const message = new NetlinkMessage(RTM_NEWLINK, FLAG_ACK, fixed);
  if (settings.mtu !== undefined) message.uint32(IFLA_MTU, settings.mtu);
  if (settings.queueLength !== undefined) message.uint32(IFLA_TXQLEN, settings.queueLength);
  netlinkAsk(call, message, 'interface settings');
}

/** Throws with the system's code. One that is there already is left as it is. */
export function addAddress(call: NetlinkCall, index: number, { address, prefix }: LinkAddress): void {
  const bytes = addressBytes(address);
  const fixed = new Uint8Array(ADDRESS_FIXED);
  fixed[0] = familyNumber(bytes.length === 4 ? 4 : 6);
  fixed[1] = prefix;
  setUint32(fixed, 4, index);
  const message = new NetlinkMessage(RTM_NEWADDR, FLAG_ACK | FLAG_CREATE | FLAG_REPLACE, fixed).attribute(IFA_LOCAL, bytes).attribute(IFA_ADDRESS, bytes);
  if (bytes.length === 16) message.uint32(IFA_FLAGS, NO_DUPLICATE_DETECTION);
  try {
    netlinkAsk(call, message, `address ${address}/${prefix}`);
  } catch (error) {
    if (errorCode(error) !== 'EEXIST') throw error;
  }
}

/** The addresses of an interface. Throws with the system's code. */
export function linkAddresses(call: NetlinkCall, index: number): LinkAddress[] {
  return netlinkDump(call, RTM_GETADDR, new Uint8Array(ADDRESS_FIXED), 'addresses').flatMap(({ type, body }) => {
    if (type !== RTM_NEWADDR || uint32At(body, 4) !== index) return [];
    const attributes = attributesOf(body, ADDRESS_FIXED);
    const bytes = attributes.get(IFA_LOCAL) ?? attributes.get(IFA_ADDRESS);
    return bytes === undefined ? [] : { address: formatAddress(bytes), prefix: body[1] ?? 0 };
  });
}

export interface LinkState {
  readonly index: number;
  readonly name: string;
  /** It is up, and there is somebody at the other end of the cable. */
  readonly isRunning: boolean;
  readonly isUp: boolean;
  /** Of a TUN: somebody has it open, be it up or down. */
  readonly hasCarrier: boolean;
  readonly isLoopback: boolean;
  /** It belongs to a bridge or a bond, which has the addresses. */
  readonly isPort: boolean;
}

/** All interfaces. Throws with the system's code. */
export function listLinks(call: NetlinkCall): LinkState[] {
  return netlinkDump(call, RTM_GETLINK, new Uint8Array(LINK_FIXED), 'interfaces').flatMap(({ type, body }) => {
    if (type !== RTM_NEWLINK) return [];
    const attributes = attributesOf(body, LINK_FIXED);
    const flags = uint32At(body, 8);
    const carrier = attributes.get(IFLA_CARRIER);
    return {
      index: uint32At(body, 4),
      name: textOf(attributes.get(IFLA_IFNAME)),
      isRunning: (flags & IFF_RUNNING) !== 0,
      isUp: (flags & IFF_UP) !== 0,
      // The flag is not there while the interface is set down, and stays for up to a second when the last one has closed it.
      hasCarrier: carrier === undefined ? (flags & IFF_RUNNING) !== 0 : carrier[0] === 1,
      isLoopback: (flags & IFF_LOOPBACK) !== 0,
      isPort: uint32At(attributes.get(IFLA_MASTER)) !== 0,
    };
  });
}
