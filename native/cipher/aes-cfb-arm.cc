// The AES instructions of ARMv8.
#include "cipher/aes-cfb.hh"

#if defined(__aarch64__)

#include <arm_neon.h>
#if defined(__linux__)
#include <sys/auxv.h>
#endif

#if defined(__clang__)
#define NEKIT_ARM_AES __attribute__((target("aes")))
#else
#define NEKIT_ARM_AES __attribute__((target("+crypto")))
#endif

namespace nekit {
namespace {

/// AESE adds the round key before SubBytes and ShiftRows, so the last round key is added apart.
NEKIT_ARM_AES inline uint8x16_t encryptOne(const AesSchedule& schedule, uint8x16_t block) {
  const int last = schedule.rounds;
  for (int round = 0; round < last - 1; ++round)
    block = vaesmcq_u8(vaeseq_u8(block, vld1q_u8(schedule.bytes + 16 * round)));
  return veorq_u8(vaeseq_u8(block, vld1q_u8(schedule.bytes + 16 * (last - 1))), vld1q_u8(schedule.bytes + 16 * last));
}

NEKIT_ARM_AES void encryptBlock(const AesSchedule& schedule, const uint8_t* in, uint8_t* out) {
  vst1q_u8(out, encryptOne(schedule, vld1q_u8(in)));
}

NEKIT_ARM_AES uint32_t subWord(uint32_t word) {
  // All columns are alike, so ShiftRows changes nothing and SubBytes is left.
  const uint8x16_t substituted = vaeseq_u8(vreinterpretq_u8_u32(vdupq_n_u32(word)), vdupq_n_u8(0));
  return vgetq_lane_u32(vreinterpretq_u32_u8(substituted), 0);
}

NEKIT_ARM_AES void cfbEncrypt(const AesSchedule& schedule, uint8_t* chain, const uint8_t* in, uint8_t* out,
                              size_t blocks) {
  uint8x16_t last = vld1q_u8(chain);
  for (size_t i = 0; i < blocks; ++i) {
    last = veorq_u8(encryptOne(schedule, last), vld1q_u8(in + 16 * i));
    vst1q_u8(out + 16 * i, last);
  }
  vst1q_u8(chain, last);
}

NEKIT_ARM_AES void cfbDecrypt(const AesSchedule& schedule, uint8_t* chain, const uint8_t* in, uint8_t* out,
                              size_t blocks) {
  constexpr int kWidth = 8;
  const int lastRound = schedule.rounds;
  uint8x16_t last = vld1q_u8(chain);
  for (; blocks >= kWidth; blocks -= kWidth, in += 16 * kWidth, out += 16 * kWidth) {
    uint8x16_t cipher[kWidth];
    uint8x16_t x[kWidth];
    for (int i = 0; i < kWidth; ++i) cipher[i] = vld1q_u8(in + 16 * i);
    x[0] = last;
    for (int i = 1; i < kWidth; ++i) x[i] = cipher[i - 1];
    for (int round = 0; round < lastRound - 1; ++round) {
      const uint8x16_t key = vld1q_u8(schedule.bytes + 16 * round);
      for (int i = 0; i < kWidth; ++i) x[i] = vaesmcq_u8(vaeseq_u8(x[i], key));
    }
    const uint8x16_t beforeLast = vld1q_u8(schedule.bytes + 16 * (lastRound - 1));
    const uint8x16_t key = vld1q_u8(schedule.bytes + 16 * lastRound);
    for (int i = 0; i < kWidth; ++i)
      vst1q_u8(out + 16 * i, veorq_u8(veorq_u8(vaeseq_u8(x[i], beforeLast), key), cipher[i]));
    last = cipher[kWidth - 1];
  }
  for (; blocks > 0; --blocks, in += 16, out += 16) {
    const uint8x16_t cipher = vld1q_u8(in);
    vst1q_u8(out, veorq_u8(encryptOne(schedule, last), cipher));
    last = cipher;
  }
  vst1q_u8(chain, last);
}

constexpr AesKernel kArm = {encryptBlock, cfbEncrypt, cfbDecrypt, subWord};

}  // namespace

AesLevel aesLevel() {
#if defined(__APPLE__)
  return AesLevel::Blocks8;  // every Apple CPU of 64 bits has them
#elif defined(__linux__)
  constexpr unsigned long kHwcapAes = 1ul << 3;  // HWCAP_AES of asm/hwcap.h
  return (getauxval(AT_HWCAP) & kHwcapAes) != 0 ? AesLevel::Blocks8 : AesLevel::None;
#else
  return AesLevel::None;
#endif
}

const AesKernel* aesKernel(AesLevel level) {
  return level == AesLevel::Blocks8 && aesLevel() >= level ? &kArm : nullptr;
}

}  // namespace nekit

#endif
