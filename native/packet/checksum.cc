#include "packet/checksum.hh"

#include <bit>
#include <cstring>

// With AVX2 where the processor has it: the loop below is what compilers turn into vectors by themselves.
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__)
#define NEKIT_WIDE __attribute__((target_clones("avx2", "default")))
#else
#define NEKIT_WIDE
#endif

namespace nekit {

namespace {

/// In the machine's order, which sums as well (RFC 1071 section 2 B): four lanes of 64 bits take 32-bit words, so that nothing has to be carried.
NEKIT_WIDE uint64_t sumOfBlocks(const uint8_t* bytes, size_t blocks) {
  uint64_t lanes[8] = {};
  for (size_t block = 0; block < blocks; ++block) {
    uint32_t words[8];
    std::memcpy(words, bytes + 32 * block, sizeof words);
    for (int lane = 0; lane < 8; ++lane) lanes[lane] += words[lane];
  }
  uint64_t sum = 0;
  for (const uint64_t lane : lanes) sum += (lane & 0xffffffff) + (lane >> 32);
  return sum;
}

}  // namespace

uint64_t checksumAdd(const uint8_t* bytes, size_t length, uint64_t sum) {
  const size_t blocks = length / 32;
  uint64_t native = sumOfBlocks(bytes, blocks);
  bytes += 32 * blocks;
  length -= 32 * blocks;
  for (; length >= 2; length -= 2, bytes += 2) {
    uint16_t word;
    std::memcpy(&word, bytes, sizeof word);
    native += word;
  }
  if (length == 1) {
    const uint8_t last[2] = {bytes[0], 0};
    uint16_t word;
    std::memcpy(&word, last, sizeof word);
    native += word;
  }
  const uint16_t folded = checksumFold(native);
  if constexpr (std::endian::native == std::endian::little) return sum + static_cast<uint16_t>(folded >> 8 | folded << 8);
  return sum + folded;
}

}  // namespace nekit
