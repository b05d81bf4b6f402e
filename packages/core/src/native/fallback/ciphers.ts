import type { Ciphers } from '../cipher.js';
import { FallbackAead } from './aead-cipher.js';
import { argumentError } from './cipher-error.js';
import { blake3, blake3DeriveKey, bytesToKey, hkdfSha1 } from './cipher-keys.js';
import { FallbackPacketAead } from './packet-cipher.js';
import { AeadCodec, StreamCodec } from './shadowsocks-cipher.js';
import { Codec2022 } from './shadowsocks-cipher-2022.js';
import { loadSodium } from './sodium.js';
import { FallbackAesBlock, FallbackStreamCipher } from './stream-cipher.js';

/** The ciphers without the addon: node:crypto, sodium-native where it loads, and @noble/hashes for BLAKE3. */
export function fallbackCiphers(): Ciphers {
  const sodium = loadSodium();
  return {
    kind: 'typescript',
    createAead: (method, key) => new FallbackAead(method, key, sodium),
    createPacketAead: (method, key) => new FallbackPacketAead(method, key, sodium),
    createStreamCipher: (method, key, iv, direction) => new FallbackStreamCipher(method, key, iv, direction, sodium),
    createAesBlock: (key, direction) => new FallbackAesBlock(key, direction),
    createCodec: (spec) => {
      switch (spec.kind) {
        case 'aead':
          return new AeadCodec(spec, sodium);
        case 'stream':
          return new StreamCodec(spec, sodium);
        case '2022':
          return new Codec2022(spec, sodium);
        default:
          throw argumentError('spec: no such kind');
      }
    },
    hkdfSha1,
    bytesToKey,
    blake3,
    blake3DeriveKey,
  };
}
