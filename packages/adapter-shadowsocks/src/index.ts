/** The public door of @nekit/adapter-shadowsocks. The plugin itself is found through the `nekit` field of package.json. */
export { ShadowsocksAdapter } from './adapter.js';
export { type ShadowsocksConfig, shadowsocksConfig } from './config.js';
export { type HeaderCheck, METHODS, type Method, type Secret, type SecretProblem, type SecretSource, secretOf, secretProblem } from './method.js';
export { default as shadowsocksPlugin } from './plugin.js';
export type { ServerLink } from './server-link.js';
export { parseSsUri, ssUri } from './uri.js';
