/** Core's keys of `tun:` and those of the stacks that are loaded, as one schema. */
import { z } from 'zod';
import { isRecord, own } from '../config/record.js';
import { propertiesOf, type SchemaNode } from '../config/schema-node.js';
import type { AutoRouteSettings } from '../inbound/tun/auto-route/settings.js';
import type { LinkAddress } from '../native/link-config.js';
import { closest } from '../net/closest.js';
import type { ConfigSchema, StackDefinition } from '../plugin/plugin.js';
import type { Registry } from '../plugin/registry.js';
import { type Issue, issue } from './issue.js';
import { addressesOf, autoRouteOf, KEYS, type TunKeys } from './tun-keys.js';

/** Clash's words for its own stacks; they all mean ours. */
const CLASH_STACKS = ['system', 'gvisor', 'mixed'];

const OUR_STACKS = ['dns', 'tcp', 'udp'];

/** A class, so that it is known again among the options of listeners. */
export class TunConfig {
  readonly keys: TunKeys;
  readonly addresses: readonly LinkAddress[];
  readonly stacks: readonly TunStack[];
  /** null: routes are somebody else's to set. */
  readonly autoRoute: AutoRouteSettings | null;

  constructor(keys: TunKeys, addresses: readonly LinkAddress[], stacks: readonly TunStack[], autoRoute: AutoRouteSettings | null) {
    this.keys = keys;
    this.addresses = addresses;
    this.stacks = stacks;
    this.autoRoute = autoRoute;
  }

  withMarks(marks: readonly number[]): TunConfig {
    return this.autoRoute === null ? this : new TunConfig(this.keys, this.addresses, this.stacks, { ...this.autoRoute, marks });
  }
}

interface TunStack {
  readonly definition: StackDefinition<unknown>;
  readonly options: unknown;
}

export class TunSchema implements ConfigSchema<TunConfig> {
  readonly #registry: () => Registry;

  constructor(registry: () => Registry) {
    this.#registry = registry;
  }

  toJSONSchema(): object {
    const schema: SchemaNode = z.toJSONSchema(KEYS, { io: 'input' });
    const properties: Record<string, unknown> = {};
    for (const [type, { definition }] of this.#registry().stacks.entries()) {
      const own = { ...definition.config.toJSONSchema() };
      const { keys = [] } = definition;
      const entries = Object.entries(propertiesOf(own));
      properties[type] = { ...own, properties: Object.fromEntries(entries.filter(([key]) => !keys.includes(key))) };
      Object.assign(properties, Object.fromEntries(entries.filter(([key]) => keys.includes(key))));
    }
    return { ...schema, properties: { ...properties, ...propertiesOf(schema) } };
  }

  /** Throws an error with `issues`, as zod does. */
  parse(input: unknown): TunConfig {
    const keys = KEYS.parse(isRecord(input) ? Object.fromEntries(Object.entries(input).filter(([key]) => Object.hasOwn(KEYS.shape, key))) : input);
    const issues: Issue[] = [];
    if (!keys.enable) return new TunConfig(keys, [], [], null);
    const addresses = [...addressesOf(keys['inet4-address'], 4, 'inet4-address', issues), ...addressesOf(keys['inet6-address'], 6, 'inet6-address', issues)];
    const stacks = this.#stacks(keys.stack, issues).map((definition) => ({ definition, options: optionsOf(definition, input, issues) }));
    const autoRoute = keys['auto-route'] ? autoRouteOf(keys, issues) : null;
    if (issues.length > 0) throw Object.assign(new Error('the TUN is not set up rightly'), { issues });
    return new TunConfig(keys, addresses, stacks, autoRoute);
  }

  #stacks(wanted: string | readonly string[] | undefined, issues: Issue[]): StackDefinition<unknown>[] {
    const loaded = this.#registry()
      .stacks.entries()
      .map(([, { definition }]) => definition)
      .sort((one, other) => rankOf(one) - rankOf(other));
    if (wanted === undefined || (typeof wanted === 'string' && CLASH_STACKS.includes(wanted.toLowerCase()))) {
      if (loaded.length === 0) issues.push(issue([], 'no IP stack is loaded: npm install @nekit/stack-tcp, and add "tcp" to plugins'));
      return loaded;
    }
    const names = typeof wanted === 'string' ? [wanted] : wanted;
    return names.flatMap((name, index) => {
      const found = loaded.find(({ type }) => type === name);
      if (found !== undefined) return found;
      const known = loaded.map(({ type }) => type);
      const guess = closest(name, [...known, ...CLASH_STACKS]);
      const install = OUR_STACKS.includes(name)
        ? `: npm install @nekit/stack-${name}, and add "${name}" to plugins`
        : guess === null
          ? ''
          : `. Did you mean "${guess}"?`;
      issues.push(issue(typeof wanted === 'string' ? ['stack'] : ['stack', index], `there is no IP stack "${name}"${install}`));
      return [];
    });
  }
}

function optionsOf(definition: StackDefinition<unknown>, input: unknown, issues: Issue[]): unknown {
  const section = isRecord(input) ? (own(input, definition.type) ?? {}) : {};
  const keys = (definition.keys ?? []).filter((key) => isRecord(input) && own(input, key) !== undefined);
  const above = Object.fromEntries(keys.map((key) => [key, isRecord(input) ? own(input, key) : undefined]));
  try {
    return definition.config.parse(isRecord(section) ? { ...section, ...above } : section);
  } catch (error) {
    const found: unknown = isRecord(error) ? error.issues : undefined;
    if (Array.isArray(found)) issues.push(...found.filter(isRecord).map((one) => within(definition, one)));
    else issues.push(issue([definition.type], error instanceof Error ? error.message : String(error)));
    return undefined;
  }
}

/** dns, tcp, udp, then what plugins of others have brought. */
function rankOf({ type }: StackDefinition<unknown>): number {
  const rank = OUR_STACKS.indexOf(type);
  return rank === -1 ? OUR_STACKS.length : rank;
}

/** A problem of a stack's own section, seen from the whole. */
function within({ type, keys = [] }: StackDefinition<unknown>, one: Issue): Issue {
  const path: readonly unknown[] = Array.isArray(one.path) ? one.path : [];
  return keys.includes(String(path[0])) ? one : { ...one, path: [type, ...path] };
}
