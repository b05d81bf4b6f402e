/** The section `dns:`, with Clash's keys and meanings. */
import { type ConfigSchema, type Endpoint, parseEndpoint } from '@nekit/core';
import { z } from 'zod';
import { AddressRange } from './fake-ip/address-range.js';
import { checkNetwork } from './networks.js';
import { isPlain, parseServer, type ServerSpec } from './upstream/server-spec.js';

const text = z.string().min(1);
/** One, or a list of them. */
const texts = z.union([text, z.array(text)]);
const policy = z.record(z.string(), texts);

const KEYS = z.object({
  enable: z.boolean().default(false).describe('true: names are looked up as this section says.'),
  listen: z.string().default('').describe('Where the server listens, UDP and TCP, as 127.0.0.1:1053; empty: nowhere.'),
  ipv6: z.boolean().default(false).describe('false: questions for IPv6 addresses are answered empty.'),
  'ipv6-timeout': z.int().min(0).max(10_000).default(100).describe('Milliseconds that addresses of IPv6 are waited for when those of IPv4 are there.'),
  'use-hosts': z.boolean().default(true).describe('Answer from `hosts`.'),
  'use-system-hosts': z.boolean().default(true).describe('Answer from /etc/hosts.'),
  'respect-rules': z.boolean().default(false).describe('Servers without #adapter are reached as the rules say.'),
  'prefer-h3': z.boolean().default(false).describe('Not supported.'),
  'cache-algorithm': z.enum(['lru', 'arc']).default('lru').describe('Both mean the same cache.'),
  'cache-max-size': z.int().min(0).max(1_000_000).default(4096).describe('Answers that are kept.'),
  'enhanced-mode': z.enum(['normal', 'redir-host', 'fake-ip']).default('redir-host').describe('fake-ip: names get addresses that stand for them.'),
  'fake-ip-range': text.default('198.18.0.1/16').describe('Addresses that stand for names.'),
  'fake-ip-range6': text.optional().describe('The same of IPv6; without it names have no fake address of IPv6.'),
  'fake-ip-filter': z.array(text).default([]).describe('Names that get their real addresses.'),
  'fake-ip-filter-mode': z
    .enum(['blacklist', 'whitelist', 'rule'])
    .default('blacklist')
    .describe('whitelist: only the names of fake-ip-filter get fake addresses. rule: its entries are KIND,payload,fake-ip or real-ip.'),
  'direct-real-ip': z.boolean().default(false).describe('true: names that the rules lead to a direct adapter get their real addresses.'),
  'fake-ip-ttl': z.int().min(0).max(86_400).default(1).describe('Seconds that a client may remember a fake address.'),
  'fake-ip-store': z
    .union([z.boolean(), text])
    .default(true)
    .describe('Where fake addresses are kept over a restart: a file; true: in the cache folder; false: nowhere.'),
  'default-nameserver': texts.optional().describe('Servers that are asked for the names of servers; they have addresses themselves. Default: system.'),
  nameserver: texts
    .optional()
    .describe('Servers: 192.0.2.53, udp://, tcp://, tls://, https://…/dns-query, system, rcode://refused; #adapter behind it. Default: system.'),
  fallback: texts.optional().describe('Servers whose answer is taken when that of nameserver is not to be trusted, see fallback-filter.'),
  'fallback-filter': z
    .object({
      geoip: z.boolean().default(true).describe('Addresses outside of geoip-code are not trusted.'),
      'geoip-code': z.string().default('CN').describe('Country.'),
      geosite: z.array(text).default([]).describe('Names that only fallback is asked for.'),
      ipcidr: z.array(text).default([]).describe('Addresses that are not trusted.'),
      domain: z.array(text).default([]).describe('Names that only fallback is asked for.'),
    })
    .optional()
    .describe('When fallback decides.'),
  'nameserver-policy': policy.default({}).describe('Servers of some names: example.com, +.example.com, geosite:cn, rule-set:mine; several with commas.'),
  'proxy-server-nameserver': texts.optional().describe("Servers for the names of proxies' servers."),
  'proxy-server-nameserver-policy': policy.default({}).describe('As nameserver-policy, of those.'),
  'direct-nameserver': texts.optional().describe('Servers for what is dialled directly.'),
  'direct-nameserver-follow-policy': z.boolean().default(false).describe('nameserver-policy goes before direct-nameserver.'),
  'rate-limit': z.int().min(0).max(1_000_000).default(1000).describe('Questions a second that another machine may ask; 0: any number.'),
});

export type DnsKeys = z.infer<typeof KEYS>;

export interface Policy {
  /** As written: names, `geosite:…`, `rule-set:…`. */
  readonly names: readonly string[];
  readonly servers: readonly ServerSpec[];
}

export interface DnsConfig {
  readonly keys: DnsKeys;
  readonly listen: Endpoint | null;
  readonly range4: AddressRange;
  readonly range6: AddressRange | null;
  readonly defaultServers: readonly ServerSpec[];
  readonly servers: readonly ServerSpec[];
  readonly fallback: readonly ServerSpec[];
  readonly policy: readonly Policy[];
  readonly proxyServers: readonly ServerSpec[] | null;
  readonly proxyPolicy: readonly Policy[];
  readonly directServers: readonly ServerSpec[] | null;
}

/** As zod's, so that they are told alike. */
type Issue = { readonly code: 'custom'; readonly path: readonly (string | number)[]; readonly message: string };

export class DnsSchema implements ConfigSchema<DnsConfig> {
  toJSONSchema(): object {
    return z.toJSONSchema(KEYS, { io: 'input' });
  }

  /** Throws an error with `issues`, as zod does. */
  parse(input: unknown): DnsConfig {
    const keys = KEYS.parse(input);
    const issues: Issue[] = [];
    const check = <T>(path: Issue['path'], run: () => T): T | null => {
      try {
        return run();
      } catch (error) {
        issues.push({ code: 'custom', path, message: error instanceof Error ? error.message : String(error) });
        return null;
      }
    };
    const servers = (path: Issue['path'], given: string | readonly string[] | undefined): ServerSpec[] | null => {
      if (given === undefined || given.length === 0) return null;
      const all = typeof given === 'string' ? [given] : given;
      return all.flatMap((entry, index) => check(typeof given === 'string' ? path : [...path, index], () => parseServer(entry)) ?? []);
    };
    const policies = (key: 'nameserver-policy' | 'proxy-server-nameserver-policy'): Policy[] =>
      Object.entries(keys[key]).map(([names, given]) => ({ names: namesOf(names), servers: servers([key, names], given) ?? [] }));
    const range4 = check(['fake-ip-range'], () => new AddressRange(keys['fake-ip-range'], 4));
    const text6 = keys['fake-ip-range6'];
    const range6 = text6 === undefined ? null : check(['fake-ip-range6'], () => new AddressRange(text6, 6));
    const listen = keys.listen === '' ? null : check(['listen'], () => listenOf(keys.listen));
    const defaultServers = servers(['default-nameserver'], keys['default-nameserver']) ?? [parseServer('system')];
    defaultServers.forEach((spec, index) => {
      if (isPlain(spec)) return;
      const message = `"${spec.text}" has a name, which nobody could look up: the servers here are given by address`;
      issues.push({ code: 'custom', path: ['default-nameserver', ...(Array.isArray(keys['default-nameserver']) ? [index] : [])], message });
    });
    keys['fallback-filter']?.ipcidr.forEach((network, index) => {
      if (checkNetwork(network)) return;
      issues.push({ code: 'custom', path: ['fallback-filter', 'ipcidr', index], message: `"${network}" is no network; write 240.0.0.0/4` });
    });
    const config = {
      keys,
      listen,
      range6,
      defaultServers,
      servers: servers(['nameserver'], keys.nameserver) ?? [parseServer('system')],
      fallback: servers(['fallback'], keys.fallback) ?? [],
      policy: policies('nameserver-policy'),
      proxyServers: servers(['proxy-server-nameserver'], keys['proxy-server-nameserver']),
      proxyPolicy: policies('proxy-server-nameserver-policy'),
      directServers: servers(['direct-nameserver'], keys['direct-nameserver']),
    };
    if (issues.length > 0 || range4 === null) throw Object.assign(new Error('the section dns is not right'), { issues });
    return { ...config, range4 };
  }
}

/** `geosite:a,b` is one entry, `a.example,b.example` are two. */
function namesOf(key: string): string[] {
  return /^(?:geosite|rule-set):/i.test(key) ? [key] : key.split(',').map((name) => name.trim());
}

/** `:53` and `*:53` are all addresses. */
function listenOf(listen: string): Endpoint {
  const endpoint = parseEndpoint(listen.replace(/^\*?:(?=\d+$)/, '[::]:').replace(/^localhost:/, '127.0.0.1:'));
  if (endpoint === null || /[^0-9a-f.:]/i.test(endpoint.host)) throw new Error(`"${listen}" is nothing to listen on: write 127.0.0.1:1053`);
  return endpoint;
}
