#include "cipher/openssl.hh"

#include <dlfcn.h>

#include <cstring>

namespace nekit {
namespace {

template <typename F>
bool find(F& slot, const char* name) {
  slot = reinterpret_cast<F>(dlsym(RTLD_DEFAULT, name));
  return slot != nullptr;
}

bool resolve(OpenSsl& ssl) {
  // Deprecated in OpenSSL 3, and absent from a build without deprecated functions.
  if (!find(ssl.sha1Init, "SHA1_Init") || !find(ssl.sha1Update, "SHA1_Update") || !find(ssl.sha1Final, "SHA1_Final"))
    ssl.sha1Init = nullptr;
  return find(ssl.contextNew, "EVP_CIPHER_CTX_new") && find(ssl.contextFree, "EVP_CIPHER_CTX_free") &&
         find(ssl.contextControl, "EVP_CIPHER_CTX_ctrl") && find(ssl.setPadding, "EVP_CIPHER_CTX_set_padding") &&
         find(ssl.fetchCipher, "EVP_CIPHER_fetch") && find(ssl.freeCipher, "EVP_CIPHER_free") &&
         find(ssl.init, "EVP_CipherInit_ex") && find(ssl.update, "EVP_CipherUpdate") &&
         find(ssl.finish, "EVP_CipherFinal_ex") && find(ssl.digest, "EVP_Digest") && find(ssl.md5, "EVP_md5") &&
         find(ssl.sha1, "EVP_sha1") && find(ssl.hmac, "HMAC") && find(ssl.random, "RAND_bytes") &&
         find(ssl.compare, "CRYPTO_memcmp");
}

}  // namespace

const OpenSsl* openssl() {
  // Written once under the guard of a local static and constant from then on.
  static const struct Table {
    OpenSsl ssl{};
    bool found = resolve(ssl);
  } table;
  return table.found ? &table.ssl : nullptr;
}

bool available() { return openssl() != nullptr; }

void wipe(void* data, size_t length) {
  if (length > 0) std::memset(data, 0, length);
  // To the compiler this reads them, so the zeros have to be there.
  __asm__ volatile("" : : "r"(data) : "memory");
}

bool equalBytes(const uint8_t* a, const uint8_t* b, size_t length) {
  if (const OpenSsl* ssl = openssl()) return ssl->compare(a, b, length) == 0;
  volatile uint8_t difference = 0;
  for (size_t i = 0; i < length; ++i) difference = static_cast<uint8_t>(difference | (a[i] ^ b[i]));
  return difference == 0;
}

bool randomBytes(uint8_t* out, size_t length) {
  const OpenSsl* ssl = openssl();
  return ssl != nullptr && length <= 0x7fffffff && ssl->random(out, static_cast<int>(length)) == 1;
}

bool EvpContext::start(const char* name, const uint8_t* key, const uint8_t* iv, bool encrypt) {
  reset();
  const OpenSsl* ssl = openssl();
  if (ssl == nullptr) return false;
  SslCipher* cipher = ssl->fetchCipher(nullptr, name, nullptr);
  if (cipher == nullptr) return false;
  context_ = ssl->contextNew();
  // The context takes a reference of its own.
  const bool started = context_ != nullptr && ssl->init(context_, cipher, nullptr, key, iv, encrypt ? 1 : 0) == 1;
  ssl->freeCipher(cipher);
  if (!started) reset();
  return started;
}

void EvpContext::reset() {
  if (context_ != nullptr) openssl()->contextFree(context_);
  context_ = nullptr;
}

}  // namespace nekit
