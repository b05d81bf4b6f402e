import type { Clock, HandleStream } from '@nekit/core';
import { type PacketDevice, SeededRandom, StackDriver } from '@nekit/core/ip';
import { testStackContext } from '@nekit/core/testing';
import { DEFAULT_SETTINGS, type TcpSettings } from '../../dist/settings.js';
import { TcpStack } from '../../dist/stack.js';
import { lending } from './lending.js';

export interface StackUnderTest {
  readonly stack: TcpStack;
  readonly driver: StackDriver;
}

export interface StackTestOptions {
  readonly device: PacketDevice;
  readonly clock: Clock;
  readonly seed?: number;
  readonly settings?: Partial<TcpSettings>;
  readonly handleStream: HandleStream;
  /** On the event loop's own time instead. */
  readonly isReal?: boolean;
}

/** Clients of the simulations; half of the stacks take them for programs of their own host. */
const CLIENTS = ['10.0.0.2/32', 'fd00::2/128'];

/** A stack on a device, in a simulation: everything happens on its clock. */
export function stackOn(options: StackTestOptions): StackUnderTest {
  const { clock, handleStream, seed = 1, isReal = false } = options;
  const device = seed % 2 === 0 ? lending(options.device) : options.device; // half of them copy no payloads
  const random = new SeededRandom(seed);
  const soon = (run: () => void): void => void clock.after(0, run);
  const driver = new StackDriver(isReal ? { device, clock } : { device, clock, defer: soon, later: soon });
  const networks = seed % 4 < 2 ? CLIENTS : [];
  const context = testStackContext({ output: driver.output, handleStream, networks, random: (length) => random.bytes(length) });
  const stack = new TcpStack({ ...DEFAULT_SETTINGS, ...options.settings }, context);
  driver.start([stack]);
  return { stack, driver };
}
