#include "cipher/aes-gcm.hh"

#if defined(__x86_64__)

#include <immintrin.h>

#include <algorithm>
#include <cstring>

#define NEKIT_TARGET __attribute__((target("aes,pclmul,avx2,vaes,vpclmulqdq")))
#define NEKIT_LANES NEKIT_TARGET __attribute__((always_inline)) inline

namespace nekit {
namespace {

using Vector = __m256i;
constexpr int kLanes = 2;
constexpr int kSteps = 1;

NEKIT_LANES Vector load(const uint8_t* from) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)); }
NEKIT_LANES void store(uint8_t* to, Vector x) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), x); }
NEKIT_LANES Vector loadPart(const uint8_t* from, size_t length) {
  if (length == sizeof(Vector)) return load(from);
  uint8_t bytes[sizeof(Vector)] = {};
  if (length > 0) std::memcpy(bytes, from, length);
  return load(bytes);
}
NEKIT_LANES void storePart(uint8_t* to, Vector x, size_t length) {
  if (length == sizeof(Vector)) return store(to, x);
  uint8_t bytes[sizeof(Vector)];
  store(bytes, x);
  if (length > 0) std::memcpy(to, bytes, length);
}
NEKIT_LANES Vector firstBytes(Vector x, size_t length) {
  const Vector places = _mm256_set_epi8(31, 30, 29, 28, 27, 26, 25, 24, 23, 22, 21, 20, 19, 18, 17, 16, 15, 14, 13, 12,
                                        11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
  return x & _mm256_cmpgt_epi8(_mm256_set1_epi8(static_cast<char>(length)), places);
}
NEKIT_LANES Vector broadcast(__m128i x) { return _mm256_broadcastsi128_si256(x); }
NEKIT_LANES Vector widen(__m128i x) { return _mm256_zextsi128_si256(x); }
NEKIT_LANES Vector put(Vector x, int lane, __m128i block) {
  return _mm256_blend_epi32(lane == 0 ? widen(block) : x, lane == 0 ? x : broadcast(block), 0xf0);
}
NEKIT_LANES __m128i take(Vector x, int lane) {
  return lane == 0 ? _mm256_castsi256_si128(x) : _mm256_extracti128_si256(x, 1);
}
NEKIT_LANES __m128i fold(Vector x) { return _mm256_castsi256_si128(x) ^ _mm256_extracti128_si256(x, 1); }
NEKIT_LANES Vector add32(Vector a, Vector b) { return _mm256_add_epi32(a, b); }
NEKIT_LANES Vector xor3(Vector a, Vector b, Vector c) { return a ^ b ^ c; }
NEKIT_LANES Vector laneNumbers(int from) { return _mm256_set_epi32(0, 0, 0, from + 1, 0, 0, 0, from); }
NEKIT_LANES Vector aesRound(Vector x, Vector key) { return _mm256_aesenc_epi128(x, key); }
NEKIT_LANES Vector aesLast(Vector x, Vector key) { return _mm256_aesenclast_epi128(x, key); }
NEKIT_LANES Vector reverseBytes(Vector x) {
  return _mm256_shuffle_epi8(x, broadcast(_mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)));
}
NEKIT_LANES Vector swapHalves(Vector x) { return _mm256_shuffle_epi32(x, 0x4e); }
template <int kHalves>
NEKIT_LANES Vector multiplyHalves(Vector a, Vector b) {
  return _mm256_clmulepi64_epi128(a, b, kHalves);
}

}  // namespace
}  // namespace nekit

#include "cipher/aes-gcm-lanes.hh"

namespace nekit {

const GcmKernel kGcmVaes256 = {setKey, seal, open};

}  // namespace nekit

#endif
