/** The public door of @nekit/adapter-socks5. The plugin itself is found through the `nekit` field of package.json. */
export { Socks5Adapter } from './adapter.js';
export { parseSocks5Uri, type Socks5Config, socks5Config } from './config.js';
export { default as socks5Plugin } from './plugin.js';
export { socksProtocol } from './protocol.js';
