#include "cipher/aes-cfb.hh"

#include <algorithm>
#include <cstring>

#include "cipher/bytes.hh"
#include "cipher/openssl.hh"

namespace nekit {
namespace {

/// FIPS 197 section 5.2, on little-endian words.
void expandKey(const AesKernel& kernel, const uint8_t* key, size_t keyLength, AesSchedule& schedule) {
  const size_t words = keyLength / 4;
  schedule.rounds = static_cast<int>(words) + 6;
  const size_t total = 4 * (static_cast<size_t>(schedule.rounds) + 1);
  std::memcpy(schedule.bytes, key, keyLength);
  uint32_t roundConstant = 1;
  for (size_t i = words; i < total; ++i) {
    uint32_t word = load32le(schedule.bytes + 4 * (i - 1));
    if (i % words == 0) {
      word = kernel.subWord(word >> 8 | word << 24) ^ roundConstant;
      roundConstant = (roundConstant << 1) ^ ((roundConstant & 0x80) != 0 ? 0x11b : 0);
    } else if (words > 6 && i % words == 4) {
      word = kernel.subWord(word);
    }
    store32le(schedule.bytes + 4 * i, word ^ load32le(schedule.bytes + 4 * (i - words)));
  }
}

}  // namespace

#if !defined(__x86_64__) && !defined(__aarch64__)
AesLevel aesLevel() { return AesLevel::None; }
const AesKernel* aesKernel(AesLevel) { return nullptr; }
#endif

AesCfb::AesCfb(const AesKernel& kernel, const uint8_t* key, size_t keyLength, const uint8_t* iv, bool encrypt)
    : kernel_(kernel), encrypt_(encrypt) {
  expandKey(kernel, key, keyLength, schedule_);
  std::memcpy(chain_, iv, sizeof(chain_));
}

AesCfb::~AesCfb() {
  wipe(&schedule_, sizeof(schedule_));
  wipe(stream_, sizeof(stream_));
}

/// At most to the end of the block begun.
void AesCfb::processPart(const uint8_t* in, size_t length, uint8_t* out) {
  if (used_ == 0) kernel_.encryptBlock(schedule_, chain_, stream_);
  for (size_t i = 0; i < length; ++i) {
    const uint8_t taken = in[i];
    const uint8_t given = static_cast<uint8_t>(taken ^ stream_[used_ + i]);
    chain_[used_ + i] = encrypt_ ? given : taken;
    out[i] = given;
  }
  used_ = (used_ + length) % sizeof(stream_);
}

void AesCfb::process(const uint8_t* in, size_t length, uint8_t* out) {
  if (used_ != 0) {
    const size_t part = std::min(length, sizeof(stream_) - used_);
    processPart(in, part, out);
    in += part;
    out += part;
    length -= part;
  }
  const size_t blocks = length / 16;
  if (blocks > 0) {
    (encrypt_ ? kernel_.cfbEncrypt : kernel_.cfbDecrypt)(schedule_, chain_, in, out, blocks);
    in += 16 * blocks;
    out += 16 * blocks;
    length -= 16 * blocks;
  }
  if (length > 0) processPart(in, length, out);
}

}  // namespace nekit
