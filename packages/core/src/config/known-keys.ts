/** What Clash and mihomo files hold that we know and do not support (yet): told apart from a slip of the pen. */

/** Top-level keys. */
export const LATER_KEYS: ReadonlySet<string> = new Set([
  ...['profile', 'proxy-providers', 'external-controller', 'secret'],
  ...[
    'external-controller-tls',
    'external-controller-unix',
    'external-controller-pipe',
    'external-controller-cors',
    'external-ui',
    'external-ui-url',
    'external-ui-name',
  ],
  ...[
    'external-doh-server',
    'redir-port',
    'tproxy-port',
    'tunnels',
    'ntp',
    'tls',
    'geodata-mode',
    'geodata-loader',
    'geo-auto-update',
    'geo-update-interval',
    'geox-url',
  ],
  ...[
    'geosite-matcher',
    'find-process-mode',
    'unified-delay',
    'tcp-concurrent',
    'keep-alive-interval',
    'keep-alive-idle',
    'disable-keep-alive',
    'experimental',
  ],
  ...[
    'global-client-fingerprint',
    'global-ua',
    'etag-support',
    'iptables',
    'ebpf',
    'inbound-tfo',
    'inbound-mptcp',
    'tuic-server',
    'ss-config',
    'vmess-config',
    'clash-for-android',
  ],
  ...['script', 'cfw-bypass', 'cfw-latency-timeout', 'proxy-provider', 'rule-provider'],
]);

/** Keys of any proxy. */
export const LATER_PROXY_KEYS: ReadonlySet<string> = new Set([
  ...['udp', 'ip-version', 'tfo', 'mptcp', 'smux', 'udp-over-tcp', 'udp-over-tcp-version', 'client-fingerprint', 'plugin', 'plugin-opts', 'ech-opts'],
  ...['fingerprint', 'alpn', 'headers', 'sni', 'skip-cert-verify'],
]);

/** For dashboards: they say nothing about connections. */
export const IGNORED_GROUP_KEYS: ReadonlySet<string> = new Set(['hidden', 'icon']);

/** Keys of groups; some types have some of them. */
export const LATER_GROUP_KEYS: ReadonlySet<string> = new Set([
  ...[
    'use',
    'url',
    'interval',
    'lazy',
    'timeout',
    'max-failed-times',
    'disable-udp',
    'tolerance',
    'strategy',
    'filter',
    'exclude-filter',
    'exclude-type',
    'expected-status',
  ],
  ...['include-all', 'include-all-proxies', 'include-all-providers', 'default-selected', 'empty-fallback'],
]);

export const LATER_LISTENER_KEYS: ReadonlySet<string> = new Set([
  ...['udp', 'proxy', 'rule', 'tls', 'certificate', 'private-key', 'network', 'target'],
  // Of Clash's and mihomo's TUN.
  ...['auto-redirect', 'dns-hijack', 'route-address-set', 'route-exclude-address-set'],
  ...['include-interface', 'exclude-interface', 'include-uid', 'include-uid-range', 'exclude-uid', 'exclude-uid-range', 'include-package', 'exclude-package'],
  ...['include-android-user', 'endpoint-independent-nat', 'udp-timeout', 'gso-max-size'],
]);

/** Keys that may be shown when the text around them is broken: anything else could be a part of a secret. */
export const SHOWN_KEYS: ReadonlySet<string> = new Set([
  ...[
    'plugins',
    'port',
    'socks-port',
    'mixed-port',
    'allow-lan',
    'bind-address',
    'authentication',
    'skip-auth-prefixes',
    'lan-allowed-ips',
    'lan-disallowed-ips',
    'listeners',
    'mode',
  ],
  ...[
    'log-level',
    'ipv6',
    'interface-name',
    'routing-mark',
    'tun',
    'hosts',
    'dns',
    'geodata',
    'sniffer',
    'proxies',
    'proxy-groups',
    'rules',
    'sub-rules',
    'rule-providers',
    'behavior',
    'format',
    'path',
    'interval',
    'proxy',
    'size-limit',
    'payload',
    'max-connections',
    'timeouts',
    'name',
    'type',
    'dialer-proxy',
    'listen',
    'users',
    'to',
    'value',
    'server',
  ],
  ...[
    'cipher',
    'username',
    'password',
    'delays',
    'ca',
    'headers',
    ...LATER_KEYS,
    ...LATER_PROXY_KEYS,
    ...LATER_GROUP_KEYS,
    ...IGNORED_GROUP_KEYS,
    ...LATER_LISTENER_KEYS,
  ],
]);

/** Keys whose whole value is secret, in Clash files and in the plugins we know. */
export const SECRET_KEYS: ReadonlySet<string> = new Set([
  'password',
  'passwd',
  'secret',
  'authentication',
  'users',
  'user-password',
  'auth',
  'auth-str',
  'auth_str',
  'psk',
  'pre-shared-key',
  'private-key',
  'private-key-passphrase',
  'uuid',
  'token',
  'key',
  'headers',
  'header',
  'obfs-password',
  'reality-opts',
]);

/** Rule kinds of Clash and mihomo that we have not, or whose plugin may not be loaded. */
export const LATER_RULES: ReadonlySet<string> = new Set(['SCRIPT', 'DSCP', 'SRC-MAC', 'SCHEDULE', 'DOMAIN-SET', 'USER-AGENT', 'URL-REGEX']);

/** Types that a plugin of ours brings: its alias and its package. */
const OURS = {
  http: ['http', '@nekit/adapter-http'],
  https: ['http', '@nekit/adapter-http'],
  socks: ['socks5', '@nekit/adapter-socks5'],
  socks5: ['socks5', '@nekit/adapter-socks5'],
  ss: ['ss', '@nekit/adapter-shadowsocks'],
  shadowsocks: ['ss', '@nekit/adapter-shadowsocks'],
  GEOIP: ['geoip', '@nekit/rule-geoip'],
  'SRC-GEOIP': ['geoip', '@nekit/rule-geoip'],
  'IP-ASN': ['geoip', '@nekit/rule-geoip'],
  'SRC-IP-ASN': ['geoip', '@nekit/rule-geoip'],
  COUNTRY: ['geoip', '@nekit/rule-geoip'],
  dns: ['dns', '@nekit/stack-dns'],
} as const satisfies Readonly<Record<string, readonly [alias: string, npm: string]>>;

/** How to come by a type or rule kind that one of our plugins has, or null. */
export function adviceFor(type: string): string | null {
  const entry = Object.entries(OURS).find(([known]) => known === type);
  if (entry === undefined) return null;
  const [alias, npm] = entry[1];
  return `it comes with a plugin: npm install ${npm}, and add "${alias}" to plugins`;
}
