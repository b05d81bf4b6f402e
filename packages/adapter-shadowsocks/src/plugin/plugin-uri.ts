/**
 * Plugins that come from elsewhere: a link, a SIP008 document, a subscription. They choose among what is built in and can neither start a
 * program nor name a file of this machine.
 */
import { asTheUserWrote } from './printable.js';
import { type BuiltInPlugin, builtInPlugin, formatOptions, parseOptions, type Sip003Options } from './sip003-options.js';

export interface LinkPlugin {
  /** Two keys of an entry, in Clash's words. */
  readonly plugin: BuiltInPlugin;
  readonly 'plugin-opts': Record<string, unknown>;
  /** Options that have no effect here (`fast-open`, `loglevel`); for a note to the user. */
  readonly ignored: readonly string[];
}

/**
 * The plugin of a link as keys of an entry: `name` is `obfs-local`, `simple-obfs`, `obfs` or `v2ray-plugin`, `options` is SIP003's text (still
 * escaped, without the name). Throws a plain Error that says what is wrong.
 */
export function pluginFromUri(name: string, options: string): LinkPlugin {
  const plugin = builtInPlugin(name);
  if (plugin === null) {
    throw new Error(
      `the plugin "${asTheUserWrote(name)}" is not built in, and a link must not choose a program of this machine: ` +
        'obfs-local and v2ray-plugin are built in; to run another plugin, install it and write the entry into the config',
    );
  }
  const parsed = parseOptions(options);
  if (parsed.has('cert'))
    throw new Error('the plugin option "cert" names a file of this machine, which a link must not; "certRaw" carries the certificate itself');
  return mapOptions(plugin, parsed);
}

/** The options of a built-in plugin, from SIP003's words into Clash's. Throws a plain Error. */
export function mapOptions(plugin: BuiltInPlugin, options: Sip003Options): LinkPlugin {
  const rules = plugin === 'obfs' ? OBFS : V2RAY;
  const opts: Record<string, unknown> = plugin === 'obfs' ? {} : { mode: 'websocket' };
  const ignored: string[] = [];
  for (const [key, value] of options) {
    const rule = rules.get(key);
    if (rule === undefined) ignored.push(asTheUserWrote(key));
    else rule(opts, value);
  }
  return { plugin, 'plugin-opts': opts, ignored };
}

/** The reverse, for `ss://` links: the `plugin` of SIP002, not yet percent-encoded. null: a link cannot say it. */
export function pluginToUri(plugin: string, opts: Readonly<Record<string, unknown>>): string | null {
  const name = builtInPlugin(plugin);
  if (name === null) return null;
  const known = name === 'obfs' ? OBFS_KEYS : V2RAY_KEYS;
  const options = new Map<string, string | true>();
  for (const [key, value] of Object.entries(opts)) {
    if (value === undefined || value === null || (key === 'mode' && name === 'v2ray-plugin')) continue;
    if (key === 'mux' && typeof value === 'boolean') {
      if (!value) options.set('mux', '0');
    } else if (key === 'tls' && typeof value === 'boolean') {
      if (value) options.set('tls', true);
    } else if (known.has(key) && typeof value === 'string') {
      options.set(known.get(key) ?? key, value);
    } else if (!(value === false || (typeof value === 'object' && Object.keys(value).length === 0))) {
      return null; // skip-cert-verify, headers …: without it the link would mean something else
    }
  }
  const text = formatOptions(options);
  return `${name === 'obfs' ? 'obfs-local' : name}${text === '' ? '' : `;${text}`}`;
}

type Rule = (opts: Record<string, unknown>, value: string | true) => void;

const text =
  (key: string): Rule =>
  (opts, value) => {
    if (value === true) throw new Error(`the plugin option "${key}" needs a value`);
    opts[key] = value;
  };

const OBFS: ReadonlyMap<string, Rule> = new Map<string, Rule>([
  ['obfs', text('mode')],
  ['obfs-host', text('host')],
  ['obfs-uri', text('path')],
]);

const OBFS_KEYS: ReadonlyMap<string, string> = new Map([
  ['mode', 'obfs'],
  ['host', 'obfs-host'],
  ['path', 'obfs-uri'],
]);

const V2RAY: ReadonlyMap<string, Rule> = new Map<string, Rule>([
  ['mode', text('mode')],
  ['host', text('host')],
  ['path', text('path')],
  [
    'tls',
    (opts, value) => {
      opts.tls = flag('tls', value);
    },
  ],
  [
    // How many connections share one of the server's; 0: the server does not expect mux.
    'mux',
    (opts, value) => {
      if (value === true || !/^[0-9]{1,9}$/.test(value)) throw new Error('the plugin option "mux" must be a number');
      opts.mux = Number(value) > 0;
    },
  ],
  ['cert', text('ca')],
  [
    'certRaw',
    (opts, value) => {
      if (value === true || !/^[A-Za-z0-9+/=]+$/.test(value)) throw new Error('the plugin option "certRaw" must be base64');
      opts.ca = `-----BEGIN CERTIFICATE-----\n${value}\n-----END CERTIFICATE-----\n`;
    },
  ],
  [
    'server',
    () => {
      throw new Error('the plugin option "server" is for the server; a client does without it');
    },
  ],
]);

const V2RAY_KEYS: ReadonlyMap<string, string> = new Map([
  ['host', 'host'],
  ['path', 'path'],
]);

function flag(key: string, value: string | true): boolean {
  if (value === true || value === '' || value === 'true' || value === '1') return true;
  if (value === 'false' || value === '0') return false;
  throw new Error(`the plugin option "${key}" must be true or false`);
}
