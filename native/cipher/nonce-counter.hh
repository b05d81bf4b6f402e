#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "cipher/aead.hh"
#include "cipher/bytes.hh"

namespace nekit {

/**
 * The nonce of a Shadowsocks stream: a little-endian counter that steps after every seal or open. The low 64 bits
 * count, which lasts for ever; what stands above them stays. The last value is never used: it says "exhausted", so a
 * stored nonce keeps that too.
 */
class NonceCounter {
 public:
  NonceCounter() = default;
  /// Goes on from a stored nonce of `length` (12 or 24) bytes.
  NonceCounter(const uint8_t* bytes, size_t length) { std::memcpy(bytes_, bytes, std::min(length, sizeof(bytes_))); }

  /// The nonce at hand.
  const uint8_t* bytes() const { return bytes_; }
  bool started() const { return load64le(bytes_) != 0; }
  bool exhausted() const { return load64le(bytes_) == UINT64_MAX; }
  /// Whether `count` operations are left.
  bool lasts(uint64_t count) const { return UINT64_MAX - load64le(bytes_) >= count; }
  /// To be called after each operation, not when exhausted.
  void step() { store64le(bytes_, load64le(bytes_) + 1); }

 private:
  uint8_t bytes_[kMaxNonceLength] = {};
};

}  // namespace nekit
