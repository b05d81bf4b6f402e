/** The IP stack `dns`, and the key `dns-hijack` of `tun:`. */
import { parseAddress, type StackDefinition } from '@nekit/core';
import { z } from 'zod';
import { KERNEL_DNS } from '../kernel-dns.js';
import { DnsStack } from './dns-stack.js';
import { Hijack, parseHijack } from './hijack.js';

const entry = z.string().refine(isHijack, { error: ({ input }) => `"${String(input)}" is no address and port: write any:53, 198.18.0.2:53 or tcp://any:53` });

const config = z.object({
  'dns-hijack': z
    .array(entry)
    .default(['any:53'])
    .describe('Whose port is answered by our name server, UDP and TCP: any:53, tcp://any:53, 192.0.2.53:53; []: only those of the device.'),
});

export const dnsStack: StackDefinition<z.infer<typeof config>> = {
  type: 'dns',
  config,
  keys: ['dns-hijack'],
  // UDP as well: another stack may stand in front of this one.
  claims(keys, networks, get) {
    const hijack = new Hijack(keys['dns-hijack'], networks);
    const server = get(KERNEL_DNS);
    const text = ['DNS-HIJACK', ...keys['dns-hijack']].join(',');
    return [
      {
        text,
        adapter: 'dns',
        takes: ({ network, requested }) => server.isNeeded && hijack.takes(network, requested.host, requested.port),
      },
    ];
  },
  create(keys, context) {
    const { networks, output } = context;
    const own = networks.flatMap((network) => parseAddress(network.split('/', 1)[0] ?? '') ?? []);
    return new DnsStack({ server: context.get(KERNEL_DNS), hijack: new Hijack(keys['dns-hijack'], networks), own, output });
  },
};

function isHijack(text: string): boolean {
  try {
    parseHijack(text);
    return true;
  } catch {
    return false; // the message is the schema's
  }
}
