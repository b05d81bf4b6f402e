import { randomBytes } from 'node:crypto';
import { Identifications } from '../../ip/identifications.js';
import type { IpStack } from '../../ip/ip-stack.js';
import type { PacketDevice } from '../../ip/packet-device.js';
import { StackDriver } from '../../ip/stack-driver.js';
import type { Cancel } from '../../net/cancel.js';
import { NekitError } from '../../net/errors.js';
import { CLOCK, EVENTS } from '../../net/tokens.js';
import type { Inbound, InboundContext } from '../inbound.js';
import type { StackContext } from '../stack-context.js';
import type { RoutesInForce } from './auto-route/auto-route.js';
import { BroadcastStack } from './broadcast-stack.js';
import { FragmentStack } from './fragment-stack.js';
import { LeftoverStack } from './leftover-stack.js';
import type { NamesTaken } from './systemd-resolved.js';

export interface TunInboundOptions {
  /** Throws NekitError `TUN_UNAVAILABLE`, with what to do. */
  open(warn: (message: string) => void): PacketDevice;
  /** Of the device, see StackContext. */
  readonly networks: readonly string[];
  /** In the order in which they are asked. */
  readonly stacks: readonly ((context: StackContext) => IpStack)[];
  /** Answer echo requests. */
  readonly echo: boolean;
  /** Leads traffic into the device that runs. Throws NekitError, with what to do, and leaves nothing behind then. */
  route?(device: PacketDevice, warn: (message: string) => void): RoutesInForce;
  /** Leads the system's questions for names there. Never throws. */
  names?(device: PacketDevice, warn: (message: string) => void): Pick<NamesTaken, 'close'>;
}

/** Sessions out of the IP packets of a device. */
export class TunInbound implements Inbound {
  readonly #options: TunInboundOptions;
  readonly #context: InboundContext;
  #device: PacketDevice | null = null;
  #driver: StackDriver | null = null;
  #routes: RoutesInForce | null = null;
  #names: Pick<NamesTaken, 'close'> | null = null;

  constructor(options: TunInboundOptions, context: InboundContext) {
    this.#options = options;
    this.#context = context;
  }

  /** The device that runs, for `check --tun` and tests. */
  get device(): PacketDevice | null {
    return this.#device;
  }

  start(_signal: Cancel): Promise<void> {
    const { name } = this.#context;
    const events = this.#context.get(EVENTS);
    const warn = (message: string): void => events.emit('kernel.warning', { code: 'TUN', message: `${name}: ${message}` });
    try {
      const device = this.#options.open(warn);
      this.#run(device, warn);
      this.#routes = this.#options.route?.(device, warn) ?? null;
      this.#names = this.#options.names?.(device, warn) ?? null;
      events.emit('listener.started', { listener: name, type: this.#context.type, endpoint: { host: device.name, port: 0 } });
      return Promise.resolve();
    } catch (error) {
      // A stack of somebody else's may throw as well.
      this.#driver?.close();
      this.#device?.close();
      this.#driver = null;
      this.#device = null;
      const message = error instanceof Error ? error.message : String(error);
      return Promise.reject(new NekitError('LISTEN_FAILED', `listener ${name}: ${message}`, { cause: error }));
    }
  }

  #run(device: PacketDevice, warn: (message: string) => void): void {
    const inbound = this.#context;
    const { name } = inbound;
    const events = inbound.get(EVENTS);
    this.#device = device;
    const driver = new StackDriver({
      device,
      clock: inbound.get(CLOCK),
      onFailed: ({ code, message }) => events.emit('listener.failed', { listener: name, code, message }),
    });
    const { output } = driver;
    const context: StackContext = {
      output,
      handleStream: (request) => inbound.handleStream(request),
      handlePackets: (request) => inbound.handlePackets(request),
      networks: this.#options.networks,
      openSession: (network, source, requested, signal) =>
        inbound.enter({
          id: inbound.nextId(),
          network,
          inbound: name,
          inboundType: 'TUN',
          inboundPort: 0,
          source,
          requested,
          destination: requested,
          signal,
        }),
      random: (length) => randomBytes(length),
      get: (token) => inbound.get(token),
    };
    const stacks: IpStack[] = [];
    try {
      for (const create of this.#options.stacks) stacks.push(create(context));
    } catch (error) {
      for (const stack of stacks) stack.close();
      throw error;
    }
    const identifications = new Identifications(randomBytes);
    const leftover = new LeftoverStack({
      output,
      echo: this.#options.echo,
      identifications,
      onUdp: () => warn('UDP is not carried; npm install @nekit/stack-udp, and add "udp" to plugins'),
    });
    const behind = [...stacks, leftover];
    this.#driver = driver;
    driver.start([new BroadcastStack(this.#options.networks), new FragmentStack(behind, output, identifications), ...behind]);
  }

  /** Its sessions end with it: their packets have nowhere to go. */
  async stop(): Promise<void> {
    if (this.#driver === null) return;
    const names = this.#names?.close();
    this.#names = null;
    this.#routes?.close();
    this.#routes = null;
    this.#driver.close();
    this.#device?.close();
    this.#driver = null;
    this.#device = null;
    this.#context.get(EVENTS).emit('listener.stopped', { listener: this.#context.name });
    await names;
  }
}
