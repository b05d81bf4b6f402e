import type { Adapter } from '../adapter/adapter.js';
import { type Fetched, httpFetch } from '../adapter/http-fetch.js';
import type { Cancel } from '../net/cancel.js';
import { NetError } from '../net/errors.js';
import type { Session } from '../net/session.js';
import type { TimerWheel } from '../net/timer-wheel.js';
import type { Copy, ListSource, Version } from './list-source.js';
import type { HttpSourceConfig } from './provider-config.js';
import { digest, type ProviderStore } from './provider-store.js';

export interface HttpSourceOptions {
  readonly config: HttpSourceConfig;
  readonly maxBytes: number;
  /** null: no copy is kept. */
  readonly store: ProviderStore | null;
  readonly adapter: (tag: string) => Adapter | undefined;
  readonly timers: TimerWheel;
  readonly timeoutMs: number;
  readonly wallClock: () => number;
}

/** What may go into a header as it is: what comes back from a server or a disk need not be fit for it. */
const HEADER_VALUE = /^[\t\x20-\x7e\x80-\xff]+$/;

/** A list on a server, fetched through an adapter, with a copy on disk. Read first: RFC 9110 section 13. */
export class HttpSource implements ListSource {
  readonly remote = true;
  readonly #options: HttpSourceOptions;

  constructor(options: HttpSourceOptions) {
    this.#options = options;
  }

  /** Of another URL, or changed, it is still better than nothing, but it is out of date, and none of what the server said of it holds. */
  async kept(): Promise<Copy | null> {
    const { store, maxBytes, config } = this.#options;
    const found = (await store?.read(maxBytes)) ?? null;
    if (found === null) return null;
    const { bytes, sha256, facts, changed, writtenAt } = found;
    if (facts === null) return { bytes, version: { sha256 }, updatedAt: writtenAt };
    if (facts.url !== config.url) return { bytes, version: { sha256 }, updatedAt: 0 };
    if (changed) return { bytes, version: { sha256 }, updatedAt: 0, doubt: 'it was changed or cut off since it was written' };
    return { bytes, version: versionOf(sha256, facts.etag, facts.lastModified), updatedAt: facts.updatedAt };
  }

  async fetch(version: Version | null, signal: Cancel): Promise<Copy | null> {
    const { config, wallClock } = this.#options;
    const conditional = version?.etag !== undefined || version?.lastModified !== undefined;
    const fetched = await this.#get(version, signal);
    if (fetched.status === 304 && conditional) return null;
    if (fetched.status !== 200) throw new NetError('protocol', `${new URL(config.url).origin} answers with status ${fetched.status}`, { code: 'HTTP_STATUS' });
    const { body, headers } = fetched;
    return { bytes: body, version: versionOf(digest(body), headers.etag, headers['last-modified']), updatedAt: wallClock() };
  }

  async keep({ bytes, version, updatedAt }: Copy): Promise<void> {
    await this.#options.store?.write(bytes, this.#facts(version, updatedAt));
  }

  async confirm(version: Version, updatedAt: number): Promise<void> {
    await this.#options.store?.confirm(this.#facts(version, updatedAt));
  }

  #get(version: Version | null, signal: Cancel): Promise<Fetched> {
    const { config, adapter, timers, timeoutMs, maxBytes } = this.#options;
    const dialer = adapter(config.proxy)?.stream;
    if (dialer === undefined) throw new NetError('denied', `"${config.proxy}" carries no connections to fetch through`, { code: 'ADAPTER_UNAVAILABLE' });
    const headers = {
      ...config.headers,
      ...(version?.etag === undefined ? {} : { 'if-none-match': version.etag }),
      ...(version?.lastModified === undefined ? {} : { 'if-modified-since': version.lastModified }),
    };
    return httpFetch(config.url, { dialer, session: kernelSession(signal), signal, timers, timeoutMs, maxBytes, headers });
  }

  #facts(version: Version, updatedAt: number): Parameters<ProviderStore['confirm']>[0] {
    const { etag = null, lastModified = null, sha256 = '' } = version;
    return { url: this.#options.config.url, etag, lastModified, sha256, updatedAt };
  }
}

function versionOf(sha256: string, etag: string | null | undefined, lastModified: string | null | undefined): Version {
  return { sha256, ...usable('etag', etag), ...usable('lastModified', lastModified) };
}

function usable(key: string, value: string | null | undefined): Version {
  return value !== null && value !== undefined && HEADER_VALUE.test(value) ? { [key]: value } : {};
}

/** No client asked for it: the kernel does. */
function kernelSession(signal: Cancel): Session {
  const nowhere = { host: '0.0.0.0', port: 0 };
  return { id: 0, network: 'tcp', inbound: '', inboundType: '', inboundPort: 0, source: nowhere, requested: nowhere, destination: nowhere, signal };
}
