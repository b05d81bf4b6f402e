import { type AdapterDefinition, definePlugin } from '@nekit/core';
import { ShadowsocksAdapter } from './adapter.js';
import { type ShadowsocksConfig, shadowsocksConfig, whyUnsupported } from './config.js';
import { Programs } from './plugin/process/programs.js';
import { shadowsocksInbound } from './server/inbound.js';
import { ReplayMemories } from './server/replay-memories.js';
import { parseSsUri } from './uri.js';

function definition(type: string, programs: Programs): AdapterDefinition<ShadowsocksConfig> {
  return { type, config: shadowsocksConfig, unsupported: whyUnsupported, create: (config, context) => new ShadowsocksAdapter(type, config, context, programs) };
}

/** The adapter `ss`, `--proxy ss://…`, and the listener type `shadowsocks`. Either name is good for both. */
export default definePlugin({
  name: 'adapter-shadowsocks',
  api: 1,
  setup(context) {
    const programs = new Programs(); // a reload keeps them
    context.adapter({ ...definition('ss', programs), uri: { schemes: ['ss'], parse: parseSsUri } });
    context.adapter(definition('shadowsocks', programs));
    const memories = new ReplayMemories(); // a reload keeps them
    for (const type of ['shadowsocks', 'ss']) context.inbound(shadowsocksInbound(type, memories));
  },
});
