// Read first: shadowsocks.org, "Stream Ciphers". No integrity: for old servers only.
//
//   each direction: IV | stream
#pragma once

#include <memory>

#include "cipher/codec.hh"
#include "cipher/record-buffer.hh"
#include "cipher/stream-cipher.hh"

namespace nekit {

class ShadowsocksStream final : public ShadowsocksCodec {
 public:
  /// As ShadowsocksAead::create. `method` may be "none": then only the header is added.
  static std::unique_ptr<ShadowsocksStream> create(const StreamMethod& method, const uint8_t* key, size_t keyLength,
                                                   std::vector<uint8_t> header);
  ~ShadowsocksStream() override;
  void seal(const uint8_t* plain, size_t length, std::vector<uint8_t>& wire) override;
  bool open(const uint8_t* wire, size_t length, std::vector<uint8_t>& plain) override;
  bool midRecord() const override { return buffer_.pending() > 0; }
  size_t saltLength() const override { return method_.ivLength; }
  bool spoke() const override { return opener_ != nullptr; }

 private:
  ShadowsocksStream(const StreamMethod& method, const uint8_t* key, std::vector<uint8_t> header);
  void sealInto(const uint8_t* plain, size_t length, std::vector<uint8_t>& wire);

  const StreamMethod& method_;
  uint8_t key_[32];
  std::unique_ptr<StreamCipher> sealer_;
  std::unique_ptr<StreamCipher> opener_;
  RecordBuffer buffer_;
};

}  // namespace nekit
