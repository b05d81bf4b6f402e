/** One JSON Schema of the whole config, for editors: core's keys, and an entry's keys by its type. */
import { z } from 'zod';
import type { ConfigSchema } from '../plugin/plugin.js';
import type { Registry } from '../plugin/registry.js';
import { LIST_FORMATS } from '../rule/set/inspect-list.js';
import { jsonSchemaOf } from './check-entries.js';
import { LATER_KEYS } from './known-keys.js';
import { isRecord, own } from './record.js';
import { BEHAVIORS, ENTRY, LISTENER, PROVIDER, PROVIDER_TYPES, RULE, TOP } from './schema.js';
import { propertiesOf, type SchemaNode } from './schema-node.js';

interface Type {
  readonly type: string;
  readonly config: ConfigSchema<unknown>;
}

/** Draft 2020-12, of the types that `registry` knows. Stricter than the kernel, which takes "443" for 443 and only warns of unknown keys. */
export function jsonSchema(registry: Registry): SchemaNode {
  const defs: Record<string, unknown> = {};
  const types = (kinds: { entries(): [string, { readonly definition: Type }][] }): Type[] => kinds.entries().map(([, { definition }]) => definition);
  const top = inputSchema(TOP);
  const protocols = ['mixed', ...registry.protocols.names()];
  const overrides: SchemaNode = {
    mode: choice(top, 'mode', ['rule', 'global', 'direct']),
    'log-level': choice(top, 'log-level', ['silent', 'error', 'warning', 'info', 'debug']),
    proxies: list(top, 'proxies', byType('proxies', ENTRY, types(registry.adapters), [], defs)),
    'proxy-groups': list(top, 'proxy-groups', byType('proxy-groups', ENTRY, types(registry.groups), [], defs)),
    listeners: list(top, 'listeners', byType('listeners', LISTENER, types(registry.inbounds), protocols, defs)),
    rules: list(top, 'rules', ruleSchema(registry)),
    ...tunSchema(top, registry),
    ...sectionSchemas(top, registry),
    'rule-providers': { ...(descriptionOf(top, 'rule-providers') ?? {}), type: ['object', 'null'], additionalProperties: providerSchema() },
  };
  const later = Object.fromEntries([...LATER_KEYS].map((key) => [key, { description: 'Not supported yet; has no effect.' }]));
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    title: 'nekit-kernel config',
    type: 'object',
    properties: { ...later, ...propertiesOf(top), ...overrides },
    patternProperties: { '^(?:x-|\\.)': {} },
    additionalProperties: false,
    $defs: defs,
  };
}

/** The section has the keys of the listener type of that name. */
function tunSchema(top: SchemaNode, registry: Registry): SchemaNode {
  const definition = registry.inbounds.get('tun')?.definition;
  if (definition === undefined) return {};
  const schema = embed(
    jsonSchemaOf(definition, () => undefined),
    '#/properties/tun',
  );
  return { tun: { ...(descriptionOf(top, 'tun') ?? {}), type: ['object', 'null'], properties: propertiesOf(schema), additionalProperties: false } };
}

function sectionSchemas(top: SchemaNode, registry: Registry): SchemaNode {
  return Object.fromEntries(
    registry.sections.entries().map(([key, { definition }]) => {
      const schema = jsonSchemaOf({ type: key, config: definition.config }, () => undefined);
      const node = { ...(descriptionOf(top, key) ?? {}), ...embed(schema, `#/properties/${key.replaceAll('~', '~0').replaceAll('/', '~1')}`) };
      return [key, { ...node, type: ['object', 'null'], ...(Object.hasOwn(node, 'additionalProperties') ? {} : { additionalProperties: false }) }];
    }),
  );
}

function inputSchema(schema: z.ZodType): SchemaNode {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, {
    io: 'input',
    override: ({ jsonSchema: node }) => {
      if (node.properties !== undefined) node.additionalProperties ??= false; // zod leaves objects open that drop what they do not know
    },
  });
  return rest;
}

function choice(top: SchemaNode, key: string, values: readonly string[]): SchemaNode {
  return { ...(descriptionOf(top, key) ?? {}), enum: values };
}

/** A section that may be left empty (`rules:` is null in YAML). */
function list(top: SchemaNode, key: string, items: SchemaNode): SchemaNode {
  return { ...(descriptionOf(top, key) ?? {}), type: ['array', 'null'], items };
}

function descriptionOf(top: SchemaNode, key: string): SchemaNode | null {
  const property = own(propertiesOf(top), key);
  return isRecord(property) && typeof property.description === 'string' ? { description: property.description } : null;
}

/** Entries whose `type` says which other keys there are. `plain` types have core's keys only. */
function byType(section: string, core: z.ZodType, types: readonly Type[], plain: readonly string[], defs: Record<string, unknown>): SchemaNode {
  const common = inputSchema(core);
  const names = [...plain, ...types.map(({ type }) => type)];
  const branches = types.map((definition) => {
    const id = `${section}.${definition.type}`;
    defs[id] = closed(
      embed(
        jsonSchemaOf(definition, () => undefined),
        `#/$defs/${id.replaceAll('~', '~0').replaceAll('/', '~1')}`,
      ),
      common,
    );
    return implies([definition.type], id);
  });
  if (plain.length > 0) {
    defs[section] = { ...common, additionalProperties: false };
    branches.push(implies(plain, section));
  }
  const type = own(propertiesOf(common), 'type');
  return {
    type: 'object',
    properties: {
      ...pick(common, types.length > 0 && plain.length > 0 ? ['name', 'type'] : Object.keys(propertiesOf(common))),
      type: { ...(isRecord(type) ? type : {}), enum: names },
    },
    required: ['name', 'type'],
    allOf: branches,
  };
}

function pick(schema: SchemaNode, keys: readonly string[]): SchemaNode {
  return Object.fromEntries(Object.entries(propertiesOf(schema)).filter(([key]) => keys.includes(key)));
}

/** If the type is one of these, then the definition holds. By entries, because a literal with a key `then` looks like a promise. */
function implies(types: readonly string[], definition: string): SchemaNode {
  const condition = { properties: { type: { enum: types } }, required: ['type'] };
  return Object.fromEntries<SchemaNode>([
    ['if', condition],
    ['then', { $ref: `#/$defs/${definition}` }],
  ]);
}

/** Core's keys beside those of the type, and no others, where the schema is one of a closed object. */
function closed(schema: SchemaNode, common: SchemaNode): SchemaNode {
  if (!isRecord(own(schema, 'properties'))) return schema;
  const open = own(schema, 'additionalProperties');
  return { ...schema, properties: { ...propertiesOf(common), ...propertiesOf(schema) }, additionalProperties: open === undefined ? false : open };
}

/**
 * A plugin's schema as a part of ours: its references moved to where it stands now. What has a default need not be there, whatever the schema
 * says: zod describes what comes out of it, and an editor looks at what goes in.
 */
function embed(schema: SchemaNode, pointer: string): SchemaNode {
  const node = moved(schema, pointer, 0);
  const { $schema: _, ...rest } = isRecord(node) ? node : {};
  return rest;
}

function moved(node: unknown, pointer: string, depth: number): unknown {
  if (depth > 64) return {};
  if (Array.isArray(node)) return node.map((item) => moved(item, pointer, depth + 1));
  if (!isRecord(node)) return node;
  const result: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(node)) {
    if (key === '$ref' && typeof value === 'string' && value.startsWith('#')) result[key] = pointer + value.slice(1);
    else if (key === 'required' && Array.isArray(value)) result[key] = value.filter((name) => !hasDefault(own(propertiesOf(node), String(name))));
    else if (key === 'default' || key === 'enum' || key === 'const' || key === 'examples') result[key] = value;
    else result[key] = moved(value, pointer, depth + 1);
  }
  return result;
}

function hasDefault(property: unknown): boolean {
  return isRecord(property) && Object.hasOwn(property, 'default');
}

function ruleSchema(registry: Registry): SchemaNode {
  const kinds = registry.rules.entries().map(([, { definition }]) => definition);
  const object = inputSchema(RULE);
  const type = own(propertiesOf(object), 'type');
  const described = kinds.map(({ kind, description }) => ({ const: kind, description }));
  return {
    anyOf: [
      { type: 'string', description: 'KIND,payload,target[,parameter…], as DOMAIN-SUFFIX,example.com,DIRECT' },
      { ...object, properties: { ...propertiesOf(object), type: { ...(isRecord(type) ? type : {}), anyOf: described } } },
    ],
  };
}

function providerSchema(): SchemaNode {
  const object = inputSchema(PROVIDER);
  const words = { type: PROVIDER_TYPES, behavior: BEHAVIORS, format: LIST_FORMATS };
  const choices = Object.fromEntries(Object.entries(words).map(([key, values]) => [key, choice(object, key, values)]));
  const needed = { http: 'url', file: 'path', inline: 'payload' } as const;
  const needs = PROVIDER_TYPES.map((type) => ({
    anyOf: [{ properties: { type: { enum: PROVIDER_TYPES.filter((other) => other !== type) } } }, { required: [needed[type]] }],
  }));
  return { ...object, properties: { ...propertiesOf(object), ...choices }, allOf: needs };
}
