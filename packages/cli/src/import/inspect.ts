/** What a text is, by its looks. */
import { type ConfigSource, parseConfig } from '@nekit/core';

export type Content =
  | { readonly kind: 'links'; readonly what: string; readonly text: string }
  | { readonly kind: 'servers'; readonly what: string; readonly servers: readonly unknown[]; readonly version: unknown }
  | { readonly kind: 'nekit'; readonly what: string; readonly source: ConfigSource }
  | { readonly kind: 'proxies'; readonly what: string; readonly source: ConfigSource }
  | { readonly kind: 'clash'; readonly what: string; readonly source: ConfigSource };

const LINK = /^[ \t]*[a-z][a-z0-9+.-]{0,30}:\/\/\S/im;

/** Keys at the top of Clash's configs of which one is there in each of them. */
const CLASH_KEYS = ['proxies', 'proxy-groups', 'proxy-providers', 'rules', 'rule-providers', 'mixed-port', 'socks-port', 'listeners', 'plugins', 'dns', 'tun'];

/** `label`: for the lines of problems. Throws a plain Error that says what it is not. */
export function inspect(text: string, label: string): Content {
  const body = text.replace(/^\ufeff/, '').trim();
  if (body === '') throw new Error(`${label} is empty`);
  const links = linksIn(body, text);
  if (links !== null) return links;
  const json = /^[{[]/.test(body) ? parseJson(body) : undefined;
  const servers = serversIn(json);
  if (servers !== null) return servers;
  if (isRecord(json) && Array.isArray(json.outbounds))
    throw new Error(`${label} is a config of sing-box or v2ray, which is not read; links (ss://…) of the same servers are`);
  const source = parseConfig(text, label);
  const { value } = source;
  const config = isRecord(value) ? kindOf(value, source) : null;
  // The first line of a list may look like a key ("Note: mine").
  if (config === null && LINK.test(body) && !/^[{[]/.test(body)) return { kind: 'links', what: 'a list of links', text };
  if (config === null)
    throw new Error(`${label} is nothing that is known: ${KNOWN}${source.problems.length > 0 && looksLikeYaml(body) ? problemOf(source) : ''}`);
  if (source.problems.length > 0) throw new Error(`${label} is ${config.what}, and cannot be read${problemOf(source)}`);
  return config;
}

const KNOWN = "links (ss://…), one a line or all of it in base64, SIP008 (JSON), NEKit's YAML and Clash's YAML are";

/** As text, or in base64 (with line breaks anywhere). */
function linksIn(body: string, text: string): Content | null {
  const first = body.split('\n', 1)[0] ?? '';
  if (LINK.test(first) || (LINK.test(body) && !looksLikeYaml(body) && !/^[{[]/.test(body))) return { kind: 'links', what: 'a list of links', text };
  const packed = body.replace(/\s+/g, '');
  if (!/^[A-Za-z0-9+/_-]+={0,2}$/.test(packed)) return null;
  const inside = Buffer.from(packed, 'base64').toString();
  return LINK.test(inside) ? { kind: 'links', what: 'a list of links in base64', text: inside } : null;
}

function looksLikeYaml(body: string): boolean {
  return /^[A-Za-z_$][\w-]*[ \t]*:(?:\s|$)/m.test(body);
}

function serversIn(json: unknown): Content | null {
  if (Array.isArray(json) && json.some(isServer)) return { kind: 'servers', what: 'a list of servers in JSON', servers: json, version: undefined };
  if (!isRecord(json)) return null;
  if (Array.isArray(json.servers)) return { kind: 'servers', what: 'a SIP008 document', servers: json.servers, version: json.version };
  if (Array.isArray(json.configs)) return { kind: 'servers', what: "a Shadowsocks program's list of servers", servers: json.configs, version: undefined };
  return isServer(json) ? { kind: 'servers', what: 'a Shadowsocks server in JSON', servers: [json], version: undefined } : null;
}

function isServer(value: unknown): boolean {
  return isRecord(value) && 'server' in value && 'server_port' in value;
}

function kindOf(value: Readonly<Record<string, unknown>>, source: ConfigSource): Content | null {
  if ('adapter' in value || ('rule' in value && !('rules' in value))) return { kind: 'nekit', what: "NEKit's config", source };
  // What a proxy-provider reads: it listens nowhere.
  if (Array.isArray(value.proxies) && Object.keys(value).length === 1) return { kind: 'proxies', what: "Clash's list of proxies", source };
  return CLASH_KEYS.some((key) => key in value) ? { kind: 'clash', what: "Clash's config", source } : null;
}

function problemOf(source: ConfigSource): string {
  const [problem] = source.problems;
  return problem === undefined ? '' : ` (line ${problem.line ?? '?'}: ${problem.message})`;
}

/** undefined: it is none. YAML may begin with a brace as well. */
function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
