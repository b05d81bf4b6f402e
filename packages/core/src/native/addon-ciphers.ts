import type { Aead, AeadMethod, AesBlock, Ciphers, Codec, CodecSpec, PacketAead, StreamCipher, StreamMethod } from './cipher.js';

/** What the addon exports for ciphers (native/binding/cipher-binding.cc). */
interface CipherAddon {
  readonly ciphersAvailable: true;
  readonly Aead: new (method: AeadMethod, key: Uint8Array) => Aead;
  readonly PacketAead: new (method: AeadMethod, key: Uint8Array) => PacketAead;
  readonly StreamCipher: new (method: StreamMethod, key: Uint8Array, iv: Uint8Array, encrypt: boolean) => StreamCipher;
  readonly AesBlock: new (key: Uint8Array, encrypt: boolean) => AesBlock;
  readonly Codec: new (spec: CodecSpec) => Codec;
  readonly hkdfSha1: Ciphers['hkdfSha1'];
  readonly bytesToKey: Ciphers['bytesToKey'];
  readonly blake3: Ciphers['blake3'];
  readonly blake3DeriveKey: Ciphers['blake3DeriveKey'];
}

/** The ciphers of a loaded addon; null where the running program brings no libcrypto (then the fallback serves). */
export function addonCiphers(addon: unknown): Ciphers | null {
  if (!hasCiphers(addon)) return null;
  return {
    kind: 'native',
    createAead: (method, key) => new addon.Aead(method, key),
    createPacketAead: (method, key) => new addon.PacketAead(method, key),
    createStreamCipher: (method, key, iv, direction) => new addon.StreamCipher(method, key, iv, direction === 'encrypt'),
    createAesBlock: (key, direction) => new addon.AesBlock(key, direction === 'encrypt'),
    createCodec: (spec) => new addon.Codec(spec),
    hkdfSha1: addon.hkdfSha1,
    bytesToKey: addon.bytesToKey,
    blake3: addon.blake3,
    blake3DeriveKey: addon.blake3DeriveKey,
  };
}

function hasCiphers(addon: unknown): addon is CipherAddon {
  return (
    typeof addon === 'object' && addon !== null && 'ciphersAvailable' in addon && addon.ciphersAvailable === true && 'Codec' in addon && 'PacketAead' in addon
  );
}
