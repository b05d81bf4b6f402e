import { isDeepStrictEqual } from 'node:util';
import type { Adapter, AdapterContext } from '../adapter/adapter.js';
import { DirectAdapter } from '../adapter/direct.js';
import { HEALTH_BOOK } from '../adapter/health-book.js';
import { REJECT_DELAY, RejectAdapter, RejectDropAdapter } from '../adapter/reject.js';
import { SelectAdapter } from '../adapter/select.js';
import { ConfigError } from '../config/config-error.js';
import type { AdapterConfig, KernelConfig, Outbound } from '../config/types.js';
import { NekitError, NetError } from '../net/errors.js';
import type { Token } from '../net/token.js';
import { OUTBOUND } from '../net/tokens.js';
import { isRecord } from '../plugin/check.js';
import type { Registry } from '../plugin/registry.js';
import type { Farewell } from './farewell.js';

type Get = <T>(token: Token<T>) => T;

/** The adapters of one config, by tag. Made from it as a whole, replaced as a whole by a reload. */
export class AdapterSet {
  readonly #byTag = new Map<string, Adapter>();
  readonly #configs = new Map<string, AdapterConfig>();
  /** By tag: what it was given to dial through, or as a member. */
  readonly #uses = new Map<string, Set<string>>();
  readonly #outbound: Outbound;
  /** Tags that are being made, to name a cycle. */
  readonly #making: string[] = [];
  readonly #registry: Registry;
  readonly #get: Get;

  /** Throws NekitError: `ADAPTER_CYCLE`, `UNKNOWN_ADAPTER`, or ConfigError for what an adapter's `create` throws; what was made before is closed then. */
  constructor(config: Pick<KernelConfig, 'proxies' | 'groups' | 'outbound'>, registry: Registry, given: Get, farewell: Farewell) {
    const { outbound } = config;
    // Of this config; all else is the kernel's.
    const get: Get = <T>(token: Token<T>) => (token === (OUTBOUND as symbol) ? (outbound as T) : given(token));
    this.#registry = registry;
    this.#get = get;
    this.#outbound = outbound;
    for (const entry of [...config.proxies, ...config.groups]) this.#configs.set(entry.name, entry);
    for (const builtin of builtins(get)) this.#byTag.set(builtin.tag, builtin);
    try {
      for (const tag of this.#configs.keys()) this.#adapter(tag);
    } catch (error) {
      this.close(farewell);
      throw error;
    }
    if (!this.#byTag.has('GLOBAL')) {
      const proxies = ['DIRECT', 'REJECT', ...this.#configs.keys()];
      this.#byTag.set('GLOBAL', new SelectAdapter({ proxies }, this.#context('GLOBAL', null)));
    }
  }

  get(tag: string): Adapter | undefined {
    return this.#byTag.get(tag);
  }

  /** An adapter of a type that needs no settings, which no rule can name. Throws NekitError `UNKNOWN_TYPE`. */
  ofType(type: string, tag: string): Adapter {
    const known = this.#registry.adapters.get(type);
    if (known === undefined) throw new NekitError('UNKNOWN_TYPE', `there is no adapter type "${type}"`);
    const { definition, plugin } = known;
    return created(definition.create(definition.config.parse({}), this.#context(tag, null)), type, plugin);
  }

  all(): Adapter[] {
    return [...this.#byTag.values()];
  }

  /** Choices made at run time, taken over where the group still has the member. */
  keepChoices(older: AdapterSet): void {
    for (const before of older.all()) {
      const chosen = before.select === undefined ? undefined : before.now?.().tag;
      const after = this.#byTag.get(before.tag);
      if (chosen !== undefined && after?.select !== undefined && after.members?.some((member) => member.tag === chosen) === true) after.select(chosen);
    }
  }

  /** What was found of the health of adapters that lead elsewhere than in `older` is not theirs. When `older` is closed, and before `start`. */
  forgetHealth(older: AdapterSet): void {
    this.#get(HEALTH_BOOK).forget(this.#changedSince(older));
  }

  start(): void {
    for (const adapter of this.#byTag.values()) adapter.start?.();
  }

  close(farewell: Farewell): void {
    for (const adapter of this.#byTag.values()) void farewell.told(`close of "${adapter.tag}"`, () => adapter.close?.());
  }

  /** Tags of either whose entry is not the same, or that of something on their way. */
  #changedSince(older: AdapterSet): string[] {
    const tags = [...new Set([...older.#byTag.keys(), ...this.#byTag.keys()])];
    if (!isDeepStrictEqual(older.#outbound, this.#outbound)) return tags;
    const changed = new Map<string, boolean>();
    const isChanged = (tag: string): boolean => {
      const known = changed.get(tag);
      if (known !== undefined) return known;
      changed.set(tag, false); // two that name each other at run time do not keep us here
      const is = !isSameEntry(older.#configs.get(tag), this.#configs.get(tag)) || [...(this.#uses.get(tag) ?? [])].some(isChanged);
      changed.set(tag, is);
      return is;
    };
    return tags.filter(isChanged);
  }

  /** `other`, for the adapter `tag`. */
  #use(tag: string, other: string): Adapter {
    const uses = this.#uses.get(tag) ?? new Set();
    this.#uses.set(tag, uses.add(other));
    return this.#adapter(other);
  }

  #adapter(tag: string): Adapter {
    const made = this.#byTag.get(tag);
    if (made !== undefined) return made;
    const config = this.#configs.get(tag);
    if (config === undefined) throw new NekitError('UNKNOWN_ADAPTER', `there is no proxy or group "${tag}"`);
    if (this.#making.includes(tag))
      throw new NekitError('ADAPTER_CYCLE', `proxies use each other in a circle: ${[...this.#making.slice(this.#making.indexOf(tag)), tag].join(' -> ')}`);
    this.#making.push(tag);
    const adapter = this.#create(config);
    this.#making.pop();
    this.#byTag.set(tag, adapter);
    return adapter;
  }

  #create(config: AdapterConfig): Adapter {
    const known = this.#registry.adapters.get(config.type) ?? this.#registry.groups.get(config.type);
    if (config.unavailable !== null || known === undefined)
      return new UnavailableAdapter(config.name, config.type, config.unavailable ?? `type "${config.type}" is not known`);
    const context = this.#context(config.name, config.dialerProxy, config.outbound);
    try {
      return created(known.definition.create(config.options, context), config.type, known.plugin);
    } catch (error) {
      if (error instanceof ConfigError || (error instanceof NekitError && error.code === 'ADAPTER_CYCLE')) throw error;
      throw failed(config, error);
    }
  }

  #context(tag: string, dialerProxy: string | null, outbound: Outbound = {}): AdapterContext {
    const isOwn = dialerProxy === null && Object.keys(outbound).length > 0;
    const base = isOwn
      ? new DirectAdapter({ ipVersion: 'dual', udp: true, sockets: outbound }, { tag: 'DIRECT', get: this.#get })
      : this.#use(tag, dialerProxy ?? 'DIRECT');
    return { tag, base, adapter: (other) => this.#use(tag, other), get: this.#get };
  }
}

/** What a plugin's `create` gave, if it is an adapter. */
function created(adapter: Adapter, type: string, plugin: string): Adapter {
  if (isRecord(adapter) && typeof adapter.tag === 'string') return adapter;
  throw new Error(`create of type "${type}" of plugin "${plugin}" gave no adapter, an object with a "tag"`);
}

/** Wherever it stands in the file. */
function isSameEntry(one: AdapterConfig | undefined, other: AdapterConfig | undefined): boolean {
  return isDeepStrictEqual(one && { ...one, where: '' }, other && { ...other, where: '' });
}

/** What a `create` throws is about its entry: a file that cannot be read, a value that only it can judge. */
function failed({ name, where }: AdapterConfig, error: unknown): ConfigError {
  const message = `${where === '' ? '' : `${where}: `}proxy "${name}" cannot be made: ${error instanceof Error ? error.message : String(error)}`;
  return new ConfigError([{ severity: 'error', code: 'BAD_VALUE', message, path: [], file: null, line: null, column: null, excerpt: null }], { cause: error });
}

function builtins(get: Get): Adapter[] {
  const direct = (tag: string): Adapter => new DirectAdapter({ ipVersion: 'dual', udp: true }, { tag, get });
  return [
    direct('DIRECT'),
    direct('COMPATIBLE'), // Clash's stand-in for an empty group
    new RejectAdapter({ delayMs: REJECT_DELAY }, { tag: 'REJECT', get }),
    new RejectDropAdapter({ tag: 'REJECT-DROP', get }),
    { tag: 'PASS', type: 'pass' }, // carries nothing, so the next rule is asked
  ];
}

/** Stands for an entry that cannot be used, so that the groups and rules that name it still make sense. */
class UnavailableAdapter implements Adapter {
  readonly tag: string;
  readonly type: string;
  readonly stream: NonNullable<Adapter['stream']>;
  /** It refuses UDP as well: passed over, datagrams would go by another way than the one that was asked for. */
  readonly packet: NonNullable<Adapter['packet']>;

  constructor(tag: string, type: string, why: string) {
    this.tag = tag;
    this.type = type;
    const refuse = (): Promise<never> => Promise.reject(new NetError('denied', `${tag} is not available: ${why}`, { code: 'ADAPTER_UNAVAILABLE' }));
    this.stream = { dialStream: refuse };
    this.packet = { dialPacket: refuse };
  }
}
