import type { Adapter, PacketDialer, Session, StreamDialer, TimerWheel } from '@nekit/core';
import type { KernelDns } from '../kernel-dns.js';
import type { Answerer } from './answerer.js';
import { DnsPacketConn } from './dns-packet-conn.js';
import { DnsStream } from './dns-stream.js';

/** `type: dns`: whatever is routed to it talks to our name server, wherever it wanted to go. */
export class DnsAdapter implements Adapter {
  readonly tag: string;
  readonly type = 'dns';
  readonly stream: StreamDialer;
  readonly packet: PacketDialer;

  constructor(tag: string, server: KernelDns, timers: TimerWheel) {
    this.tag = tag;
    this.stream = {
      dialStream: (_destination, { signal, session }) => {
        if (signal.reason !== null) return Promise.reject(signal.reason);
        return Promise.resolve(new DnsStream(limited(server, session), timers));
      },
    };
    this.packet = {
      dialPacket: ({ signal, session }) =>
        signal.reason === null ? Promise.resolve(new DnsPacketConn(limited(server, session))) : Promise.reject(signal.reason),
    };
  }
}

/** Who asks too often is refused; this machine never is. */
function limited(server: KernelDns, { source: { host } }: Session): Answerer {
  if (host.startsWith('127.') || host === '::1') return server;
  return {
    respond: (bytes, start, end, transport, out) =>
      server.admits(host) ? server.respond(bytes, start, end, transport, out) : server.refuse(bytes, start, end, out),
    refuse: (...given) => server.refuse(...given),
  };
}
