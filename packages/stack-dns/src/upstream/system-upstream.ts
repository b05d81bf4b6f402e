import { type Cancel, type Clock, type Endpoint, formatEndpoint, toNetError } from '@nekit/core';
import type { Question } from '../wire/question.js';
import { ServerList } from './server-list.js';
import type { ServerSpec } from './server-spec.js';
import type { SystemServers } from './system-servers.js';
import { TcpUpstream } from './tcp-upstream.js';
import { UdpUpstream } from './udp-upstream.js';
import { Route, type Upstream, type UpstreamContext } from './upstream.js';

/** `system`: the servers of resolv.conf, asked by our sockets. */
export class SystemUpstream implements Upstream {
  readonly name: string;
  readonly #adapter: string | null;
  readonly #servers: SystemServers;
  readonly #context: UpstreamContext;
  readonly #options: { readonly clock: Clock; readonly timeoutMs: number };
  /** Those that are in the file now. */
  #list: ServerList | null = null;
  #key = '';
  #isClosed = false;

  constructor(
    { text, adapter }: Pick<ServerSpec, 'text' | 'adapter'>,
    servers: SystemServers,
    context: UpstreamContext,
    options: { readonly clock: Clock; readonly timeoutMs: number },
  ) {
    this.name = text;
    this.#adapter = adapter;
    this.#servers = servers;
    this.#context = context;
    this.#options = options;
  }

  async ask(question: Question, signal: Cancel): Promise<Uint8Array> {
    const endpoints = await this.#servers.list().catch((error: unknown) => {
      throw toNetError(error, 'reading resolv.conf');
    });
    const { bytes } = await this.#current(endpoints).ask(question, signal);
    return bytes;
  }

  close(): void {
    this.#isClosed = true;
    this.#list?.close();
  }

  #current(endpoints: readonly Endpoint[]): ServerList {
    const key = endpoints.map(formatEndpoint).join(' ');
    if (this.#list !== null && this.#key === key) return this.#list;
    this.#list?.close();
    this.#key = key;
    this.#list = new ServerList(
      endpoints.map((endpoint) => this.#upstream(endpoint)),
      this.#options,
    );
    if (this.#isClosed) this.#list.close(); // it answers who asked before, and keeps nothing
    return this.#list;
  }

  #upstream(endpoint: Endpoint): Upstream {
    const name = formatEndpoint(endpoint);
    const route = new Route(endpoint, this.#adapter, this.#context);
    return new UdpUpstream(name, route, new TcpUpstream(name, (signal) => route.dialStream(signal), this.#context), this.#context);
  }
}
