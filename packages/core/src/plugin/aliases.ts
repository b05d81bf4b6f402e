/** Short names of our own packages. Fixed here, so that no other package can claim them. */
const OWN_PACKAGES: Readonly<Record<string, string>> = {
  http: '@nekit/adapter-http',
  socks5: '@nekit/adapter-socks5',
  socks: '@nekit/adapter-socks5',
  ss: '@nekit/adapter-shadowsocks',
  shadowsocks: '@nekit/adapter-shadowsocks',
  tcp: '@nekit/stack-tcp',
  udp: '@nekit/stack-udp',
  dns: '@nekit/stack-dns',
  geoip: '@nekit/rule-geoip',
};

/** The package that a reserved alias stands for, or null. */
export function ownPackage(alias: string): string | null {
  return Object.hasOwn(OWN_PACKAGES, alias) ? (OWN_PACKAGES[alias] ?? null) : null;
}

/** Whether `packageName` may call itself `alias`. */
export function mayClaim(packageName: string, alias: string): boolean {
  const own = ownPackage(alias);
  return own === null || own === packageName;
}

export const OWN_ALIASES: readonly string[] = Object.keys(OWN_PACKAGES);
