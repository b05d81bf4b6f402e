import { type AdapterDefinition, definePlugin } from '@nekit/core';
import { ShadowsocksAdapter } from './adapter.js';
import { type ShadowsocksConfig, shadowsocksConfig } from './config.js';
import { shadowsocksInbound } from './server/inbound.js';
import { ReplayMemories } from './server/replay-memories.js';
import { parseSsUri } from './uri.js';

function definition(type: string): AdapterDefinition<ShadowsocksConfig> {
  return { type, config: shadowsocksConfig, create: (config, context) => new ShadowsocksAdapter(type, config, context) };
}

/** The adapter `ss`, `--proxy ss://…`, and the listener type `shadowsocks`. Either name is good for both. */
export default definePlugin({
  name: 'adapter-shadowsocks',
  api: 1,
  setup(context) {
    context.adapter({ ...definition('ss'), uri: { schemes: ['ss'], parse: parseSsUri } });
    context.adapter(definition('shadowsocks'));
    const memories = new ReplayMemories(); // a reload keeps them
    for (const type of ['shadowsocks', 'ss']) context.inbound(shadowsocksInbound(type, memories));
  },
});
