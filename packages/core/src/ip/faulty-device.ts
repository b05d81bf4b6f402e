import type { Clock } from '../net/clock.js';
import { FaultInjector, type Faults } from './fault-injector.js';
import type { DeviceHandlers, PacketDevice } from './packet-device.js';
import { type PipeEnd, type PipeOptions, pipeDevice } from './pipe-device.js';

export interface FaultyPipeOptions extends PipeOptions {
  readonly clock: Clock;
  /** What happens to packets from the first end to the second, and back. */
  readonly there: Faults;
  readonly back: Faults;
}

/** A pair in memory with a bad path between the ends. Packets longer than the MTU are cut in front of the path, as a network card does. */
export function faultyPipe(options: FaultyPipeOptions): [FaultyEnd, FaultyEnd] {
  const [a, b] = pipeDevice({ ...options, offload: false });
  return [
    new FaultyEnd(a, new FaultInjector(options.there, options.clock, (packet) => a.inject(packet))),
    new FaultyEnd(b, new FaultInjector(options.back, options.clock, (packet) => b.inject(packet))),
  ];
}

export class FaultyEnd implements PacketDevice {
  /** What happens to the packets that this end sends. */
  readonly path: FaultInjector;
  readonly #inner: PipeEnd;

  constructor(inner: PipeEnd, path: FaultInjector) {
    this.#inner = inner;
    this.path = path;
  }

  get name(): string {
    return this.#inner.name;
  }

  get sink(): PipeEnd['sink'] {
    return this.#inner.sink;
  }

  get arena(): PipeEnd['arena'] {
    return this.#inner.arena;
  }

  start(handlers: DeviceHandlers): void {
    this.#inner.start({
      packets: (batch, more) => handlers.packets(batch, more),
      failed: (error) => {
        this.path.stop(); // nobody is there to whom its packets could come
        handlers.failed(error);
      },
    });
  }

  flush(): void {
    this.#inner.drain((packet) => this.path.send(packet));
  }

  /** A packet of the caller's, on the same bad path. */
  inject(packet: Uint8Array): void {
    this.path.send(packet);
  }

  close(): void {
    this.path.stop();
    this.#inner.close();
  }
}
