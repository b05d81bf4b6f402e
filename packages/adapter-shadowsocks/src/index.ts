/** Shadowsocks for nekit-kernel. */
export type { HeaderCheck, Method, Secret } from './method.js';
export type { ServerLink } from './server-link.js';
