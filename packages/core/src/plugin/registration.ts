import { NekitError } from '../net/errors.js';
import type { Token } from '../net/token.js';
import { CORE, isRecord } from './check.js';
import type {
  AdapterDefinition,
  InboundDefinition,
  NameHookDefinition,
  PluginContext,
  ResolverDefinition,
  SectionDefinition,
  StackDefinition,
} from './plugin.js';
import { PluginError } from './plugin-error.js';
import type { Kinds, Registry } from './registry.js';

/** Where `provide` and `get` of a plugin lead to. */
export interface Values {
  provide<T>(token: Token<T>, owner: string, factory: (get: <D>(token: Token<D>) => D) => T): void;
  get<T>(token: Token<T>): T;
}

/** A listener of this type takes every inbound protocol, so nothing else may be called so. */
const MIXED = 'mixed';

/** The context that one plugin's `setup` is given. `open` turns false when setup is over: types are known before the config is read. */
export class Registration implements PluginContext {
  readonly #plugin: string;
  readonly #registry: Registry;
  readonly #values: Values;
  #open = true;

  constructor(plugin: string, registry: Registry, values: Values) {
    this.#plugin = plugin;
    this.#registry = registry;
    this.#values = values;
  }

  /** From here on only `get` works. */
  close(): void {
    this.#open = false;
  }

  adapter<C>(definition: AdapterDefinition<C>): void {
    this.#expect(definition, 'adapter', 'type', ['create']);
    this.#expectSchema(definition.type, definition.config);
    this.#add(definition.group === true ? this.#registry.groups : this.#registry.adapters, definition.type, definition);
  }

  inbound<C>(definition: InboundDefinition<C>): void {
    this.#expect(definition, 'inbound', 'type', ['create']);
    this.#expectSchema(definition.type, definition.config);
    this.#refuseTaken(definition.type, this.#registry.protocols);
    this.#add(this.#registry.inbounds, definition.type, definition);
  }

  protocol(protocol: Parameters<PluginContext['protocol']>[0]): void {
    this.#expect(protocol, 'protocol', 'name', ['takes', 'serve']);
    this.#refuseTaken(protocol.name, this.#registry.inbounds);
    this.#add(this.#registry.protocols, protocol.name, protocol);
  }

  rule(definition: Parameters<PluginContext['rule']>[0]): void {
    this.#expect(definition, 'rule', 'kind', ['create']);
    if (!/^[A-Z][A-Z0-9-]*$/.test(definition.kind)) throw this.#bad(`rule kind "${definition.kind}" should be upper case, with dashes`);
    this.#add(this.#registry.rules, definition.kind, definition);
  }

  stack<C>(definition: StackDefinition<C>): void {
    this.#expect(definition, 'stack', 'type', ['create']);
    this.#expectSchema(definition.type, definition.config);
    this.#add(this.#registry.stacks, definition.type, definition);
  }

  resolver(definition: ResolverDefinition): void {
    this.#expect(definition, 'resolver', 'scheme', ['create']);
    if (!/^[a-z][a-z0-9+.-]*$/.test(definition.scheme)) throw this.#bad(`resolver scheme "${definition.scheme}" should be lower case, as that of a URL`);
    this.#add(this.#registry.resolvers, definition.scheme, definition);
  }

  nameHook(definition: NameHookDefinition): void {
    this.#expect(definition, 'name hook', 'name', ['create']);
    this.#add(this.#registry.nameHooks, definition.name, definition);
  }

  section<C>(definition: SectionDefinition<C>): void {
    this.#expect(definition, 'section', 'key', ['create']);
    this.#expectSchema(definition.key, definition.config);
    this.#add(this.#registry.sections, definition.key, definition);
  }

  provide<T>(token: Token<T>, factory: (get: <D>(token: Token<D>) => D) => T): void {
    this.#mustBeOpen('provide');
    if (typeof token !== 'symbol' || typeof factory !== 'function') throw this.#bad('provide takes a token and a function that makes the value');
    this.#values.provide(token, this.#plugin, factory);
  }

  get<T>(token: Token<T>): T {
    return this.#values.get(token);
  }

  #add<D>(kinds: Kinds<D>, name: string, definition: D): void {
    try {
      kinds.add(name, this.#plugin, definition);
    } catch (error) {
      throw this.#duplicate(error instanceof Error ? error.message : String(error), error);
    }
  }

  /** Protocols and inbounds are both spelled as a listener's `type`. */
  #refuseTaken(name: string, others: { get(name: string): { readonly plugin: string } | undefined }): void {
    const owner = others.get(name)?.plugin ?? (name === MIXED && this.#plugin !== CORE ? CORE : undefined);
    if (owner === undefined) return;
    const cause = new NekitError('DUPLICATE_TYPE', `listener type "${name}" of plugin ${this.#plugin} is already taken by plugin ${owner}`);
    throw this.#duplicate(cause.message, cause);
  }

  #duplicate(message: string, cause: unknown): PluginError {
    return new PluginError('DUPLICATE_TYPE', this.#plugin, 'setup', message, { cause });
  }

  #mustBeOpen(what: string): void {
    if (this.#open) return;
    throw new PluginError(
      'PLUGIN_SETUP_OVER',
      this.#plugin,
      'setup',
      `plugin "${this.#plugin}" called ${what} after its setup; types and values are registered in setup only`,
    );
  }

  #expect(definition: unknown, what: string, nameKey: string, functions: readonly string[]): void {
    this.#mustBeOpen(what);
    if (!isRecord(definition)) throw this.#bad(`an ${what} definition should be an object`);
    const name = definition[nameKey];
    if (typeof name !== 'string' || name === '') throw this.#bad(`a definition of ${what} has no "${nameKey}" (a string)`);
    for (const key of functions) if (typeof definition[key] !== 'function') throw this.#bad(`${what} "${name}" has no function "${key}"`);
  }

  #expectSchema(type: string, schema: unknown): void {
    if (isRecord(schema) && typeof schema.parse === 'function' && typeof schema.toJSONSchema === 'function') return;
    throw this.#bad(`the "config" of type "${type}" has no parse and toJSONSchema; every zod 4 schema has both`);
  }

  #bad(message: string): PluginError {
    return new PluginError('PLUGIN_BAD_DEFINITION', this.#plugin, 'setup', `plugin "${this.#plugin}": ${message}`);
  }
}
