/** The servers that the system asks: those of /etc/resolv.conf, read by us. getaddrinfo would ask by a way that is not ours, and with a TUN that is a loop. */
import { readFile, stat } from 'node:fs/promises';
import { addressFamily, type Clock, type Endpoint, normaliseAddress } from '@nekit/core';

/** It is looked at again after this long, in ms. */
const REFRESH = 5_000;
/** The C library takes as many (resolv.conf(5), MAXNS). */
const MAX_SERVERS = 3;

/** Where systemd-resolved has the servers that it asks, when resolv.conf names only itself: with a TUN its own questions come to us. */
const BEHIND_STUB = '/run/systemd/resolve/resolv.conf';

export class SystemServers {
  readonly #path: string;
  readonly #behindStub: string;
  readonly #clock: Pick<Clock, 'now'>;
  #servers: readonly Endpoint[] = [];
  #lookedAt = Number.NEGATIVE_INFINITY;
  #modified = '';

  constructor(clock: Pick<Clock, 'now'>, path = '/etc/resolv.conf', behindStub = BEHIND_STUB) {
    this.#path = path;
    this.#behindStub = behindStub;
    this.#clock = clock;
  }

  /** Rejects when the file cannot be read. */
  async list(): Promise<readonly Endpoint[]> {
    const now = this.#clock.now();
    if (now - this.#lookedAt < REFRESH) return this.#servers;
    const [named, behind] = [await stampOf(this.#path), await stampOf(this.#behindStub).catch(() => '')];
    const modified = `${named}, ${behind}`;
    if (modified !== this.#modified) {
      const servers = nameservers(await readFile(this.#path, 'utf8'));
      const others = behind === '' || !servers.every(({ host }) => isLoopback(host)) ? [] : nameservers(await readFile(this.#behindStub, 'utf8'));
      this.#servers = others.length > 0 ? others : servers;
      this.#modified = modified;
    }
    this.#lookedAt = now;
    return this.#servers;
  }
}

/** Another one for another file. */
async function stampOf(path: string): Promise<string> {
  const { mtimeMs, size } = await stat(path);
  return `${mtimeMs} ${size}`;
}

function isLoopback(host: string): boolean {
  return host.startsWith('127.') || host === '::1';
}

export function nameservers(text: string): Endpoint[] {
  const found: Endpoint[] = [];
  for (const line of text.split('\n')) {
    const address = normaliseAddress(/^nameserver[ \t]+(\S+)/.exec(line)?.[1] ?? '-');
    if (address !== null && addressFamily(address) !== 0 && found.length < MAX_SERVERS) found.push({ host: address, port: 53 });
  }
  return found;
}
