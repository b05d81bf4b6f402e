#pragma once

#include <napi.h>

#include <memory>

#include "cipher/codec.hh"

namespace nekit {

/// Adds `ciphersAvailable` and, where the host has libcrypto, the classes Aead, PacketAead, StreamCipher, AesBlock and
/// Codec and the functions hkdfSha1, blake3, blake3DeriveKey and bytesToKey to `exports`. Their types are those of
/// core's `native/cipher.ts`.
void exportCiphers(Napi::Env env, Napi::Object exports);

/// Moves the codec out of a JavaScript Codec, which is dead from then on. Null if `value` is none of this addon, is
/// dead, or still has to call a JavaScript `check`: such a codec stays where it is. Throws nothing.
std::unique_ptr<Codec> takeCodec(Napi::Value value);

}  // namespace nekit
