// RC4 for rc4-md5 of old Shadowsocks servers. Broken since long; here because OpenSSL 3 keeps it in a provider that
// node does not load.
#pragma once

#include <cstddef>
#include <cstdint>

namespace nekit {

class Rc4 {
 public:
  Rc4(const uint8_t* key, size_t length);
  /// `out` may be `in`.
  void process(const uint8_t* in, size_t length, uint8_t* out);

 private:
  uint8_t table_[256];
  uint8_t i_ = 0;
  uint8_t j_ = 0;
};

}  // namespace nekit
