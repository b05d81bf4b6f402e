/** UDP over IP packets. */
export * from './udp-stack.js';
