#include "cipher/shadowsocks-stream.hh"

#include <cstring>

#include "cipher/openssl.hh"

namespace nekit {

std::unique_ptr<ShadowsocksStream> ShadowsocksStream::create(const StreamMethod& method, const uint8_t* key,
                                                             size_t keyLength, std::vector<uint8_t> header) {
  if (!available() || keyLength != method.keyLength || header.size() > kMaxHeader) return nullptr;
  return std::unique_ptr<ShadowsocksStream>(new ShadowsocksStream(method, key, std::move(header)));
}

ShadowsocksStream::ShadowsocksStream(const StreamMethod& method, const uint8_t* key, std::vector<uint8_t> header)
    : ShadowsocksCodec(std::move(header)), method_(method), key_{} {
  if (method.keyLength > 0) std::memcpy(key_, key, method.keyLength);
}

ShadowsocksStream::~ShadowsocksStream() { wipe(key_, sizeof(key_)); }

void ShadowsocksStream::sealInto(const uint8_t* plain, size_t length, std::vector<uint8_t>& wire) {
  const size_t at = wire.size();
  wire.resize(at + length);
  if (length == 0 || sealer_->process(plain, length, wire.data() + at)) return;
  wire.resize(at);
  fail(codec_errors::kExhausted);
}

void ShadowsocksStream::seal(const uint8_t* plain, size_t length, std::vector<uint8_t>& wire) {
  if (!alive() || (length == 0 && !prologuePending())) return;
  if (!sealing_) {
    sealing_ = true;
    if (!drawSalt() ||
        (sealer_ = StreamCipher::create(method_, key_, salt_.data(), true)) == nullptr) {
      fail(codec_errors::kFailed);
      return;
    }
    wire.insert(wire.end(), salt_.begin(), salt_.end());
    sealInto(header_.data(), header_.size(), wire);
    header_.clear();
  }
  if (alive()) sealInto(plain, length, wire);
}

bool ShadowsocksStream::open(const uint8_t* wire, size_t length, std::vector<uint8_t>& plain) {
  if (!alive()) return false;
  if (opener_ == nullptr) {
    if (method_.ivLength > 0) {
      const uint8_t* iv = buffer_.take(method_.ivLength, wire, length);
      if (iv == nullptr) return true;
      peerSalt_.assign(iv, iv + method_.ivLength);
      // The same IV and key in both directions would cancel each other out for anyone who listens.
      if (peerSalt_ == salt_) return fail(codec_errors::kReflected);
    }
    opener_ = StreamCipher::create(method_, key_, peerSalt_.data(), false);
    if (opener_ == nullptr) return fail(codec_errors::kFailed);
  }
  if (length == 0) return true;
  const size_t at = plain.size();
  plain.resize(at + length);
  if (opener_->process(wire, length, plain.data() + at)) return true;
  plain.resize(at);
  return fail(codec_errors::kExhausted);
}

}  // namespace nekit
