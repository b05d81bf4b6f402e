#include "cipher/aead.hh"

#include <cstring>

#include "cipher/salsa.hh"

namespace nekit {
namespace {

constexpr AeadInfo kMethods[] = {
    {AeadMethod::Aes128Gcm, "aes-128-gcm", "AES-128-GCM", 16, 12},
    {AeadMethod::Aes192Gcm, "aes-192-gcm", "AES-192-GCM", 24, 12},
    {AeadMethod::Aes256Gcm, "aes-256-gcm", "AES-256-GCM", 32, 12},
    {AeadMethod::ChaCha20Poly1305, "chacha20-ietf-poly1305", "ChaCha20-Poly1305", 32, 12},
    {AeadMethod::XChaCha20Poly1305, "xchacha20-ietf-poly1305", "ChaCha20-Poly1305", 32, 24},
};

// EVP_CTRL_AEAD_GET_TAG and EVP_CTRL_AEAD_SET_TAG of evp.h.
constexpr int kGetTag = 0x10;
constexpr int kSetTag = 0x11;

// libcrypto counts in int.
constexpr size_t kMaxLength = 0x7fffffff;

}  // namespace

const AeadInfo& aeadInfo(AeadMethod method) { return kMethods[static_cast<size_t>(method)]; }

const AeadInfo* aeadByName(const char* name) {
  for (const AeadInfo& info : kMethods) {
    if (std::strcmp(info.name, name) == 0) return &info;
  }
  return nullptr;
}

std::unique_ptr<Aead> Aead::create(AeadMethod method, const uint8_t* key, Use use, const GcmKernel* gcm) {
  std::unique_ptr<Aead> aead(new Aead(aeadInfo(method)));
  if (gcm != nullptr && method <= AeadMethod::Aes256Gcm) {
    aead->gcm_ = std::make_unique<AesGcm>(*gcm, key, aead->info_.keyLength);
    return aead;
  }
  if (method == AeadMethod::XChaCha20Poly1305) std::memcpy(aead->key_, key, kMaxKeyLength);
  if (!aead->context_.start(aead->info_.openssl, key, nullptr, use == Use::Seal)) return nullptr;
  return aead;
}

Aead::~Aead() { wipe(key_, sizeof(key_)); }

bool Aead::rekey(const uint8_t* key, Use use) {
  if (gcm_ != nullptr) {
    gcm_->rekey(key, info_.keyLength);
    return true;
  }
  if (info_.method == AeadMethod::XChaCha20Poly1305) {
    std::memcpy(key_, key, kMaxKeyLength);
    return true;
  }
  return openssl()->init(context_.get(), nullptr, nullptr, key, nullptr, use == Use::Seal ? 1 : 0) == 1;
}

bool Aead::begin(const uint8_t* nonce, bool encrypt, const uint8_t* aad, size_t aadLength) {
  const OpenSsl& ssl = *openssl();
  const int direction = encrypt ? 1 : 0;
  if (info_.method == AeadMethod::XChaCha20Poly1305) {
    uint8_t subkey[32];
    uint8_t rest[12] = {};
    hchacha20(key_, nonce, subkey);
    std::memcpy(rest + 4, nonce + 16, 8);
    const bool started = ssl.init(context_.get(), nullptr, nullptr, subkey, rest, direction) == 1;
    wipe(subkey, sizeof(subkey));
    if (!started) return false;
  } else if (ssl.init(context_.get(), nullptr, nullptr, nullptr, nonce, direction) != 1) {
    return false;
  }
  int written = 0;
  return aadLength == 0 || (aadLength <= kMaxLength &&
                            ssl.update(context_.get(), nullptr, &written, aad, static_cast<int>(aadLength)) == 1);
}

bool Aead::seal(const uint8_t* nonce, const uint8_t* plain, size_t length, uint8_t* out, const uint8_t* aad,
                size_t aadLength) {
  if (length > kMaxLength) return false;
  if (gcm_ != nullptr) {
    gcm_->seal({nonce, aad, aadLength, plain, out, length}, out + length);
    return true;
  }
  const OpenSsl& ssl = *openssl();
  int written = 0;
  if (!begin(nonce, true, aad, aadLength)) return false;
  if (length > 0 && ssl.update(context_.get(), out, &written, plain, static_cast<int>(length)) != 1) return false;
  if (ssl.finish(context_.get(), out + length, &written) != 1) return false;
  return ssl.contextControl(context_.get(), kGetTag, static_cast<int>(kTagLength), out + length) == 1;
}

bool Aead::open(const uint8_t* nonce, const uint8_t* sealed, size_t length, uint8_t* out, const uint8_t* aad,
                size_t aadLength) {
  if (length < kTagLength) return false;
  const size_t plain = length - kTagLength;
  if (plain > kMaxLength) return false;
  if (gcm_ != nullptr) return gcm_->open({nonce, aad, aadLength, sealed, out, plain}, sealed + plain);
  const OpenSsl& ssl = *openssl();
  if (!begin(nonce, false, aad, aadLength)) return false;
  int written = 0;
  uint8_t tag[kTagLength];
  std::memcpy(tag, sealed + plain, kTagLength);
  // The tag is compared by libcrypto, in constant time.
  const bool authentic =
      ssl.contextControl(context_.get(), kSetTag, static_cast<int>(kTagLength), tag) == 1 &&
      (plain == 0 || ssl.update(context_.get(), out, &written, sealed, static_cast<int>(plain)) == 1) &&
      ssl.finish(context_.get(), out + plain, &written) == 1;
  // What is not authentic is nobody's to see.
  if (!authentic && plain > 0) std::memset(out, 0, plain);
  return authentic;
}

}  // namespace nekit
