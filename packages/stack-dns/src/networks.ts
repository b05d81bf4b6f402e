/** Networks of the config, and what is near. */
import { BlockList } from 'node:net';
import { addressFamily, parseAddress } from '@nekit/core';

/** Whether a text is `10.0.0.0/8`, `fd00::/8` or a single address. */
export function checkNetwork(text: string): boolean {
  const [address = '', bits, more] = text.split('/');
  const bytes = parseAddress(address);
  return bytes !== null && more === undefined && (bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= bytes.length * 8));
}

/** Addresses in any of these networks, which `checkNetwork` has seen. */
export function addressTest(networks: readonly string[]): (address: string) => boolean {
  if (networks.length === 0) return () => false;
  const list = new BlockList();
  for (const network of networks) {
    const [address = '', bits] = network.split('/');
    const family = addressFamily(address) === 6 ? 'ipv6' : 'ipv4';
    list.addSubnet(address, bits === undefined ? (family === 'ipv6' ? 128 : 32) : Number(bits), family);
  }
  return (address) => list.check(address.split('%', 1)[0] ?? address, addressFamily(address) === 6 ? 'ipv6' : 'ipv4');
}

/** This machine and its neighbours: what no router passes on from afar (RFC 1918, 3927, 4193, 4291, 6598). */
export const LOCAL_NETWORKS = [
  '127.0.0.0/8',
  '10.0.0.0/8',
  '172.16.0.0/12',
  '192.168.0.0/16',
  '169.254.0.0/16',
  '100.64.0.0/10',
  '198.18.0.0/15', // benchmarks (RFC 2544): where clients of a TUN are
  '::1/128',
  'fc00::/7',
  'fe80::/10',
];
