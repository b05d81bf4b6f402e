#include "cipher/salsa.hh"

#include "cipher/bytes.hh"
#include "cipher/openssl.hh"

namespace nekit {
namespace {

constexpr uint32_t kSigma[4] = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574};  // "expand 32-byte k"

/// Four blocks side by side, one in each lane: the compiler makes it SSE2 or NEON.
using Lanes = uint32_t __attribute__((vector_size(16)));

template <typename T>
inline T rotate(T v, int bits) {
  return v << bits | v >> (32 - bits);
}

inline void chachaQuarter(uint32_t* x, int a, int b, int c, int d) {
  x[a] += x[b], x[d] = rotate(x[d] ^ x[a], 16);
  x[c] += x[d], x[b] = rotate(x[b] ^ x[c], 12);
  x[a] += x[b], x[d] = rotate(x[d] ^ x[a], 8);
  x[c] += x[d], x[b] = rotate(x[b] ^ x[c], 7);
}

inline void salsaQuarter(Lanes* x, int a, int b, int c, int d) {
  x[b] ^= rotate<Lanes>(x[a] + x[d], 7);
  x[c] ^= rotate<Lanes>(x[b] + x[a], 9);
  x[d] ^= rotate<Lanes>(x[c] + x[b], 13);
  x[a] ^= rotate<Lanes>(x[d] + x[c], 18);
}

}  // namespace

void hchacha20(const uint8_t* key, const uint8_t* nonce, uint8_t* subkey) {
  uint32_t x[16];
  for (int i = 0; i < 4; ++i) x[i] = kSigma[i];
  for (int i = 0; i < 8; ++i) x[4 + i] = load32le(key + 4 * i);
  for (int i = 0; i < 4; ++i) x[12 + i] = load32le(nonce + 4 * i);
  for (int round = 0; round < 10; ++round) {
    for (int i = 0; i < 4; ++i) chachaQuarter(x, i, 4 + i, 8 + i, 12 + i);
    for (int i = 0; i < 4; ++i) chachaQuarter(x, i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4);
  }
  for (int i = 0; i < 4; ++i) store32le(subkey + 4 * i, x[i]);
  for (int i = 0; i < 4; ++i) store32le(subkey + 16 + 4 * i, x[12 + i]);
  wipe(x, sizeof(x));
}

Salsa20::Salsa20(const uint8_t* key, const uint8_t* nonce) {
  for (int i = 0; i < 4; ++i) {
    state_[5 * i] = kSigma[i];
    state_[1 + i] = load32le(key + 4 * i);
    state_[11 + i] = load32le(key + 16 + 4 * i);
  }
  state_[6] = load32le(nonce);
  state_[7] = load32le(nonce + 4);
  state_[8] = state_[9] = 0;
}

Salsa20::~Salsa20() {
  wipe(state_, sizeof(state_));
  wipe(stream_, sizeof(stream_));
}

void Salsa20::refill() {
  Lanes start[16];
  Lanes x[16];
  uint64_t counter = state_[8] | static_cast<uint64_t>(state_[9]) << 32;
  for (int i = 0; i < 16; ++i) start[i] = Lanes{state_[i], state_[i], state_[i], state_[i]};
  for (size_t lane = 0; lane < kLanes; ++lane, ++counter) {
    start[8][lane] = static_cast<uint32_t>(counter);
    start[9][lane] = static_cast<uint32_t>(counter >> 32);
  }
  state_[8] = static_cast<uint32_t>(counter);
  state_[9] = static_cast<uint32_t>(counter >> 32);
  for (int i = 0; i < 16; ++i) x[i] = start[i];
  for (int round = 0; round < 10; ++round) {
    for (int i = 0; i < 4; ++i) salsaQuarter(x, 5 * i, (5 * i + 4) % 16, (5 * i + 8) % 16, (5 * i + 12) % 16);
    for (int i = 0; i < 4; ++i) salsaQuarter(x, 5 * i, 4 * i + (i + 1) % 4, 4 * i + (i + 2) % 4, 4 * i + (i + 3) % 4);
  }
  for (int i = 0; i < 16; ++i) {
    x[i] += start[i];
    for (size_t lane = 0; lane < kLanes; ++lane)
      store32le(stream_ + 64 * lane + 4 * static_cast<size_t>(i), x[i][lane]);
  }
  used_ = 0;
}

void Salsa20::process(const uint8_t* in, size_t length, uint8_t* out) {
  while (length > 0) {
    if (used_ == sizeof(stream_)) refill();
    const size_t part = length < sizeof(stream_) - used_ ? length : sizeof(stream_) - used_;
    for (size_t i = 0; i < part; ++i) out[i] = static_cast<uint8_t>(in[i] ^ stream_[used_ + i]);
    used_ += part;
    in += part;
    out += part;
    length -= part;
  }
}

}  // namespace nekit
