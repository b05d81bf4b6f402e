/** Core's own keys of `tun:`. */
import { z } from 'zod';
import { checkNetwork } from '../config/networks.js';
import { distinct, PRIORITIES } from '../inbound/tun/auto-route/plan.js';
import { type AutoRouteSettings, DEFAULT_PRIORITY, DEFAULT_TABLE } from '../inbound/tun/auto-route/settings.js';
import { isHostAddress } from '../ip/special-addresses.js';
import type { LinkAddress } from '../native/link-config.js';
import { addressFamily, formatAddress, isMapped, maskedTo, parseAddress } from '../net/address.js';
import { type Issue, issue } from './issue.js';

const DEFAULT_INET4 = ['198.18.0.1/30'];
const DEFAULT_INET6 = ['fdfe:dcba:9876::1/126'];

/** As Linux has it, which counts bytes, but for its patterns (tun%d); empty: it chooses. */
const INTERFACE = /^(?!\.{1,2}$)[^\s/:%]{0,15}$/u;

const NO_INTERFACE = 'no name of an interface: at most 15 bytes, without blanks, "/", ":" and "%"';

const networks = z.array(z.string()).default([]);

export const KEYS = z.object({
  enable: z.boolean().default(true).describe('false: no TUN.'),
  device: z
    .string()
    .regex(INTERFACE, NO_INTERFACE)
    .refine((name) => name.length > 15 || Buffer.byteLength(name) <= 15, NO_INTERFACE)
    .default('')
    .describe('Name of the interface; the kernel chooses one by default.'),
  'file-descriptor': z
    .int()
    .min(0)
    .max(0x7fff_ffff)
    .optional()
    .describe('An open TUN instead (IFF_TUN, IFF_NO_PI); whoever opened it configures the interface.'),
  stack: z
    .union([z.string(), z.array(z.string()).min(1)])
    .optional()
    .describe('IP stacks in the order in which they are asked; default: all that are loaded. system, gvisor and mixed mean the default.'),
  mtu: z.int().min(1280).max(65_535).default(9000).describe('Bytes.'),
  gso: z.boolean().default(true).describe('false: no segmentation and checksum offload.'),
  'inet4-address': z.array(z.string()).default(DEFAULT_INET4).describe(`Addresses of the interface; default ${DEFAULT_INET4.join()}.`),
  'inet6-address': z.array(z.string()).default(DEFAULT_INET6).describe(`The same of IPv6; default ${DEFAULT_INET6.join()}.`),
  'auto-route': z
    .boolean()
    .default(false)
    .describe('Send the traffic of this machine, and what it forwards, into the TUN. In the section tun: true by default.'),
  'route-address': networks.describe('Networks that go into the TUN; empty: all.'),
  'route-exclude-address': networks.describe('Networks that do not.'),
  'inet4-route-address': networks.describe('As route-address, of IPv4.'),
  'inet6-route-address': networks.describe('As route-address, of IPv6.'),
  'inet4-route-exclude-address': networks.describe('As route-exclude-address, of IPv4.'),
  'inet6-route-exclude-address': networks.describe('As route-exclude-address, of IPv6.'),
  'iproute2-table-index': z
    .int()
    .min(1)
    .max(0xffff_fffe)
    .refine((table) => table < 253 || table > 255, "the tables 253 to 255 are the system's")
    .default(DEFAULT_TABLE)
    .describe('Routing table of auto-route, which must be empty.'),
  'iproute2-rule-index': z
    .int()
    .min(1)
    .max(32_700)
    .default(DEFAULT_PRIORITY)
    .describe(`Priority of the first rule of auto-route; it takes ${PRIORITIES} from there on.`),
  'strict-route': z
    .boolean()
    .default(false)
    .describe('What cannot go into the TUN does not leave at all: IPv6 without an address of the TUN, programs that choose an interface.'),
  'auto-detect-interface': z
    .boolean()
    .default(true)
    .describe('Bind our own sockets to the interface of the default route, with auto-route and without interface-name.'),
  icmp: z.enum(['reply', 'drop']).default('reply').describe('What happens to pings.'),
});

export type TunKeys = z.infer<typeof KEYS>;

const EVERYTHING: readonly LinkAddress[] = [
  { address: '0.0.0.0', prefix: 0 },
  { address: '::', prefix: 0 },
];

const ROUTE_KEYS = ['route-address', 'inet4-route-address', 'inet6-route-address'] as const;
const EXCLUDE_KEYS = ['route-exclude-address', 'inet4-route-exclude-address', 'inet6-route-exclude-address'] as const;

export function autoRouteOf(keys: TunKeys, issues: Issue[]): AutoRouteSettings {
  const routes = ROUTE_KEYS.flatMap((key) => networksOf(keys[key], key, issues));
  return {
    routes: routes.length === 0 ? EVERYTHING : distinct(routes),
    excluded: distinct(EXCLUDE_KEYS.flatMap((key) => networksOf(keys[key], key, issues))),
    table: keys['iproute2-table-index'],
    priority: keys['iproute2-rule-index'],
    strict: keys['strict-route'],
    detectInterface: keys['auto-detect-interface'],
    marks: [],
  };
}

export function addressesOf(texts: readonly string[], family: 4 | 6, key: string, issues: Issue[]): LinkAddress[] {
  const seen = new Set<string>();
  return texts.flatMap((text, index) => {
    const [address = '', bits] = text.split('/', 2);
    const bytes = checkNetwork(text) === null ? null : parseAddress(address);
    if (bytes !== null && addressFamily(address) === family && isHostAddress(bytes, 0, family)) {
      const written = formatAddress(bytes);
      if (!seen.has(written)) {
        seen.add(written);
        return { address: written, prefix: bits === undefined ? (family === 4 ? 32 : 128) : Number(bits) };
      }
      issues.push(issue([key, index], `the address ${written} is there already`));
      return [];
    }
    issues.push(
      issue(
        [key, index],
        `"${text}" is no IPv${family} address of a host with the length of its network, as ${family === 4 ? '198.18.0.1/30' : 'fd00::1/126'}`,
      ),
    );
    return [];
  });
}

/** Networks, without the bits behind their length. */
function networksOf(texts: readonly string[], key: string, issues: Issue[]): LinkAddress[] {
  return texts.flatMap((text, index) => {
    const [address = '', bits] = checkNetwork(text)?.split('/') ?? [];
    const family = key.startsWith('inet4') ? 4 : key.startsWith('inet6') ? 6 : null;
    const bytes = parseAddress(address);
    if (bytes !== null && !isMapped(bytes) && (family === null || addressFamily(address) === family))
      return { address: formatAddress(maskedTo(bytes, Number(bits))), prefix: Number(bits) };
    issues.push(issue([key, index], `"${text}" is no network${family === null ? '' : ` of IPv${family}`}; write 192.168.0.0/16 or fd00::/8`));
    return [];
  });
}
