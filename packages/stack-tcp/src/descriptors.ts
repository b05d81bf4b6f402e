import { descriptorLimit } from '@nekit/core';
import { DEFAULT_SETTINGS } from './settings.js';

/** Descriptors that are for other things than the sockets of connections. */
const OTHERS = 64;

/** As many connections as there may be sockets to carry them, and not more than the default. `limits`: see `descriptorLimit`. */
export function connectionsAllowed(limits?: string): number {
  const most = descriptorLimit(limits);
  return most === null ? DEFAULT_SETTINGS.maxConnections : Math.max(16, Math.min(DEFAULT_SETTINGS.maxConnections, most - OTHERS));
}
