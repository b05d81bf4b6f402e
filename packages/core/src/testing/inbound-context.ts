import { AccessList } from '../inbound/access.js';
import { ConnectionLimit } from '../inbound/connection-limit.js';
import type { InboundContext } from '../inbound/inbound.js';
import { TcpInbound } from '../inbound/tcp-inbound.js';
import { NetError } from '../net/errors.js';

const CONNECTIONS = 1_000;

/** What a kernel gives to an inbound, without a kernel: real listeners, everybody admitted; what is not given refuses. */
export function testInboundContext(given: Partial<InboundContext> & Pick<InboundContext, 'get'>): InboundContext {
  const refuse = (): Promise<never> => Promise.reject(new NetError('denied', 'not in this test'));
  const access = new AccessList([], []);
  const limit = new ConnectionLimit(CONNECTIONS);
  let ids = 0;
  const context: InboundContext = {
    name: 'in',
    type: 'test',
    handleStream: refuse,
    handlePackets: refuse,
    enter: (session) => session,
    route: refuse,
    tcp: ({ host, port }, protocol) => new TcpInbound({ host, port, protocols: [protocol], users: null, skipAuthPrefixes: [], access, limit }, context),
    admits: () => true,
    nextId: () => ++ids,
    ...given,
  };
  return context;
}
