/**
 * The keys `plugin`, `plugin-opts` and `plugin-external` of an entry: what they may hold, and which plugin they ask for. What Clash's files hold keeps
 * its meaning; new are the options as SIP003's text, `path` of obfs, `sni` and `ca` of v2ray-plugin, and programs.
 */
import { validateHeaderName, validateHeaderValue } from 'node:http';
import { closest, tlsKeys } from '@nekit/core';
import { z } from 'zod';
import { mapOptions } from './plugin-uri.js';
import { asTheUserWrote } from './printable.js';
import { findProgram, looksLikePath } from './process/find-program.js';
import { builtInPlugin, formatOptions, parseOptions } from './sip003-options.js';

const { sni, 'skip-cert-verify': skipCertVerify, fingerprint, ca } = tlsKeys;

/** All keys of all built-in plugins; which of them belong to which is checked by `choosePlugin`. */
const pluginOptions = z.object({
  mode: z.string().optional().describe('obfs: http or tls; v2ray-plugin: websocket'),
  host: z.string().max(255).optional().describe('Name to ask for; it is seen by whoever watches'),
  path: z.string().max(2048).optional().describe('Path to ask for, begins with "/"'),
  tls: z.boolean().optional().describe('v2ray-plugin: speak TLS with the server'),
  sni,
  'skip-cert-verify': skipCertVerify.optional(),
  fingerprint,
  ca,
  headers: z.record(z.string(), z.string()).optional().describe('v2ray-plugin: more header fields of the request'),
  mux: z.boolean().optional().describe('v2ray-plugin: false if the server was started with mux=0; default: true'),
  'v2ray-http-upgrade': z.boolean().optional(),
  'v2ray-http-upgrade-fast-open': z.boolean().optional(),
});

/** Spread them into the schema of an entry, and call `checkPlugin` in its `superRefine`. */
export const pluginKeys = {
  plugin: z.string().max(4096).optional().describe('obfs, v2ray-plugin (built in), or the name or path of a SIP003 program'),
  'plugin-opts': z
    .union([z.string(), pluginOptions])
    .optional()
    .describe('Options of the plugin, as keys or as SIP003 text ("obfs=http;obfs-host=example.com")'),
  'plugin-external': z.boolean().default(false).describe('Start the program of this name even if the plugin is built in'),
};

export type PluginOptions = z.infer<typeof pluginOptions>;

/** The part of an entry that says how its server is reached. */
export interface LinkConfig {
  readonly server: string;
  readonly port: number;
  readonly plugin?: string | undefined;
  readonly 'plugin-opts'?: string | PluginOptions | undefined;
  readonly 'plugin-external'?: boolean | undefined;
}

export type PluginChoice =
  | { readonly kind: 'none' }
  | { readonly kind: 'obfs'; readonly mode: 'http' | 'tls'; readonly host: string; readonly path: string; readonly ignored: readonly string[] }
  | {
      readonly kind: 'websocket';
      readonly host: string;
      readonly path: string;
      readonly headers: Readonly<Record<string, string>>;
      readonly mux: boolean;
      readonly tls: WebSocketTls | null;
    }
  | { readonly kind: 'program'; readonly name: string; readonly program: string; readonly options: string };

export interface WebSocketTls {
  readonly server: string;
  readonly tls: true;
  readonly sni: string;
  readonly 'skip-cert-verify': boolean;
  readonly fingerprint?: string | undefined;
  readonly ca?: string | undefined;
}

/** What is wrong with an entry, and at which of its keys. */
export interface PluginProblem {
  readonly path: readonly [string, ...string[]];
  readonly message: string;
  /** The entry is right, and asks for what is not here. */
  readonly unsupported: boolean;
}

/** Plugins of Clash's files that are not here. */
const UNSUPPORTED: ReadonlyMap<string, string> = new Map([
  ['shadow-tls', 'it needs a TLS handshake of its own making, which Node does not offer'],
  ['restls', 'it needs a TLS handshake of its own making, which Node does not offer'],
  ['kcptun', 'it is not built in; its program can be started with "plugin-external: true"'],
  ['gost-plugin', 'it is not built in; its program can be started with "plugin-external: true"'],
]);

/** Obfuscations of ShadowsocksR. */
const SSR: ReadonlySet<string> = new Set([
  ...['http_simple', 'http_post', 'random_head', 'tls_simple', 'tls1.0_session_auth', 'tls1.2_ticket_auth', 'tls1.2_ticket_fastauth', 'verify_sha1'],
]);

/** Clash's default. */
const DEFAULT_HOST = 'bing.com';

const KNOWN = 'built in are obfs and v2ray-plugin; another name is a SIP003 program on the PATH, or its path';

/** For `superRefine`: `for (const { path, message } of checkPlugin(config)) context.addIssue({ code: 'custom', path: [...path], message })`. */
export function checkPlugin(config: LinkConfig): readonly PluginProblem[] {
  const chosen = choosePlugin(config);
  return 'problem' in chosen && !chosen.problem.unsupported ? [chosen.problem] : [];
}

/** Why a plugin that `checkPlugin` has nothing to say about is none of ours; null: it is one. */
export function unsupportedPlugin(config: LinkConfig): PluginProblem | null {
  const chosen = choosePlugin(config);
  return 'problem' in chosen && chosen.problem.unsupported ? chosen.problem : null;
}

/** The plugin that an entry asks for, or the first thing that is wrong. Looks on the disk only for a program. */
export function choosePlugin(config: LinkConfig): { readonly plugin: PluginChoice } | { readonly problem: PluginProblem } {
  try {
    return { plugin: choose(config) };
  } catch (error) {
    if (error instanceof Problem) return { problem: { path: error.path, message: error.message, unsupported: error instanceof Unsupported } };
    // What the parsers of SIP003's text say.
    return { problem: { path: ['plugin-opts'], message: error instanceof Error ? error.message : String(error), unsupported: false } };
  }
}

class Problem extends Error {
  readonly path: PluginProblem['path'];
  constructor(path: PluginProblem['path'], message: string) {
    super(message);
    this.path = path;
  }
}

class Unsupported extends Problem {}

function choose(config: LinkConfig): PluginChoice {
  const { plugin: name = '', 'plugin-opts': given, 'plugin-external': external = false } = config;
  if (name === '') {
    if (external) throw new Problem(['plugin-external'], 'needs the name of the program in "plugin"');
    if (given !== undefined && Object.keys(given).length > 0) throw new Problem(['plugin'], 'is missing: "plugin-opts" are the options of a plugin');
    return { kind: 'none' };
  }
  if (SSR.has(name.toLowerCase())) {
    throw new Unsupported(
      ['plugin'],
      `"${name}" belongs to ShadowsocksR, which is dead and was never secure; use the plugin obfs or v2ray-plugin, on the server too`,
    );
  }
  const builtIn = builtInPlugin(name);
  if (builtIn === null && !external && UNSUPPORTED.has(name)) throw new Unsupported(['plugin'], `"${name}" is not supported: ${UNSUPPORTED.get(name)}`);
  if (builtIn === null || external) return chooseProgram(name, given, external);
  const options = typeof given === 'string' ? pluginOptions.parse(mapOptions(builtIn, parseOptions(given))['plugin-opts']) : (given ?? {});
  return builtIn === 'obfs' ? chooseObfs(options) : chooseWebSocket(config, options);
}

function chooseProgram(name: string, given: string | PluginOptions | undefined, external: boolean): PluginChoice {
  const program = findProgram(name);
  if (program === null) {
    if (looksLikePath(name)) throw new Problem(['plugin'], `"${asTheUserWrote(name)}" is no program that can be run`);
    const guess = closest(name, ['obfs', 'obfs-local', 'simple-obfs', 'v2ray-plugin']);
    const Kind = external ? Problem : Unsupported; // who asks for a program means one of this machine
    throw new Kind(['plugin'], `"${asTheUserWrote(name)}" is not known${guess === null ? '' : `, did you mean "${guess}"?`} (${KNOWN})`);
  }
  if (given !== undefined && typeof given !== 'string') throw new Problem(['plugin-opts'], 'of a program are written as text: "key=value;key=value;flag"');
  const options = given ?? '';
  if (options.includes('\0')) throw new Problem(['plugin-opts'], 'cannot hold a NUL');
  formatOptions(parseOptions(options)); // says what is wrong with them before a program has to
  return { kind: 'program', name, program, options };
}

function chooseObfs(options: PluginOptions): PluginChoice {
  const { mode } = options;
  const host = options.host || DEFAULT_HOST;
  const path = options.path || '/';
  if (mode === undefined) throw new Problem(['plugin-opts', 'mode'], 'is missing: http or tls, as the server has it');
  if (mode !== 'http' && mode !== 'tls') throw new Problem(['plugin-opts', 'mode'], `must be http or tls, not "${asTheUserWrote(mode)}"${ssrHint(mode)}`);
  checkHost(host);
  checkPath(path);
  return { kind: 'obfs', mode, host, path, ignored: othersThan(['mode', 'host', 'path'], options) };
}

function ssrHint(mode: string): string {
  return SSR.has(mode.toLowerCase()) ? ', which belongs to ShadowsocksR' : '';
}

function chooseWebSocket(config: LinkConfig, options: PluginOptions): PluginChoice {
  const { headers = {}, mux = true, tls = false } = options;
  const mode = options.mode || 'websocket';
  const path = options.path || '/';
  if (mode !== 'websocket') throw new Problem(['plugin-opts', 'mode'], `must be websocket, not "${asTheUserWrote(mode)}"; QUIC is not supported`);
  if (options['v2ray-http-upgrade'] === true) {
    throw new Unsupported(['plugin-opts', 'v2ray-http-upgrade'], 'is not supported: let the server speak WebSocket');
  }
  const host = options.host || (tls ? config.server : DEFAULT_HOST);
  checkHost(host);
  checkPath(path);
  for (const [name, value] of Object.entries(headers)) checkField(name, value);
  const own = Object.entries(headers).find(([name]) => name.toLowerCase() === 'host');
  const rest = Object.fromEntries(Object.entries(headers).filter(([name]) => name.toLowerCase() !== 'host'));
  const { fingerprint: print, ca: trusted } = options;
  const layer: WebSocketTls = {
    server: host,
    tls: true,
    sni: options.sni ?? host.replace(/:\d+$/, ''),
    'skip-cert-verify': options['skip-cert-verify'] ?? false,
    fingerprint: print,
    ca: trusted,
  };
  return { kind: 'websocket', host: own?.[1] ?? host, path, headers: rest, mux, tls: tls ? layer : null };
}

/** Keys of the other plugin: they are without effect, and the user may think otherwise. */
function othersThan(known: readonly string[], options: PluginOptions): string[] {
  const given = Object.entries(options).filter(([key, value]) => value !== undefined && value !== false && !known.includes(key));
  return given.map(([key]) => key);
}

/** What is written into a line of a request must not be able to end it. */
function checkHost(host: string): void {
  if (!/^[A-Za-z0-9._~:[\]-]+$/.test(host)) throw new Problem(['plugin-opts', 'host'], 'must be a name or an address, with a port if need be');
}

function checkPath(path: string): void {
  if (!/^\/[\x21-\x7e]*$/.test(path) || path.includes('#'))
    throw new Problem(['plugin-opts', 'path'], 'must begin with "/" and hold no spaces, "#" or control characters');
}

/** What the handshake itself writes. */
const RESERVED: ReadonlySet<string> = new Set(['connection', 'upgrade', 'content-length', 'transfer-encoding', 'sec-websocket-key', 'sec-websocket-version']);

function checkField(name: string, value: string): void {
  try {
    validateHeaderName(name);
    validateHeaderValue(name, value);
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : '';
    throw new Problem(['plugin-opts', 'headers'], `hold a field that cannot be sent: "${asTheUserWrote(name)}" (${code})`);
  }
  if (RESERVED.has(name.toLowerCase()) || name.toLowerCase().startsWith('sec-websocket-')) {
    throw new Problem(['plugin-opts', 'headers'], `must not hold "${asTheUserWrote(name)}", which the handshake writes itself`);
  }
}
