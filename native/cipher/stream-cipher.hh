// The stream ciphers of old Shadowsocks servers (no integrity: insecure by design) and `none`.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

namespace nekit {

struct StreamMethod {
  const char* name;
  size_t keyLength;  // bytes
  size_t ivLength;   // bytes
};

/// Null: no such method. Known: none, aes-{128,192,256}-{cfb,ctr}, chacha20, chacha20-ietf, salsa20, rc4-md5.
const StreamMethod* streamMethod(const char* name);

/// One direction of a stream in any fragmentation.
class StreamCipher {
 public:
  /// `key` and `iv` have the method's lengths. Null: libcrypto is missing or refuses.
  static std::unique_ptr<StreamCipher> create(const StreamMethod& method, const uint8_t* key, const uint8_t* iv,
                                              bool encrypt);
  virtual ~StreamCipher() = default;
  /// `out` has `length` bytes and is `in` or does not overlap it. false: the key stream has come to its end, or
  /// libcrypto failed.
  virtual bool process(const uint8_t* in, size_t length, uint8_t* out) = 0;
};

}  // namespace nekit
