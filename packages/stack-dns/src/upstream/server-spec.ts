/** `nameserver:` entries, as Clash writes them: `1.1.1.1`, `udp://`, `tcp://`, `tls://`, `https://…`, `system`, `rcode://success`; behind `#` an adapter and settings. */
import { addressFamily, type Endpoint, normaliseHost, parseEndpoint } from '@nekit/core';
import { RCODE_NAMES } from '../wire/message.js';

export type Transport = 'udp' | 'tcp' | 'tls' | 'https' | 'system' | 'rcode' | 'other';

export interface ServerSpec {
  /** As it was written: the name in messages. */
  readonly text: string;
  readonly transport: Transport;
  /** Of `system` and `rcode` there is none. */
  readonly endpoint: Endpoint | null;
  /** Of `other`, which a plugin knows: the scheme, and what stands behind it. */
  readonly scheme: string;
  readonly address: string;
  /** Of DoH. */
  readonly url: URL | null;
  readonly rcode: number;
  /** The adapter that it is asked through; null: directly. */
  readonly adapter: string | null;
  readonly skipVerify: boolean;
  readonly sni: string | null;
  readonly ca: string | null;
  readonly fingerprint: string | null;
  /** Names have no addresses of these families here. */
  readonly without4: boolean;
  readonly without6: boolean;
  /** What has no effect, for warnings. */
  readonly ignored: readonly string[];
}

const PORTS: Readonly<Record<string, number>> = { udp: 53, tcp: 53, tls: 853, https: 443 };

/** Known elsewhere, without an effect here. */
const LATER: ReadonlySet<string> = new Set(['h3', 'ecs', 'ecs-override', 'disable-qtype-65']);

/** Of other resolvers, with what to write instead. */
const ELSEWHERE: Readonly<Record<string, string>> = {
  quic: 'DNS over QUIC is not supported: write tls:// or https://',
  h3: 'DNS over HTTP/3 is not supported: write https://',
  dhcp: 'servers from DHCP are not supported: write system',
  'dhcp://system': 'write system',
  http: 'DNS over plain HTTP is not supported: write https://',
  sdns: 'DNSCrypt is not supported',
};

/** Throws a plain Error that says what is wrong. */
export function parseServer(text: string): ServerSpec {
  const [address = '', ...rest] = text.trim().split('#');
  const settings = settingsOf(rest.join('#'));
  const common = { text, url: null, endpoint: null, rcode: 0, scheme: '', address: '', ...settings };
  if (/^system(?::\/\/)?$/i.test(address)) return { ...common, transport: 'system' };
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(address)?.[1]?.toLowerCase() ?? 'udp';
  const behind = address.replace(/^[a-z][a-z0-9+.-]*:\/\//i, '');
  if (scheme === 'rcode') {
    const rcode = RCODE_NAMES[behind.toLowerCase()];
    if (rcode === undefined) throw new Error(`"${text}" names no answer: it is one of ${Object.keys(RCODE_NAMES).join(', ')}`);
    return { ...common, transport: 'rcode', rcode };
  }
  const port = PORTS[scheme];
  if (port === undefined) {
    if (ELSEWHERE[scheme] !== undefined) throw new Error(ELSEWHERE[scheme]);
    return { ...common, transport: 'other', scheme, address: behind };
  }
  if (scheme === 'https') return { ...common, transport: 'https', ...httpsOf(text, address) };
  const endpoint = parseEndpoint(behind.replace(/\/$/, ''), port);
  if (endpoint === null || endpoint.port === 0)
    throw new Error(`"${text}" is no name server: write 192.0.2.53, tls://dns.example or https://dns.example/dns-query`);
  return { ...common, transport: scheme === 'tcp' || scheme === 'tls' ? scheme : 'udp', endpoint };
}

function httpsOf(text: string, address: string): Pick<ServerSpec, 'endpoint' | 'url'> {
  if (!URL.canParse(address)) throw new Error(`"${text}" is no URL: write https://dns.example/dns-query`);
  const url = new URL(address);
  const host = normaliseHost(url.hostname);
  if (host === null) throw new Error(`"${text}" names a host that cannot be one`);
  if (url.username !== '' || url.password !== '') throw new Error('a name server has no user and password in its URL');
  return { url, endpoint: { host, port: url.port === '' ? 443 : Number(url.port) } };
}

type Settings = Pick<ServerSpec, 'adapter' | 'skipVerify' | 'sni' | 'ca' | 'fingerprint' | 'without4' | 'without6' | 'ignored'>;

/** `home&skip-cert-verify=true`: what has no "=" is the adapter. */
function settingsOf(text: string): Settings {
  let adapter: string | null = null;
  const values = new Map<string, string>();
  for (const part of text.split('&')) {
    const equals = part.indexOf('=');
    if (part === '') continue;
    if (equals === -1) adapter = decode(part);
    else values.set(part.slice(0, equals), decode(part.slice(equals + 1)));
  }
  const yes = (key: string): boolean => values.get(key) === 'true';
  const known = ['skip-cert-verify', 'sni', 'ca', 'fingerprint', 'disable-ipv4', 'disable-ipv6'];
  const unknown = [...values.keys()].find((key) => !known.includes(key) && !LATER.has(key));
  if (unknown !== undefined) throw new Error(`"${unknown}" is no setting of a name server: there are ${known.join(', ')}`);
  return {
    adapter,
    skipVerify: yes('skip-cert-verify'),
    sni: values.get('sni') ?? null,
    ca: values.get('ca') ?? null,
    fingerprint: values.get('fingerprint') ?? null,
    without4: yes('disable-ipv4'),
    without6: yes('disable-ipv6'),
    ignored: [...values.keys()].filter((key) => LATER.has(key)),
  };
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch (error) {
    if (error instanceof URIError) return text; // a name with a "%" in it
    throw error;
  }
}

/** Whether a server can be asked without knowing any name. */
export function isPlain({ endpoint, transport }: ServerSpec): boolean {
  return endpoint === null ? transport !== 'https' : addressFamily(endpoint.host) !== 0;
}
