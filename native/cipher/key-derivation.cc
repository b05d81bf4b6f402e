#include "cipher/key-derivation.hh"

#include <algorithm>
#include <cstring>
#include <vector>

#include "cipher/openssl.hh"

namespace nekit {
namespace {

constexpr size_t kSha1Length = 20;
constexpr size_t kMd5Length = 16;

bool hmacSha1(const uint8_t* key, size_t keyLength, const uint8_t* data, size_t length, uint8_t* out) {
  const OpenSsl* ssl = openssl();
  unsigned outLength = 0;
  if (ssl == nullptr || keyLength > 0x7fffffff) return false;
  return ssl->hmac(ssl->sha1(), key, static_cast<int>(keyLength), data, length, out, &outLength) != nullptr &&
         outLength == kSha1Length;
}

}  // namespace

bool hkdfSha1(const uint8_t* key, size_t keyLength, const uint8_t* salt, size_t saltLength, const uint8_t* info,
              size_t infoLength, uint8_t* out, size_t outLength) {
  if (outLength > 255 * kSha1Length) return false;
  // An absent salt is a block of zeros, which HMAC makes of an empty key too; libcrypto only wants a pointer.
  uint8_t prk[kSha1Length];
  const uint8_t none = 0;
  if (!hmacSha1(saltLength > 0 ? salt : &none, saltLength, keyLength > 0 ? key : &none, keyLength, prk)) return false;
  std::vector<uint8_t> message;
  uint8_t block[kSha1Length];
  bool done = true;
  for (size_t at = 0, counter = 1; at < outLength && done; at += kSha1Length, ++counter) {
    message.assign(block, block + (counter == 1 ? 0 : kSha1Length));
    message.insert(message.end(), info, info + infoLength);
    message.push_back(static_cast<uint8_t>(counter));
    done = hmacSha1(prk, kSha1Length, message.data(), message.size(), block);
    std::memcpy(out + at, block, std::min(kSha1Length, outLength - at));
    wipe(message.data(), message.size());
  }
  wipe(prk, sizeof(prk));
  wipe(block, sizeof(block));
  return done;
}

bool md5(const uint8_t* data, size_t length, uint8_t* out) {
  const OpenSsl* ssl = openssl();
  unsigned outLength = 0;
  return ssl != nullptr && ssl->digest(data, length, out, &outLength, ssl->md5(), nullptr) == 1 &&
         outLength == kMd5Length;
}

bool bytesToKey(const uint8_t* password, size_t length, uint8_t* key, size_t keyLength) {
  std::vector<uint8_t> message;
  uint8_t digest[kMd5Length];
  bool done = true;
  for (size_t at = 0; at < keyLength && done; at += kMd5Length) {
    message.assign(digest, digest + (at == 0 ? 0 : kMd5Length));
    message.insert(message.end(), password, password + length);
    done = md5(message.data(), message.size(), digest);
    std::memcpy(key + at, digest, std::min(kMd5Length, keyLength - at));
    wipe(message.data(), message.size());
  }
  wipe(digest, sizeof(digest));
  return done;
}

}  // namespace nekit
