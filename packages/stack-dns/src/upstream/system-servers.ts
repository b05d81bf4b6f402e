/** The servers that the system asks: those of /etc/resolv.conf, read by us. getaddrinfo would ask by a way that is not ours, and with a TUN that is a loop. */
import { readFile, stat } from 'node:fs/promises';
import { addressFamily, type Clock, type Endpoint, normaliseAddress } from '@nekit/core';

/** It is looked at again after this long, in ms. */
const REFRESH = 5_000;
/** The C library takes as many (resolv.conf(5), MAXNS). */
const MAX_SERVERS = 3;

export class SystemServers {
  readonly #path: string;
  readonly #clock: Pick<Clock, 'now'>;
  #servers: readonly Endpoint[] = [];
  #lookedAt = Number.NEGATIVE_INFINITY;
  #modified = '';

  constructor(clock: Pick<Clock, 'now'>, path = '/etc/resolv.conf') {
    this.#path = path;
    this.#clock = clock;
  }

  /** Rejects when the file cannot be read. */
  async list(): Promise<readonly Endpoint[]> {
    const now = this.#clock.now();
    if (now - this.#lookedAt < REFRESH) return this.#servers;
    const { mtimeMs, size } = await stat(this.#path);
    const modified = `${mtimeMs} ${size}`;
    if (modified !== this.#modified) {
      this.#servers = nameservers(await readFile(this.#path, 'utf8'));
      this.#modified = modified;
    }
    this.#lookedAt = now;
    return this.#servers;
  }
}

export function nameservers(text: string): Endpoint[] {
  const found: Endpoint[] = [];
  for (const line of text.split('\n')) {
    const address = normaliseAddress(/^nameserver[ \t]+(\S+)/.exec(line)?.[1] ?? '-');
    if (address !== null && addressFamily(address) !== 0 && found.length < MAX_SERVERS) found.push({ host: address, port: 53 });
  }
  return found;
}
