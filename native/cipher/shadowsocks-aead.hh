// Read first: Shadowsocks SIP004 and SIP007 (AEAD ciphers).
//
//   each direction: salt | chunk | chunk ...     sub-key = HKDF-SHA1(key, salt, "ss-subkey")
//   the client's plain bytes begin with the target as an address of SOCKS5
#pragma once

#include <memory>

#include "cipher/chunk-reader.hh"
#include "cipher/codec.hh"

namespace nekit {

class ShadowsocksAead final : public ShadowsocksCodec {
 public:
  /// `key` has the method's length. A client gives the address as `header`, a server nothing. Null: libcrypto is
  /// missing, or a length is wrong.
  static std::unique_ptr<ShadowsocksAead> create(AeadMethod method, const uint8_t* key, size_t keyLength,
                                                 std::vector<uint8_t> header);
  ~ShadowsocksAead() override;
  void seal(const uint8_t* plain, size_t length, std::vector<uint8_t>& wire) override;
  bool open(const uint8_t* wire, size_t length, std::vector<uint8_t>& plain) override;
  bool midRecord() const override { return buffer_.pending() > 0 || reader_.midChunk(); }
  bool spoke() const override { return openNonce_.started(); }
  size_t saltLength() const override { return info_.keyLength; }  // SIP004: as long as the key

 private:
  ShadowsocksAead(const AeadInfo& info, const uint8_t* key, std::vector<uint8_t> header);
  std::unique_ptr<Aead> session(const std::vector<uint8_t>& salt, Aead::Use use);
  void sealRunInto(const uint8_t* plain, size_t length, std::vector<uint8_t>& wire);
  /// The key is of no use once both directions have theirs.
  void forgetKey();

  const AeadInfo& info_;
  uint8_t key_[kMaxKeyLength];
  std::unique_ptr<Aead> sealer_;
  std::unique_ptr<Aead> opener_;
  NonceCounter sealNonce_;
  NonceCounter openNonce_;
  RecordBuffer buffer_;
  ChunkReader reader_{kMaxPayload};
};

}  // namespace nekit
