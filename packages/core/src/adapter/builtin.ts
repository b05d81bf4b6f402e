/** Core's own adapter types, registered like a plugin's. */
import { z } from 'zod';
import type { SocketOptions } from '../net/sockets.js';
import type { AdapterContext } from './adapter.js';
import { DirectAdapter } from './direct.js';
import { RaceAdapter } from './race.js';
import { REJECT_DELAY, RejectAdapter, RejectDropAdapter } from './reject.js';
import { SelectAdapter } from './select.js';

/** `ip-version`, as Clash spells it. */
export const ipVersion = z.enum(['dual', 'ipv4', 'ipv6', 'ipv4-prefer', 'ipv6-prefer']).default('dual');

const members = z.array(z.string()).min(1, 'a group needs at least one member');

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
  config: z.object({ proxies: members, delays: z.array(z.number().int().min(0).max(60_000)).default([]).describe('ms of head start, one for each member') }),
  create: (config: { proxies: string[]; delays: number[] }, context: AdapterContext) => new RaceAdapter(config, context),
};

export const selectType = {
  type: 'select',
  group: true,
  config: z.object({ proxies: members }),
  create: (config: { proxies: string[] }, context: AdapterContext) => new SelectAdapter(config, context),
};
