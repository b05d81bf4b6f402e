import { addressFamily } from '../net/address.js';
import { CancelSource, timeoutError } from '../net/cancel.js';
import { formatEndpoint } from '../net/endpoint.js';
import { type NetError, toNetError } from '../net/errors.js';
import { type Hosts, lookUpHosts } from '../net/hosts.js';
import type { Resolver } from '../net/resolver.js';
import type { Session } from '../net/session.js';
import type { Timeouts } from '../net/timeouts.js';
import type { TimerWheel } from '../net/timer-wheel.js';
import { describeProcess, type ProcessFinder, type ProcessInfo } from '../process/process-finder.js';
import type { FactKey, Facts } from '../rule/rule.js';

/** What all sessions' facts are found with. */
export interface FactSources {
  readonly resolver: Resolver;
  readonly hosts: Hosts;
  readonly timers: TimerWheel;
  readonly timeouts: Pick<Timeouts, 'resolve'>;
  /** Without it no process is known. */
  readonly process?: ProcessFinder | undefined;
}

/** A look-up that a rule asked for. */
export interface Lookup {
  /** The name that was asked, which `hosts` may have put in place of the destination's; or which fact a rule asked for. */
  readonly name: string;
  /** `rule`: a rule found it by itself. */
  readonly from: 'hosts' | 'resolver' | 'process' | 'rule';
  readonly addresses: readonly string[];
  /** What else was found than addresses, as text. */
  readonly value?: string;
  readonly error: { readonly code: string; readonly message: string } | null;
  readonly ms: number;
}

/** The facts of one session: nothing is looked up before a rule asks, and nothing twice. */
export class SessionFacts implements Facts {
  readonly #session: Session;
  readonly #sources: FactSources;
  /** Where look-ups are noted, if anybody wants to know. */
  readonly #lookups: Lookup[] | null;
  #addresses: readonly string[] | null = null;
  #pending: Promise<readonly string[]> | null = null;
  #error: NetError | null = null;
  #process: Promise<ProcessInfo | null> | null = null;
  #own: Map<object, unknown> | null = null;

  constructor(session: Session, sources: FactSources, lookups: Lookup[] | null) {
    this.#session = session;
    this.#sources = sources;
    this.#lookups = lookups;
  }

  /** Why there are no addresses, if a look-up failed. */
  get error(): NetError | null {
    return this.#error;
  }

  addresses(): readonly string[] | Promise<readonly string[]> {
    return this.knownAddresses() ?? this.#pending ?? this.#lookUp();
  }

  knownAddresses(): readonly string[] | null {
    if (this.#addresses !== null) return this.#addresses;
    if (this.#pending !== null) return null;
    const { host } = this.#session.destination;
    if (addressFamily(host) !== 0) this.#addresses = [host];
    else if (this.#sources.hosts.has(host)) this.#addresses = this.#fromHosts(host);
    return this.#addresses;
  }

  /**
   * What the rules have judged and a dialer has to keep to: what was looked up, or what `hosts` says; empty if the name did not resolve.
   * null: the destination is an address, or nobody asked for any.
   */
  judged(): readonly string[] | null {
    if (this.#addresses === null && this.#sources.hosts.size === 0) return null;
    const known = this.knownAddresses();
    return known === null || addressFamily(this.#session.destination.host) !== 0 ? null : known;
  }

  process(): Promise<ProcessInfo | null> {
    this.#process ??= this.#findProcess();
    return this.#process;
  }

  async #findProcess(): Promise<ProcessInfo | null> {
    const { process: finder, timers } = this.#sources;
    if (finder === undefined) return null;
    const begin = timers.now();
    const found = await finder.find(this.#session);
    const name = `process of ${formatEndpoint(this.#session.source)}`;
    this.#lookups?.push({ name, from: 'process', addresses: [], value: describeProcess(found), error: null, ms: timers.now() - begin });
    return found;
  }

  /** null: `hosts` gives another name, which has to be looked up. */
  #fromHosts(host: string): readonly string[] | null {
    try {
      const found = lookUpHosts(this.#sources.hosts, host);
      if (found === null || 'alias' in found) return null;
      this.#note(host, 'hosts', found.addresses, 0);
      return found.addresses;
    } catch (error) {
      this.#error = toNetError(error);
      this.#note(host, 'hosts', [], 0);
      return [];
    }
  }

  #lookUp(): Promise<readonly string[]> {
    const { timers, timeouts, resolver, hosts } = this.#sources;
    const { host } = this.#session.destination;
    const found = lookUpHosts(hosts, host); // no loop, or `knownAddresses` had found it
    const name = found !== null && 'alias' in found ? found.alias : host;
    const begin = timers.now();
    const cancel = new CancelSource(this.#session.signal);
    const deadline = timers.after(timeouts.resolve, () => cancel.cancel(timeoutError(`looking up ${name}`, timeouts.resolve)));
    const pending = new Promise<readonly string[]>((resolve) => {
      const finish = (addresses: readonly string[], error: unknown): void => {
        if (this.#addresses !== null) return;
        deadline.cancel();
        cancel.release();
        this.#addresses = addresses;
        if (error !== null) this.#error = toNetError(error);
        this.#note(name, 'resolver', addresses, timers.now() - begin);
        resolve(addresses);
      };
      cancel.onCancel((reason) => finish([], reason));
      ask(resolver, name, cancel).then(
        (addresses) => finish(addresses, null),
        (error: unknown) => finish([], error),
      );
    });
    this.#pending = pending;
    return pending;
  }

  once<T>(key: FactKey<T>, find: () => T | Promise<T>): T | Promise<T> {
    this.#own ??= new Map();
    // Whoever has the key has put its value there.
    if (this.#own.has(key)) return this.#own.get(key) as T | Promise<T>;
    const begin = this.#sources.timers.now();
    const found = find();
    this.#own.set(key, found);
    if (this.#lookups !== null) {
      const note = (value: T): void => {
        this.#lookups?.push({
          name: key.name,
          from: 'rule',
          addresses: [],
          value: key.format?.(value) ?? String(value),
          error: null,
          ms: this.#sources.timers.now() - begin,
        });
      };
      if (found instanceof Promise) found.then(note, () => undefined);
      else note(found);
    }
    return found;
  }

  #note(name: string, from: 'hosts' | 'resolver', addresses: readonly string[], ms: number): void {
    const error = this.#error === null ? null : { code: this.#error.code, message: this.#error.message };
    this.#lookups?.push({ name, from, addresses, error, ms });
  }
}

/** A resolver that throws instead of rejecting is one that rejects. */
async function ask(resolver: Resolver, name: string, signal: CancelSource): Promise<readonly string[]> {
  return await resolver.resolve(name, 0, signal);
}
