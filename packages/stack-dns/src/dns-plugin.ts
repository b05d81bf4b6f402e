import { type AdapterDefinition, CLOCK, EVENTS, type InboundDefinition, NetError, OWN_ENDPOINTS, type Plugin, parseEndpoint, TIMERS } from '@nekit/core';
import { FAKE_IPS } from '@nekit/core/ip';
import { z } from 'zod';
import { dnsSection } from './dns-section.js';
import type { FakeIpStore } from './fake-ip/store.js';
import { KERNEL_DNS, KernelDns } from './kernel-dns.js';
import { DnsAdapter } from './server/dns-adapter.js';
import { DnsInbound } from './server/dns-inbound.js';
import { dnsStack } from './stack/stack-definition.js';

const listener = z.object({
  listen: z
    .string()
    .default('127.0.0.1')
    .refine((text) => hostOf(text) !== null, { error: 'must be an IP address of this machine, or "*" for all' }),
  port: z.int().min(0).max(65_535),
  'rate-limit': z.int().min(0).max(1_000_000).default(1000).describe('Questions a second that another machine may ask; 0: any number.'),
});

const inbound: InboundDefinition<z.infer<typeof listener>> = {
  type: 'dns',
  config: listener,
  create: ({ listen, port, 'rate-limit': rateLimit }, context) =>
    new DnsInbound({ endpoint: { host: hostOf(listen) ?? '127.0.0.1', port }, rateLimit, server: context.get(KERNEL_DNS) }, context),
};

const adapter: AdapterDefinition<object> = {
  type: 'dns',
  config: z.object({}),
  create: (_config, context) => new DnsAdapter(context.tag, context.get(KERNEL_DNS), context.get(TIMERS)),
};

function hostOf(text: string): string | null {
  const host = text === '*' ? '::' : (parseEndpoint(text, 0)?.host ?? null);
  return host === null || /[^0-9a-f.:]/i.test(host) ? null : host;
}

export interface DnsPluginOptions {
  /** Where fake addresses are kept instead of a file: `() => shared.share()` of a MemoryStore has several kernels of a process give the same ones. */
  readonly newStore?: (key: string) => FakeIpStore;
}

const STOPPED = new NetError('aborted', 'the kernel has stopped', { code: 'STOPPED' });

/** The section `dns:`, listeners and adapters of type `dns`, and the IP stack `dns`. */
export function createDnsPlugin({ newStore }: DnsPluginOptions = {}): Plugin {
  return {
    name: 'stack-dns',
    api: 1,
    setup(context) {
      context.provide(KERNEL_DNS, (get) => {
        const dns = new KernelDns(get(CLOCK), newStore ?? null);
        get(OWN_ENDPOINTS).addFakes((address) => dns.contains(address));
        // Not left to the sections: the last config may have none, while questions of one before are under way.
        get(EVENTS).on('kernel.stopped', () => dns.life.cancel(STOPPED));
        return dns;
      });
      context.provide(FAKE_IPS, (get) => get(KERNEL_DNS));
      context.stack(dnsStack);
      context.section(dnsSection);
      context.inbound(inbound);
      context.adapter(adapter);
    },
  };
}
