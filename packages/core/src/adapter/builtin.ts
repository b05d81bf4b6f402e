/** Core's own adapter types, registered like a plugin's. */
import { z } from 'zod';
import type { SocketOptions } from '../net/sockets.js';
import type { AdapterContext } from './adapter.js';
import { DirectAdapter } from './direct.js';
import { FallbackAdapter } from './fallback.js';
import { type GroupConfig, groupKeys, groupOptions, type HealthGroupConfig, healthKeys, healthOptions } from './group-config.js';
import { LoadBalanceAdapter, STRATEGIES, type Strategy } from './load-balance.js';
import { RaceAdapter } from './race.js';
import { REJECT_DELAY, RejectAdapter, RejectDropAdapter } from './reject.js';
import { SelectAdapter } from './select.js';
import { UrlTestAdapter } from './url-test.js';

/** `ip-version`, as Clash spells it. */
export const ipVersion = z.enum(['dual', 'ipv4', 'ipv6', 'ipv4-prefer', 'ipv6-prefer']).default('dual');

export const directType = {
  type: 'direct',
  config: z.object({
    udp: z.boolean().default(true),
    'ip-version': ipVersion,
    'interface-name': z.string().min(1).max(15).optional().describe('Interface to send from (needs the native addon)'),
    'routing-mark': z.number().int().min(1).max(0xffffffff).optional().describe('Mark for policy routing (needs the native addon, and CAP_NET_ADMIN)'),
    tfo: z.boolean().default(false).describe('TCP Fast Open (needs the native addon)'),
    mptcp: z.boolean().default(false).describe('Multipath TCP (needs the native addon)'),
  }),
  create: (config: DirectConfig, context: AdapterContext) =>
    new DirectAdapter({ udp: config.udp, ipVersion: config['ip-version'], sockets: socketOptions(config) }, context),
};

interface DirectConfig {
  readonly udp: boolean;
  readonly 'ip-version': z.infer<typeof ipVersion>;
  readonly 'interface-name'?: string | undefined;
  readonly 'routing-mark'?: number | undefined;
  readonly tfo: boolean;
  readonly mptcp: boolean;
}

function socketOptions(config: DirectConfig): SocketOptions {
  return {
    ...(config['interface-name'] === undefined ? {} : { device: config['interface-name'] }),
    ...(config['routing-mark'] === undefined ? {} : { mark: config['routing-mark'] }),
    ...(config.tfo ? { fastOpen: true } : {}),
    ...(config.mptcp ? { multipath: true } : {}),
  };
}

export const rejectType = {
  type: 'reject',
  config: z.object({ delay: z.number().int().min(0).max(60_000).default(REJECT_DELAY).describe('ms before the client is told') }),
  create: (config: { delay: number }, context: AdapterContext) => new RejectAdapter({ delayMs: config.delay }, context),
};

export const rejectDropType = {
  type: 'reject-drop',
  config: z.object({}),
  create: (_config: object, context: AdapterContext) => new RejectDropAdapter(context),
};

export const raceType = {
  type: 'race',
  group: true,
  config: z.object({ ...groupKeys, delays: z.array(z.number().int().min(0).max(60_000)).default([]).describe('ms of head start, one for each member') }),
  create: (config: GroupConfig & { delays: number[] }, context: AdapterContext) => new RaceAdapter({ ...groupOptions(config), delays: config.delays }, context),
};

export const selectType = {
  type: 'select',
  group: true,
  config: z.object({ ...groupKeys, ...healthKeys }),
  // Without an interval nothing is checked: the choice is the user's.
  create: (config: HealthGroupConfig, context: AdapterContext) =>
    new SelectAdapter({ ...groupOptions(config), health: config.interval === 0 ? null : healthOptions(config) }, context),
};

export const urlTestType = {
  type: 'url-test',
  group: true,
  config: z.object({
    ...groupKeys,
    ...healthKeys,
    tolerance: z.int().min(0).max(65_535).default(0).describe('ms: the present member is kept while no other is faster by more than this'),
  }),
  create: (config: HealthGroupConfig & { tolerance: number }, context: AdapterContext) =>
    new UrlTestAdapter({ ...groupOptions(config), health: healthOptions(config), tolerance: config.tolerance }, context),
};

export const fallbackType = {
  type: 'fallback',
  group: true,
  config: z.object({ ...groupKeys, ...healthKeys }),
  create: (config: HealthGroupConfig, context: AdapterContext) => new FallbackAdapter({ ...groupOptions(config), health: healthOptions(config) }, context),
};

export const loadBalanceType = {
  type: 'load-balance',
  group: true,
  config: z.object({
    ...groupKeys,
    ...healthKeys,
    strategy: z.enum(STRATEGIES).default('consistent-hashing').describe('Who gets a connection: by its site, one after the other, or by client and site'),
  }),
  create: (config: HealthGroupConfig & { strategy: Strategy }, context: AdapterContext) =>
    new LoadBalanceAdapter({ ...groupOptions(config), health: healthOptions(config), strategy: config.strategy }, context),
};
