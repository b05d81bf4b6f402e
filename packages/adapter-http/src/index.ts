/** The public door of @nekit/adapter-http, for who builds an adapter or a proxy without a kernel's config. */
export { type HttpAdapterConfig, httpAdapterConfig } from './adapter/config.js';
export { HttpAdapter } from './adapter/http-adapter.js';
export { parseProxyUri } from './adapter/uri.js';
export { HttpProtocol } from './inbound/http-protocol.js';
export { default, default as httpPlugin } from './plugin.js';
