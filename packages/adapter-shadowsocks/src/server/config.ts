import { addressFamily, normaliseHost } from '@nekit/core';
import { z } from 'zod';
import { methodOf, type SecretProblem, secretProblem } from '../method.js';

/** Users of one listener: each new connection is compared with all of them. */
const MAX_USERS = 1_024;

const user = z.object({
  username: z.string().min(1).describe('The name in sessions and rules'),
  password: z.string().describe('Key of the user: base64 of as many random bytes as the cipher asks for'),
});

/** An entry of `listeners:` with `type: shadowsocks`. */
export const inboundConfig = z
  .object({
    listen: z
      .string()
      .refine((text) => listenHost(text) !== null, 'is no address to listen on; write an IP address of this machine, or "*" for all')
      .default('127.0.0.1')
      .describe('The address to listen on. "*" or 0.0.0.0 lets other machines in'),
    port: z.int().min(0).max(65535).describe('TCP and UDP. 0: any free port'),
    cipher: z.string().describe('As 2022-blake3-aes-256-gcm or aes-256-gcm'),
    password: z.string().default('').describe('A password; for a 2022 cipher the key in base64, which is the identity key where there are users'),
    users: z.array(user).max(MAX_USERS).default([]).describe('Users with keys of their own: 2022 ciphers with AES only'),
    udp: z.boolean().default(true).describe('Whether the port takes UDP too'),
    'allow-insecure-ciphers': z.boolean().default(false).describe('Lets in the stream ciphers, which protect nothing'),
  })
  .superRefine((config, context) => {
    for (const { path, message } of problemsOf(config)) context.addIssue({ code: 'custom', path, message });
  });

export type InboundConfig = z.infer<typeof inboundConfig>;

/** The address that `listen` means, null if none. */
export function listenHost(text: string): string | null {
  if (text === '*') return '::'; // a host without IPv6 gets 0.0.0.0 instead (core's TCP listeners)
  if (text === 'localhost') return '127.0.0.1';
  const host = normaliseHost(text);
  return host !== null && addressFamily(host) !== 0 ? host : null;
}

interface Issue {
  readonly path: (string | number)[];
  readonly message: string;
}

/** The texts go on behind the name of the key, and never repeat a password. */
function problemsOf(config: Pick<InboundConfig, 'cipher' | 'password' | 'users' | 'allow-insecure-ciphers'>): Issue[] {
  const { cipher, users, password } = config;
  const problem = serverProblem(config, password);
  if (problem !== null) return [{ path: [problem.key], message: problem.text }];
  if (users.length === 0) return [];
  const method = methodOf(cipher);
  if (method?.family !== '2022')
    return [{ path: ['users'], message: `need a 2022 cipher with AES; ${method?.name ?? cipher} knows one password only. Leave them out` }];
  if (method.cipher === '2022-blake3-chacha20-poly1305')
    return [{ path: ['users'], message: `need a cipher with AES: identity headers (SIP023) are not defined for ${method.name}. Use 2022-blake3-aes-256-gcm` }];
  return users.flatMap(({ username, password: own }, index): Issue[] => {
    const wrong = serverProblem(config, own);
    if (wrong !== null) return [{ path: ['users', index, 'password'], message: wrong.text }];
    const before = users.slice(0, index);
    if (before.some((other) => other.username === username)) return [{ path: ['users', index, 'username'], message: `"${username}" is there twice` }];
    if (before.some((other) => sameKey(other.password, own)) || sameKey(own, password))
      return [{ path: ['users', index, 'password'], message: 'another user, or the listener itself, has the same key: nobody could tell them apart' }];
    return [];
  });
}

function serverProblem(
  { cipher, 'allow-insecure-ciphers': allowInsecure }: Pick<InboundConfig, 'cipher' | 'allow-insecure-ciphers'>,
  password: string,
): SecretProblem | null {
  const problem = secretProblem({ cipher, password, allowInsecure });
  if (problem !== null || methodOf(cipher)?.family !== '2022' || !password.includes(':')) return problem;
  return { key: 'password', code: 'SS_KEY', text: 'must be one key: keys with ":" between them are what clients have. Those of users stand in "users"' };
}

function sameKey(one: string, other: string): boolean {
  return Buffer.from(one, 'base64').equals(Buffer.from(other, 'base64'));
}
