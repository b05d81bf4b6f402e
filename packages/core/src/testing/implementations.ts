import { addonCiphers } from '../native/addon-ciphers.js';
import type { Ciphers } from '../native/cipher.js';
import { fallbackCiphers } from '../native/fallback/ciphers.js';
import { NodeSockets } from '../native/fallback/node-sockets.js';
import { findAddon } from '../native/load.js';
import { NativeSockets } from '../native/native-sockets.js';
import type { Sockets } from '../net/sockets.js';

/** The ciphers of every implementation that is here: the addon's, if it was built, and TypeScript's. */
export function allCiphers(): readonly Ciphers[] {
  const native = addonCiphers(findAddon().addon);
  return native === null ? [fallbackCiphers()] : [native, fallbackCiphers()];
}

/** The same of sockets, each time new ones: who asks closes them. */
export function allSockets(): readonly Sockets[] {
  const { addon } = findAddon();
  return addon === null ? [new NodeSockets()] : [new NativeSockets(addon), new NodeSockets()];
}
