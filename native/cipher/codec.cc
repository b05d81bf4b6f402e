#include "cipher/codec.hh"

namespace nekit {

Codec::~Codec() = default;

bool ShadowsocksCodec::fail(const char* error) {
  if (error_.empty()) error_ = error;
  return false;
}

}  // namespace nekit
