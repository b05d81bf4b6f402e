/** `proxies` and `proxy-groups`: every entry by the schema of its type. */
import { z } from 'zod';
import { closest } from '../net/closest.js';
import type { AdapterDefinition } from '../plugin/plugin.js';
import type { Kinds, Registry } from '../plugin/registry.js';
import { expandMembers, namedMembers, namesMembers } from './expand-members.js';
import { findingsOf } from './issues.js';
import { adviceFor, IGNORED_GROUP_KEYS, LATER_GROUP_KEYS, LATER_PROXY_KEYS } from './known-keys.js';
import { didYouMean, list, type ProblemList, quoteKey } from './problem-list.js';
import { isRecord, own } from './record.js';
import { BUILT_INS, ENTRY } from './schema.js';
import type { SchemaNode } from './schema-node.js';
import { propertiesOf } from './schema-node.js';
import { shape } from './shape.js';
import type { ConfigSource, Path } from './source.js';
import type { AdapterConfig, Outbound } from './types.js';

export type Section = 'proxies' | 'proxy-groups';

/** An entry with what the checks among entries need of it. */
export interface CheckedEntry extends AdapterConfig {
  readonly path: Path;
  readonly section: Section;
  /** Other entries that it names, with the places where it does. */
  readonly references: readonly { readonly name: string; readonly path: Path }[];
}

interface Core {
  readonly name: string;
  readonly type: string;
  readonly 'dialer-proxy'?: string | undefined;
  readonly 'interface-name'?: string | undefined;
  readonly 'routing-mark'?: number | undefined;
}

const ENTRY_SCHEMA: SchemaNode = z.toJSONSchema(ENTRY, { io: 'input' });
const CORE_KEYS: readonly string[] = Object.keys(ENTRY.shape);

export class EntryChecker {
  readonly #source: ConfigSource;
  readonly #problems: ProblemList;
  readonly #registry: Registry;
  readonly #schemas = new Map<string, SchemaNode>();
  /** The names in `proxies:`. */
  readonly #proxies: string[] = [];
  /** The types of all names so far, and those that are built in. */
  readonly #types = new Map<string, string>(BUILT_INS.map((name) => [name, name === 'GLOBAL' ? 'select' : name.toLowerCase()]));

  constructor(source: ConfigSource, problems: ProblemList, registry: Registry) {
    this.#source = source;
    this.#problems = problems;
    this.#registry = registry;
  }

  /** `proxies` first: groups may take all of them. */
  check(section: Section, entries: readonly unknown[]): CheckedEntry[] {
    for (const entry of entries) if (isRecord(entry)) this.#types.set(String(own(entry, 'name')), String(own(entry, 'type')));
    return entries.flatMap((entry, index) => this.#entry(section, entry, [section, index]) ?? []);
  }

  #entry(section: Section, entry: unknown, path: Path): CheckedEntry | null {
    if (!isRecord(entry)) {
      this.#problems.error('BAD_VALUE', 'an entry is a set of keys, as { name: home, type: socks5, server: 192.0.2.1, port: 1080 }', path);
      return null;
    }
    const core = this.#core(entry, path);
    if (core === null) return null;
    if (section === 'proxies') this.#proxies.push(core.name);
    const kinds = section === 'proxies' ? this.#registry.adapters : this.#registry.groups;
    const dialerProxy = core['dialer-proxy'] ?? null;
    const outbound = outboundOf(core);
    for (const key of ['interface-name', 'routing-mark'] as const) {
      if (core[key] === undefined || (section === 'proxies' && dialerProxy === null)) continue;
      const why = section === 'proxies' ? 'the connection is made by dialer-proxy' : 'a group connects to nothing itself';
      this.#problems.warning('NO_EFFECT', `"${key}" has no effect here: ${why}`, [...path, key], 'key');
    }
    const common = { name: core.name, type: core.type, dialerProxy, outbound, where: this.#problems.where(path), path, section };
    const chain = core['dialer-proxy'] === undefined ? [] : [{ name: core['dialer-proxy'], path: [...path, 'dialer-proxy'] }];
    const definition = kinds.get(core.type)?.definition;
    if (definition === undefined) {
      const unavailable = this.#unknownType(section, core.type, kinds, [...path, 'type']);
      return { ...common, options: null, unavailable, references: [...chain, ...(section === 'proxy-groups' ? namedMembers(entry, path) : [])] };
    }
    const shaped = this.#shape(section, definition, entry, core, path);
    if (section === 'proxy-groups' && isRecord(shaped)) return { ...common, ...this.#group(definition, shaped, common, chain) };
    return { ...common, ...this.#parse(definition, shaped, path), references: chain };
  }

  #group(
    definition: AdapterDefinition<unknown>,
    shaped: Readonly<Record<string, unknown>>,
    { name, path }: Pick<CheckedEntry, 'name' | 'path'>,
    chain: CheckedEntry['references'],
  ): Pick<CheckedEntry, 'options' | 'unavailable' | 'references'> {
    const takesAll = Object.hasOwn(propertiesOf(this.#schema(definition, path)), 'include-all');
    if (!takesAll || !namesMembers(shaped)) return { ...this.#parse(definition, shaped, path), references: [...chain, ...namedMembers(shaped, path)] };
    const members = expandMembers({ name, entry: shaped, path }, { proxies: this.#proxies, types: this.#types }, this.#problems);
    const { proxies: _, ...others } = shaped; // where there are no members that was told, and the schema must not tell it again
    const entry = members === null ? others : { ...shaped, proxies: members.map((member) => member.name) };
    return { ...this.#parse(definition, entry, path), references: [...chain, ...(members ?? [])] };
  }

  /** Core's own keys; null if they are unusable (which is reported). */
  #core(entry: Readonly<Record<string, unknown>>, path: Path): Core | null {
    const own = Object.fromEntries(Object.entries(entry).filter(([key]) => CORE_KEYS.includes(key)));
    const shaped = shape(own, path, { schema: ENTRY_SCHEMA, text: (at) => this.#source.text(at), unknown: () => undefined });
    const parsed = ENTRY.safeParse(shaped);
    if (parsed.success) return parsed.data;
    for (const finding of findingsOf(parsed.error, shaped, path)) this.#problems.error('BAD_VALUE', finding.message, finding.path);
    return null;
  }

  #unknownType(section: Section, type: string, kinds: Kinds<AdapterDefinition<unknown>>, path: Path): string {
    const misplaced = section === 'proxies' ? this.#registry.groups : this.#registry.adapters;
    const elsewhere = section === 'proxies' ? 'proxy-groups' : 'proxies';
    const hint = misplaced.get(type) !== undefined ? `it belongs into ${elsewhere}` : adviceFor(type);
    const reason = `type "${type}" is not supported${hint === null ? '' : `: ${hint}`}`;
    const guess = hint === null ? didYouMean(closest(type, kinds.names())) : '';
    this.#problems.warning('UNKNOWN_TYPE', `${reason}.${guess}${this.#staysListed} Known types: ${list(kinds.names().sort())}`, path);
    return reason;
  }

  #shape(section: Section, definition: AdapterDefinition<unknown>, entry: Readonly<Record<string, unknown>>, core: Core, path: Path): unknown {
    const schema = this.#schema(definition, path);
    const properties = propertiesOf(schema);
    // `name: 5` was turned into "5"; a strict schema that does not list core's keys must not see them.
    const own = Object.entries({ ...entry, ...core }).filter(([key]) => !CORE_KEYS.includes(key) || Object.hasOwn(properties, key));
    const later = section === 'proxies' ? LATER_PROXY_KEYS : LATER_GROUP_KEYS;
    return shape(Object.fromEntries(own), path, {
      schema,
      text: (at) => this.#source.text(at),
      unknown: (at, known) => {
        const key = String(at.at(-1));
        const here = at.length === path.length + 1;
        if (here && section === 'proxy-groups' && IGNORED_GROUP_KEYS.has(key)) return;
        const what = section === 'proxies' ? `a ${core.type} proxy` : `a ${core.type} group`;
        if (here && later.has(key)) this.#problems.warning('UNSUPPORTED_KEY', `"${key}" is not supported in ${what} and has no effect`, at, 'key');
        else
          this.#problems.warning(
            'UNKNOWN_KEY',
            `${quoteKey(key)} is no key of ${what}.${didYouMean(closest(key, here ? [...known, ...CORE_KEYS] : known))}`,
            at,
            'key',
          );
      },
    });
  }

  #schema(definition: AdapterDefinition<unknown>, path: Path): SchemaNode {
    let schema = this.#schemas.get(definition.type);
    if (schema === undefined) {
      schema = jsonSchemaOf(definition, (message) => this.#problems.warning('PLUGIN_SCHEMA', message, [...path, 'type']));
      this.#schemas.set(definition.type, schema);
    }
    return schema;
  }

  #parse(definition: AdapterDefinition<unknown>, shaped: unknown, path: Path): Pick<CheckedEntry, 'options' | 'unavailable'> {
    try {
      const options = definition.config.parse(shaped);
      const unsupported = definition.unsupported?.(options) ?? null;
      if (unsupported === null) return { options, unavailable: null };
      const key = `"${unsupported.path.at(-1)}"`;
      this.#problems.warning('UNSUPPORTED_VALUE', `${key}: ${unsupported.message}.${this.#staysListed}`, [...path, ...unsupported.path]);
      return { options: null, unavailable: `its ${key} is not supported` }; // clients read this: no value, which may be a secret in the wrong place
    } catch (error) {
      for (const finding of findingsOf(error, shaped, path)) this.#problems.error('BAD_VALUE', finding.message, finding.path);
      return { options: null, unavailable: null };
    }
  }

  /** What becomes of an entry that cannot be used. With `strict` it is an error, and nothing runs. */
  get #staysListed(): string {
    return this.#problems.strict ? '' : ' It stays listed, and connections to it fail.';
  }
}

/** The settings of sockets, as `interface-name` and `routing-mark` say them. */
export function outboundOf(keys: { readonly 'interface-name'?: string | undefined; readonly 'routing-mark'?: number | undefined }): Outbound {
  const { 'interface-name': device, 'routing-mark': mark } = keys;
  return { ...(device === undefined ? {} : { device }), ...(mark === undefined ? {} : { mark }) };
}

/** A plugin's schema as JSON Schema; an empty one, which takes anything, if it cannot say it. */
export function jsonSchemaOf(definition: Pick<AdapterDefinition<unknown>, 'type' | 'config'>, complain: (message: string) => void): SchemaNode {
  try {
    const schema: unknown = definition.config.toJSONSchema();
    return isRecord(schema) ? schema : {};
  } catch (error) {
    complain(
      `the plugin of type "${definition.type}" cannot describe its keys, so they are not checked for slips: ${error instanceof Error ? error.message : String(error)}`,
    );
    return {};
  }
}
