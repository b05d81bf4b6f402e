// The libcrypto that the running program brings (node exports its own), found by dlsym: no headers, nothing to link,
// always the host's security-patched copy. Toolchain facts: OpenSSL >= 3 in every Node from 18 on.
#pragma once

#include <cstddef>
#include <cstdint>

struct evp_cipher_st;
struct evp_cipher_ctx_st;
struct evp_md_st;

namespace nekit {

/// Opaque types of libcrypto under names that cannot clash with its headers.
using SslCipher = evp_cipher_st;
using SslContext = evp_cipher_ctx_st;
using SslDigest = evp_md_st;

/// The functions in use. Each member is the libcrypto function named beside it; 1 means success unless said otherwise.
struct OpenSsl {
  SslContext* (*contextNew)();                                                         // EVP_CIPHER_CTX_new
  void (*contextFree)(SslContext*);                                                    // EVP_CIPHER_CTX_free
  int (*contextControl)(SslContext*, int type, int argument, void* data);              // EVP_CIPHER_CTX_ctrl
  int (*setPadding)(SslContext*, int on);                                              // EVP_CIPHER_CTX_set_padding
  SslCipher* (*fetchCipher)(void* library, const char* name, const char* properties);  // EVP_CIPHER_fetch
  void (*freeCipher)(SslCipher*);                                                      // EVP_CIPHER_free
  int (*init)(SslContext*, const SslCipher*, void* engine, const uint8_t* key, const uint8_t* iv,
              int encrypt);                                                                   // EVP_CipherInit_ex
  int (*update)(SslContext*, uint8_t* out, int* outLength, const uint8_t* in, int inLength);  // EVP_CipherUpdate
  int (*finish)(SslContext*, uint8_t* out, int* outLength);                                   // EVP_CipherFinal_ex
  int (*digest)(const void* data, size_t length, uint8_t* out, unsigned* outLength, const SslDigest*,
                void* engine);  // EVP_Digest
  const SslDigest* (*md5)();    // EVP_md5
  const SslDigest* (*sha1)();   // EVP_sha1
  uint8_t* (*hmac)(const SslDigest*, const void* key, int keyLength, const uint8_t* data, size_t length, uint8_t* out,
                   unsigned* outLength);             // HMAC; null on failure
  // The next three may be missing; `hmac` serves then. They skip what `hmac` looks up and allocates at each call.
  int (*sha1Init)(void* state);                                         // SHA1_Init
  int (*sha1Update)(void* state, const void* data, size_t length);      // SHA1_Update
  int (*sha1Final)(uint8_t* out, void* state);                          // SHA1_Final
  int (*random)(uint8_t* out, int length);           // RAND_bytes
  int (*compare)(const void*, const void*, size_t);  // CRYPTO_memcmp; 0 means equal, in constant time
};

/// The table, resolved once, or null where the program brings no usable libcrypto. Any thread.
const OpenSsl* openssl();

/// True if AEADs, digests and stream ciphers can be used at all.
bool available();

/// Overwrites secrets in a way that the compiler keeps. Works without libcrypto too.
void wipe(void* data, size_t length);

/// Constant-time comparison, true if equal. Works without libcrypto too.
bool equalBytes(const uint8_t* a, const uint8_t* b, size_t length);

/// `length` random bytes of the host's CSPRNG; false where there is none or it fails.
bool randomBytes(uint8_t* out, size_t length);

/// One EVP context with its key, freed with its owner.
class EvpContext {
 public:
  EvpContext() = default;
  ~EvpContext() { reset(); }
  EvpContext(const EvpContext&) = delete;
  EvpContext& operator=(const EvpContext&) = delete;
  /// Makes the context for the cipher called `name` in libcrypto's words. false: no such cipher, no memory, key
  /// refused.
  bool start(const char* name, const uint8_t* key, const uint8_t* iv, bool encrypt);
  void reset();
  SslContext* get() const { return context_; }

 private:
  SslContext* context_ = nullptr;
};

}  // namespace nekit
