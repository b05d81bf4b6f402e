// Read first: RFC 5116, RFC 8439 section 2.8, NIST SP 800-38D, draft-irtf-cfrg-xchacha-03.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "cipher/aes-gcm.hh"
#include "cipher/openssl.hh"

namespace nekit {

enum class AeadMethod : uint8_t { Aes128Gcm, Aes192Gcm, Aes256Gcm, ChaCha20Poly1305, XChaCha20Poly1305 };

struct AeadInfo {
  AeadMethod method;
  const char* name;     // as Shadowsocks spells it
  const char* openssl;  // as libcrypto spells it
  size_t keyLength;     // bytes
  size_t nonceLength;   // bytes
};

/// All methods have a tag of 16 bytes.
inline constexpr size_t kTagLength = 16;
inline constexpr size_t kMaxNonceLength = 24;
inline constexpr size_t kMaxKeyLength = 32;

const AeadInfo& aeadInfo(AeadMethod method);
/// Null: no such method.
const AeadInfo* aeadByName(const char* name);

/// One key for one direction. Not for two threads at a time.
class Aead {
 public:
  enum class Use : uint8_t { Seal, Open };
  /// `key` has the method's length. Null: libcrypto is needed, and is missing or refuses.
  static std::unique_ptr<Aead> create(AeadMethod method, const uint8_t* key, Use use) {
    return create(method, key, use, gcmKernel(gcmLevel()));
  }
  /// `gcm`: for AES-GCM; null: libcrypto does that too.
  static std::unique_ptr<Aead> create(AeadMethod method, const uint8_t* key, Use use, const GcmKernel* gcm);
  ~Aead();

  const AeadInfo& info() const { return info_; }

  /// From here on another key, which costs a third of another object or less. false: libcrypto failed.
  bool rekey(const uint8_t* key, Use use);

  /// `out` gets `length` + 16 bytes; it is `plain` or does not overlap it. A nonce is used once. false: libcrypto
  /// failed.
  bool seal(const uint8_t* nonce, const uint8_t* plain, size_t length, uint8_t* out, const uint8_t* aad = nullptr,
            size_t aadLength = 0);
  /// `length` includes the tag; `out` gets `length` - 16 bytes. false: not authentic (or too short); `out` is then
  /// zeros.
  bool open(const uint8_t* nonce, const uint8_t* sealed, size_t length, uint8_t* out, const uint8_t* aad = nullptr,
            size_t aadLength = 0);

 private:
  explicit Aead(const AeadInfo& info) : info_(info) {}
  bool begin(const uint8_t* nonce, bool encrypt, const uint8_t* aad, size_t aadLength);

  const AeadInfo& info_;
  std::unique_ptr<AesGcm> gcm_;  // null: libcrypto's context does it
  EvpContext context_;
  uint8_t key_[kMaxKeyLength] = {};  // XChaCha20 only, whose key differs from nonce to nonce
};

}  // namespace nekit
