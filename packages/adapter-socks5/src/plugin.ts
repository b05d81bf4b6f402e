import { type AdapterDefinition, definePlugin } from '@nekit/core';
import { Socks5Adapter } from './adapter.js';
import { parseSocks5Uri, type Socks5Config, socks5Config, URI_SCHEMES } from './config.js';
import { socksProtocol } from './protocol.js';

function definition(type: string): AdapterDefinition<Socks5Config> {
  return { type, config: socks5Config, create: (config, context) => new Socks5Adapter(type, config, context) };
}

/** The adapter `socks5` (`socks` means the same), `--proxy socks5://…`, and the inbound protocol `socks` (4, 4a, 5; TCP and UDP). */
export default definePlugin({
  name: 'adapter-socks5',
  api: 1,
  setup(context) {
    context.adapter({ ...definition('socks5'), uri: { schemes: URI_SCHEMES, parse: parseSocks5Uri } });
    context.adapter(definition('socks'));
    context.protocol(socksProtocol);
  },
});
