/** The public door of @nekit/stack-udp. The plugin itself is found through the `nekit` field of package.json. */
export { default as udpPlugin } from './plugin.js';
export { DEFAULT_UDP_LIMITS, type UdpLimits, UdpStack, type UdpStackOptions } from './udp-stack.js';
