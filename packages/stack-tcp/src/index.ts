/** The public door of @nekit/stack-tcp. The plugin itself is found through the `nekit` field of package.json. */
export { COUNT, type CounterName, Counters } from './counters.js';
export { default as tcpPlugin } from './plugin.js';
export { DEFAULT_SETTINGS, type TcpSettings } from './settings.js';
export { type StackInfo, TcpStack } from './stack.js';
