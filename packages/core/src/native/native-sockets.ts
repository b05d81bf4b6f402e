import { lookup } from 'node:dns/promises';
import { rmSync } from 'node:fs';
import { addressFamily } from '../net/address.js';
import type { Endpoint } from '../net/endpoint.js';
import type { NetError } from '../net/errors.js';
import { type BoundListener, type Incoming, isSocketPath, type ListenHandlers, type ListenOptions, type SocketOptions, type Sockets } from '../net/sockets.js';
import type { Stream } from '../net/stream.js';
import type { UdpHandlers, UdpOptions, UdpSocket } from '../net/udp.js';
import { type Addon, EVENT, PACKED_ADDRESS } from './addon.js';
import { EngineLoop, type Listening } from './engine-loop.js';
import { netErrorOf, systemError } from './errno.js';
import { NativeStream } from './native-stream.js';
import { NativeUdp } from './native-udp.js';
import { unpackAddress } from './packed-address.js';
import { UdpExchange } from './udp-exchange.js';

/** Sockets of the addon's engine, which is made when the first is asked for. */
export class NativeSockets implements Sockets {
  readonly kind = 'native';
  readonly #addon: Addon;
  #loop: EngineLoop | null = null;
  #exchange: UdpExchange | null = null;

  constructor(addon: Addon) {
    this.#addon = addon;
  }

  async listen(options: ListenOptions, handlers: ListenHandlers): Promise<BoundListener> {
    const { host, port, backlog, reusePort } = options;
    if (isSocketPath(host)) return this.#listenAt(host, backlog, handlers);
    const address = addressFamily(host) === 0 ? (await lookup(host)).address : host;
    const loop = this.#open();
    const ipv6Only = address !== '::' && address.includes(':');
    const id = loop.engine.listen(address, port, backlog, ipv6Only, reusePort === true ? { reusePort } : {});
    if (id < 0) throw systemError(-id, `listen on ${address}:${port}:`);
    const listener = new NativeListener(loop, id, handlers);
    return {
      port: listener.port(),
      close: () => listener.close(),
    };
  }

  connect(
    address: string,
    port: number,
    options: SocketOptions,
    opened: (stream: Stream) => void,
    failed: (error: NetError) => void,
    closed?: () => void,
  ): () => void {
    const loop = this.#open();
    // Mostly there are none, and reading nine keys of nothing costs.
    const id = loop.engine.connect(address, isSocketPath(address) ? null : port, Object.keys(options).length === 0 ? undefined : options);
    if (id > 0) {
      const attempt = new Attempt(loop, id, opened, failed, closed);
      return () => attempt.giveUp();
    }
    let given = false;
    queueMicrotask(() => {
      if (!given) failed(netErrorOf(-id, 'connect:'));
    });
    return () => {
      given = true;
    };
  }

  #listenAt(path: string, backlog: number, handlers: ListenHandlers): BoundListener {
    const loop = this.#open();
    const id = loop.engine.listen(path, null, backlog, false, {});
    if (id < 0) throw systemError(-id, `listen on ${path}:`);
    const listener = new NativeListener(loop, id, handlers, path);
    return {
      port: 0,
      close: () => {
        listener.close();
        rmSync(path, { force: true });
      },
    };
  }

  bindUdp(options: UdpOptions, handlers: UdpHandlers): UdpSocket {
    const loop = this.#open();
    this.#exchange ??= new UdpExchange(loop.engine, loop.slab);
    return new NativeUdp(loop, this.#exchange, options, handlers);
  }

  close(): void {
    this.#loop?.destroy();
    this.#loop = null;
    this.#exchange = null;
  }

  #open(): EngineLoop {
    this.#loop ??= new EngineLoop(this.#addon);
    return this.#loop;
  }
}

class NativeListener implements Listening {
  readonly id: number;
  readonly #loop: EngineLoop;
  readonly #handlers: ListenHandlers;
  readonly #path: string | null;

  /** `path`: of a Unix socket. */
  constructor(loop: EngineLoop, id: number, handlers: ListenHandlers, path: string | null = null) {
    this.id = id;
    this.#loop = loop;
    this.#handlers = handlers;
    this.#path = path;
    loop.listeners.add(this);
  }

  port(): number {
    const packed = Buffer.alloc(PACKED_ADDRESS);
    const done = this.#loop.engine.listenerAddress(this.id, packed);
    if (done < 0) throw systemError(-done, 'getsockname:');
    return unpackAddress(packed, 0)?.port ?? 0;
  }

  close(): void {
    this.#loop.listeners.delete(this.id);
    this.#loop.engine.closeListener(this.id);
  }

  heard(kind: number, a: number, b: number): void {
    if (kind === EVENT.listenerPaused) {
      this.#handlers.failed(netErrorOf(a, 'accept:'));
      return;
    }
    const source = this.#path === null ? unpackAddress(this.#loop.slab, b) : { host: this.#path, port: 0 };
    if (source === null) this.#loop.engine.close(a, true);
    else this.#handlers.connection(new NativeIncoming(this.#loop, a, source));
  }
}

class NativeIncoming implements Incoming {
  readonly source: Endpoint;
  readonly #loop: EngineLoop;
  readonly #id: number;

  constructor(loop: EngineLoop, id: number, source: Endpoint) {
    this.#loop = loop;
    this.#id = id;
    this.source = source;
  }

  local(): Endpoint | null {
    const packed = Buffer.alloc(PACKED_ADDRESS);
    return this.#loop.engine.address(this.#id, false, packed) < 0 ? null : unpackAddress(packed, 0);
  }

  refuse(): void {
    this.#loop.engine.close(this.#id, true);
  }

  open(onAbort: (error: NetError) => void, onClose: () => void): Stream {
    return new NativeStream(this.#loop, this.#id, onAbort, onClose);
  }
}

/** A connection that is being made. */
class Attempt implements Listening {
  readonly id: number;
  readonly #loop: EngineLoop;
  readonly #opened: (stream: Stream) => void;
  readonly #failed: (error: NetError) => void;
  readonly #closed: (() => void) | undefined;
  #done = false;

  constructor(loop: EngineLoop, id: number, opened: (stream: Stream) => void, failed: (error: NetError) => void, closed?: () => void) {
    this.id = id;
    this.#loop = loop;
    this.#opened = opened;
    this.#failed = failed;
    this.#closed = closed;
    loop.conns.add(this);
  }

  heard(_kind: number, errno: number): void {
    if (this.#done) return;
    this.#done = true;
    this.#loop.conns.delete(this.id);
    if (errno === 0) this.#opened(new NativeStream(this.#loop, this.id, undefined, this.#closed));
    else this.#failed(netErrorOf(errno, 'connect'));
  }

  giveUp(): void {
    if (this.#done) return;
    this.#done = true;
    this.#loop.conns.delete(this.id);
    this.#loop.engine.close(this.id, true);
  }
}
