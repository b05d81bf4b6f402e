import { type AdapterDefinition, definePlugin, PLUGIN_API } from '@nekit/core';
import { type HttpAdapterConfig, httpAdapterConfig } from './adapter/config.js';
import { HttpAdapter } from './adapter/http-adapter.js';
import { parseProxyUri } from './adapter/uri.js';
import { HttpProtocol } from './inbound/http-protocol.js';
import { checkParserVersion } from './inbound/request-parser.js';
import { ViaTrail } from './message/via.js';

export default definePlugin({
  name: 'adapter-http',
  api: PLUGIN_API,
  setup(context) {
    checkParserVersion();
    const trail = new ViaTrail();
    const http: AdapterDefinition<HttpAdapterConfig> = {
      type: 'http',
      config: httpAdapterConfig,
      create: (config, adapter) => new HttpAdapter(config, adapter, trail),
      uri: { schemes: ['http', 'https'], parse: parseProxyUri },
    };
    // The spelling that some tools write for `http` with `tls: true`.
    const https: AdapterDefinition<HttpAdapterConfig> = {
      type: 'https',
      config: httpAdapterConfig,
      create: (config, adapter) => new HttpAdapter({ ...config, tls: true }, adapter, trail),
    };
    context.adapter(http);
    context.adapter(https);
    context.protocol(new HttpProtocol(trail));
  },
});
