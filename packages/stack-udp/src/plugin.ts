import { definePlugin, type StackDefinition, TIMEOUTS } from '@nekit/core';
import { Identifications } from '@nekit/core/ip';
import { z } from 'zod';
import { portsAllowed } from './descriptors.js';
import { DEFAULT_UDP_LIMITS, UdpStack } from './udp-stack.js';

const config = z.object({
  timeout: z
    .int()
    .min(1)
    .max(86_400)
    .optional()
    .describe(
      `Seconds without a datagram that end a client's port; default ${DEFAULT_UDP_LIMITS.idle / 1000}, and ${DEFAULT_UDP_LIMITS.dnsIdle / 1000} for one that only asks name servers.`,
    ),
  ports: z
    .int()
    .min(1)
    .max(65_536)
    .optional()
    .describe(
      `Client ports at a time; then the one that was silent for longest makes room. Default ${DEFAULT_UDP_LIMITS.mappings}, or half of the descriptors if that is less.`,
    ),
});

const stack: StackDefinition<z.infer<typeof config>> = {
  type: 'udp',
  config,
  create(keys, context) {
    const idle = keys.timeout === undefined ? context.get(TIMEOUTS).udpIdle : keys.timeout * 1_000;
    const limits = {
      ...DEFAULT_UDP_LIMITS,
      mappings: keys.ports ?? portsAllowed(DEFAULT_UDP_LIMITS.mappings),
      idle,
      dnsIdle: Math.min(idle, DEFAULT_UDP_LIMITS.dnsIdle),
    };
    const identifications = new Identifications((length) => context.random(length));
    return new UdpStack({ context, identifications, limits });
  },
};

/** The IP stack `udp`: datagrams that come by a TUN. */
export default definePlugin({
  name: 'stack-udp',
  api: 1,
  setup(context) {
    context.stack(stack);
  },
});
