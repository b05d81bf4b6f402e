import type { Adapter } from '../../dist/adapter/adapter.js';
import { NetError } from '../../dist/net/errors.js';
import { Events, type SessionSummary } from '../../dist/net/events.js';
import type { Datagram, PacketConn } from '../../dist/net/packet-conn.js';
import { PacketQueue } from '../../dist/net/packet-queue.js';
import type { Resolver } from '../../dist/net/resolver.js';
import { DEFAULT_TIMEOUTS } from '../../dist/net/timeouts.js';
import { TimerWheel } from '../../dist/net/timer-wheel.js';
import { Router } from '../../dist/routing/router.js';
import type { Routing } from '../../dist/routing/routing.js';
import { SessionTable } from '../../dist/routing/session-table.js';
import { buildRule, parseRuleText } from '../../dist/rule/parse.js';
import type { Sniffer } from '../../dist/sniff/sniffer.js';
import { FakeClock } from '../../dist/testing.js';
import { knownRules } from './known-rules.js';

export class FakeConn implements PacketConn {
  readonly incoming = new PacketQueue();
  readonly sent: Datagram[] = [];
  error: NetError | null = null;
  closed = false;
  givesBytes = false;
  receive(): ReturnType<PacketConn['receive']> {
    return this.incoming.take();
  }
  send(datagrams: readonly Datagram[]): number {
    for (const datagram of datagrams) this.sent.push({ ...datagram, bytes: Uint8Array.from(datagram.bytes) });
    return datagrams.length;
  }
  close(error?: NetError): void {
    this.closed = true;
    this.error ??= error ?? null;
    this.incoming.end();
  }
  texts(): string[] {
    return this.sent.map((datagram) => Buffer.from(datagram.bytes).toString());
  }
}

/** An adapter whose UDP associations the test sees. */
export function packetAdapter(tag: string, fail: NetError | null = null): Adapter & { conns: FakeConn[] } {
  const conns: FakeConn[] = [];
  const dialPacket = (): Promise<PacketConn> => {
    if (fail !== null) return Promise.reject(fail);
    const conn = new FakeConn();
    conns.push(conn);
    return Promise.resolve(conn);
  };
  return { tag, type: 'test', conns, packet: { dialPacket } };
}

const noNames: Resolver = { resolve: () => Promise.reject(new NetError('name', 'nothing resolves here')) };

/** Rules, adapters, and a clock that stands still: what handles a request, without a kernel. */
export function scene(rules: readonly string[], adapters: readonly Adapter[], resolver: Resolver = noNames, sniffer: Sniffer | null = null) {
  const clock = new FakeClock();
  const timers = new TimerWheel(clock);
  const events = new Events();
  const sessions = new SessionTable(clock, events);
  const routes = rules.map((text) => {
    const { kind, payload, target, parameters } = parseRuleText(text);
    return { rule: buildRule(kind, payload, parameters, {}, knownRules()), kind, payload, target, text };
  });
  const timeouts = DEFAULT_TIMEOUTS;
  const router = new Router({ routes, adapters: (tag) => adapters.find((adapter) => adapter.tag === tag), mode: 'rule', events, resolver, timeouts, timers });
  const routing: Routing = { router, generation: 1, fakes: null, sniffer, sessions, events, timers, timeouts };
  const ended: SessionSummary[] = [];
  events.on('session.closed', (event) => ended.push(event));
  return { clock, timers, events, sessions, routing, ended };
}
