import type { AdapterDefinition, Registry } from '@nekit/core';
import { UsageError } from './failure.js';

/**
 * `--proxy URI` as entries of `proxies`, each with a name of its own: the URI's fragment (`#home`), else server and port.
 * Throws UsageError, which does not repeat the URI: it may hold a password. `tell` hears of what a URI holds and its entry does not.
 */
export function proxyEntries(uris: readonly string[], registry: Registry, taken: ReadonlySet<string>, tell: (what: string) => void): Record<string, unknown>[] {
  const names = new Set(taken);
  return uris.map((uri, index) => {
    const which = uris.length === 1 ? '--proxy' : `--proxy (number ${index + 1})`;
    const scheme = schemeOf(uri);
    if (scheme === null) throw new UsageError(`${which} must be a URI, as socks5://192.0.2.1:1080`);
    const parser = uriParserFor(scheme, registry);
    if (parser === null)
      throw new UsageError(`${which}: no loaded plugin takes ${scheme}:// (${schemesOf(registry).join(', ')} are known); is it missing in --plugins?`);
    const entry = parse(which, scheme, parser, uri, (what) => tell(`${which}: ${what}`));
    const why = whyUnsupported(entry, registry);
    if (why !== null) throw new UsageError(`${which}: ${why}`);
    const name = unused(nameOf(uri, entry) ?? scheme, names);
    names.add(name);
    return { ...entry, name };
  });
}

type UriParser = NonNullable<AdapterDefinition<unknown>['uri']>;

/** In lower case; null for what has none. */
export function schemeOf(uri: string): string | null {
  return /^([a-z][a-z0-9+.-]*):/i.exec(uri)?.[1]?.toLowerCase() ?? null;
}

/** Of the plugin that takes such URIs, or null. */
export function uriParserFor(scheme: string, registry: Registry): UriParser | null {
  for (const [, { definition }] of registry.adapters.entries()) if (definition.uri?.schemes.includes(scheme) === true) return definition.uri;
  return null;
}

function schemesOf(registry: Registry): string[] {
  return registry.adapters.entries().flatMap(([, { definition }]) => definition.uri?.schemes ?? []);
}

function parse(which: string, scheme: string, parser: UriParser, uri: string, tell: (what: string) => void): Record<string, unknown> {
  try {
    return parser.parse(uri, tell);
  } catch (error) {
    throw new UsageError(`${which}: bad ${scheme}:// URI: ${error instanceof Error ? error.message : String(error)}`);
  }
}

/** In a file such an entry only stays listed, for there are others: a proxy that is asked for by itself must work. null also for what a check refuses. */
function whyUnsupported(entry: Readonly<Record<string, unknown>>, registry: Registry): string | null {
  const definition = registry.adapters.get(String(entry.type))?.definition;
  if (definition?.unsupported === undefined) return null;
  let config: unknown;
  try {
    config = definition.config.parse(entry);
  } catch {
    return null;
  }
  const unsupported = definition.unsupported(config);
  return unsupported === null ? null : `"${unsupported.path.at(-1)}": ${unsupported.message}`;
}

/** The fragment, else server and port. */
export function nameOf(uri: string, entry: Readonly<Record<string, unknown>>): string | null {
  const hash = uri.indexOf('#');
  const fragment = hash === -1 ? '' : uri.slice(hash + 1);
  if (fragment !== '') {
    try {
      return decodeURIComponent(fragment);
    } catch (error) {
      if (error instanceof URIError) return fragment; // a percent sign that means itself
      throw error;
    }
  }
  const { server, port } = entry;
  return typeof server === 'string' && typeof port === 'number' ? `${server.includes(':') ? `[${server}]` : server}:${port}` : null;
}

function unused(name: string, taken: ReadonlySet<string>): string {
  let candidate = name;
  for (let count = 2; taken.has(candidate); count++) candidate = `${name}-${count}`;
  return candidate;
}
