#include "cipher/shadowsocks-aead.hh"

#include <algorithm>
#include <cstring>

#include "cipher/key-derivation.hh"

namespace nekit {
namespace {

constexpr uint8_t kInfo[] = {'s', 's', '-', 's', 'u', 'b', 'k', 'e', 'y'};

}  // namespace

std::unique_ptr<ShadowsocksAead> ShadowsocksAead::create(AeadMethod method, const uint8_t* key, size_t keyLength,
                                                         std::vector<uint8_t> header) {
  const AeadInfo& info = aeadInfo(method);
  if (!available() || keyLength != info.keyLength || header.size() > kMaxHeader) return nullptr;
  return std::unique_ptr<ShadowsocksAead>(new ShadowsocksAead(info, key, std::move(header)));
}

ShadowsocksAead::ShadowsocksAead(const AeadInfo& info, const uint8_t* key, std::vector<uint8_t> header)
    : ShadowsocksCodec(std::move(header)), info_(info) {
  std::memcpy(key_, key, info.keyLength);
}

ShadowsocksAead::~ShadowsocksAead() { wipe(key_, sizeof(key_)); }

std::unique_ptr<Aead> ShadowsocksAead::session(const std::vector<uint8_t>& salt, Aead::Use use) {
  uint8_t subkey[kMaxKeyLength];
  std::unique_ptr<Aead> aead;
  if (hkdfSha1(key_, info_.keyLength, salt.data(), salt.size(), kInfo, sizeof(kInfo), subkey, info_.keyLength))
    aead = Aead::create(info_.method, subkey, use);
  wipe(subkey, sizeof(subkey));
  return aead;
}

void ShadowsocksAead::forgetKey() {
  if (sealer_ != nullptr && opener_ != nullptr) wipe(key_, sizeof(key_));
}

void ShadowsocksAead::sealRunInto(const uint8_t* plain, size_t length, std::vector<uint8_t>& wire) {
  const size_t at = wire.size();
  wire.resize(at + sealedRunLength(length, kMaxPayload));
  const RunStatus status = sealRun(*sealer_, sealNonce_, plain, length, kMaxPayload, wire.data() + at);
  if (status == RunStatus::Ok) return;
  wire.resize(at);
  fail(status == RunStatus::Exhausted ? codec_errors::kExhausted : codec_errors::kFailed);
}

void ShadowsocksAead::seal(const uint8_t* plain, size_t length, std::vector<uint8_t>& wire) {
  if (!alive() || (length == 0 && !prologuePending())) return;
  if (!sealing_) {
    sealing_ = true;
    if (!drawSalt() || (sealer_ = session(salt_, Aead::Use::Seal)) == nullptr) {
      fail(codec_errors::kFailed);
      return;
    }
    forgetKey();
    wire.insert(wire.end(), salt_.begin(), salt_.end());
    if (!header_.empty()) {
      // The first chunk holds the address and what follows at once, so that its length says nothing about the address.
      const size_t part = std::min(length, kMaxPayload - header_.size());
      std::vector<uint8_t> first = std::move(header_);
      header_.clear();
      first.insert(first.end(), plain, plain + part);
      sealRunInto(first.data(), first.size(), wire);
      plain += part;
      length -= part;
    }
  }
  if (length > 0 && alive()) sealRunInto(plain, length, wire);
}

bool ShadowsocksAead::open(const uint8_t* wire, size_t length, std::vector<uint8_t>& plain) {
  if (!alive()) return false;
  if (opener_ == nullptr) {
    const uint8_t* salt = buffer_.take(info_.keyLength, wire, length);
    if (salt == nullptr) return true;
    peerSalt_.assign(salt, salt + info_.keyLength);
    // The format does not tell directions apart, so our own stream played back would be authentic.
    if (peerSalt_ == salt_) return fail(codec_errors::kReflected);
    opener_ = session(peerSalt_, Aead::Use::Open);
    if (opener_ == nullptr) return fail(codec_errors::kFailed);
    forgetKey();
  }
  switch (reader_.open(*opener_, openNonce_, buffer_, wire, length, plain)) {
    case RunStatus::Ok:
      return true;
    case RunStatus::NotAuthentic:
      return fail(codec_errors::kAuth);
    case RunStatus::TooLong:
      return fail(codec_errors::kTooLong);
    case RunStatus::Exhausted:
      return fail(codec_errors::kExhausted);
    case RunStatus::Failed:
      break;
  }
  return fail(codec_errors::kFailed);
}

}  // namespace nekit
