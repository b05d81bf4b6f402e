#include "cipher/shadowsocks-packet.hh"

#include <cstring>

#include "cipher/key-derivation.hh"

namespace nekit {
namespace {

constexpr uint8_t kInfo[] = {'s', 's', '-', 's', 'u', 'b', 'k', 'e', 'y'};
constexpr uint8_t kNonce[kMaxNonceLength] = {};

}  // namespace

std::unique_ptr<PacketAead> PacketAead::create(AeadMethod method, const uint8_t* key) {
  if (!available()) return nullptr;
  std::unique_ptr<PacketAead> packets(new PacketAead(aeadInfo(method)));
  std::memcpy(packets->key_, key, packets->info_.keyLength);
  packets->sealer_ = Aead::create(method, key, Aead::Use::Seal);
  packets->opener_ = Aead::create(method, key, Aead::Use::Open);
  return packets->sealer_ != nullptr && packets->opener_ != nullptr ? std::move(packets) : nullptr;
}

PacketAead::~PacketAead() { wipe(key_, sizeof(key_)); }

bool PacketAead::useSalt(const uint8_t* salt, Aead::Use use) {
  uint8_t subkey[kMaxKeyLength];
  const bool done =
      hkdfSha1(key_, info_.keyLength, salt, saltLength(), kInfo, sizeof(kInfo), subkey, info_.keyLength) &&
      (use == Aead::Use::Seal ? sealer_ : opener_)->rekey(subkey, use);
  wipe(subkey, sizeof(subkey));
  return done;
}

bool PacketAead::seal(const uint8_t* plain, size_t length, uint8_t* out) {
  if (taken_ + saltLength() > sizeof(random_)) {
    if (!randomBytes(random_, sizeof(random_))) return false;
    taken_ = 0;
  }
  const uint8_t* salt = random_ + taken_;
  taken_ += saltLength();
  if (!useSalt(salt, Aead::Use::Seal)) return false;
  if (!sealer_->seal(kNonce, plain, length, out + saltLength())) return false;
  std::memcpy(out, salt, saltLength());
  return true;
}

bool PacketAead::open(const uint8_t* packet, size_t length, uint8_t* out) {
  return length >= saltLength() + kTagLength && useSalt(packet, Aead::Use::Open) &&
         opener_->open(kNonce, packet + saltLength(), length - saltLength(), out);
}

}  // namespace nekit
