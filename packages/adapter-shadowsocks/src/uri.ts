/**
 * `ss://` links. Read first: SIP002, and SIP022 for the methods whose keys are written out.
 *
 *   ss://BASE64URL(method:password)@host:port[/][?plugin=name;options][#name]    padded or not, either alphabet
 *   ss://method:password@host:port…                                              percent-encoded; keys of 2022 methods are joined by colons
 *   ss://BASE64(method:password@host:port)[#name]                                the form before SIP002
 *
 * Errors never repeat a part of the link that may be the secret, also when the parts are not where they belong.
 */
import { base64Text, closest, normaliseHost, parsePort } from '@nekit/core';
import { METHODS, methodOf } from './method.js';
import { pluginFromUri, pluginToUri } from './plugin/plugin-uri.js';
import { splitPlugin } from './plugin/sip003-options.js';
import { whyRefused } from './refused-names.js';

/** Characters. The longest part are the options of a plugin; a certificate may be among them. */
const MAX_LINK = 64 * 1024;

/** Hears what a link holds and the entry does not, one sentence each. */
export type Tell = (what: string) => void;

/**
 * A link as an entry of `proxies:`, without `name` (which is the fragment). Throws a plain Error. Parameters that are not known have no effect, as
 * SIP002 wants it; `tell` hears of them.
 */
export function parseSsUri(uri: string, tell: Tell = () => undefined): Record<string, unknown> {
  if (uri.length > MAX_LINK) throw new Error(`a link has at most ${MAX_LINK} characters`);
  if (!/^ss:\/\//i.test(uri)) throw new Error('a link of this kind starts with ss://');
  const [link] = cut(uri.slice('ss://'.length), '#');
  const [authority, query] = cut(link.trim(), '?');
  const { method, password, server, port } = authority.includes('@') ? withAuthority(authority) : legacy(authority);
  // UDP is a matter of the server, and all of them have it unless they were told otherwise.
  const entry: Record<string, unknown> = { type: 'ss', server, port, cipher: method, password, udp: true };
  for (const parameter of query.split('&')) if (parameter !== '') take(parameter, entry, tell);
  return entry;
}

interface Server {
  readonly method: string;
  readonly password: string;
  readonly server: string;
  readonly port: number;
}

const FORMS = 'write ss://BASE64(method:password)@host:port, or method:password with every special character percent-encoded';

function withAuthority(authority: string): Server {
  const at = authority.lastIndexOf('@');
  const [userInfo, address] = [authority.slice(0, at), authority.slice(at + 1)];
  // Base64 has no colon.
  const plain = userInfo.indexOf(':');
  if (plain !== -1) {
    const [method, password] = [userInfo.slice(0, plain), userInfo.slice(plain + 1)].map((part) => decode(part, 'method or password'));
    return { ...credentials(method ?? '', password ?? ''), ...addressOf(address) };
  }
  const text = decode(userInfo, 'part before the "@"');
  return { ...methodAndPassword(text.includes(':') ? text : base64Text(text)), ...addressOf(address) };
}

/** `method:password@host:port` in base64: the password may hold both signs. */
function legacy(authority: string): Server {
  const text = decode(authority, 'link');
  const inside = base64Text(text) ?? base64Text(text.replace(/\/$/, ''));
  const at = inside?.lastIndexOf('@') ?? -1;
  if (inside === null || at === -1) throw new Error(`the link is neither of the form that SIP002 gives it nor of the old one: ${FORMS}`);
  return { ...methodAndPassword(inside.slice(0, at)), ...addressOf(inside.slice(at + 1)) };
}

function methodAndPassword(text: string | null): Pick<Server, 'method' | 'password'> {
  const colon = text?.indexOf(':') ?? -1;
  if (text === null || colon === -1) throw new Error(`what stands before the "@" is no method and password: ${FORMS}`);
  return credentials(text.slice(0, colon), text.slice(colon + 1));
}

function credentials(name: string, password: string): Pick<Server, 'method' | 'password'> {
  const method = methodOf(name.trim());
  if (method !== null) return { method: method.name, password };
  const refused = whyRefused(name.trim());
  if (refused !== null) throw new Error(refused);
  // Not repeated: what is no method may be half of a password that was not encoded.
  const guess = closest(name.trim(), METHODS.keys());
  throw new Error(`there is no such method${guess === null ? `: ${FORMS}` : `. Did you mean ${guess}?`}`);
}

/** `host:port`, IPv6 in brackets; old programs leave the brackets out. */
function addressOf(text: string): Pick<Server, 'server' | 'port'> {
  const address = text.endsWith('/') ? text.slice(0, -1) : text;
  const colon = address.lastIndexOf(':');
  const port = colon === -1 ? null : parsePort(address.slice(colon + 1));
  const server = colon === -1 ? null : normaliseHost(decode(address.slice(0, colon), 'host'));
  if (port === null || port === 0) throw new Error('the link has no port (1 to 65535) behind its host');
  if (server === null) throw new Error('the host of the link is neither an address (IPv6 in brackets) nor a name');
  return { server, port };
}

/** Parameters that other programs write, by what becomes of the server without them. */
const FOREIGN: ReadonlyMap<string, string> = new Map([
  ['prefix', '"prefix" (a disguise of the first bytes, from Outline) is not supported and is left out: the server works without it, networks may not'],
  ...['type', 'security', 'shadow-tls', 'v2ray-plugin', 'obfs', 'plugin-opts', 'plugin_opts', 'headerType'].map((key): [string, string] => [
    key,
    `the parameter "${key}" is not supported and is left out: the server may not be reachable without it`,
  ]),
  ...['group', 'remarks', 'name', 'udp', 'tfo', 'fast-open', 'mptcp', 'mux', 'sni', 'path', 'host', 'encryption', 'url-name', 'uuid'].map(
    (key): [string, string] => [key, `the parameter "${key}" has no effect here`],
  ),
]);

function take(parameter: string, entry: Record<string, unknown>, tell: Tell): void {
  const [name, raw] = cut(parameter, '=');
  const key = decode(name, 'parameters');
  const value = decode(raw, 'parameters');
  if (key === 'plugin') takePlugin(value, entry, tell);
  else if (key === 'uot' || key === 'udp-over-tcp') {
    if (!/^(?:0|1|2|true|false)$/.test(value)) throw new Error(`the parameter "${key}" is 1 (or true), 2, or 0`);
    if (value === '0' || value === 'false') return;
    entry['udp-over-tcp'] = true;
    if (value === '2') entry['udp-over-tcp-version'] = 2;
  } else if (key !== 'outline') tell(FOREIGN.get(key) ?? 'a parameter that is not known has no effect here'); // behind a "?" of a password it may be anything
}

function takePlugin(text: string, entry: Record<string, unknown>, tell: Tell): void {
  if (text === '') return;
  const { name, options } = splitPlugin(text);
  if (name === '' || name === 'none') return;
  const { plugin, 'plugin-opts': opts, ignored } = pluginFromUri(name, options);
  entry.plugin = plugin;
  entry['plugin-opts'] = opts;
  if (ignored.length > 0) tell(`plugin options that have no effect here: ${ignored.join(', ')}`);
}

/** Methods of SIP022: their links must not be in base64. */
const WRITTEN_OUT = '2022-';

/**
 * An entry as a link that `parseSsUri` reads as the same: server, port, cipher, password, plugin, UDP over TCP, and the name as the fragment. Throws a
 * plain Error when a link cannot say it.
 */
export function ssUri(entry: Readonly<Record<string, unknown>>): string {
  const { server, port, cipher, password, plugin, name } = entry;
  if (typeof server !== 'string' || typeof port !== 'number' || typeof cipher !== 'string' || typeof password !== 'string')
    throw new Error('a link needs server, port, cipher and password');
  const method = cipher.toLowerCase();
  const userInfo = method.startsWith(WRITTEN_OUT)
    ? `${encode(method)}:${password.split(':').map(encode).join(':')}`
    : Buffer.from(`${method}:${password}`).toString('base64url');
  const parameters: string[] = [];
  if (typeof plugin === 'string' && plugin !== '') parameters.push(`plugin=${encode(pluginText(plugin, entry['plugin-opts']))}`);
  if (entry['udp-over-tcp'] === true) parameters.push(`uot=${entry['udp-over-tcp-version'] === 2 ? 2 : 1}`);
  const query = parameters.length === 0 ? '' : `/?${parameters.join('&')}`;
  const fragment = typeof name === 'string' && name !== '' ? `#${encode(name)}` : '';
  return `ss://${userInfo}@${server.includes(':') ? `[${server}]` : server}:${port}${query}${fragment}`;
}

function pluginText(plugin: string, given: unknown): string {
  const opts = typeof given === 'object' && given !== null ? Object.fromEntries(Object.entries(given)) : {};
  const text = pluginToUri(plugin, opts);
  if (text === null) throw new Error('a link cannot say this plugin with these options');
  return text;
}

/** As far as the sign, and what is behind it; '' if there is none. */
function cut(text: string, sign: string): [before: string, behind: string] {
  const at = text.indexOf(sign);
  return at === -1 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)];
}

function encode(text: string): string {
  // A half of a surrogate pair is no character, and has no encoding.
  return encodeURIComponent(Buffer.from(text).toString());
}

function decode(text: string, what: string): string {
  try {
    return decodeURIComponent(text);
  } catch (error) {
    // Its message quotes nothing, but a cause would be printed with the stack.
    throw new Error(`the ${what} of the link: the percent-encoding is broken (a "%" by itself is written %25)`, { cause: nameOf(error) });
  }
}

function nameOf(error: unknown): string {
  return error instanceof Error ? error.name : typeof error;
}
