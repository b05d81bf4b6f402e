import { definePlugin } from '@nekit/core';
import { settingsOf, tcpConfig } from './config.js';
import { connectionsAllowed } from './descriptors.js';
import { TcpStack } from './stack.js';

/** The IP stack `tcp`. */
export default definePlugin({
  name: 'stack-tcp',
  api: 1,
  setup(context) {
    context.stack({ type: 'tcp', config: tcpConfig, create: (config, given) => new TcpStack(settingsOf(config, connectionsAllowed()), given) });
  },
});
