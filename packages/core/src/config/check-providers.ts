/** `rule-providers`: where each list is and how it is written; the entries of inline ones. */
import { validateHeaderName, validateHeaderValue } from 'node:http';
import { basename, extname, isAbsolute, relative, resolve, sep } from 'node:path';
import { z } from 'zod';
import { closest } from '../net/closest.js';
import { normaliseHost } from '../net/endpoint.js';
import { ListRules } from '../provider/list-rules.js';
import type { ProviderConfig, ProviderSource } from '../provider/provider-config.js';
import { defaultCacheFolder } from '../provider/provider-store.js';
import { parseCidr } from '../rule/cidr-set.js';
import { buildBareRule, type KnownRules } from '../rule/parse.js';
import type { Behavior, RuleSet } from '../rule/rule-set.js';
import { whyNoEntry } from '../rule/set/domain-entry.js';
import type { ListFormat } from '../rule/set/inspect-list.js';
import { whyNot } from './check-geodata.js';
import { findingsOf } from './issues.js';
import type { KnownNames } from './known-names.js';
import { didYouMean, type ProblemList, quoteKey } from './problem-list.js';
import { isRecord } from './record.js';
import { BEHAVIORS, DEFAULT_SIZE_LIMIT, PROVIDER } from './schema.js';
import type { SchemaNode } from './schema-node.js';
import { shape } from './shape.js';
import type { ConfigSource, Path } from './source.js';

export interface ProvidersContext {
  readonly source: ConfigSource;
  readonly problems: ProblemList;
  /** Of adapters. */
  readonly names: KnownNames;
  /** Of the config file, absolute. */
  readonly folder: string;
  /** What rules in lists are built with. */
  readonly known: KnownRules;
}

type Entry = z.infer<typeof PROVIDER>;

const PROVIDER_SCHEMA: SchemaNode = z.toJSONSchema(PROVIDER, { io: 'input' });

/** Keys that mean something to some types only. */
const KEYS_OF: Readonly<Record<Entry['type'], readonly (keyof Entry)[]>> = {
  http: ['url', 'path', 'interval', 'proxy', 'size-limit', 'header', 'format'],
  file: ['path', 'interval', 'size-limit', 'format'],
  inline: ['payload'],
};
const ALWAYS: readonly string[] = ['type', 'behavior'];

/** A downloaded list replaces what is there: nothing but a list may look like that. */
const LIST_EXTENSIONS: readonly string[] = ['.yaml', '.yml', '.txt', '.list', '.json'];
const NEVER_A_LIST: readonly string[] = ['package.json', 'package-lock.json'];

export function checkProviders(value: Readonly<Record<string, unknown>>, context: ProvidersContext): ReadonlyMap<string, ProviderConfig> {
  const checker = new ProviderChecker(context);
  return new Map(Object.entries(value).flatMap(([name, entry]) => checker.entry(name, entry) ?? []));
}

/** A set for each name, with nothing in it, so that rules can be checked; for wrong entries too, or each would be reported twice. */
export function unloaded(value: Readonly<Record<string, unknown>>): ReadonlyMap<string, RuleSet> {
  const current = { size: 0, match: () => false };
  return new Map(
    Object.entries(value).map(([name, entry]) => {
      const given = isRecord(entry) ? entry.behavior : undefined;
      return [name, { name, behavior: BEHAVIORS.find((known) => known === given) ?? 'classical', current }];
    }),
  );
}

class ProviderChecker {
  readonly #context: ProvidersContext;
  readonly #rules: KnownRules;
  /** Files that lists are kept in or read from, with the place that says so. */
  readonly #written = new Map<string, string>();
  readonly #read = new Map<string, string>();
  readonly #cacheFolder = defaultCacheFolder();

  constructor(context: ProvidersContext) {
    this.#context = context;
    this.#rules = new ListRules(context.known, context.known.tools.patterns);
  }

  entry(name: string, value: unknown): [string, ProviderConfig][] | null {
    const { problems } = this.#context;
    const path = ['rule-providers', name];
    if (!isRecord(value)) {
      problems.error('BAD_VALUE', 'a rule-provider is a set of keys, as { type: file, behavior: domain, path: ads.yaml }', path);
      return null;
    }
    const entry = this.#parse(value, path);
    if (entry === null) return null;
    const ignored = Object.keys(entry).filter((key) => ![...ALWAYS, ...KEYS_OF[entry.type]].includes(key));
    for (const key of ignored)
      problems.warning('UNSUPPORTED_KEY', `"${key}" has no meaning for a rule-provider of type ${entry.type} and has no effect`, [...path, key], 'key');
    const format = this.#format(entry, path);
    const source = this.#source(entry, path);
    if (format === null || source === null) return null;
    const sizeLimit = entry['size-limit'] ?? 0;
    const interval = source.type === 'inline' ? 0 : (entry.interval ?? 0);
    return [[name, { name, behavior: entry.behavior, format, source, sizeLimit: sizeLimit === 0 ? DEFAULT_SIZE_LIMIT : sizeLimit, interval }]];
  }

  #parse(value: Readonly<Record<string, unknown>>, path: Path): Entry | null {
    const { source, problems } = this.#context;
    const shaped = shape(value, path, {
      schema: PROVIDER_SCHEMA,
      text: (at) => source.text(at),
      unknown: (at, known) => {
        const key = String(at.at(-1));
        problems.warning('UNKNOWN_KEY', `${quoteKey(key)} is no key of a rule-provider.${didYouMean(closest(key, known))}`, at, 'key');
      },
    });
    const parsed = PROVIDER.safeParse(shaped);
    if (parsed.success) return parsed.data;
    for (const finding of findingsOf(parsed.error, shaped, path)) problems.error('BAD_VALUE', finding.message, finding.path);
    return null;
  }

  #format({ type, behavior, format = 'yaml' }: Entry, path: Path): ListFormat | null {
    if (type === 'inline') return 'yaml';
    const fail = (message: string): null => {
      this.#context.problems.error('BAD_VALUE', message, [...path, 'format']);
      return null;
    };
    if (format === 'mrs') return fail('mrs is a binary format of mihomo alone, which is not read here: take the list as yaml or text, from which it was made');
    if (format === 'nekit' && behavior === 'classical') return fail('lists of the format nekit hold names (behavior domain) or networks (behavior ipcidr)');
    return format;
  }

  #source(entry: Entry, path: Path): ProviderSource | null {
    if (entry.type === 'inline') return this.#inline(entry, path);
    return entry.type === 'file' ? this.#file(entry, path) : this.#http(entry, path);
  }

  #inline({ payload, behavior }: Entry, path: Path): ProviderSource | null {
    if (payload === undefined) return this.#missing('payload', path);
    const good = payload.filter((text, index) => this.#isEntry(text, behavior, [...path, 'payload', index]));
    return { type: 'inline', payload: good };
  }

  #isEntry(text: string, behavior: Behavior, path: Path): boolean {
    const { problems } = this.#context;
    const why = behavior === 'domain' ? whyNoEntry(text.trim()) : null;
    if (why !== null) problems.warning('NO_EFFECT', why, path);
    if (behavior === 'domain') return why === null;
    try {
      if (behavior === 'ipcidr') parseCidr(text.trim());
      else buildBareRule(text, this.#rules);
      return true;
    } catch (error) {
      problems.error('BAD_RULE', error instanceof Error ? error.message : String(error), path);
      return false;
    }
  }

  #file({ path: text }: Entry, path: Path): ProviderSource | null {
    if (text === undefined) return this.#missing('path', path);
    const file = resolve(this.#context.folder, text);
    const writer = this.#written.get(file);
    this.#read.set(file, this.#context.problems.where([...path, 'path']));
    const wrong = whyNot(file);
    const message = writer === undefined ? wrong : `another rule-provider keeps its list in this file (${writer})`;
    if (message === null) return { type: 'file', path: file };
    this.#context.problems.error('BAD_VALUE', writer === undefined ? `${message}: ${file}` : message, [...path, 'path']);
    return null;
  }

  #http(entry: Entry, path: Path): ProviderSource | null {
    const { problems, names } = this.#context;
    const { url, proxy = 'DIRECT' } = entry;
    if (url === undefined) return this.#missing('url', path);
    const wrong = whyNoUrl(url);
    if (wrong !== null) problems.error('BAD_VALUE', wrong, [...path, 'url']);
    if (!names.has(proxy)) problems.error('UNKNOWN_NAME', `there is no proxy or group "${proxy}".${names.guess(proxy)}`, [...path, 'proxy']);
    const headers = this.#headers(entry.header ?? {}, [...path, 'header']);
    const copy = entry.path === undefined ? null : this.#copy(entry.path, [...path, 'path']);
    return { type: 'http', url, path: copy, proxy, headers };
  }

  /** Where a copy is kept. What comes from a server must not replace anything but its own copy. */
  #copy(text: string, path: Path): string {
    const { folder, source, problems } = this.#context;
    const file = resolve(folder, text);
    const roots = [folder, ...(this.#cacheFolder === null ? [] : [this.#cacheFolder])];
    const inside = roots.map((root) => relative(root, file)).find((way) => way !== '' && !isAbsolute(way) && way.split(sep)[0] !== '..');
    const taken = this.#written.get(file) ?? this.#read.get(file);
    const fail = (message: string): void => problems.error('BAD_PATH', message, path);
    if (inside === undefined)
      fail(
        `a downloaded list is kept in the folder of the config or in the cache folder (${roots.join(', ')}), and nowhere else: leave "path" out, or name a file there`,
      );
    else if (inside.split(sep).some((part) => part.startsWith('.') || part === 'node_modules'))
      fail('a downloaded list is not kept in hidden folders or in node_modules, where programs look for their own files');
    else if (!LIST_EXTENSIONS.includes(extname(file).toLowerCase()) || NEVER_A_LIST.includes(basename(file).toLowerCase()))
      fail(`a downloaded list replaces the file that it is kept in, so its name must be one of a list: it ends in ${LIST_EXTENSIONS.join(', ')}`);
    else if (source.file !== null && file === resolve(source.file)) fail('this is the config itself, and a downloaded list would replace it');
    else if (taken !== undefined) fail(`another rule-provider uses this file already (${taken})`);
    this.#written.set(file, problems.where(path));
    return file;
  }

  #headers(given: NonNullable<Entry['header']>, path: Path): Readonly<Record<string, string>> {
    const headers: Record<string, string> = {};
    for (const [name, value] of Object.entries(given)) {
      try {
        validateHeaderName(name);
        const text = typeof value === 'string' ? value : value.join(', ');
        validateHeaderValue(name, text);
        headers[name.toLowerCase()] = text;
      } catch (error) {
        if (!(error instanceof TypeError)) throw error;
        this.#context.problems.error('BAD_VALUE', 'this cannot be a header of a request', [...path, name], 'key');
      }
    }
    return headers;
  }

  #missing(key: string, path: Path): null {
    this.#context.problems.error('BAD_VALUE', `"${key}" is missing`, path);
    return null;
  }
}

function whyNoUrl(text: string): string | null {
  if (!URL.canParse(text)) return 'this is no URL: write https://example.com/list.yaml';
  const { protocol, hostname } = new URL(text);
  if (protocol !== 'http:' && protocol !== 'https:') return `lists are fetched by http and https, not by "${protocol.slice(0, -1)}"`;
  return normaliseHost(hostname) === null ? 'this URL names a host that cannot be one' : null;
}
