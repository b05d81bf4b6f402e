import type { InboundProtocol } from '../inbound/inbound.js';
import { NekitError } from '../net/errors.js';
import type { RuleDefinition } from '../rule/definition.js';
import type { AdapterDefinition, InboundDefinition, NameHookDefinition, ResolverDefinition, SectionDefinition, StackDefinition } from './plugin.js';

/** A definition and the plugin that registered it (`core` for ours). */
export interface Registered<D> {
  readonly plugin: string;
  readonly definition: D;
}

/**
 * All types that a kernel knows, by the word the config uses for them. Definitions are generic in their config type, which a map cannot
 * carry: they are kept as `unknown`, and `parse` followed by `create` of the same definition is what keeps them sound.
 */
export class Registry {
  readonly adapters = new Kinds<AdapterDefinition<unknown>>('adapter type');
  readonly groups = new Kinds<AdapterDefinition<unknown>>('group type');
  readonly inbounds = new Kinds<InboundDefinition<unknown>>('listener type');
  readonly protocols = new Kinds<InboundProtocol>('inbound protocol');
  readonly rules = new Kinds<RuleDefinition>('rule kind');
  readonly stacks = new Kinds<StackDefinition<unknown>>('IP stack');
  readonly resolvers = new Kinds<ResolverDefinition>('name server scheme');
  readonly nameHooks = new Kinds<NameHookDefinition>('name hook');
  readonly sections = new Kinds<SectionDefinition<unknown>>('section of the config');
}

export class Kinds<D> {
  readonly #noun: string;
  readonly #known = new Map<string, Registered<D>>();

  constructor(noun: string) {
    this.#noun = noun;
  }

  /** Throws NekitError `DUPLICATE_TYPE` naming both plugins. */
  add(name: string, plugin: string, definition: D): void {
    const other = this.#known.get(name);
    if (other !== undefined) throw new NekitError('DUPLICATE_TYPE', `${this.#noun} "${name}" of plugin ${plugin} is already taken by plugin ${other.plugin}`);
    this.#known.set(name, { plugin, definition });
  }

  get(name: string): Registered<D> | undefined {
    return this.#known.get(name);
  }

  names(): string[] {
    return [...this.#known.keys()];
  }

  entries(): [string, Registered<D>][] {
    return [...this.#known];
  }
}
