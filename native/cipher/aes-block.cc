#include "cipher/aes-block.hh"

namespace nekit {

bool AesBlock::start(const uint8_t* key, size_t keyLength, bool encrypt) {
  const char* name = keyLength == 16 ? "AES-128-ECB" : keyLength == 24 ? "AES-192-ECB" : "AES-256-ECB";
  return context_.start(name, key, nullptr, encrypt) && openssl()->setPadding(context_.get(), 0) == 1;
}

bool AesBlock::process(const uint8_t* in, uint8_t* out) {
  int written = 0;
  return openssl()->update(context_.get(), out, &written, in, static_cast<int>(kLength)) == 1 &&
         written == static_cast<int>(kLength);
}

}  // namespace nekit
