import { addressFamily } from '../net/address.js';
import type { SharedBound } from '../net/bounded-map.js';
import type { DialOptions } from '../net/dialer.js';
import type { Endpoint } from '../net/endpoint.js';
import { NetError, toNetError } from '../net/errors.js';
import type { PacketConn } from '../net/packet-conn.js';
import type { SocketOptions } from '../net/sockets.js';
import type { Stream } from '../net/stream.js';
import { CLOCK, OUTBOUND, OUTGOING, OWN_ENDPOINTS, RESOLVER, SOCKETS, TIMEOUTS, TIMERS } from '../net/tokens.js';
import type { Adapter, AdapterContext } from './adapter.js';
import { connectToAny, type IpVersion, sortAddresses } from './connect.js';
import { UdpConn } from './udp-conn.js';

/** Bytes of datagrams that wait for their names' addresses, of all associations of one adapter. */
const MOST_WAITING_BYTES = 4 * 1024 * 1024;

/** Connects to the destination itself. All sockets of the kernel are opened here, so loops are refused here, for every adapter. */
export class DirectAdapter implements Adapter {
  readonly tag: string;
  readonly type = 'direct';
  readonly stream = { dialStream: (destination: Endpoint, options: DialOptions): Promise<Stream> => this.#dialStream(destination, options) };
  readonly packet?: { dialPacket(options: DialOptions): Promise<PacketConn> };
  readonly #context: Pick<AdapterContext, 'tag' | 'get'>;
  readonly #version: IpVersion;
  readonly #sockets: SocketOptions;
  readonly #deviceFor: (address: string) => string | undefined;
  readonly #udpFrom: Pick<SocketOptions, 'mark' | 'device'>;
  readonly #waiting: SharedBound = { now: 0, most: MOST_WAITING_BYTES };

  constructor(
    options: { readonly ipVersion: IpVersion; readonly udp: boolean; readonly sockets?: SocketOptions },
    context: Pick<AdapterContext, 'tag' | 'get'>,
  ) {
    this.tag = context.tag;
    this.#context = context;
    this.#version = options.ipVersion;
    this.#sockets = { ...context.get(OUTBOUND), ...options.sockets };
    const { mark, device } = this.#sockets;
    this.#udpFrom = { ...(mark === undefined ? {} : { mark }), ...(device === undefined ? {} : { device }) };
    const outgoing = context.get(OUTGOING);
    this.#deviceFor = (address) => outgoing.deviceFor(address);
    if (options.udp) this.packet = { dialPacket: (dial) => this.#dialPacket(dial) };
  }

  #dialStream(destination: Endpoint, options: DialOptions): Promise<Stream> {
    const { host, port } = destination;
    if (options.addresses !== undefined) return this.#connect(host, port, options.addresses, options);
    if (addressFamily(host) !== 0) return this.#connect(host, port, [host], options);
    return this.#resolveAndConnect(host, port, options);
  }

  async #resolveAndConnect(host: string, port: number, options: DialOptions): Promise<Stream> {
    const family = this.#version === 'ipv4' ? 4 : this.#version === 'ipv6' ? 6 : 0;
    return this.#connect(host, port, await this.#context.get(RESOLVER).resolve(host, family, options.signal), options);
  }

  #connect(host: string, port: number, found: readonly string[], { signal, closed }: DialOptions): Promise<Stream> {
    const { get } = this.#context;
    if (found.length === 0) return Promise.reject(new NetError('name', `${host} does not resolve`));
    const addresses = sortAddresses(found, this.#version);
    if (addresses.length === 0)
      return Promise.reject(new NetError('unreachable', `${host} has no address of the family that ip-version asks for`, { code: 'NO_ADDRESS' }));
    return connectToAny(addresses, port, {
      clock: get(CLOCK),
      timers: get(TIMERS),
      own: get(OWN_ENDPOINTS),
      sockets: get(SOCKETS),
      socketOptions: this.#sockets,
      deviceFor: this.#deviceFor,
      signal,
      timeoutMs: get(TIMEOUTS).connect,
      closed,
    });
  }

  #dialPacket(options: DialOptions): Promise<PacketConn> {
    const { get } = this.#context;
    if (options.signal.reason !== null) return Promise.reject(toNetError(options.signal.reason));
    return Promise.resolve(
      new UdpConn({
        own: get(OWN_ENDPOINTS),
        sockets: get(SOCKETS),
        from: this.#udpFrom,
        ...(this.#udpFrom.device === undefined ? { deviceFor: this.#deviceFor } : {}),
        resolve: (host, signal) => get(RESOLVER).resolve(host, 0, signal),
        sort: (addresses) => sortAddresses(addresses, this.#version),
        waiting: this.#waiting,
        now: () => get(CLOCK).now(),
      }),
    );
  }
}
