// Read first: Shadowsocks SIP022 (AEAD-2022) and SIP023 (identity headers).
//
//   request:  salt | identity header 16 ... | seal(fixed) | seal(variable) | chunk ...
//   response: salt | seal(fixed) | seal(payload of that length) | chunk ...
//   request fixed:   type 0 (1) | timestamp (8) | length of variable (2)
//   response fixed:  type 1 (1) | timestamp (8) | request salt (16, 32) | length of payload (2)
//   variable:        address | padding length (2) | padding | first payload
//   sub-key = BLAKE3.derive_key("shadowsocks 2022 session subkey", PSK | salt)
#pragma once

#include <functional>
#include <memory>

#include "cipher/chunk-reader.hh"
#include "cipher/codec.hh"

namespace nekit {

/// Gets the plain fixed header of the first record, once, after type, timestamp and request salt were found good. false
/// refuses it.
using HeaderCheck = std::function<bool(const uint8_t* header, size_t length)>;

struct Shadowsocks2022Options {
  AeadMethod method = AeadMethod::Aes256Gcm;  // GCM with 128 or 256 bits, or ChaCha20-Poly1305
  bool server = false;
  /// Of the method's length. Client: identity keys from the outside in, the user's own last. Server: its own key.
  std::vector<std::vector<uint8_t>> keys;
  /// Server: with identity headers, the users' keys. AES only.
  std::vector<std::vector<uint8_t>> users;
  /// Client: the target as an address of SOCKS5. Server: empty.
  std::vector<uint8_t> header;
  /// Seconds to add to the system's clock.
  int64_t clockOffset = 0;
  HeaderCheck check;
};

/// What a server opens begins with the address, as in SIP004; padding is taken out.
class Shadowsocks2022 final : public ShadowsocksCodec {
 public:
  /// Null: libcrypto is missing, the method is none of SIP022's, or a length is wrong.
  static std::unique_ptr<Shadowsocks2022> create(Shadowsocks2022Options options);
  ~Shadowsocks2022() override;
  void seal(const uint8_t* plain, size_t length, std::vector<uint8_t>& wire) override;
  bool open(const uint8_t* wire, size_t length, std::vector<uint8_t>& plain) override;
  bool midRecord() const override {
    const bool midHeader = stage_ != Stage::Salt && stage_ != Stage::Chunks;
    return midHeader || buffer_.pending() > 0 || reader_.midChunk();
  }
  bool spoke() const override { return stage_ > Stage::Fixed; }

  /// Server: which of `users` sent the request, -1 before that is known and without users.
  int user() const { return user_; }
  /// Whether `check` is still to be called.
  bool checkPending() const { return stage_ < Stage::Variable && options_.check != nullptr; }

 private:
  enum class Stage : uint8_t { Salt, Identity, Fixed, Variable, Chunks };

  explicit Shadowsocks2022(Shadowsocks2022Options options);
  size_t saltLength() const override { return info_.keyLength; }
  int64_t now() const;
  std::unique_ptr<Aead> session(const std::vector<uint8_t>& salt, Aead::Use use);
  bool sealOne(const uint8_t* plain, size_t length, std::vector<uint8_t>& wire);
  bool sealIdentities(std::vector<uint8_t>& wire);
  /// Seal the first records with the first bytes of `plain`; how many of them is the result.
  size_t sealRequest(const uint8_t* plain, size_t length, std::vector<uint8_t>& wire);
  size_t sealResponse(const uint8_t* plain, size_t length, std::vector<uint8_t>& wire);
  bool openSalt(const uint8_t* record);
  bool openIdentity(const uint8_t* record);
  bool openFixed(const uint8_t* record);
  bool openVariable(const uint8_t* record, std::vector<uint8_t>& plain);
  size_t recordLength() const;
  bool failRun(RunStatus status);

  Shadowsocks2022Options options_;
  const AeadInfo& info_;
  Stage stage_ = Stage::Salt;
  int user_ = -1;
  size_t variableLength_ = 0;
  std::unique_ptr<Aead> sealer_;
  std::unique_ptr<Aead> opener_;
  NonceCounter sealNonce_;
  NonceCounter openNonce_;
  RecordBuffer buffer_;
  ChunkReader reader_{kMaxPayload2022};
};

}  // namespace nekit
