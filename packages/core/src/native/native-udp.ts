import type { UdpHandlers, UdpOptions, UdpSocket } from '../net/udp.js';
import { EVENT, PACKED_ADDRESS } from './addon.js';
import type { EngineLoop, Listening } from './engine-loop.js';
import { netErrorOf, systemError } from './errno.js';
import { unpackAddress } from './packed-address.js';
import type { Sender, UdpExchange } from './udp-exchange.js';

/** A UDP socket of the engine. */
export class NativeUdp implements UdpSocket, Listening, Sender {
  readonly id: number;
  readonly family: 4 | 6;
  readonly port: number;
  readonly #loop: EngineLoop;
  readonly #exchange: UdpExchange;
  readonly #handlers: UdpHandlers;
  #refused = 0;
  #closed = false;

  /** Throws an error whose `code` is the system's. */
  constructor(loop: EngineLoop, exchange: UdpExchange, { host, port, ...options }: UdpOptions, handlers: UdpHandlers) {
    const { engine } = loop;
    const id = engine.udpOpen(host, port, options);
    if (id < 0) throw systemError(-id, `bind ${host}:${port}:`);
    const packed = new Uint8Array(PACKED_ADDRESS);
    const done = engine.udpAddress(id, packed);
    if (done < 0) {
      engine.udpClose(id);
      throw systemError(-done, 'getsockname:');
    }
    this.id = id;
    this.family = packed[18] === 6 ? 6 : 4;
    this.port = unpackAddress(packed, 0)?.port ?? 0;
    this.#loop = loop;
    this.#exchange = exchange;
    this.#handlers = handlers;
    loop.udp.add(this);
  }

  put(bytes: Uint8Array, start: number, end: number, address: string, port: number, head: Uint8Array | null = null): boolean {
    return !this.#closed && this.#exchange.put(this, this.family, bytes, start, end, address, port, head);
  }

  flush(): number {
    if (!this.#closed) this.#exchange.flush(this);
    const refused = this.#refused;
    this.#refused = 0;
    return refused;
  }

  send(bytes: Uint8Array, start: number, end: number, address: string, port: number): boolean {
    return this.put(bytes, start, end, address, port) && this.flush() === 0;
  }

  close(): void {
    if (this.#closed) return;
    this.#exchange.flush(this);
    this.#closed = true;
    this.#loop.udp.delete(this.id);
    this.#loop.engine.udpClose(this.id);
  }

  refused(datagrams: number): void {
    this.#refused += datagrams;
  }

  heard(kind: number, a: number, b: number): void {
    if (kind === EVENT.udpReceived) this.#handlers.received(this.#exchange.received(a, b));
    else if (kind === EVENT.udpWritable) this.#handlers.writable?.();
    else {
      this.close();
      this.#handlers.failed(netErrorOf(a, 'the UDP socket failed:'));
    }
  }
}
