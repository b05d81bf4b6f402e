// Read first: the BLAKE3 paper (github.com/BLAKE3-team/BLAKE3-specs), sections 2.1-2.6. Portable and sequential: what
// Shadowsocks 2022 hashes is a key and a salt, one block.
#pragma once

#include <cstddef>
#include <cstdint>

namespace nekit {

/// An incremental BLAKE3 hasher in one of its three modes.
class Blake3 {
 public:
  static constexpr size_t kKeyLength = 32;
  static constexpr size_t kOutLength = 32;

  /// Plain hash.
  Blake3();
  /// Keyed hash; `key` has 32 bytes.
  static Blake3 keyed(const uint8_t* key);
  /// Key derivation; `context` is a constant string of the application, what is hashed afterwards is the key material.
  static Blake3 deriveKey(const uint8_t* context, size_t length);
  ~Blake3();

  void update(const uint8_t* data, size_t length);
  /// Any length of output; more may be hashed afterwards.
  void finish(uint8_t* out, size_t length) const;

 private:
  Blake3(const uint32_t* key, uint32_t flags);
  void startChunk();
  size_t chunkLength() const;
  void compressBlock(uint32_t endFlag);

  static constexpr size_t kBlockLength = 64;
  static constexpr size_t kChunkLength = 1024;
  static constexpr size_t kMaxDepth = 54;  // 2^64 bytes in chunks of 2^10

  uint32_t key_[8];
  uint32_t flags_;
  // The chunk at hand.
  uint32_t chain_[8];
  uint8_t block_[kBlockLength];
  size_t blockLength_ = 0;
  size_t blocks_ = 0;
  uint64_t chunk_ = 0;
  // Roots of finished subtrees, left to right, each at most once per size.
  uint32_t stack_[kMaxDepth][8];
  size_t depth_ = 0;
};

/// 32 bytes of BLAKE3 in derive_key mode.
void blake3DeriveKey(const char* context, const uint8_t* material, size_t length, uint8_t* out);

}  // namespace nekit
