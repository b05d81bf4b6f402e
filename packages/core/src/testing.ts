/** For tests of plugins and of core: `import { … } from '@nekit/core/testing'`. Needs no test runner of its own. */
export { dialOptions, type TestContext, type TestContextOptions, testContext, testSession } from './testing/context.js';
export { type DialerExpectations, type DialerUnderTest, dialerConformance } from './testing/dialer-conformance.js';
export { FakeClock, settle } from './testing/fake-clock.js';
export { allCiphers, allSockets } from './testing/implementations.js';
export { testInboundContext } from './testing/inbound-context.js';
export { type PacketDialerUnderTest, packetDialerConformance } from './testing/packet-conformance.js';
export { pipePair } from './testing/pipe-pair.js';
export { FakeFacts, ruleContext } from './testing/rules.js';
export { testStackContext } from './testing/stack-context.js';
export { pattern, type RegisterTest, type StreamPair, streamConformance } from './testing/stream-conformance.js';
export { closedPort, startEcho, startSilent, startTarget, type Target } from './testing/targets.js';
export { collect, eventually, send, within } from './testing/wait.js';
