/** What NEKit's users have in their files from ShadowsocksR and from other programs, and what to use instead. */

/** Names of SSR's protocols and obfuscations, and of Shadowsocks' one-time auth before AEAD. */
const SSR: ReadonlySet<string> = new Set([
  ...['verify_simple', 'verify_sha1', 'verify_deflate', 'ota', 'auth_simple'],
  ...['auth_sha1', 'auth_sha1_v2', 'auth_sha1_v4', 'auth_aes128_md5', 'auth_aes128_sha1'],
  ...['auth_chain_a', 'auth_chain_b', 'auth_chain_c', 'auth_chain_d', 'auth_chain_e', 'auth_chain_f'],
  ...['http_simple', 'http_post', 'random_head', 'tls_simple', 'tls1.0_session_auth', 'tls1.2_ticket_auth', 'tls1.2_ticket_fastauth'],
]);

/** "No obfuscation", which changes nothing. */
const NOTHING: ReadonlySet<string> = new Set(['', 'origin', 'plain', 'none']);

const INSTEAD = 'Use aes-256-gcm or 2022-blake3-aes-256-gcm on both sides';

/** Ciphers that other programs have or had, by patterns of their names. */
const OTHER_CIPHERS: readonly (readonly [RegExp, string])[] = [
  [/-auth$/, `is one-time auth, which Shadowsocks gave up because it does not protect. ${INSTEAD}`],
  [/^2022-blake3-chacha(?:8|12)-poly1305$/, 'is an optional method that hardly any server has. Use 2022-blake3-chacha20-poly1305 on both sides'],
  [
    /^(?:table|rc4|rc4-md5-6|bf-|cast5-|des-|idea-|rc2-|seed-|camellia-|salsa20-ctr|xsalsa20|xchacha20$|aes-\d+-(?:cfb1|cfb8|ofb))/,
    `is a broken cipher of the past. ${INSTEAD}`,
  ],
  [/^(?:aes-\d+-(?:ccm|ocb|gcm-siv)|aegis-|rabbit128-|lea-|sm4-|ascon)/, `is no cipher of the Shadowsocks specifications. ${INSTEAD}`],
];

/** Why a well-known name is no cipher here; null: nobody knows the name. */
export function whyRefused(cipher: string): string | null {
  const name = cipher.toLowerCase();
  if (SSR.has(name)) return `${name} belongs to ShadowsocksR, which is dead and was never secure; it is no cipher. ${INSTEAD}`;
  const known = OTHER_CIPHERS.find(([pattern]) => pattern.test(name));
  if (known === undefined) return null;
  return `${name} ${known[1]}`;
}

/** Of the keys `protocol` and `obfs`, which Shadowsocks has not. null: it says "none", which is what there is. */
export function whyNotSsr(key: 'protocol' | 'obfs', value: string): string | null {
  const name = value.toLowerCase();
  if (NOTHING.has(name)) return null;
  if (key === 'obfs' && (name === 'http' || name === 'tls')) return `is written as a plugin: plugin: obfs, plugin-opts: { mode: ${name}, host: … }`;
  const instead = key === 'protocol' ? `${INSTEAD} and leave this out` : 'Leave it out, or use a plugin that the server has too: obfs or v2ray-plugin';
  return `belongs to ShadowsocksR, which is dead and was never secure. ${instead}`;
}
