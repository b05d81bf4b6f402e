/** What `--tun` adds to a config: exactly what could stand in the file. */
import type { Overrides, Registry } from '@nekit/core';
import { UsageError } from './failure.js';

/** Under the keys of the file's own `tun:`. */
const TUN = {
  enable: true,
  'auto-route': true,
  'auto-detect-interface': true,
  'dns-hijack': ['any:53'],
};

/** The gateway's own addresses are the first of each range. */
const FAKE_IPS = {
  enable: true,
  ipv6: true,
  'enhanced-mode': 'fake-ip',
  'fake-ip-range': '198.18.0.1/16',
  'fake-ip-range6': 'fdfe:dcba:9876::1/64',
};

/**
 * Asked through the proxy for what has no fake address (TXT, MX, SRV and the like): the system's own servers are mostly those of the network around, which must not see
 * such names, and which the proxy cannot reach. By TCP, as not every proxy carries UDP.
 */
const PUBLIC_SERVERS = ['1.1.1.1', '8.8.8.8'];

export interface TunSurroundings {
  /** What the file has; null: there is no file. */
  readonly file: Readonly<Record<string, unknown>> | null;
  /** The name of the first `--proxy`. */
  readonly proxy: string | null;
  readonly registry: Registry;
  /** Of `--plugins`. */
  readonly plugins: readonly string[];
}

/** Throws UsageError where a plugin is missing. */
export function tunOverrides({ file, proxy, registry, plugins }: TunSurroundings): Required<Pick<Overrides, 'set' | 'within'>> {
  const missing = missingPlugins(file, registry);
  if (missing.length > 0) throw new UsageError(advice(missing, plugins));
  const hasDns = registry.sections.get('dns') !== undefined;
  return {
    set: hasDns && (file?.dns ?? null) === null ? { dns: dnsSection(proxy) } : {},
    within: { tun: { set: { enable: true }, defaults: TUN } },
  };
}

/** With a file it is the file's affair which stacks there are, as long as there is one. */
function missingPlugins(file: Readonly<Record<string, unknown>> | null, registry: Registry): string[] {
  const loaded = registry.stacks.entries().map(([type]) => type);
  if (file !== null) return loaded.length === 0 ? ['tcp'] : [];
  return ['tcp', 'dns'].filter((type) => !loaded.includes(type));
}

function advice(missing: readonly string[], plugins: readonly string[]): string {
  const packages = missing.map((type) => `@nekit/stack-${type}`).join(' ');
  return `--tun needs the plugin${missing.length === 1 ? '' : 's'} ${missing.join(' and ')}: --plugins ${[...plugins, ...missing].join(',')} (what is not there comes by: npm install ${packages})`;
}

function dnsSection(proxy: string | null): Record<string, unknown> {
  if (proxy === null) return { ...FAKE_IPS, nameserver: ['system'] };
  const through = proxy.replace(/[%&=\s]/gu, (char) => encodeURIComponent(char));
  return {
    ...FAKE_IPS,
    nameserver: PUBLIC_SERVERS.map((server) => `tcp://${server}#${through}`),
    'proxy-server-nameserver': ['system'],
    'direct-nameserver': ['system'],
  };
}
