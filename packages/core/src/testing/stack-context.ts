import type { StackContext } from '../inbound/stack-context.js';
import { NetError } from '../net/errors.js';
import { testSession } from './context.js';

/** What an inbound gives to an IP stack, without an inbound: everybody has a session, bytes are zeros; what is not given refuses. */
export function testStackContext(given: Partial<StackContext> & Pick<StackContext, 'output'>): StackContext {
  const refuse = (): Promise<never> => Promise.reject(new NetError('denied', 'not in this test'));
  let ids = 0;
  return {
    handleStream: refuse,
    handlePackets: refuse,
    networks: [],
    openSession: (network, source, requested, signal) =>
      testSession({ id: ++ids, network, inbound: 'tun', inboundType: 'TUN', inboundPort: 0, source, requested, destination: requested, signal }),
    random: (length) => new Uint8Array(length),
    get: () => {
      throw new Error('not in this test');
    },
    ...given,
  };
}
