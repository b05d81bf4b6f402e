// AES in CFB-128 on the CPU's own AES instructions. Decryption has no chain (each block needs only ciphertext), so
// blocks go side by side: 8 in flight with AES-NI or the ARM extensions, 16 and 32 with VAES. libcrypto does one at a
// time. Encryption is serial by nature. Read first: NIST SP 800-38A section 6.3, FIPS 197 section 5.2.
#pragma once

#include <cstddef>
#include <cstdint>

namespace nekit {

/// Which instructions to use, worst first.
enum class AesLevel : uint8_t { None, Blocks8, Vaes256, Vaes512 };

/// The best that this CPU and its operating system offer.
AesLevel aesLevel();

/// Round keys of an encryption key: at most 15 of 16 bytes.
struct AesSchedule {
  alignas(64) uint8_t bytes[15 * 16];
  int rounds;
};

/// The inner loops of one instruction set. `chain` is the last ciphertext block, moved on. `out` may be `in`, else no
/// overlap.
struct AesKernel {
  void (*encryptBlock)(const AesSchedule& schedule, const uint8_t* in, uint8_t* out);
  void (*cfbEncrypt)(const AesSchedule& schedule, uint8_t* chain, const uint8_t* in, uint8_t* out, size_t blocks);
  void (*cfbDecrypt)(const AesSchedule& schedule, uint8_t* chain, const uint8_t* in, uint8_t* out, size_t blocks);
  /// SubWord of FIPS 197, in constant time.
  uint32_t (*subWord)(uint32_t word);
};

/// Null for None and for a level above `aesLevel()`.
const AesKernel* aesKernel(AesLevel level);

/// CFB-128 in any fragmentation. One object, one direction.
class AesCfb {
 public:
  /// `keyLength` is 16, 24 or 32; `iv` has 16 bytes.
  AesCfb(const AesKernel& kernel, const uint8_t* key, size_t keyLength, const uint8_t* iv, bool encrypt);
  ~AesCfb();
  AesCfb(const AesCfb&) = delete;
  AesCfb& operator=(const AesCfb&) = delete;
  /// `out` may be `in`.
  void process(const uint8_t* in, size_t length, uint8_t* out);

 private:
  void processPart(const uint8_t* in, size_t length, uint8_t* out);

  const AesKernel& kernel_;
  AesSchedule schedule_;
  uint8_t chain_[16];   // ciphertext: the last block, and from its start what is known of the current one
  uint8_t stream_[16];  // key stream of a block begun
  size_t used_ = 0;     // bytes of `stream_` spent; 0: no block begun
  bool encrypt_;
};

}  // namespace nekit
