import { clean, formatEndpoint, type Kernel, type ListenerInfo } from '@nekit/core';

/** What runs and how to use it, for a person. */
export function banner(kernel: Kernel, what: string): string {
  const listeners = kernel.listeners();
  if (listeners.length === 0) return 'nekit-kernel runs, but nothing listens: name a port in the config (mixed-port: 7890) or add --mixed-port 7890';
  const lines = listeners.map((listener) => `  ${listener.type.padEnd(8)} ${place(listener)}  (${listener.name})`);
  return cleanLines([`nekit-kernel runs: ${what}`, ...lines, ...usage(listeners)]);
}

function place({ endpoint }: ListenerInfo): string {
  return endpoint === null ? '' : formatEndpoint(endpoint);
}

/** curl lines for the first listener of each kind. */
function usage(listeners: readonly ListenerInfo[]): string[] {
  const http = listeners.find(({ type, endpoint }) => endpoint !== null && (type === 'mixed' || type === 'http'));
  const socks = listeners.find(({ type, endpoint }) => endpoint !== null && (type === 'mixed' || type === 'socks'));
  return [
    ...(http === undefined ? [] : [`  try: curl -x http://${reachable(http)} https://example.com/`]),
    ...(socks === undefined ? [] : [`  try: curl --socks5-hostname ${reachable(socks)} https://example.com/`]),
  ];
}

/** One that listens everywhere is reached by loopback here. */
function reachable({ endpoint }: ListenerInfo): string {
  if (endpoint === null) return '';
  const anywhere = endpoint.host === '::' || endpoint.host === '0.0.0.0';
  return formatEndpoint(anywhere ? { ...endpoint, host: '127.0.0.1' } : endpoint);
}

function cleanLines(lines: readonly string[]): string {
  return lines.map(clean).join('\n');
}
