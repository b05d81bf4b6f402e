import type { StackOutput } from '../../ip/ip-stack.js';
import type { InboundContext } from '../inbound.js';

/** What an IP stack is given: the ways to speak with the device, and the kernel's ways to carry what it finds. */
export interface StackContext extends Pick<InboundContext, 'name' | 'handleStream' | 'handlePackets' | 'nextId' | 'get'> {
  readonly output: StackOutput;
  /** So many bytes that nobody can guess. */
  random(length: number): Uint8Array;
}
