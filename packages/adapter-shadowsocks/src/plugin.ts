import { type AdapterDefinition, definePlugin } from '@nekit/core';
import { ShadowsocksAdapter } from './adapter.js';
import { type ShadowsocksConfig, shadowsocksConfig } from './config.js';
import { shadowsocksInbound } from './server/inbound.js';
import { parseSsUri } from './uri.js';

function definition(type: string): AdapterDefinition<ShadowsocksConfig> {
  return { type, config: shadowsocksConfig, create: (config, context) => new ShadowsocksAdapter(type, config, context) };
}

/** The adapter `ss` (`shadowsocks` means the same), `--proxy ss://…`, and the listener type `shadowsocks`. */
export default definePlugin({
  name: 'adapter-shadowsocks',
  api: 1,
  setup(context) {
    context.adapter({ ...definition('ss'), uri: { schemes: ['ss'], parse: parseSsUri } });
    context.adapter(definition('shadowsocks'));
    context.inbound(shadowsocksInbound());
  },
});
