#include "cipher/rc4.hh"

#include <utility>

namespace nekit {

Rc4::Rc4(const uint8_t* key, size_t length) {
  for (size_t i = 0; i < 256; ++i) table_[i] = static_cast<uint8_t>(i);
  uint8_t j = 0;
  for (size_t i = 0; i < 256; ++i) {
    j = static_cast<uint8_t>(j + table_[i] + key[i % length]);
    std::swap(table_[i], table_[j]);
  }
}

void Rc4::process(const uint8_t* in, size_t length, uint8_t* out) {
  uint8_t i = i_;
  uint8_t j = j_;
  for (size_t at = 0; at < length; ++at) {
    i = static_cast<uint8_t>(i + 1);
    const uint8_t a = table_[i];
    j = static_cast<uint8_t>(j + a);
    const uint8_t b = table_[j];
    table_[i] = b;
    table_[j] = a;
    out[at] = static_cast<uint8_t>(in[at] ^ table_[static_cast<uint8_t>(a + b)]);
  }
  i_ = i;
  j_ = j;
}

}  // namespace nekit
