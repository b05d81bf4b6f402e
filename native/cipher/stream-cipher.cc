#include "cipher/stream-cipher.hh"

#include <cstring>

#include "cipher/aes-cfb.hh"
#include "cipher/key-derivation.hh"
#include "cipher/openssl.hh"
#include "cipher/rc4.hh"
#include "cipher/salsa.hh"

namespace nekit {
namespace {

constexpr StreamMethod kMethods[] = {
    {"none", 0, 0},          {"aes-128-cfb", 16, 16},   {"aes-192-cfb", 24, 16}, {"aes-256-cfb", 32, 16},
    {"aes-128-ctr", 16, 16}, {"aes-192-ctr", 24, 16},   {"aes-256-ctr", 32, 16}, {"chacha20", 32, 8},
    {"salsa20", 32, 8},      {"chacha20-ietf", 32, 12}, {"rc4-md5", 16, 16},
};

class NoCipher final : public StreamCipher {
 public:
  bool process(const uint8_t* in, size_t length, uint8_t* out) override {
    if (length > 0) std::memmove(out, in, length);
    return true;
  }
};

class Rc4Cipher final : public StreamCipher {
 public:
  Rc4Cipher(const uint8_t* key, size_t length) : rc4_(key, length) {}
  bool process(const uint8_t* in, size_t length, uint8_t* out) override {
    rc4_.process(in, length, out);
    return true;
  }

 private:
  Rc4 rc4_;
};

class SalsaCipher final : public StreamCipher {
 public:
  SalsaCipher(const uint8_t* key, const uint8_t* nonce) : salsa_(key, nonce) {}
  bool process(const uint8_t* in, size_t length, uint8_t* out) override {
    salsa_.process(in, length, out);
    return true;
  }

 private:
  Salsa20 salsa_;
};

class CfbCipher final : public StreamCipher {
 public:
  CfbCipher(const AesKernel& kernel, const StreamMethod& method, const uint8_t* key, const uint8_t* iv, bool encrypt)
      : cfb_(kernel, key, method.keyLength, iv, encrypt) {}
  bool process(const uint8_t* in, size_t length, uint8_t* out) override {
    cfb_.process(in, length, out);
    return true;
  }

 private:
  AesCfb cfb_;
};

class EvpCipher final : public StreamCipher {
 public:
  /// `limit`: bytes before the block counter repeats.
  explicit EvpCipher(uint64_t limit) : left_(limit) {}
  bool start(const char* name, const uint8_t* key, const uint8_t* iv, bool encrypt) {
    return context_.start(name, key, iv, encrypt);
  }
  bool process(const uint8_t* in, size_t length, uint8_t* out) override {
    if (length > left_) return false;
    left_ -= length;
    while (length > 0) {
      constexpr size_t kStep = 1u << 30;  // libcrypto counts in int
      const size_t part = length < kStep ? length : kStep;
      int written = 0;
      if (openssl()->update(context_.get(), out, &written, in, static_cast<int>(part)) != 1) return false;
      in += part;
      out += part;
      length -= part;
    }
    return true;
  }

 private:
  EvpContext context_;
  uint64_t left_;
};

constexpr uint64_t kNoLimit = UINT64_MAX;
/// 2^32 blocks of 64 bytes (RFC 8439 section 2.4). libcrypto would carry into the nonce.
constexpr uint64_t kIetfLimit = uint64_t{1} << 38;

}  // namespace

const StreamMethod* streamMethod(const char* name) {
  for (const StreamMethod& method : kMethods) {
    if (std::strcmp(method.name, name) == 0) return &method;
  }
  return nullptr;
}

std::unique_ptr<StreamCipher> StreamCipher::create(const StreamMethod& method, const uint8_t* key, const uint8_t* iv,
                                                   bool encrypt) {
  const char* name = method.name;
  if (std::strcmp(name, "none") == 0) return std::make_unique<NoCipher>();
  if (std::strcmp(name, "salsa20") == 0) return std::make_unique<SalsaCipher>(key, iv);
  if (std::strcmp(name, "rc4-md5") == 0) {
    uint8_t material[32];
    uint8_t digest[16];
    std::memcpy(material, key, 16);
    std::memcpy(material + 16, iv, 16);
    const bool done = md5(material, sizeof(material), digest);
    auto cipher = done ? std::make_unique<Rc4Cipher>(digest, sizeof(digest)) : nullptr;
    wipe(material, sizeof(material));
    wipe(digest, sizeof(digest));
    return cipher;
  }
  if (std::strstr(name, "-cfb") != nullptr) {
    if (const AesKernel* kernel = aesKernel(aesLevel()))
      return std::make_unique<CfbCipher>(*kernel, method, key, iv, encrypt);
  }
  const bool ietf = std::strcmp(name, "chacha20-ietf") == 0;
  auto cipher = std::make_unique<EvpCipher>(ietf ? kIetfLimit : kNoLimit);
  // libcrypto's ChaCha20 takes the block counter (little-endian, carried over all 64 bits) in front of the nonce.
  uint8_t counted[16] = {};
  if (std::strncmp(name, "chacha20", 8) == 0) {
    std::memcpy(counted + sizeof(counted) - method.ivLength, iv, method.ivLength);
    return cipher->start("ChaCha20", key, counted, true) ? std::move(cipher) : nullptr;
  }
  return cipher->start(name, key, iv, encrypt) ? std::move(cipher) : nullptr;
}

}  // namespace nekit
