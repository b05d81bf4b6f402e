// Read first: RFC 5869 (HKDF), OpenSSL's EVP_BytesToKey, Shadowsocks SIP007.
#pragma once

#include <cstddef>
#include <cstdint>

namespace nekit {

/// HKDF with HMAC-SHA1, extract and expand. At most 255 * 20 bytes. false: too long, or no libcrypto.
bool hkdfSha1(const uint8_t* key, size_t keyLength, const uint8_t* salt, size_t saltLength, const uint8_t* info,
              size_t infoLength, uint8_t* out, size_t outLength);

/// MD5 of `data` into 16 bytes. false: no libcrypto, or it refuses MD5 (FIPS).
bool md5(const uint8_t* data, size_t length, uint8_t* out);

/// The key of a password: EVP_BytesToKey with MD5, no salt, one round. false as for `md5`.
bool bytesToKey(const uint8_t* password, size_t length, uint8_t* key, size_t keyLength);

}  // namespace nekit
