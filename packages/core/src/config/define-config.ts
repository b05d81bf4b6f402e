import type { z } from 'zod';
import type { ENTRY, LISTENER, RULE, TOP } from './schema.js';
import type { LogLevel, Mode } from './types.js';

type DeepReadonly<T> = T extends readonly (infer Item)[]
  ? readonly DeepReadonly<Item>[]
  : T extends object
    ? { readonly [K in keyof T]: DeepReadonly<T[K]> }
    : T;

type Input<S extends z.ZodType> = DeepReadonly<z.input<S>>;

/** An entry of `proxies` or `proxy-groups`. Its other keys are those of its type. */
export type EntryInput = Input<typeof ENTRY> & Readonly<Record<string, unknown>>;

/** An entry of `listeners`. A plugin's inbound may have more keys. */
export type ListenerInput = Omit<Input<typeof LISTENER>, 'port'> & { readonly port?: number } & Readonly<Record<string, unknown>>;

/** `DOMAIN-SUFFIX,example.com,home`, or the same as an object. */
export type RuleInput = string | Input<typeof RULE>;

/** A config as TypeScript: the keys of the YAML file, with the same meaning and the same checks. */
export type KernelInput = Omit<Input<typeof TOP>, 'mode' | 'log-level' | 'listeners' | 'proxies' | 'proxy-groups' | 'rules'> & {
  readonly mode?: Mode;
  readonly 'log-level'?: LogLevel;
  readonly listeners?: readonly ListenerInput[];
  readonly proxies?: readonly EntryInput[];
  readonly 'proxy-groups'?: readonly EntryInput[];
  readonly rules?: readonly RuleInput[];
};

/** Only types a config; the object is returned as it is. */
export function defineConfig<const C extends KernelInput>(config: C): C {
  return config;
}
