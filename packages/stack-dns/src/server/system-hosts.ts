/** The hosts that the system knows (hosts(5)), behind those of the config. */
import { readFileSync, statSync } from 'node:fs';
import { addressFamily, type Clock, errorCode, type Hosts, normaliseAddress, normaliseHost } from '@nekit/core';

/** It is looked at again after this long, in ms. */
const REFRESH = 5_000;
/** A list of blocked names has a million lines; that is for rules. */
const MAX_BYTES = 1 << 20;

/** `own` goes first. Reading is synchronous: a small file, at most every five seconds, and only when somebody asks. */
export class SystemHosts {
  readonly #own: Hosts;
  readonly #clock: Pick<Clock, 'now'>;
  readonly #path: string | null;
  #system: Hosts = new Map();
  #merged: Hosts;
  #lookedAt = Number.NEGATIVE_INFINITY;
  #modified = '';

  /** `path` null: only `own`. */
  constructor(own: Hosts, clock: Pick<Clock, 'now'>, path: string | null = '/etc/hosts') {
    this.#own = own;
    this.#clock = clock;
    this.#path = path;
    this.#merged = own;
  }

  current(): Hosts {
    const now = this.#clock.now();
    if (this.#path === null || now - this.#lookedAt < REFRESH) return this.#merged;
    this.#lookedAt = now;
    const read = this.#read(this.#path);
    if (read === null) return this.#merged;
    this.#system = read;
    const [own, system] = [this.#own, this.#system];
    this.#merged = {
      size: own.size + system.size,
      has: (name) => own.has(name) || system.has(name),
      get: (name) => own.get(name) ?? system.get(name),
    };
    return this.#merged;
  }

  /** null: as it was before. What cannot be read is as good as empty. */
  #read(path: string): Hosts | null {
    let modified = '';
    let found: Hosts = new Map();
    try {
      const stats = statSync(path, { throwIfNoEntry: false });
      if (stats !== undefined) modified = `${stats.mtimeMs} ${stats.size}`;
      if (modified === this.#modified) return null;
      if (stats?.isFile() === true && stats.size <= MAX_BYTES) found = parseHosts(readFileSync(path, 'utf8'));
    } catch (error) {
      modified = errorCode(error);
      if (modified === this.#modified) return null;
    }
    this.#modified = modified;
    return found;
  }
}

export function parseHosts(text: string): Hosts {
  const found = new Map<string, string[]>();
  for (const line of text.split('\n')) {
    const [address = '', ...names] = (line.split('#', 1)[0] ?? '').trim().split(/\s+/);
    const canonical = normaliseAddress(address);
    if (canonical === null || addressFamily(canonical) === 0 || canonical.includes('%')) continue;
    for (const name of names) {
      const host = normaliseHost(name);
      if (host === null || addressFamily(host) !== 0) continue;
      const addresses = found.get(host);
      if (addresses === undefined) found.set(host, [canonical]);
      else if (!addresses.includes(canonical)) addresses.push(canonical);
    }
  }
  return found;
}
