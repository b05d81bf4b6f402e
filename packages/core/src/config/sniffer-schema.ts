import { z } from 'zod';

const texts = z.array(z.string().min(1));
const ports = z.array(z.union([z.int().min(0).max(65_535), z.string()]));

const PROTOCOL = z.object({
  ports: ports.describe('Ports and ranges of the destination, as [443, 8443-8450]. Default: TLS and QUIC 443, HTTP 80.').optional(),
  'override-destination': z.boolean().describe('The name becomes the destination. Default: as for all.').optional(),
});

/** The section `sniffer:`, with Clash's keys. */
export const SNIFFER = z.object({
  enable: z.boolean().describe('true: names are looked for in what clients send first. Default false.').optional(),
  sniff: z
    .record(z.string(), z.union([PROTOCOL, z.null()]))
    .describe('What to look at: TLS (server_name), HTTP (Host), QUIC (server_name).')
    .optional(),
  'override-destination': z.boolean().describe('true: the name becomes the destination. Default false: it is for rules only.').optional(),
  'parse-pure-ip': z.boolean().describe('Look where the destination is an address. Default true.').optional(),
  'force-dns-mapping': z.boolean().describe('Look where a name of the address is known by a look-up. Default true.').optional(),
  'force-domain': texts.describe('Names that are looked at though the destination is a name already, as +.example.com.').optional(),
  'skip-domain': texts.describe('Names that count as not seen.').optional(),
  'skip-src-address': texts.describe('Clients whose connections are not looked at: networks, geoip:…, rule-set:….').optional(),
  'skip-dst-address': texts.describe('Addresses that are not looked at when they are the destination.').optional(),
  sniffing: texts.describe('The older form of sniff: tls, http.').optional(),
  'port-whitelist': ports.describe('The ports of sniffing.').optional(),
});

export type SnifferKeys = z.infer<typeof SNIFFER>;
