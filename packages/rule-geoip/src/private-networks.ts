import { CidrSet, parseCidr } from '@nekit/core';

/**
 * GEOIP,LAN as Clash has it: private, unspecified, loopback, link-local and multicast addresses
 * (RFC 1918, RFC 4193, RFC 1122, RFC 3927, RFC 5771, RFC 4291). The address space of providers, 100.64.0.0/10, is not among them.
 */
export function privateNetworks(): CidrSet {
  const ipv4 = ['0.0.0.0/32', '10.0.0.0/8', '127.0.0.0/8', '169.254.0.0/16', '172.16.0.0/12', '192.168.0.0/16', '224.0.0.0/4'];
  const ipv6 = ['::/128', '::1/128', 'fc00::/7', 'fe80::/10', 'ff00::/8'];
  return new CidrSet([...ipv4, ...ipv6].map(parseCidr));
}
