import type { KernelConfig, ListenerConfig } from '../config/types.js';
import { AccessList, UserList } from '../inbound/access.js';
import type { ConnectionLimit } from '../inbound/connection-limit.js';
import type { Inbound, InboundContext, InboundProtocol } from '../inbound/inbound.js';
import { TcpInbound } from '../inbound/tcp-inbound.js';
import type { Cancel } from '../net/cancel.js';
import type { Endpoint } from '../net/endpoint.js';
import { NekitError } from '../net/errors.js';
import type { Registry } from '../plugin/registry.js';
import type { Farewell } from './farewell.js';

export interface ListenerInfo {
  readonly name: string;
  readonly type: string;
  /** With the port that was really taken; null for an inbound that has none. */
  readonly endpoint: Endpoint | null;
}

/** What is the same for all listeners of a kernel. */
export type KernelContext = Omit<InboundContext, 'tcp' | 'admits'>;

interface Running {
  readonly config: ListenerConfig;
  /** Equal keys: the same listener, which a reload leaves alone. */
  readonly key: string;
  readonly inbound: Inbound;
}

/** What has to hold while sockets are opened: called right before the first listener of its config starts. */
export interface Changeover {
  forward(): void;
  /** The new config was no good. */
  back(): void;
}

/** The listeners of a kernel that runs. */
export class ListenerSet {
  readonly #registry: Registry;
  readonly #limit: ConnectionLimit;
  readonly #farewell: Farewell;
  readonly #context: (name: string, type: string) => KernelContext;
  #running: Running[] = [];
  #stopped = false;

  constructor(registry: Registry, limit: ConnectionLimit, farewell: Farewell, context: (name: string, type: string) => KernelContext) {
    this.#registry = registry;
    this.#limit = limit;
    this.#farewell = farewell;
    this.#context = context;
  }

  list(): ListenerInfo[] {
    return this.#running.map(({ config, inbound }) => ({
      name: config.name,
      type: config.type,
      endpoint: inbound.endpoint ?? null,
    }));
  }

  /**
   * Brings what runs in line with the config: unchanged listeners stay, the others are stopped and started. If one cannot start,
   * what was there before runs again, as far as it can, and the error is thrown. Throws STOPPED if `stop` is called meanwhile.
   */
  async apply(config: Pick<KernelConfig, 'listeners'>, signal: Cancel, changeover: Changeover): Promise<void> {
    const wanted = config.listeners.map((listener) => ({ config: listener, key: keyOf(listener) }));
    const kept = this.#running.filter((running) => wanted.some(({ key }) => key === running.key));
    const removed = this.#running.filter((running) => !kept.includes(running));
    const added = wanted.filter(({ key }) => !kept.some((running) => running.key === key)).map((entry) => ({ ...entry, inbound: this.#create(entry.config) }));
    await this.#retire(removed);
    this.#refuseStopped();
    try {
      changeover.forward();
      for (const running of added) await this.#start(running, signal);
    } catch (error) {
      await this.#retire(this.#running.filter((one) => !kept.includes(one)));
      changeover.back();
      this.#refuseStopped();
      const lost: unknown[] = [];
      for (const running of removed) await this.#start(running, signal).catch((second: unknown) => lost.push(second));
      this.#refuseStopped();
      if (lost.length === 0) throw error;
      throw new AggregateError([error, ...lost], `${messageOf(error)}; and what was there before does not run any more: ${lost.map(messageOf).join('; ')}`);
    }
  }

  /** Never rejects. One that is still being started is stopped as soon as it has. */
  async stop(): Promise<void> {
    this.#stopped = true;
    for (const running of this.#running.toReversed()) await this.#stop(running);
  }

  async #start(running: Running, signal: Cancel): Promise<void> {
    this.#refuseStopped();
    await running.inbound.start(signal);
    this.#running.push(running);
    if (this.#stopped) await this.#stop(running);
    this.#refuseStopped();
  }

  /** What still runs when `stop` is called is for that to stop, once. */
  async #retire(these: readonly Running[]): Promise<void> {
    for (const running of these) if (!this.#stopped) await this.#stop(running);
  }

  #refuseStopped(): void {
    if (this.#stopped) throw new NekitError('STOPPED', 'the kernel stopped while its listeners were started or stopped');
  }

  /** It is none of those that run from the beginning of its stop, however that ends. */
  #stop(running: Running): Promise<void> {
    this.#running = this.#running.filter((other) => other !== running);
    return this.#farewell.limited(`stop of the listener "${running.config.name}"`, () => running.inbound.stop());
  }

  #create(config: ListenerConfig): Inbound {
    // The lists are about the LAN: where only this machine can come they say nothing, as in Clash without allow-lan.
    const access = isLoopback(config.host) ? new AccessList([], []) : new AccessList(config.allowedIps, config.disallowedIps);
    const users = config.users === null ? null : new UserList(config.users);
    const tcp = ({ host, port }: Endpoint, protocols: readonly InboundProtocol[]): Inbound =>
      new TcpInbound({ host, port, protocols, users, skipAuthPrefixes: config.skipAuthPrefixes, access, limit: this.#limit }, context);
    const context: InboundContext = {
      ...this.#context(config.name, config.type),
      tcp: (endpoint, protocol) => tcp(endpoint, [protocol]),
      admits: (address) => access.admits(address),
    };
    const inbound = this.#registry.inbounds.get(config.type);
    if (inbound !== undefined) return inbound.definition.create(config.options, context);
    const all = this.#registry.protocols.entries().map(([, { definition }]) => definition);
    const protocols = config.type === 'mixed' ? all : all.filter((protocol) => protocol.name === config.type);
    if (protocols.length === 0) throw new NekitError('UNKNOWN_TYPE', `${config.where}: no plugin brings the listener type "${config.type}"`);
    return tcp(config, protocols);
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function isLoopback(host: string): boolean {
  return host.startsWith('127.') || host === '::1' || host === 'localhost';
}

function keyOf({ where: _where, ...rest }: ListenerConfig): string {
  return JSON.stringify(rest);
}
