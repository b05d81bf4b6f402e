import { z } from 'zod';
import { directType, raceType, rejectDropType, rejectType, selectType } from '../../dist/adapter/builtin.js';
import type { AdapterDefinition, ConfigSchema } from '../../dist/plugin/plugin.js';
import { Registry } from '../../dist/plugin/registry.js';
import { builtinRules } from '../../dist/rule/builtin.js';

function never(): never {
  throw new Error('a check makes no adapters');
}

/** A proxy type as a plugin has it, with a strict schema that does not know core's keys. */
export const fakeSocks = {
  type: 'socks5',
  config: z.strictObject({
    server: z.string().min(1),
    port: z.int().min(1).max(65535),
    username: z.string().optional(),
    password: z.string().optional(),
    tls: z.boolean().default(false),
    udp: z.boolean().default(false),
    alpn: z.union([z.string(), z.array(z.string())]).optional(),
    headers: z.record(z.string(), z.string()).optional(),
    tuning: z.object({ window: z.number().optional(), label: z.string().optional() }).optional(),
    chain: z.array(z.object({ hop: z.string() })).optional(),
  }),
  create: never,
};

/** Not made with zod: throws plain errors and refers to itself. */
const handmade: AdapterDefinition<unknown> = {
  type: 'handmade',
  config: {
    parse(input: unknown): unknown {
      if (typeof input === 'object' && input !== null && 'fail' in input) throw new Error(`I do not like ${JSON.stringify(input)}`);
      return input;
    },
    toJSONSchema: () => ({
      type: 'object',
      properties: { level: { type: 'integer' }, child: { $ref: '#' }, kind: { $ref: '#/$defs/kind' }, fail: { type: 'boolean' }, name: { type: 'string' } },
      $defs: { kind: { enum: ['a', 'b'] } },
    }),
  },
  create: never,
};

const speechless: ConfigSchema<unknown> = {
  parse: (input) => input,
  toJSONSchema() {
    throw new Error('transforms cannot be told');
  },
};

/** What core brings, and a few plugins. */
export function knownTypes(): Registry {
  const registry = new Registry();
  registry.adapters.add('direct', 'core', directType);
  registry.adapters.add('reject', 'core', rejectType);
  registry.adapters.add('reject-drop', 'core', rejectDropType);
  registry.groups.add('race', 'core', raceType);
  registry.groups.add('select', 'core', selectType);
  for (const rule of builtinRules) registry.rules.add(rule.kind, 'core', rule);
  registry.rules.add('DAY', 'calendar', {
    kind: 'DAY',
    description: 'a day of the week',
    payload: true,
    create(payload) {
      if (!['monday', 'sunday'].includes(payload)) throw new Error(`"${payload}" is no day`);
      return { match: () => false };
    },
  });
  registry.adapters.add('socks5', 'adapter-socks5', fakeSocks);
  registry.adapters.add('handmade', 'handmade', handmade);
  registry.adapters.add('speechless', 'speechless', { type: 'speechless', config: speechless, create: never });
  for (const name of ['http', 'socks']) registry.protocols.add(name, `adapter-${name}`, { name, takes: () => true, serve: () => Promise.resolve() });
  registry.inbounds.add('pipe', 'pipe', { type: 'pipe', config: z.object({ name: z.string(), path: z.string(), port: z.int().optional() }), create: never });
  return registry;
}
