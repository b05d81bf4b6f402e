#include "cipher/codec.hh"

#include "cipher/openssl.hh"

namespace nekit {

Codec::~Codec() = default;

bool ShadowsocksCodec::fail(const char* error) {
  if (error_.empty()) error_ = error;
  return false;
}

bool ShadowsocksCodec::drawSalt() {
  if (salt_.size() == saltLength()) return true;
  salt_.resize(saltLength());
  if (randomBytes(salt_.data(), salt_.size())) return true;
  salt_.clear();
  return false;
}

}  // namespace nekit
