import type { Sockets } from '../net/sockets.js';
import type { Addon } from './addon.js';
import { NodeSockets } from './fallback/node-sockets.js';
import { NativeSockets } from './native-sockets.js';

/** The addon's sockets where there is one, Node's where not. Opens nothing yet. */
export function openSockets(addon: Addon | null): Sockets {
  return addon === null ? new NodeSockets() : new NativeSockets(addon);
}
