// Read first: Shadowsocks SIP004 and SIP007 (AEAD ciphers), UDP.
//
//   salt | sealed address and data | tag     sub-key = HKDF-SHA1(key, salt, "ss-subkey"), nonce 0
#pragma once

#include <memory>

#include "cipher/aead.hh"

namespace nekit {

/// Datagrams, each with a salt and so a key of its own. Not for two threads at a time.
class PacketAead {
 public:
  /// `key` has the method's length. Null: libcrypto is missing or refuses.
  static std::unique_ptr<PacketAead> create(AeadMethod method, const uint8_t* key);
  ~PacketAead();

  /// SIP004: as long as the key.
  size_t saltLength() const { return info_.keyLength; }
  /// `out` gets salt, message and tag; `plain` is where the message goes, or does not overlap it. false: libcrypto
  /// failed.
  bool seal(const uint8_t* plain, size_t length, uint8_t* out);
  /// `length` includes salt and tag; `out` gets the message. false: not authentic, or too short.
  bool open(const uint8_t* packet, size_t length, uint8_t* out);

 private:
  explicit PacketAead(const AeadInfo& info) : info_(info) {}
  bool useSalt(const uint8_t* salt, Aead::Use use);

  const AeadInfo& info_;
  uint8_t key_[kMaxKeyLength] = {};
  std::unique_ptr<Aead> sealer_;
  std::unique_ptr<Aead> opener_;
  // Asking for random bytes costs more than what is asked for: some salts at a time, each used once.
  uint8_t random_[32 * kMaxKeyLength] = {};
  size_t taken_ = sizeof(random_);
};

}  // namespace nekit
