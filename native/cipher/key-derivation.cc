#include "cipher/key-derivation.hh"

#include <algorithm>
#include <cstring>
#include <vector>

#include "cipher/openssl.hh"

namespace nekit {
namespace {

constexpr size_t kSha1Length = 20;
constexpr size_t kMd5Length = 16;

constexpr size_t kSha1Block = 64;

/// libcrypto's SHA_CTX has 96 bytes: 5 + 2 words of state, a block, a count.
struct alignas(8) Sha1State {
  uint8_t bytes[192];
};

/// HMAC-SHA1 (RFC 2104) with one key for several messages.
class HmacSha1 {
 public:
  /// `key` has at most 64 bytes where `ssl` has the functions of SHA-1 itself.
  HmacSha1(const OpenSsl& ssl, const uint8_t* key, size_t length) : ssl_(ssl) {
    std::memcpy(key_, key, length);
    length_ = length;
    if (ssl_.sha1Init == nullptr) return;
    uint8_t pad[kSha1Block];
    for (size_t i = 0; i < kSha1Block; ++i) pad[i] = key_[i] ^ 0x36;
    ssl_.sha1Init(&inner_);
    ssl_.sha1Update(&inner_, pad, kSha1Block);
    for (size_t i = 0; i < kSha1Block; ++i) pad[i] = key_[i] ^ 0x5c;
    ssl_.sha1Init(&outer_);
    ssl_.sha1Update(&outer_, pad, kSha1Block);
    wipe(pad, sizeof(pad));
  }

  ~HmacSha1() {
    wipe(key_, sizeof(key_));
    wipe(&inner_, sizeof(inner_));
    wipe(&outer_, sizeof(outer_));
  }

  /// `out` gets 20 bytes.
  bool sign(const uint8_t* data, size_t length, uint8_t* out) const {
    if (ssl_.sha1Init == nullptr) {
      unsigned outLength = 0;
      return ssl_.hmac(ssl_.sha1(), key_, static_cast<int>(length_), data, length, out, &outLength) != nullptr &&
             outLength == kSha1Length;
    }
    uint8_t digest[kSha1Length];
    Sha1State state = inner_;
    bool done = ssl_.sha1Update(&state, data, length) == 1 && ssl_.sha1Final(digest, &state) == 1;
    state = outer_;
    done = done && ssl_.sha1Update(&state, digest, kSha1Length) == 1 && ssl_.sha1Final(out, &state) == 1;
    wipe(digest, sizeof(digest));
    wipe(&state, sizeof(state));
    return done;
  }

 private:
  const OpenSsl& ssl_;
  size_t length_ = 0;
  uint8_t key_[kSha1Block] = {};
  Sha1State inner_ = {};
  Sha1State outer_ = {};
};

/// As HMAC has it for keys that are longer than a block: their digest.
bool shortKey(const OpenSsl& ssl, const uint8_t* key, size_t length, uint8_t* out, size_t& outLength) {
  if (length <= kSha1Block) {
    if (length > 0) std::memcpy(out, key, length);
    outLength = length;
    return true;
  }
  unsigned written = 0;
  if (ssl.digest(key, length, out, &written, ssl.sha1(), nullptr) != 1) return false;
  outLength = written;
  return true;
}

}  // namespace

bool hkdfSha1(const uint8_t* key, size_t keyLength, const uint8_t* salt, size_t saltLength, const uint8_t* info,
              size_t infoLength, uint8_t* out, size_t outLength) {
  const OpenSsl* ssl = openssl();
  if (outLength > 255 * kSha1Length || ssl == nullptr) return false;
  // An absent salt is a block of zeros, which HMAC makes of an empty key too.
  uint8_t extractKey[kSha1Block] = {};
  size_t extractLength = 0;
  uint8_t prk[kSha1Length];
  const uint8_t none = 0;
  if (!shortKey(*ssl, salt, saltLength, extractKey, extractLength)) return false;
  if (!HmacSha1(*ssl, extractKey, extractLength).sign(keyLength > 0 ? key : &none, keyLength, prk)) return false;
  const HmacSha1 expand(*ssl, prk, kSha1Length);
  // block | info | counter; what is longer than this room has to be allocated.
  uint8_t room[128];
  std::vector<uint8_t> longer;
  uint8_t* message = room;
  if (kSha1Length + infoLength + 1 > sizeof(room)) {
    longer.resize(kSha1Length + infoLength + 1);
    message = longer.data();
  }
  uint8_t block[kSha1Length];
  bool done = true;
  for (size_t at = 0, counter = 1; at < outLength && done; at += kSha1Length, ++counter) {
    const size_t chained = counter == 1 ? 0 : kSha1Length;
    std::memcpy(message, block, chained);
    if (infoLength > 0) std::memcpy(message + chained, info, infoLength);
    message[chained + infoLength] = static_cast<uint8_t>(counter);
    done = expand.sign(message, chained + infoLength + 1, block);
    std::memcpy(out + at, block, std::min(kSha1Length, outLength - at));
  }
  wipe(message, kSha1Length + infoLength + 1);
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
