#include "cipher/blake3.hh"

#include <algorithm>
#include <cstring>

#include "cipher/bytes.hh"
#include "cipher/openssl.hh"

namespace nekit {
namespace {

constexpr uint32_t kIv[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                             0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
constexpr uint8_t kPermutation[16] = {2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8};

constexpr uint32_t kChunkStart = 1;
constexpr uint32_t kChunkEnd = 2;
constexpr uint32_t kParent = 4;
constexpr uint32_t kRoot = 8;
constexpr uint32_t kKeyedHash = 16;
constexpr uint32_t kDeriveKeyContext = 32;
constexpr uint32_t kDeriveKeyMaterial = 64;

inline uint32_t rotateRight(uint32_t v, int bits) { return v >> bits | v << (32 - bits); }

inline void mix(uint32_t* v, int a, int b, int c, int d, uint32_t x, uint32_t y) {
  v[a] += v[b] + x;
  v[d] = rotateRight(v[d] ^ v[a], 16);
  v[c] += v[d];
  v[b] = rotateRight(v[b] ^ v[c], 12);
  v[a] += v[b] + y;
  v[d] = rotateRight(v[d] ^ v[a], 8);
  v[c] += v[d];
  v[b] = rotateRight(v[b] ^ v[c], 7);
}

/// The compression function; `out` has 16 words, the first 8 are the new chaining value.
void compress(const uint32_t* chain, const uint32_t* words, uint64_t counter, uint32_t length, uint32_t flags,
              uint32_t* out) {
  uint32_t v[16] = {chain[0],
                    chain[1],
                    chain[2],
                    chain[3],
                    chain[4],
                    chain[5],
                    chain[6],
                    chain[7],
                    kIv[0],
                    kIv[1],
                    kIv[2],
                    kIv[3],
                    static_cast<uint32_t>(counter),
                    static_cast<uint32_t>(counter >> 32),
                    length,
                    flags};
  uint32_t m[16];
  std::memcpy(m, words, sizeof(m));
  for (int round = 0;; ++round) {
    for (int i = 0; i < 4; ++i) mix(v, i, 4 + i, 8 + i, 12 + i, m[2 * i], m[2 * i + 1]);
    for (int i = 0; i < 4; ++i)
      mix(v, i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4, m[8 + 2 * i], m[9 + 2 * i]);
    if (round == 6) break;
    uint32_t permuted[16];
    for (int i = 0; i < 16; ++i) permuted[i] = m[kPermutation[i]];
    std::memcpy(m, permuted, sizeof(m));
  }
  for (int i = 0; i < 8; ++i) {
    out[i] = v[i] ^ v[8 + i];
    out[8 + i] = v[8 + i] ^ chain[i];
  }
}

void loadWords(const uint8_t* block, uint32_t* words) {
  for (int i = 0; i < 16; ++i) words[i] = load32le(block + 4 * i);
}

}  // namespace

Blake3::Blake3() : Blake3(kIv, 0) {}

Blake3::Blake3(const uint32_t* key, uint32_t flags) : flags_(flags) {
  std::memcpy(key_, key, sizeof(key_));
  startChunk();
}

Blake3::~Blake3() {
  wipe(key_, sizeof(key_));
  wipe(chain_, sizeof(chain_));
  wipe(block_, sizeof(block_));
}

Blake3 Blake3::keyed(const uint8_t* key) {
  uint32_t words[8];
  for (int i = 0; i < 8; ++i) words[i] = load32le(key + 4 * i);
  return Blake3(words, kKeyedHash);
}

Blake3 Blake3::deriveKey(const uint8_t* context, size_t length) {
  Blake3 hasher(kIv, kDeriveKeyContext);
  hasher.update(context, length);
  uint8_t key[kKeyLength];
  uint32_t words[8];
  hasher.finish(key, sizeof(key));
  for (int i = 0; i < 8; ++i) words[i] = load32le(key + 4 * i);
  return Blake3(words, kDeriveKeyMaterial);
}

void Blake3::startChunk() {
  std::memcpy(chain_, key_, sizeof(chain_));
  std::memset(block_, 0, sizeof(block_));
  blockLength_ = 0;
  blocks_ = 0;
}

size_t Blake3::chunkLength() const { return blocks_ * kBlockLength + blockLength_; }

/// Takes the full block at hand into the chaining value.
void Blake3::compressBlock(uint32_t endFlag) {
  uint32_t words[16];
  uint32_t out[16];
  loadWords(block_, words);
  compress(chain_, words, chunk_, static_cast<uint32_t>(blockLength_),
           flags_ | (blocks_ == 0 ? kChunkStart : 0) | endFlag, out);
  std::memcpy(chain_, out, sizeof(chain_));
  std::memset(block_, 0, sizeof(block_));
  blockLength_ = 0;
  ++blocks_;
}

void Blake3::update(const uint8_t* data, size_t length) {
  while (length > 0) {
    // Only more input shows that a full chunk or block is not the last one, which gets other flags.
    if (chunkLength() == kChunkLength) {
      compressBlock(kChunkEnd);
      ++chunk_;
      std::memcpy(stack_[depth_++], chain_, sizeof(chain_));
      for (uint64_t done = chunk_; (done & 1) == 0; done >>= 1) {
        uint32_t words[16];
        uint32_t out[16];
        std::memcpy(words, stack_[depth_ - 2], 32);
        std::memcpy(words + 8, stack_[depth_ - 1], 32);
        compress(key_, words, 0, kBlockLength, flags_ | kParent, out);
        depth_ -= 1;
        std::memcpy(stack_[depth_ - 1], out, 32);
      }
      startChunk();
    } else if (blockLength_ == kBlockLength) {
      compressBlock(0);
    }
    const size_t part = std::min(length, kBlockLength - blockLength_);
    std::memcpy(block_ + blockLength_, data, part);
    blockLength_ += part;
    data += part;
    length -= part;
  }
}

void Blake3::finish(uint8_t* out, size_t length) const {
  // The node at hand: the last chunk's last block, then the parents above it from right to left.
  uint32_t chain[8];
  uint32_t words[16];
  uint32_t result[16];
  uint64_t counter = chunk_;
  uint32_t blockLength = static_cast<uint32_t>(blockLength_);
  uint32_t flags = flags_ | (blocks_ == 0 ? kChunkStart : 0) | kChunkEnd;
  std::memcpy(chain, chain_, sizeof(chain));
  loadWords(block_, words);
  for (size_t i = depth_; i > 0; --i) {
    compress(chain, words, counter, blockLength, flags, result);
    std::memcpy(words, stack_[i - 1], 32);
    std::memcpy(words + 8, result, 32);
    std::memcpy(chain, key_, sizeof(chain));
    counter = 0;
    blockLength = kBlockLength;
    flags = flags_ | kParent;
  }
  for (uint64_t block = 0; length > 0; ++block) {
    compress(chain, words, block, blockLength, flags | kRoot, result);
    uint8_t bytes[kBlockLength];
    for (int i = 0; i < 16; ++i) store32le(bytes + 4 * i, result[i]);
    const size_t part = std::min(length, sizeof(bytes));
    std::memcpy(out, bytes, part);
    out += part;
    length -= part;
  }
}

void blake3DeriveKey(const char* context, const uint8_t* material, size_t length, uint8_t* out) {
  Blake3 hasher = Blake3::deriveKey(reinterpret_cast<const uint8_t*>(context), std::strlen(context));
  hasher.update(material, length);
  hasher.finish(out, Blake3::kOutLength);
}

}  // namespace nekit
