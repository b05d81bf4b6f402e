/** From the command line to what a kernel is made of: the config with what the options add to it, and the plugins that both name. */
import { fileURLToPath } from 'node:url';
import {
  CORE_VERSION,
  ConfigError,
  type ConfigSource,
  clean,
  configFromObject,
  createKernel,
  type LoadOptions,
  loadConfig,
  loadPlugins,
  type Plugin,
  PluginError,
  type Problem,
  type Registry,
  withOverrides,
} from '@nekit/core';
import { proxyEntries } from './proxy-uris.js';
import { tunOverrides } from './tun-config.js';

/** Where it listens when nothing is configured. */
export const DEFAULT_PORT = 7890;

/** What the command brings: an HTTP and SOCKS5 proxy works at once. `plugins:` and `--plugins` add to it. */
const BUNDLED = ['http', 'socks5'];

export interface SetupOptions {
  readonly config?: string | undefined;
  readonly plugins?: readonly string[];
  readonly proxies?: readonly string[];
  readonly mixedPort?: number | null;
  readonly logLevel?: string | null;
  readonly tun?: boolean;
}

export interface Setup {
  readonly source: ConfigSource;
  readonly plugins: readonly Plugin[];
  /** Of these plugins. */
  readonly registry: Registry;
  /** Reads the file again; null if there is none. Rejects with ConfigError. */
  readonly reread: (() => Promise<ConfigSource>) | null;
}

export function loadOptions(configFile: string | undefined): LoadOptions {
  const link = process.argv[1];
  return {
    cwd: process.cwd(),
    cliPath: fileURLToPath(new URL('../bin/nekit-kernel.js', import.meta.url)),
    coreVersion: CORE_VERSION,
    ...(link === undefined ? {} : { cliLink: link }),
    ...(configFile === undefined ? {} : { configFile }),
  };
}

/** Rejects with ConfigError (an unreadable or broken file), PluginError or UsageError. The config's contents are not checked yet. */
export async function prepare(options: SetupOptions): Promise<Setup> {
  const { config: file } = options;
  const written = file === undefined ? null : await readConfig(file);
  const plugins = await load(written, options);
  // Throwaway: what a kernel of these plugins knows, without a config.
  const { registry } = createKernel({}, { plugins });
  const entries = proxyEntries(options.proxies ?? [], registry, namesIn(written), (what) => process.stderr.write(`nekit-kernel: ${clean(what)}\n`));
  const complete = (source: ConfigSource | null): ConfigSource => withOptions(source, options, entries, registry);
  return { source: complete(written), plugins, registry, reread: file === undefined ? null : async () => complete(await readConfig(file)) };
}

async function readConfig(file: string): Promise<ConfigSource> {
  const source = await loadConfig(file);
  if (source.problems.some(({ severity }) => severity === 'error')) throw new ConfigError(source.problems);
  return source;
}

async function load(source: ConfigSource | null, options: SetupOptions): Promise<Plugin[]> {
  const written = topLevel(source).plugins;
  const configured: readonly unknown[] = Array.isArray(written) ? written : [];
  const names = [...BUNDLED, ...configured.filter((name) => typeof name === 'string'), ...(options.plugins ?? [])];
  try {
    const loaded = await loadPlugins(names, loadOptions(options.config));
    return loaded.map(({ plugin }) => plugin);
  } catch (error) {
    throw source === null ? error : withPlace(error, source, configured);
  }
}

/** A plugin that a file names and that cannot be had is that file's problem: told with its line. */
function withPlace(error: unknown, source: ConfigSource, configured: readonly unknown[]): unknown {
  const index = error instanceof PluginError ? configured.indexOf(error.plugin) : -1;
  if (!(error instanceof PluginError) || index === -1) return error;
  const path = ['plugins', index];
  const at = source.locate(path);
  const problem: Problem = {
    severity: 'error',
    code: error.code,
    message: error.message,
    path,
    file: at?.file ?? source.file,
    line: at?.line ?? null,
    column: at?.column ?? null,
    excerpt: at?.excerpt ?? null,
  };
  return new ConfigError([problem], { cause: error });
}

function withOptions(source: ConfigSource | null, options: SetupOptions, entries: readonly Record<string, unknown>[], registry: Registry): ConfigSource {
  const { mixedPort = null, logLevel = null, tun = false } = options;
  const base = source ?? configFromObject(tun ? { rules: ['MATCH,DIRECT'] } : { 'mixed-port': DEFAULT_PORT });
  const first = entries[0];
  const { rules, plugins: written } = topLevel(source);
  const noRules = !Array.isArray(rules) || rules.length === 0;
  const proxy = typeof first?.name === 'string' ? first.name : null;
  const plugins = (options.plugins ?? []).filter((name) => !Array.isArray(written) || !written.includes(name));
  const forTun = tun
    ? tunOverrides({ file: source === null ? null : topLevel(source), proxy, registry, plugins: options.plugins ?? [] })
    : { set: {}, within: {} };
  return withOverrides(base, {
    set: {
      ...forTun.set,
      ...(mixedPort === null ? {} : { 'mixed-port': mixedPort }),
      ...(logLevel === null ? {} : { 'log-level': logLevel }),
      ...(proxy !== null && noRules ? { rules: [matchAll(proxy)] } : {}),
    },
    within: forTun.within,
    append: {
      ...(plugins.length === 0 ? {} : { plugins }),
      ...(entries.length === 0 ? {} : { proxies: entries }),
      // 0 is "off" for the key, and "any free port" for the option.
      ...(mixedPort === 0 ? { listeners: [{ name: 'mixed', type: 'mixed', port: 0 }] } : {}),
    },
  });
}

/** As a text where that reads the same. */
function matchAll(to: string): unknown {
  return to === to.trim() && !/[,()]/.test(to) ? `MATCH,${to}` : { type: 'MATCH', to };
}

function namesIn(source: ConfigSource | null): Set<string> {
  const names = new Set<string>();
  const top = topLevel(source);
  for (const key of ['proxies', 'proxy-groups']) {
    const entries: unknown = top[key];
    if (!Array.isArray(entries)) continue;
    for (const entry of entries as readonly unknown[]) if (isRecord(entry) && typeof entry.name === 'string') names.add(entry.name);
  }
  return names;
}

export function topLevel(source: ConfigSource | null): Readonly<Record<string, unknown>> {
  return isRecord(source?.value) ? source.value : {};
}

export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
