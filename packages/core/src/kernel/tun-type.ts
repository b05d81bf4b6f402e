/** The listener type `tun`, and the section `tun:` of the config: core's own keys and those of the stacks that are loaded. */
import { z } from 'zod';
import { checkNetwork } from '../config/networks.js';
import { isRecord, own } from '../config/record.js';
import { propertiesOf, type SchemaNode } from '../config/schema-node.js';
import type { InboundContext } from '../inbound/inbound.js';
import { GuardedStack } from '../inbound/tun/guarded-stack.js';
import { TunInbound } from '../inbound/tun/tun-inbound.js';
import type { LinkAddress } from '../native/link-config.js';
import { OPEN_TUN } from '../native/open-tun.js';
import { addressFamily } from '../net/address.js';
import { closest } from '../net/closest.js';
import { EVENTS } from '../net/tokens.js';
import type { ConfigSchema, InboundDefinition, StackDefinition } from '../plugin/plugin.js';
import type { Registry } from '../plugin/registry.js';

/** Clash's words for its own stacks; they all mean ours. */
const CLASH_STACKS = ['system', 'gvisor', 'mixed'];

const OUR_STACKS = ['dns', 'tcp', 'udp'];

const DEFAULT_INET4 = ['198.18.0.1/30'];
const DEFAULT_INET6 = ['fdfe:dcba:9876::1/126'];

/** As Linux has it; empty: it chooses. */
const INTERFACE = /^(?!\.{1,2}$)[^\s/:]{0,15}$/u;

const KEYS = z.object({
  enable: z.boolean().default(true).describe('false: no TUN.'),
  device: z
    .string()
    .regex(INTERFACE, 'no name of an interface: at most 15 characters, without blanks, "/" and ":"')
    .default('')
    .describe('Name of the interface; the kernel chooses one by default.'),
  'file-descriptor': z.int().min(0).optional().describe('An open TUN instead (IFF_TUN, IFF_NO_PI); whoever opened it configures the interface.'),
  stack: z
    .union([z.string(), z.array(z.string()).min(1)])
    .optional()
    .describe('IP stacks in the order in which they are asked; default: all that are loaded. system, gvisor and mixed mean the default.'),
  mtu: z.int().min(1280).max(65_535).default(9000).describe('Bytes.'),
  gso: z.boolean().default(true).describe('false: no segmentation and checksum offload.'),
  'inet4-address': z.array(z.string()).default(DEFAULT_INET4).describe(`Addresses of the interface; default ${DEFAULT_INET4.join()}.`),
  'inet6-address': z.array(z.string()).default(DEFAULT_INET6).describe(`The same of IPv6; default ${DEFAULT_INET6.join()}.`),
  icmp: z.enum(['reply', 'drop']).default('reply').describe('What happens to pings.'),
});

interface TunConfig {
  readonly keys: z.infer<typeof KEYS>;
  readonly addresses: readonly LinkAddress[];
  readonly stacks: readonly { readonly definition: StackDefinition<unknown>; readonly options: unknown }[];
}

export function tunType(registry: () => Registry): InboundDefinition<TunConfig> {
  return {
    type: 'tun',
    config: new TunSchema(registry),
    enabled: ({ keys }) => keys.enable,
    claims: ({ addresses, stacks }, listener, get) =>
      stacks.flatMap(({ definition, options }) =>
        (definition.claims?.(options, networksOf(addresses), get) ?? []).map((claim) => ({
          ...claim,
          takes: (session) => session.inbound === listener && claim.takes(session),
        })),
      ),
    create({ keys, addresses, stacks }, context) {
      const open = context.get(OPEN_TUN);
      const descriptor = keys['file-descriptor'];
      return new TunInbound(
        {
          open: (warn) =>
            open({ name: keys.device, addresses, mtu: keys.mtu, offload: keys.gso, warn, ...(descriptor === undefined ? {} : { fileDescriptor: descriptor }) }),
          stacks: stacks.map(
            ({ definition, options }) =>
              (stackContext) =>
                new GuardedStack(definition.create(options, stackContext), (error) => tellOf(definition.type, error, context)),
          ),
          networks: networksOf(addresses),
          echo: keys.icmp === 'reply',
        },
        context,
      );
    },
  };
}

function networksOf(addresses: readonly LinkAddress[]): string[] {
  return addresses.map(({ address, prefix }) => `${address}/${prefix}`);
}

/** Core's keys and those of all loaded stacks as one schema. */
class TunSchema implements ConfigSchema<TunConfig> {
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
      const [above, within] = [[], []] as [[string, unknown][], [string, unknown][]];
      for (const entry of Object.entries(propertiesOf(own))) (keys.includes(entry[0]) ? above : within).push(entry);
      properties[type] = { ...own, properties: Object.fromEntries(within) };
      Object.assign(properties, Object.fromEntries(above));
    }
    return { ...schema, properties: { ...properties, ...propertiesOf(schema) } };
  }

  /** Throws an error with `issues`, as zod does. */
  parse(input: unknown): TunConfig {
    const keys = KEYS.parse(isRecord(input) ? Object.fromEntries(Object.entries(input).filter(([key]) => Object.hasOwn(KEYS.shape, key))) : input);
    const issues: Issue[] = [];
    if (!keys.enable) return { keys, addresses: [], stacks: [] };
    const addresses = [...addressesOf(keys['inet4-address'], 4, 'inet4-address', issues), ...addressesOf(keys['inet6-address'], 6, 'inet6-address', issues)];
    const stacks = this.#stacks(keys.stack, issues).map((definition) => ({ definition, options: optionsOf(definition, input, issues) }));
    if (issues.length > 0) throw Object.assign(new Error('the TUN is not set up rightly'), { issues });
    return { keys, addresses, stacks };
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

/** As zod's, so that they are told alike. */
type Issue = Readonly<Record<string, unknown>>;

function issue(path: readonly (string | number)[], message: string): Issue {
  return { code: 'custom', path, message };
}

function addressesOf(texts: readonly string[], family: 4 | 6, key: string, issues: Issue[]): LinkAddress[] {
  return texts.flatMap((text, index) => {
    const [address = '', bits] = text.split('/', 2);
    if (checkNetwork(text) !== null && addressFamily(address) === family)
      return { address, prefix: bits === undefined ? (family === 4 ? 32 : 128) : Number(bits) };
    issues.push(
      issue([key, index], `"${text}" is no IPv${family} address with the length of its network, as ${family === 4 ? '198.18.0.1/30' : 'fd00::1/126'}`),
    );
    return [];
  });
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

function tellOf(type: string, error: unknown, context: InboundContext): void {
  const what = error instanceof Error ? error.message : String(error);
  const message = `${context.name}: the IP stack "${type}" threw, which is told once; the packet is lost and it goes on: ${what}`;
  context.get(EVENTS).emit('kernel.warning', { code: 'STACK_FAILED', message });
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
