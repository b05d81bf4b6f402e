// AES-NI and VAES. Every function that uses them names its target, so the file itself compiles for any x86-64.
#include "cipher/aes-cfb.hh"

#if defined(__x86_64__)

#include <cpuid.h>
#include <immintrin.h>

#define NEKIT_AESNI __attribute__((target("aes,sse2")))
#define NEKIT_VAES256 __attribute__((target("aes,avx2,vaes")))
#define NEKIT_VAES512 __attribute__((target("aes,avx2,avx512f,vaes")))

namespace nekit {
namespace {

inline const __m128i* vectors(const uint8_t* bytes) { return reinterpret_cast<const __m128i*>(bytes); }
inline __m128i* vectors(uint8_t* bytes) { return reinterpret_cast<__m128i*>(bytes); }

NEKIT_AESNI inline __m128i encryptOne(const AesSchedule& schedule, __m128i block) {
  const __m128i* keys = vectors(schedule.bytes);
  block = _mm_xor_si128(block, _mm_load_si128(keys));
  for (int round = 1; round < schedule.rounds; ++round) block = _mm_aesenc_si128(block, _mm_load_si128(keys + round));
  return _mm_aesenclast_si128(block, _mm_load_si128(keys + schedule.rounds));
}

NEKIT_AESNI void encryptBlock(const AesSchedule& schedule, const uint8_t* in, uint8_t* out) {
  _mm_storeu_si128(vectors(out), encryptOne(schedule, _mm_loadu_si128(vectors(in))));
}

NEKIT_AESNI uint32_t subWord(uint32_t word) {
  // Lane 0 of AESKEYGENASSIST is SubWord of the second word.
  return static_cast<uint32_t>(_mm_cvtsi128_si32(_mm_aeskeygenassist_si128(_mm_set1_epi32(static_cast<int>(word)), 0)));
}

NEKIT_AESNI void cfbEncrypt(const AesSchedule& schedule, uint8_t* chain, const uint8_t* in, uint8_t* out,
                            size_t blocks) {
  __m128i last = _mm_loadu_si128(vectors(chain));
  for (size_t i = 0; i < blocks; ++i) {
    last = _mm_xor_si128(encryptOne(schedule, last), _mm_loadu_si128(vectors(in) + i));
    _mm_storeu_si128(vectors(out) + i, last);
  }
  _mm_storeu_si128(vectors(chain), last);
}

NEKIT_AESNI void cfbDecryptAesni(const AesSchedule& schedule, uint8_t* chain, const uint8_t* in, uint8_t* out,
                                 size_t blocks) {
  constexpr int kWidth = 8;
  const __m128i* keys = vectors(schedule.bytes);
  __m128i last = _mm_loadu_si128(vectors(chain));
  for (; blocks >= kWidth; blocks -= kWidth, in += 16 * kWidth, out += 16 * kWidth) {
    __m128i cipher[kWidth];
    __m128i x[kWidth];
    const __m128i first = _mm_load_si128(keys);
    for (int i = 0; i < kWidth; ++i) cipher[i] = _mm_loadu_si128(vectors(in) + i);
    x[0] = _mm_xor_si128(last, first);
    for (int i = 1; i < kWidth; ++i) x[i] = _mm_xor_si128(cipher[i - 1], first);
    for (int round = 1; round < schedule.rounds; ++round) {
      const __m128i key = _mm_load_si128(keys + round);
      for (int i = 0; i < kWidth; ++i) x[i] = _mm_aesenc_si128(x[i], key);
    }
    const __m128i key = _mm_load_si128(keys + schedule.rounds);
    for (int i = 0; i < kWidth; ++i)
      _mm_storeu_si128(vectors(out) + i, _mm_xor_si128(_mm_aesenclast_si128(x[i], key), cipher[i]));
    last = cipher[kWidth - 1];
  }
  for (; blocks > 0; --blocks, in += 16, out += 16) {
    const __m128i cipher = _mm_loadu_si128(vectors(in));
    _mm_storeu_si128(vectors(out), _mm_xor_si128(encryptOne(schedule, last), cipher));
    last = cipher;
  }
  _mm_storeu_si128(vectors(chain), last);
}

NEKIT_VAES256 void cfbDecryptVaes256(const AesSchedule& schedule, uint8_t* chain, const uint8_t* in, uint8_t* out,
                                     size_t blocks) {
  constexpr int kVectors = 8;
  constexpr size_t kWidth = 2 * kVectors;
  const __m128i* keys = vectors(schedule.bytes);
  __m256i last = _mm256_broadcastsi128_si256(_mm_loadu_si128(vectors(chain)));
  for (; blocks >= kWidth; blocks -= kWidth, in += 16 * kWidth, out += 16 * kWidth) {
    __m256i cipher[kVectors];
    __m256i x[kVectors];
    const __m256i first = _mm256_broadcastsi128_si256(_mm_load_si128(keys));
    for (int i = 0; i < kVectors; ++i) cipher[i] = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(in) + i);
    // Each block's predecessor: the upper half of the vector before, the lower half of its own.
    for (int i = 0; i < kVectors; ++i)
      x[i] = _mm256_xor_si256(_mm256_permute2x128_si256(i == 0 ? last : cipher[i - 1], cipher[i], 0x21), first);
    for (int round = 1; round < schedule.rounds; ++round) {
      const __m256i key = _mm256_broadcastsi128_si256(_mm_load_si128(keys + round));
      for (int i = 0; i < kVectors; ++i) x[i] = _mm256_aesenc_epi128(x[i], key);
    }
    const __m256i key = _mm256_broadcastsi128_si256(_mm_load_si128(keys + schedule.rounds));
    for (int i = 0; i < kVectors; ++i)
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(out) + i,
                          _mm256_xor_si256(_mm256_aesenclast_epi128(x[i], key), cipher[i]));
    last = cipher[kVectors - 1];
  }
  _mm_storeu_si128(vectors(chain), _mm256_extracti128_si256(last, 1));
  _mm256_zeroupper();
  cfbDecryptAesni(schedule, chain, in, out, blocks);
}

NEKIT_VAES512 void cfbDecryptVaes512(const AesSchedule& schedule, uint8_t* chain, const uint8_t* in, uint8_t* out,
                                     size_t blocks) {
  constexpr int kVectors = 8;
  constexpr size_t kWidth = 4 * kVectors;
  // The forms with a mask, of which nothing is masked: GCC 12 warns of its own headers for the ones without (GCC bug
  // 105593).
  constexpr __mmask16 kAll = 0xffff;
  constexpr __mmask8 kAllWords = 0xff;
  const __m128i* keys = vectors(schedule.bytes);
  __m512i last = _mm512_maskz_broadcast_i32x4(kAll, _mm_loadu_si128(vectors(chain)));
  for (; blocks >= kWidth; blocks -= kWidth, in += 16 * kWidth, out += 16 * kWidth) {
    __m512i cipher[kVectors];
    __m512i x[kVectors];
    const __m512i first = _mm512_maskz_broadcast_i32x4(kAll, _mm_load_si128(keys));
    for (int i = 0; i < kVectors; ++i) cipher[i] = _mm512_loadu_si512(in + 64 * i);
    // Each block's predecessor: the last block of the vector before, then the first three of its own.
    for (int i = 0; i < kVectors; ++i)
      x[i] = _mm512_xor_si512(_mm512_maskz_alignr_epi64(kAllWords, cipher[i], i == 0 ? last : cipher[i - 1], 6), first);
    for (int round = 1; round < schedule.rounds; ++round) {
      const __m512i key = _mm512_maskz_broadcast_i32x4(kAll, _mm_load_si128(keys + round));
      for (int i = 0; i < kVectors; ++i) x[i] = _mm512_aesenc_epi128(x[i], key);
    }
    const __m512i key = _mm512_maskz_broadcast_i32x4(kAll, _mm_load_si128(keys + schedule.rounds));
    for (int i = 0; i < kVectors; ++i)
      _mm512_storeu_si512(out + 64 * i, _mm512_xor_si512(_mm512_aesenclast_epi128(x[i], key), cipher[i]));
    last = cipher[kVectors - 1];
  }
  _mm_storeu_si128(vectors(chain), _mm512_maskz_extracti32x4_epi32(kAllWords, last, 3));
  _mm256_zeroupper();
  cfbDecryptAesni(schedule, chain, in, out, blocks);
}

/// Which register sets the operating system saves (XCR0).
uint64_t savedRegisters() {
  uint32_t low = 0;
  uint32_t high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return static_cast<uint64_t>(high) << 32 | low;
}

AesLevel detect() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid(1, &a, &b, &c, &d) == 0 || (c & bit_AES) == 0) return AesLevel::None;
  if ((c & bit_OSXSAVE) == 0 || __get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return AesLevel::Blocks8;
  constexpr uint64_t kAvx = 0x06;     // XMM, YMM
  constexpr uint64_t kAvx512 = 0xe6;  // and the mask registers and both halves of ZMM
  constexpr unsigned kVaesBit = 1u << 9;
  const uint64_t saved = savedRegisters();
  if ((c & kVaesBit) == 0 || (b & bit_AVX2) == 0 || (saved & kAvx) != kAvx) return AesLevel::Blocks8;
  return (b & bit_AVX512F) != 0 && (saved & kAvx512) == kAvx512 ? AesLevel::Vaes512 : AesLevel::Vaes256;
}

constexpr AesKernel kAesni = {encryptBlock, cfbEncrypt, cfbDecryptAesni, subWord};
constexpr AesKernel kVaes256 = {encryptBlock, cfbEncrypt, cfbDecryptVaes256, subWord};
constexpr AesKernel kVaes512 = {encryptBlock, cfbEncrypt, cfbDecryptVaes512, subWord};

}  // namespace

AesLevel aesLevel() {
  static const AesLevel level = detect();
  return level;
}

const AesKernel* aesKernel(AesLevel level) {
  if (level > aesLevel()) return nullptr;
  switch (level) {
    case AesLevel::None:
      return nullptr;
    case AesLevel::Blocks8:
      return &kAesni;
    case AesLevel::Vaes256:
      return &kVaes256;
    case AesLevel::Vaes512:
      return &kVaes512;
  }
  return nullptr;
}

}  // namespace nekit

#endif
