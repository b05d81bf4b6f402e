// Read first: RFC 8439 section 2 (ChaCha), draft-irtf-cfrg-xchacha-03 section 2.2 (HChaCha20), the Salsa20
// specification of D. J. Bernstein.
#pragma once

#include <cstddef>
#include <cstdint>

namespace nekit {

/// HChaCha20: the 32-byte sub-key of a 32-byte key and the first 16 bytes of a 24-byte nonce.
void hchacha20(const uint8_t* key, const uint8_t* nonce, uint8_t* subkey);

/// Salsa20/20 with a 32-byte key, an 8-byte nonce and a 64-bit block counter, as a stream in any fragmentation.
class Salsa20 {
 public:
  Salsa20(const uint8_t* key, const uint8_t* nonce);
  ~Salsa20();
  Salsa20(const Salsa20&) = delete;
  Salsa20& operator=(const Salsa20&) = delete;
  /// `out` may be `in`.
  void process(const uint8_t* in, size_t length, uint8_t* out);

 private:
  static constexpr size_t kLanes = 4;  // blocks made at a time
  void refill();

  uint32_t state_[16];
  uint8_t stream_[64 * kLanes];
  size_t used_ = sizeof(stream_);
};

}  // namespace nekit
