import { readFileSync } from 'node:fs';
import { DEFAULT_SETTINGS } from './settings.js';

/** Descriptors that are for other things than the sockets of connections. */
const OTHERS = 64;

/** As many connections as there may be sockets to carry them (RLIMIT_NOFILE), and not more than the default. */
export function connectionsAllowed(limits: string = readLimits()): number {
  const found = /^Max open files\s+(\d+)/m.exec(limits);
  if (found === null) return DEFAULT_SETTINGS.maxConnections; // unlimited, or a host that does not tell
  return Math.max(16, Math.min(DEFAULT_SETTINGS.maxConnections, Number(found[1]) - OTHERS));
}

/** Empty where there is no /proc. */
function readLimits(): string {
  try {
    return readFileSync('/proc/self/limits', 'latin1');
  } catch {
    return '';
  }
}
