/**
 * What a kernel tells those who watch it. Every event carries `at` (wall clock, ms since the epoch) and, where there is one, the session's id.
 * Emitters ask `wants` before they build an event, so an event nobody listens to costs one property read.
 */
import type { Endpoint } from './endpoint.js';
import type { Network, Session } from './session.js';

interface Event {
  readonly at: number;
}

interface SessionEvent extends Event {
  readonly session: number;
}

export interface KernelEvents {
  // Listeners (NEKit: ProxyServerEvent)
  'listener.started': Event & { readonly listener: string; readonly type: string; readonly endpoint: Endpoint };
  'listener.stopped': Event & { readonly listener: string };
  'listener.failed': Event & { readonly listener: string; readonly code: string; readonly message: string };
  /** A client connected. `connection` counts per kernel; sessions come out of a connection once it has said what it wants. */
  'connection.accepted': Event & { readonly listener: string; readonly connection: number; readonly source: Endpoint };
  /** Turned away before a word was read: `limit` (too many connections) or `address` (lan-allowed-ips and the like). */
  'connection.refused': Event & { readonly listener: string; readonly source: Endpoint; readonly reason: 'limit' | 'address' };
  'connection.closed': Event & { readonly listener: string; readonly connection: number };

  // Requests (NEKit: ProxySocketEvent)
  'request.received': SessionEvent & { readonly details: Session };
  'request.accepted': SessionEvent;
  'request.rejected': SessionEvent & { readonly code: string; readonly message: string };
  /** A client that broke its protocol or failed to authenticate: no session came of it. */
  'request.failed': Event & { readonly listener: string; readonly source: Endpoint; readonly code: string; readonly message: string };

  // Rules (NEKit: RuleMatchEvent)
  'rule.missed': SessionEvent & { readonly rule: string; readonly index: number };
  /** `rule` is null when none matched (DIRECT) or the mode decided. */
  'rule.matched': SessionEvent & { readonly rule: string | null; readonly index: number; readonly adapter: string };

  // Adapters (NEKit: AdapterSocketEvent)
  'adapter.dialing': SessionEvent & { readonly adapter: string; readonly type: string; readonly destination: Endpoint };
  'adapter.ready': SessionEvent & { readonly adapter: string; readonly ms: number };
  'adapter.failed': SessionEvent & { readonly adapter: string; readonly code: string; readonly message: string; readonly ms: number };

  // Groups
  /**
   * A group uses another member for what comes from now on: somebody chose it (`selected`), the one before is not alive (`dead`), is slower or was
   * never checked (`faster`), or an earlier one is alive again (`recovered`).
   */
  'group.changed': Event & {
    readonly group: string;
    readonly from: string;
    readonly to: string;
    readonly reason: 'selected' | 'dead' | 'faster' | 'recovered';
  };
  /** `ms` from dial to response head, or null and why it does not count as alive. */
  'health.checked': Event & { readonly adapter: string; readonly url: string; readonly ms: number | null; readonly error: string | null };

  // Sessions (NEKit: TunnelEvent)
  'session.opened': SessionEvent & { readonly details: Session };
  /** The client's first bytes have shown a name (`sniffer:`). `ech`: it may be the outer name of an Encrypted Client Hello only. */
  'session.sniffed': SessionEvent & { readonly protocol: 'TLS' | 'HTTP' | 'QUIC'; readonly host: string; readonly ech: boolean };
  'session.connected': SessionEvent & { readonly adapter: string };
  /** At most once a second and session, while somebody listens: totals so far (NEKit told of every chunk). */
  'session.traffic': SessionEvent & { readonly up: number; readonly down: number };
  'session.closed': SessionEvent & SessionSummary;

  // The kernel itself
  'kernel.started': Event;
  'kernel.reloaded': Event;
  'kernel.stopped': Event;
  /** Something to fix that stops nothing. */
  'kernel.warning': Event & { readonly code: string; readonly message: string };
}

/** How a session went, in one value: the log line. */
export interface SessionSummary {
  readonly network: Network;
  readonly inbound: string;
  readonly inboundType: string;
  readonly source: Endpoint;
  readonly destination: Endpoint;
  /** The name that the first bytes showed, which rules on names went by. */
  readonly sniffed: string | null;
  readonly user: string | null;
  /** As written in the config, or null (`MATCH` by default, or the mode decided). */
  readonly rule: string | null;
  /** The leaf that carried it, and the groups it came through, outermost first. */
  readonly adapter: string | null;
  readonly chain: readonly string[];
  readonly up: number;
  readonly down: number;
  /** ms from request to end. */
  readonly ms: number;
  readonly error: { readonly code: string; readonly failure: string; readonly message: string } | null;
}

export type EventName = keyof KernelEvents;
type Handler<N extends EventName> = (event: KernelEvents[N]) => void;

export interface EventSource {
  /** Returns the function that takes the handler back. A handler that throws is reported as `kernel.warning`, and the others still run. */
  on<N extends EventName>(name: N, handler: Handler<N>): () => void;
}

export class Events implements EventSource {
  readonly #handlers: { [N in EventName]?: readonly Handler<N>[] } = {};
  /** The names in `#handlers`: a Set answers in constant time whoever asks, a property of one of many names does not. */
  readonly #wanted = new Set<EventName>();

  on<N extends EventName>(name: N, handler: Handler<N>): () => void {
    const own: Handler<N> = (event) => handler(event);
    this.#set(name, [...this.#get(name), own]);
    return () => {
      const rest = this.#get(name).filter((other) => other !== own);
      this.#set(name, rest);
    };
  }

  /** Whether building the event is worth it. */
  wants(name: EventName): boolean {
    return this.#wanted.has(name);
  }

  emit<N extends EventName>(name: N, event: Omit<KernelEvents[N], 'at'>): void {
    const handlers = this.#handlers[name];
    if (handlers === undefined) return;
    const full = { at: Date.now(), ...event } as KernelEvents[N];
    for (const handler of handlers) {
      try {
        handler(full);
      } catch (error) {
        if (name === 'kernel.warning') continue; // nobody left to tell
        const message = `an event handler of ${name} threw: ${error instanceof Error ? error.message : String(error)}`;
        this.emit('kernel.warning', { code: 'EVENT_HANDLER_THREW', message });
      }
    }
  }

  #get<N extends EventName>(name: N): readonly Handler<N>[] {
    return this.#handlers[name] ?? [];
  }

  #set<N extends EventName>(name: N, handlers: readonly Handler<N>[]): void {
    const all: { [K in N]?: readonly Handler<K>[] } = this.#handlers;
    if (handlers.length === 0) {
      delete all[name];
      this.#wanted.delete(name);
    } else {
      all[name] = handlers;
      this.#wanted.add(name);
    }
  }
}
