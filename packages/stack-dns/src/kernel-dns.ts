/**
 * What of the DNS belongs to a kernel and not to one of its configs: the server that listeners and adapters talk to, whichever config is in force, and the fake addresses, which
 * live through a reload.
 */
import { createHash, randomBytes } from 'node:crypto';
import { isAbsolute, join, resolve } from 'node:path';
import { CancelSource, type Clock, NekitError, token } from '@nekit/core';
import type { FakeIpTable } from '@nekit/core/ip';
import type { DnsConfig } from './config.js';
import type { AddressRange } from './fake-ip/address-range.js';
import { FakeIpPool, poolKey } from './fake-ip/fake-ip-pool.js';
import { FileStore } from './fake-ip/file-store.js';
import type { FakeIpStore } from './fake-ip/store.js';
import type { Answerer } from './server/answerer.js';
import type { DnsServer, Transport } from './server/dns-server.js';
import type { RateLimit } from './server/rate-limit.js';
import { RCODE } from './wire/message.js';
import { Query, SILENCE } from './wire/query.js';
import { emptyReply } from './wire/reply.js';

interface Active {
  readonly server: DnsServer;
  readonly fakes: FakeIpPool | null;
  readonly limit: RateLimit;
}

/** Real addresses whose names are remembered. */
const MAX_REAL_NAMES = 8_192;

/** Ranges of fake addresses that are remembered when they are in force no more. */
const MAX_FORMER = 8;

/** A store that does not close is waited for so long, in ms. */
const CLOSE_MS = 5_000;

/** The name server of a kernel. */
export const KERNEL_DNS = token<KernelDns>('KernelDns');

export interface PoolPlace {
  /** Of the config file. */
  readonly folder: string;
  readonly cacheFolder: string | null;
  readonly warn: (message: string) => void;
}

export class KernelDns implements Answerer, FakeIpTable {
  /** Of the questions of all configs, also of those that are in force no more: it ends with the kernel at the latest. */
  readonly life = new CancelSource();
  readonly #clock: Clock;
  readonly #newStore: ((key: string) => FakeIpStore) | null;
  readonly #query = new Query();
  /** Of configs that are in force; the last one is. A reload that fails takes its own away again. */
  #active: readonly Active[] = [];
  /** Of pools that there were: their addresses stand for nothing any more. */
  #former: readonly AddressRange[] = [];
  /** By real address, those that were told last behind the others. */
  readonly #realNames = new Map<string, string>();
  /** Whose names are kept. */
  #pool: FakeIpPool | null = null;
  /** Opens and closes, one after the other. */
  #opening: Promise<void> = Promise.resolve();

  /** `newStore`: where fake addresses are kept instead of files. */
  constructor(clock: Clock, newStore: ((key: string) => FakeIpStore) | null = null) {
    this.#clock = clock;
    this.#newStore = newStore;
  }

  /** The fake addresses that are in force; null: there are none. */
  get fakes(): FakeIpPool | null {
    return this.#active.at(-1)?.fakes ?? null;
  }

  /** Throws NekitError `NO_FAKE_RANGE` where there are no fake addresses. */
  assign(name: string, family: 4 | 6): string {
    const { fakes } = this;
    if (fakes === null) throw new NekitError('NO_FAKE_RANGE', 'there are no fake addresses: enhanced-mode is not fake-ip');
    return fakes.assign(name, family);
  }

  domainOf(address: string): string | null {
    return this.fakes?.domainOf(address) ?? null;
  }

  /** Those of ranges that were in force before, too: clients remember them for a while, and nobody else is there. */
  contains(address: string): boolean {
    return this.fakes?.contains(address) === true || this.#former.some((range) => range.contains(address));
  }

  realNameOf(address: string): string | null {
    return this.#realNames.get(address) ?? null;
  }

  /** A client was told that a name has these addresses. */
  learn(name: string, addresses: readonly string[]): void {
    const names = this.#realNames;
    for (const address of addresses) {
      names.delete(address);
      names.set(address, name);
    }
    for (const oldest of names.keys()) {
      if (names.size <= MAX_REAL_NAMES) break;
      names.delete(oldest);
    }
  }

  hold(address: string, recycled: () => void): () => void {
    return this.fakes?.hold(address, recycled) ?? ((): void => {});
  }

  respond(bytes: Uint8Array, start: number, end: number, transport: Transport, out: Uint8Array): number | Promise<Uint8Array | null> {
    const server = this.#active.at(-1)?.server;
    return server === undefined ? this.#error(bytes, start, end, out, RCODE.SERVFAIL) : server.respond(bytes, start, end, transport, out);
  }

  refuse(bytes: Uint8Array, start: number, end: number, out: Uint8Array): number {
    return this.#error(bytes, start, end, out, RCODE.REFUSED);
  }

  /** Whether a config is in force. */
  get isNeeded(): boolean {
    return this.#active.length > 0;
  }

  /** Whether a client that is not this machine may ask once more now. `client`: what stands for its address. */
  admits(client: number | string): boolean {
    return this.#active.at(-1)?.limit.take(client, this.#clock.now()) ?? false;
  }

  /** From here on it answers; the returned function takes it away. `limit`: of clients that come by no listener. */
  enter(server: DnsServer, fakes: FakeIpPool | null, limit: RateLimit): () => void {
    const active = { server, fakes, limit };
    this.#active = [...this.#active, active];
    return () => {
      this.#active = this.#active.filter((other) => other !== active);
      if (fakes !== null && !this.#isInForce(fakes)) this.#retire(fakes);
    };
  }

  #isInForce(pool: FakeIpPool): boolean {
    return this.#active.some(({ fakes }) => fakes === pool);
  }

  /** The pool is of no config any more: it changed its ranges, or it was of a reload that failed. */
  #retire(pool: FakeIpPool): void {
    // Without a name no client knows an address of it, and the range may be somebody's.
    if (pool.size > 0) this.#remember(pool);
    const next = this.fakes;
    if (pool === this.#pool && next !== null) this.#give(next, pool);
  }

  /** What is kept is of this pool from here on. One file, one user: the one before lets go of it first. */
  #give(pool: FakeIpPool, before: FakeIpPool | null): void {
    this.#pool = pool;
    if (before !== null) this.#letGo(before);
    this.#opening = this.#opening.then(() => pool.open());
  }

  /** Whatever is opened from here on waits for it. */
  #letGo(pool: FakeIpPool): void {
    this.#opening = this.#opening.then(
      () =>
        new Promise((resolve) => {
          const stopTimer = this.#clock.after(CLOSE_MS, resolve);
          const done = (): void => {
            stopTimer();
            resolve();
          };
          pool.close().then(done, done);
        }),
    );
  }

  /** Ranges that are of no config any more. */
  #remember({ range4, range6 }: FakeIpPool): void {
    const known = [range4, ...(range6 === null ? [] : [range6])];
    const others = this.#former.filter(({ key }) => !known.some((range) => range.key === key));
    this.#former = [...others, ...known].slice(-MAX_FORMER);
  }

  /**
   * The pool of these ranges: the one that there is, or a new one, which gets what was kept: at once, or where another one is in force when that leaves, since a reload may yet fail.
   */
  poolFor(config: DnsConfig, place: PoolPlace): FakeIpPool {
    const { range4, range6 } = config;
    const key = poolKey(range4, range6);
    const before = this.#pool;
    const known = [before, ...this.#active.map(({ fakes }) => fakes)].find((pool) => pool?.key === key);
    if (known !== undefined && known !== null) return known;
    const pool = new FakeIpPool({ range4, range6, seed: randomBytes(4).readInt32LE(), store: this.#storeFor(config, key, place), warn: place.warn });
    if (before === null || !this.#isInForce(before)) this.#give(pool, before);
    return pool;
  }

  /** Settles when what was kept is there. */
  opened(): Promise<void> {
    return this.#opening;
  }

  /** What there is to keep is kept when it settles. A config may come again, also before that. */
  close(): Promise<void> {
    const pool = this.#pool;
    this.#pool = null;
    if (pool !== null) this.#letGo(pool);
    return this.#opening;
  }

  #storeFor({ keys }: DnsConfig, key: string, { folder, cacheFolder }: PoolPlace): FakeIpStore | null {
    const where = keys['fake-ip-store'];
    if (where === false) return null;
    if (this.#newStore !== null) return this.#newStore(key);
    if (typeof where === 'string') return new FileStore(isAbsolute(where) ? where : resolve(folder, where), this.#clock);
    if (cacheFolder === null) return null;
    // Kernels with configs in several places do not take each other's file.
    const name = createHash('sha256').update(folder).digest('hex').slice(0, 16);
    return new FileStore(join(cacheFolder, `fake-ip-${name}.journal`), this.#clock);
  }

  #error(bytes: Uint8Array, start: number, end: number, out: Uint8Array, rcode: number): number {
    const query = this.#query;
    return query.read(bytes, start, end) === SILENCE ? 0 : emptyReply(out, query, bytes, start, rcode);
  }
}
