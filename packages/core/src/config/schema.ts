/** Core's own keys, as the config spells them: the one source of the checks, of the JSON Schema and of its help texts. */
import { z } from 'zod';
import { DEFAULT_TIMEOUTS, type Timeouts } from '../net/timeouts.js';
import type { ProviderSource } from '../provider/provider-config.js';
import type { Behavior } from '../rule/rule-set.js';
import { LIST_FORMATS } from '../rule/set/inspect-list.js';
import { SNIFFER } from './sniffer-schema.js';
import type { LogLevel, Mode } from './types.js';

export const MODES = ['rule', 'global', 'direct'] as const satisfies readonly Mode[];
export const LOG_LEVELS = ['silent', 'error', 'warning', 'info', 'debug'] as const satisfies readonly LogLevel[];

export const PROVIDER_TYPES = ['http', 'file', 'inline'] as const satisfies readonly ProviderSource['type'][];
export const BEHAVIORS = ['domain', 'ipcidr', 'classical'] as const satisfies readonly Behavior[];

/** Of a list, in bytes: the longest in use have some 10 MB. */
export const DEFAULT_SIZE_LIMIT = 64 * 1024 * 1024;

/** Two sockets each; Node raises the limit of open files to the hard one, which is 500,000 or more on most Linux systems. */
export const DEFAULT_MAX_CONNECTIONS = 10_000;

/** Adapters that are there without being named. `GLOBAL` is a selector over all of them, unless a group of that name is configured. */
export const BUILT_INS = ['DIRECT', 'REJECT', 'REJECT-DROP', 'PASS', 'COMPATIBLE', 'GLOBAL'] as const;

/** Listener names that Clash gives to `port`, `socks-port` and `mixed-port`, as IN-NAME rules spell them. */
export const CLASH_LISTENERS = [
  { key: 'port', name: 'DEFAULT-HTTP', type: 'http' },
  { key: 'socks-port', name: 'DEFAULT-SOCKS', type: 'socks' },
  { key: 'mixed-port', name: 'DEFAULT-MIXED', type: 'mixed' },
] as const;

/** `firstByte` of net/timeouts.ts is `first-byte` in the config, as all keys there. */
export function timeoutKey(name: keyof Timeouts): string {
  return name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

export const TIMEOUT_NAMES = Object.keys(DEFAULT_TIMEOUTS) as (keyof Timeouts)[];

/** What setTimeout can wait at most. */
const MAX_MS = 2_147_483_647;

const port = z.int().min(0).max(65535);
const cidrs = z.array(z.string());
const name = z.string().min(1).max(256);
const users = z.array(z.object({ username: z.string().min(1), password: z.string() }));

/** IFNAMSIZ of Linux, less its zero. */
const interfaceName = z.string().min(1).max(15);
const routingMark = z.int().min(1).max(0xffffffff);

/** Upper and lower case mean the same here (Clash's loader folds them). */
function word<const T extends readonly string[]>(words: T): z.ZodType<T[number]> {
  return z.string().toLowerCase().pipe(z.enum(words));
}

const timeouts = z.object(
  Object.fromEntries(
    TIMEOUT_NAMES.map((key) => [timeoutKey(key), z.int().min(1).max(MAX_MS).describe(`Milliseconds; default ${DEFAULT_TIMEOUTS[key]}.`).optional()]),
  ),
);

const geodata = z.object({
  country: z.string().min(1).describe('MMDB of countries, for GEOIP and COUNTRY; the plugin geoip brings one.').optional(),
  asn: z.string().min(1).describe('MMDB of autonomous systems, for IP-ASN.').optional(),
  geosite: z.string().min(1).describe('geosite.dat of v2ray, for GEOSITE. Default: geosite.dat or GeoSite.dat beside the config.').optional(),
});

export const TOP = z.object({
  $schema: z.string().describe('For editors; ignored.').optional(),
  plugins: z.array(z.string().min(1)).describe('Plugins to load besides http and socks5: short names, npm packages or ./paths.').optional(),
  port: port.describe('Port of an HTTP proxy; 0 is off.').optional(),
  'socks-port': port.describe('Port of a SOCKS4, 4a and 5 proxy; 0 is off.').optional(),
  'mixed-port': port.describe('Port of a proxy for HTTP and SOCKS; 0 is off.').optional(),
  'allow-lan': z.boolean().describe('Let other machines use port, socks-port and mixed-port. Default false: they listen on 127.0.0.1.').optional(),
  'bind-address': z.string().describe('Where those three listen with allow-lan: "*" (everywhere, the default) or an address.').optional(),
  authentication: z.array(z.string()).describe('"user:password" for listeners that have no users of their own.').optional(),
  'skip-auth-prefixes': cidrs.describe('Clients in these networks need no password.').optional(),
  'lan-allowed-ips': cidrs.describe('Only clients in these networks may connect to listeners that are not on a loopback address.').optional(),
  'lan-disallowed-ips': cidrs.describe('Clients in these networks may not connect to listeners that are not on a loopback address.').optional(),
  listeners: z.array(z.unknown()).describe('Further listeners.').optional(),
  mode: word(MODES).describe('rule (default), global (everything goes through GLOBAL) or direct.').optional(),
  'log-level': word(LOG_LEVELS).describe('Default info.').optional(),
  ipv6: z.boolean().describe('false: names have no IPv6 addresses. Default true.').optional(),
  'interface-name': interfaceName.describe('Interface that our own connections leave by; a proxy may name another. Needs the native addon.').optional(),
  'routing-mark': routingMark
    .describe('Mark of our own connections, for policy routing; a proxy may name another. Needs the native addon and CAP_NET_ADMIN.')
    .optional(),
  hosts: z
    .record(z.string(), z.union([z.string(), z.array(z.string())]))
    .describe('Names, or patterns as *.example.com, to an address, a list of them, or another name.')
    .optional(),
  proxies: z.array(z.unknown()).describe('Adapters: what connections can leave through.').optional(),
  'proxy-groups': z.array(z.unknown()).describe('Adapters that choose among others.').optional(),
  rules: z.array(z.unknown()).describe('The first that matches decides; without a match it is DIRECT.').optional(),
  'sub-rules': z.record(z.string(), z.array(z.unknown())).describe('Lists of rules, by name, that SUB-RULE leads to.').optional(),
  'rule-providers': z.record(z.string(), z.unknown()).describe('Lists of rules in files and on servers, by name, for RULE-SET.').optional(),
  geodata: geodata.describe('Data files of rules, relative to the folder of the config.').optional(),
  tun: z.record(z.string(), z.unknown()).describe('A TUN device, whose packets become sessions.').optional(),
  dns: z.record(z.string(), z.unknown()).describe('How names are looked up, and a server for them (plugin dns).').optional(),
  sniffer: SNIFFER.describe('Names that the first bytes of a connection show, for rules on names where clients connect to addresses.').optional(),
  'max-connections': z
    .int()
    .min(1)
    .max(1_000_000)
    .describe(`Client connections at a time, all listeners together. Default ${DEFAULT_MAX_CONNECTIONS}.`)
    .optional(),
  timeouts: timeouts.describe('Every wait of the kernel.').optional(),
});

export type Top = z.infer<typeof TOP>;

/** The keys of an entry of `proxies` and `proxy-groups` that are core's, whatever its type. */
export const ENTRY = z.object({
  name: name.describe('What rules and groups call it.'),
  type: z.string().min(1).describe('What it is.'),
  'dialer-proxy': z.string().min(1).describe('The adapter to dial through; default direct.').optional(),
  'interface-name': interfaceName.describe('Interface to send from (needs the native addon)').optional(),
  'routing-mark': routingMark.describe('Mark for policy routing (needs the native addon, and CAP_NET_ADMIN)').optional(),
});

/** The keys of a listener that are core's. */
export const LISTENER = z.object({
  name: name.describe('What IN-NAME rules call it.'),
  type: z.string().min(1).describe('mixed, a protocol (http, socks), or the type of a plugin.'),
  listen: z.string().describe('The address to listen on; default 127.0.0.1. "*" or 0.0.0.0 lets other machines in.').optional(),
  port: port.describe('0: any free port.'),
  users: users.describe('Who may use it, instead of `authentication`. An empty list: everybody.').optional(),
});

/** A rule as an object. All other keys go to the rule's kind. */
export const RULE = z.looseObject({
  type: z.string().min(1).describe('The kind, as DOMAIN-SUFFIX.'),
  value: z.string().describe('What is compared; MATCH has none.').optional(),
  to: z.string().min(1).describe('The adapter or group.'),
  parameters: z.array(z.string()).describe('As no-resolve.').optional(),
});

/** An entry of `rule-providers`. */
export const PROVIDER = z.object({
  type: word(PROVIDER_TYPES).describe('Where it is: on a server (http), in a file, or here (inline).'),
  behavior: word(BEHAVIORS).describe('What its entries are: names (domain), networks (ipcidr), or rules without a target (classical).'),
  // mrs is refused with a reason of its own.
  format: word([...LIST_FORMATS, 'mrs'])
    .describe('How it is written; default yaml, which is a list under "payload".')
    .optional(),
  url: z.string().describe('Of type http: its address, http or https.').optional(),
  path: z.string().min(1).describe('Of type file: the file. Of type http: where to keep a copy; default: in the cache folder.').optional(),
  interval: z.int().min(0).max(1_000_000_000).describe('Seconds until it is looked at again; 0 (default): never.').optional(),
  proxy: z.string().min(1).describe('The proxy or group to fetch it through; default DIRECT.').optional(),
  'size-limit': z
    .int()
    .min(0)
    .max(1024 * 1024 * 1024)
    .describe(`Bytes that it may have; 0 (default): ${DEFAULT_SIZE_LIMIT}.`)
    .optional(),
  header: z
    .record(z.string(), z.union([z.string(), z.array(z.string())]))
    .describe('Of type http: headers of the request.')
    .optional(),
  payload: z.array(z.string()).describe('Of type inline: the entries.').optional(),
});
