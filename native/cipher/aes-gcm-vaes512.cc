#include "cipher/aes-gcm.hh"

#if defined(__x86_64__)

#include <immintrin.h>

#include <algorithm>
#include <cstring>

#define NEKIT_TARGET __attribute__((target("aes,pclmul,avx2,avx512f,avx512bw,avx512vl,vaes,vpclmulqdq")))
#define NEKIT_LANES NEKIT_TARGET __attribute__((always_inline)) inline

namespace nekit {
namespace {

using Vector = __m512i;
constexpr int kLanes = 4;
constexpr int kSteps = 2;

// The forms with a mask, of which nothing is masked: GCC 12 warns of its own headers for the ones without (GCC bug
// 105593).
constexpr __mmask16 kAllWords = 0xffff;
constexpr __mmask8 kAllHalves = 0xff;

NEKIT_LANES __mmask64 bytesMask(size_t length) { return length >= 64 ? ~__mmask64{0} : (__mmask64{1} << length) - 1; }
NEKIT_LANES __mmask8 laneMask(int lane) { return static_cast<__mmask8>(3 << 2 * lane); }

NEKIT_LANES Vector load(const uint8_t* from) { return _mm512_loadu_si512(from); }
NEKIT_LANES void store(uint8_t* to, Vector x) { _mm512_storeu_si512(to, x); }
NEKIT_LANES Vector loadPart(const uint8_t* from, size_t length) {
  return _mm512_maskz_loadu_epi8(bytesMask(length), from);
}
NEKIT_LANES void storePart(uint8_t* to, Vector x, size_t length) { _mm512_mask_storeu_epi8(to, bytesMask(length), x); }
NEKIT_LANES Vector firstBytes(Vector x, size_t length) { return _mm512_maskz_mov_epi8(bytesMask(length), x); }
NEKIT_LANES Vector broadcast(__m128i x) { return _mm512_maskz_broadcast_i32x4(kAllWords, x); }
NEKIT_LANES Vector widen(__m128i x) { return _mm512_zextsi128_si512(x); }
NEKIT_LANES Vector put(Vector x, int lane, __m128i block) {
  return _mm512_mask_mov_epi64(x, laneMask(lane), broadcast(block));
}
NEKIT_LANES __m128i take(Vector x, int lane) {
  return _mm512_maskz_extracti32x4_epi32(kAllHalves, _mm512_maskz_compress_epi64(laneMask(lane), x), 0);
}
NEKIT_LANES __m128i fold(Vector x) {
  const __m256i half =
      _mm512_maskz_extracti64x4_epi64(kAllHalves, x, 0) ^ _mm512_maskz_extracti64x4_epi64(kAllHalves, x, 1);
  return _mm256_castsi256_si128(half) ^ _mm256_extracti128_si256(half, 1);
}
NEKIT_LANES Vector add32(Vector a, Vector b) { return _mm512_add_epi32(a, b); }
NEKIT_LANES Vector xor3(Vector a, Vector b, Vector c) { return _mm512_ternarylogic_epi64(a, b, c, 0x96); }
NEKIT_LANES Vector laneNumbers(int from) {
  return _mm512_set_epi32(0, 0, 0, from + 3, 0, 0, 0, from + 2, 0, 0, 0, from + 1, 0, 0, 0, from);
}
NEKIT_LANES Vector aesRound(Vector x, Vector key) { return _mm512_aesenc_epi128(x, key); }
NEKIT_LANES Vector aesLast(Vector x, Vector key) { return _mm512_aesenclast_epi128(x, key); }
NEKIT_LANES Vector reverseBytes(Vector x) {
  return _mm512_shuffle_epi8(x, broadcast(_mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)));
}
NEKIT_LANES Vector swapHalves(Vector x) { return _mm512_maskz_shuffle_epi32(kAllWords, x, _MM_PERM_BADC); }
template <int kHalves>
NEKIT_LANES Vector multiplyHalves(Vector a, Vector b) {
  return _mm512_clmulepi64_epi128(a, b, kHalves);
}

}  // namespace
}  // namespace nekit

#include "cipher/aes-gcm-lanes.hh"

namespace nekit {

const GcmKernel kGcmVaes512 = {setKey, seal, open};

}  // namespace nekit

#endif
