/** Protocol numbers (IANA) that we handle. In a batch it is the one behind all IPv6 extension headers. */
export const PROTOCOL = {
  icmp: 1,
  tcp: 6,
  udp: 17,
  /** A piece of a packet, of IPv6 (RFC 8200 section 4.5) and, in a batch, of IPv4 as well: `transport` is where the piece begins. */
  fragment: 44,
  icmpv6: 58,
  none: 59,
} as const;

/** The flags of a TCP header (RFC 9293 section 3.1). */
export const FLAG = { fin: 0x01, syn: 0x02, rst: 0x04, psh: 0x08, ack: 0x10, urg: 0x20, ece: 0x40, cwr: 0x80 } as const;

/** Bytes of the headers without options. */
export const IPV4_HEADER = 20;
export const IPV6_HEADER = 40;
export const TCP_HEADER = 20;
export const UDP_HEADER = 8;

/** What the length field of IPv4 can say. */
export const LONGEST_PACKET = 65_535;
