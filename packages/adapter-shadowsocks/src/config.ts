import { normaliseHost, type UnsupportedEntry } from '@nekit/core';
import { z } from 'zod';
import { secretProblem } from './method.js';
import { checkPlugin, pluginKeys, unsupportedPlugin } from './plugin/plugin-config.js';
import { whyNotSsr } from './refused-names.js';

/** An entry of `proxies:` with `type: ss`. Keys as Clash has them, and `allow-insecure-ciphers`. Whether it can be used says `whyUnsupported`. */
export const shadowsocksConfig = z
  .object({
    server: z
      .string()
      .refine((host) => normaliseHost(host) !== null, 'must be an IP address or a domain')
      .describe('Address or name of the Shadowsocks server'),
    port: z.int().min(1).max(65535),
    cipher: z.string().min(1).describe('As the server has it: aes-256-gcm, chacha20-ietf-poly1305, 2022-blake3-aes-256-gcm …'),
    password: z.string().default('').describe('Of the 2022 ciphers: a key in base64, behind identity keys and ":" where the server has several users'),
    'allow-insecure-ciphers': z.boolean().default(false).describe('Take ciphers that do not protect (aes-256-cfb, rc4-md5 …), for old servers'),
    udp: z.boolean().default(false).describe('Whether UDP goes through the server'),
    'udp-over-tcp': z
      .boolean()
      .default(false)
      .describe('With udp: send datagrams inside of TCP connections; the server must know how (sing-box, mihomo, this kernel)'),
    'udp-over-tcp-version': z
      .union([z.literal(1), z.literal(2)])
      .default(1)
      .describe('Of that protocol'),
    ...pluginKeys,
    protocol: z.string().optional().describe('Of ShadowsocksR; anything but "origin" is refused'),
    obfs: z.string().optional().describe('Of ShadowsocksR; anything but "plain" and "origin" is refused'),
  })
  .superRefine((config, context) => {
    const { cipher, password } = config;
    const problem = secretProblem({ cipher, password, allowInsecure: config['allow-insecure-ciphers'] });
    if (problem !== null && problem.key !== 'cipher') context.addIssue({ code: 'custom', path: [problem.key], message: problem.text });
    for (const key of ['protocol', 'obfs'] as const) {
      const why = whyNotSsr(key, config[key] ?? '');
      if (why !== null) context.addIssue({ code: 'custom', path: [key], message: why });
    }
    for (const { path, message } of checkPlugin(config)) context.addIssue({ code: 'custom', path: [...path], message });
  });

export type ShadowsocksConfig = z.infer<typeof shadowsocksConfig>;

/** Ciphers and plugins that other programs have: such entries stand in lists of servers, whose others are good. */
export function whyUnsupported(config: ShadowsocksConfig): UnsupportedEntry | null {
  const { cipher, password } = config;
  const problem = secretProblem({ cipher, password, allowInsecure: config['allow-insecure-ciphers'] });
  return problem === null ? unsupportedPlugin(config) : { path: [problem.key], message: problem.text };
}
