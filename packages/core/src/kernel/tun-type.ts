/** The listener type `tun`, and the section `tun:` of the config: a device, its IP stacks, and its routes. */

import type { InboundContext } from '../inbound/inbound.js';
import { AUTO_ROUTE } from '../inbound/tun/auto-route/auto-route.js';
import { GuardedStack } from '../inbound/tun/guarded-stack.js';
import { takeNames } from '../inbound/tun/systemd-resolved.js';
import { TunInbound } from '../inbound/tun/tun-inbound.js';
import type { LinkAddress } from '../native/link-config.js';
import { OPEN_TUN } from '../native/open-tun.js';
import { EVENTS } from '../net/tokens.js';
import type { InboundDefinition } from '../plugin/plugin.js';
import type { Registry } from '../plugin/registry.js';
import { tunConflict } from './tun-conflict.js';
import { type TunConfig, TunSchema } from './tun-schema.js';

/** `isSystem`: devices, rules and routes are the system's, which has each name and number once. */
export function tunType(registry: () => Registry, isSystem: boolean): InboundDefinition<TunConfig> {
  return {
    type: 'tun',
    config: new TunSchema(registry),
    enabled: ({ keys }) => keys.enable,
    ...(isSystem ? { conflict: tunConflict } : {}),
    claims: ({ addresses, stacks }, listener, get) =>
      stacks.flatMap(({ definition, options }) =>
        (definition.claims?.(options, networksOf(addresses), get) ?? []).map((claim) => ({
          ...claim,
          takes: (session) => session.inbound === listener && claim.takes(session),
        })),
      ),
    create({ keys, addresses, stacks, autoRoute }, context) {
      const open = context.get(OPEN_TUN);
      const setRoutes = context.get(AUTO_ROUTE);
      const descriptor = keys['file-descriptor'];
      return new TunInbound(
        {
          open: (warn) =>
            open({ name: keys.device, addresses, mtu: keys.mtu, offload: keys.gso, warn, ...(descriptor === undefined ? {} : { fileDescriptor: descriptor }) }),
          stacks: stacks.map(
            ({ definition, options }) =>
              (stackContext) =>
                new GuardedStack(definition.create(options, stackContext), (error) => tellOf(definition.type, error, context)),
          ),
          networks: networksOf(addresses),
          echo: keys.icmp === 'reply',
          ...(autoRoute === null || setRoutes === null
            ? {}
            : {
                route: (device, warn) => setRoutes({ settings: autoRoute, device: device.name, addresses, warn }),
                ...(stacks.some(({ definition }) => definition.type === 'dns') ? { names: (device, warn) => takeNames(device.name, addresses, warn) } : {}),
              }),
        },
        context,
      );
    },
  };
}

function networksOf(addresses: readonly LinkAddress[]): string[] {
  return addresses.map(({ address, prefix }) => `${address}/${prefix}`);
}

function tellOf(type: string, error: unknown, context: InboundContext): void {
  const what = error instanceof Error ? error.message : String(error);
  const message = `${context.name}: the IP stack "${type}" threw, which is told once; the packet is lost and it goes on: ${what}`;
  context.get(EVENTS).emit('kernel.warning', { code: 'STACK_FAILED', message });
}
