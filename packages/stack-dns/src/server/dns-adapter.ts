import type { Adapter, PacketDialer, StreamDialer } from '@nekit/core';
import type { Answerer } from './answerer.js';
import { DnsPacketConn } from './dns-packet-conn.js';
import { DnsStream } from './dns-stream.js';

/** `type: dns`: whatever is routed to it talks to our name server, wherever it wanted to go. */
export class DnsAdapter implements Adapter {
  readonly tag: string;
  readonly type = 'dns';
  readonly stream: StreamDialer;
  readonly packet: PacketDialer;

  constructor(tag: string, server: Answerer) {
    this.tag = tag;
    this.stream = {
      dialStream: (_destination, { signal }) => {
        if (signal.reason !== null) return Promise.reject(signal.reason);
        return Promise.resolve(new DnsStream(server));
      },
    };
    this.packet = {
      dialPacket: ({ signal }) => (signal.reason === null ? Promise.resolve(new DnsPacketConn(server)) : Promise.reject(signal.reason)),
    };
  }
}
