// Single AES blocks (ECB), for the identity headers of SIP023 and the separate header of SIP022's packets.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cipher/openssl.hh"

namespace nekit {

class AesBlock {
 public:
  static constexpr size_t kLength = 16;
  /// `keyLength` is 16, 24 or 32. false: libcrypto is missing or refuses.
  bool start(const uint8_t* key, size_t keyLength, bool encrypt);
  /// One block; `out` may be `in`. false: libcrypto failed.
  bool process(const uint8_t* in, uint8_t* out);

 private:
  EvpContext context_;
};

}  // namespace nekit
