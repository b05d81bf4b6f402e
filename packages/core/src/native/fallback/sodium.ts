import { createRequire } from 'node:module';

/** What is used of sodium-native. `state` buffers have the length of the `_STATEBYTES` constants. */
export interface Sodium {
  crypto_aead_chacha20poly1305_ietf_encrypt: AeadEncrypt;
  crypto_aead_chacha20poly1305_ietf_decrypt: AeadDecrypt;
  crypto_aead_xchacha20poly1305_ietf_encrypt: AeadEncrypt;
  crypto_aead_xchacha20poly1305_ietf_decrypt: AeadDecrypt;
  crypto_stream_salsa20_xor_STATEBYTES: number;
  crypto_stream_salsa20_xor_init: StreamInit;
  crypto_stream_salsa20_xor_update: StreamUpdate;
}

type AeadEncrypt = (sealed: Uint8Array, plain: Uint8Array, aad: Uint8Array | null, none: null, nonce: Uint8Array, key: Uint8Array) => number;
type AeadDecrypt = (plain: Uint8Array, none: null, sealed: Uint8Array, aad: Uint8Array | null, nonce: Uint8Array, key: Uint8Array) => number;
type StreamInit = (state: Buffer, nonce: Uint8Array, key: Uint8Array) => void;
type StreamUpdate = (state: Buffer, out: Uint8Array, bytes: Uint8Array) => void;

/** sodium-native, or why it does not load: it has no prebuilt binary for every platform (musl), and the kernel has to start there too. */
export function loadSodium(): Sodium | Error {
  const require = createRequire(import.meta.url);
  try {
    const loaded: unknown = require('sodium-native');
    return isSodium(loaded) ? loaded : new Error('sodium-native lacks a function');
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error));
  }
}

function isSodium(loaded: unknown): loaded is Sodium {
  return typeof loaded === 'object' && loaded !== null && 'crypto_stream_salsa20_xor_init' in loaded && 'crypto_aead_xchacha20poly1305_ietf_encrypt' in loaded;
}
