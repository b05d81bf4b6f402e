/** Links, one a line, and servers of SIP008, which are read by way of a link: what may come from elsewhere is decided in one place. */
import type { Registry } from '@nekit/core';
import { nameOf, schemeOf, uriParserFor } from '../proxy-uris.js';
import { type Draft, holdsLink, type Place, withoutTail } from './draft.js';
import { withInsecureCipher } from './insecure-cipher.js';
import { isRecord } from './inspect.js';

/** Where it listens, as Clash does. */
const PORT = 7890;
export const GROUP = 'Proxy';

/** A link and where it stands. */
export interface PlacedLink {
  readonly place: Place;
  readonly uri: string;
}

/** Of a list: the longest in use have some thousands. */
const MAX_LINES = 50_000;
/** Of a line. */
const MAX_LINKS = 1_000;

/** Between links that stand on one line. Names hold addresses of web pages, too. */
const BETWEEN = /[\s|,](?=(?!https?:)[a-z][a-z0-9+.-]{0,30}:\/\/)/i;

/** Lines that begin as comments do are none. Where there is but one line it has no number. */
export function linksOf(text: string, draft: Draft): PlacedLink[] {
  const lines = /[\r\n]/.test(text.trim()) ? text.split(/\r\n|[\r\n]/, MAX_LINES + 1) : [text];
  if (lines.length > MAX_LINES) draft.note(null, `only the first ${MAX_LINES} lines are read`);
  return lines
    .slice(0, MAX_LINES)
    .map((line, index) => ({ place: lines.length === 1 ? null : index + 1, text: line.trim() }))
    .filter(({ text: line }) => line !== '' && !/^(?:#|;|\/\/)/.test(line))
    .flatMap(({ place, text: line }) => {
      const uris = line.split(BETWEEN, MAX_LINKS + 1);
      if (uris.length > MAX_LINKS) draft.note(place, `only the first ${MAX_LINKS} links of the line are read`);
      return uris.slice(0, MAX_LINKS).map((uri) => ({ place, uri: withoutTail(uri) }));
    });
}

/** Schemes in the order of their appearance. */
export function schemesIn(links: readonly PlacedLink[]): string[] {
  return [...new Set(links.flatMap(({ uri }) => schemeOf(uri) ?? []))];
}

/** Each link an entry; all of them in a group to choose from, where everything goes. */
export function draftLinks(links: readonly PlacedLink[], draft: Draft, registry: Registry): void {
  draftList(draft, () => {
    const group = draft.claim(GROUP);
    for (const { place, uri } of links) addLink(uri, place, draft, registry);
    return group;
  });
}

/** A config around the proxies that `fill` adds; it gives the name for their group. */
export function draftList(draft: Draft, fill: () => string): void {
  draft.ports = { 'mixed-port': PORT };
  const group = fill();
  const members = draft.proxies.map(({ entry }) => ({ name: entry.name }));
  if (members.length === 0) return;
  draft.groups = [{ place: null, name: group, type: 'select', members }];
  draft.rules = [{ place: null, kind: 'MATCH', value: null, to: group, options: {}, comment: null }];
}

function addLink(uri: string, place: Place, draft: Draft, registry: Registry): void {
  const scheme = schemeOf(uri);
  if (scheme === null || !uri.slice(scheme.length).startsWith('://')) {
    draft.note(place, 'this is no link (scheme://…)');
    return;
  }
  const parser = uriParserFor(scheme, registry);
  if (parser === null) {
    draft.note(place, UNKNOWN.get(scheme) ?? `no loaded plugin takes ${scheme}:// links; is one missing in --plugins?`);
    return;
  }
  try {
    const told: string[] = [];
    const entry = parser.parse(uri, (what) => told.push(what));
    const wanted = nameOf(uri, entry) ?? scheme;
    const name = draft.claim(wanted);
    if (holdsLink(wanted)) draft.note(place, 'the name is cut off where a link or an address begins in it');
    for (const what of told) draft.note(place, what);
    draft.proxies.push({ place, ...withInsecureCipher({ name, ...entry }, place, draft) });
  } catch (error) {
    draft.note(place, `this ${scheme}:// link is left out: ${error instanceof Error ? error.message : String(error)}`);
  }
}

/** What is often among them. */
const UNKNOWN: ReadonlyMap<string, string> = new Map([
  [
    'ssr',
    'ssr:// is left out: ShadowsocksR is not supported (the protocol is dead); set the server to Shadowsocks with 2022-blake3-aes-256-gcm or aes-256-gcm',
  ],
  ['ss', 'ss:// is left out: the plugin for it is not installed'],
]);

/** Servers as SIP008 and the config files of Shadowsocks programs have them, as links. What is wrong with one is noted. */
export function linksOfServers(servers: readonly unknown[], draft: Draft): PlacedLink[] {
  if (servers.length > MAX_LINES) draft.note(null, `only the first ${MAX_LINES} servers are read`);
  return servers.slice(0, MAX_LINES).flatMap((server, index) => {
    const place = servers.length === 1 ? null : `server ${index + 1}`;
    try {
      return { place, uri: linkOf(server) };
    } catch (error) {
      draft.note(place, `the server is left out: ${error instanceof Error ? error.message : String(error)}`);
      return [];
    }
  });
}

/** Throws a plain Error. */
function linkOf(server: unknown): string {
  if (!isRecord(server)) throw new Error('it is not a set of keys');
  const host = textOf(server, 'server', 'address');
  const port = server.server_port ?? server.port;
  if (!/^[0-9]{1,5}$/.test(String(port))) throw new Error('"server_port" must be a port');
  const userInfo = `${encode(textOf(server, 'method'))}:${encode(textOf(server, 'password'))}`;
  const plugin = optional(server, 'plugin');
  const options = optional(server, 'plugin_opts', 'plugin_options');
  const query = plugin === '' ? '' : `/?plugin=${encode(options === '' ? plugin : `${plugin};${options}`)}`;
  const prefix = typeof server.prefix === 'string' && server.prefix !== '' ? `${query === '' ? '/?' : '&'}prefix=${encode(server.prefix)}` : '';
  const name = optional(server, 'remarks', 'name', 'tag');
  return `ss://${userInfo}@${host.includes(':') ? `[${host.replace(/^\[|\]$/g, '')}]` : encode(host)}:${String(port)}${query}${prefix}${name === '' ? '' : `#${encode(name)}`}`;
}

function textOf(server: Readonly<Record<string, unknown>>, ...keys: readonly [string, ...string[]]): string {
  for (const key of keys) {
    const value = server[key];
    if (typeof value === 'string') return value;
  }
  throw new Error(`"${keys[0]}" must be a text`);
}

function optional(server: Readonly<Record<string, unknown>>, ...keys: readonly string[]): string {
  for (const key of keys) {
    const value = server[key];
    if (typeof value === 'string' && value !== '') return value;
  }
  return '';
}

/** Halves of surrogate pairs, which JSON can say, are no characters. */
function encode(text: string): string {
  return encodeURIComponent(Buffer.from(text).toString());
}
