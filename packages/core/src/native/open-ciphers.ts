import type { Addon } from './addon.js';
import { addonCiphers } from './addon-ciphers.js';
import type { Ciphers } from './cipher.js';
import { fallbackCiphers } from './fallback/ciphers.js';

/** The addon's ciphers where there are any, TypeScript's where not. */
export function openCiphers(addon: Addon | null): Ciphers {
  return addonCiphers(addon) ?? fallbackCiphers();
}
