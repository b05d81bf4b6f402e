// AES-GCM on VAES and VPCLMULQDQ, several blocks to an instruction. The OpenSSL 3.0 of Node 20 has nothing of the kind;
// later ones are as fast in bulk and cost more by the message and by the key. Read first: NIST SP 800-38D; Gueron and
// Kounavis, "Intel Carry-Less Multiplication Instruction and its Usage for Computing the GCM Mode".
//
//   GHASH of n blocks:  (S ^ b1) H^n ^ b2 H^(n-1) ^ ... ^ bn H      one reduction for all of them
//
// A block is kept with its bytes reversed. The product of two such values is one bit short of where it should be, so
// what is kept of H is H/x.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "cipher/aes-cfb.hh"

namespace nekit {

/// A key, and what was worked out of it so far. Wiped by its owner.
struct GcmKey {
  /// H^20 first, H last: a step takes 16 blocks, and the last 15 have the block of lengths behind them; groups of four.
  static constexpr int kPowers = 20;
  static constexpr int kGroups = kPowers / 4;
  AesSchedule schedule;
  /// Zeros behind them, because vectors of less than four blocks are loaded whole.
  alignas(64) uint8_t powers[(kPowers + 4) * 16];
  /// For steps that others follow: the power that each of their vectors takes, in all lanes.
  alignas(64) uint8_t spread[4 * 64];
  /// Groups that are there: short messages need one.
  int groups;
};

/// A message: `in` is read and `out` is written. They are the same or do not overlap.
struct GcmText {
  const uint8_t* nonce;  // 12 bytes
  const uint8_t* aad;
  size_t aadLength;
  const uint8_t* in;
  uint8_t* out;
  size_t length;
};

/// One instruction set.
struct GcmKernel {
  /// Makes the round keys and the first group of powers. `length` is 16, 24 or 32.
  void (*setKey)(GcmKey& key, const uint8_t* bytes, size_t length);
  /// The tag (16 bytes) is that of what was sealed.
  void (*seal)(GcmKey& key, const GcmText& text, uint8_t* tag);
  /// The tag is that of what was opened: the caller compares.
  void (*open)(GcmKey& key, const GcmText& text, uint8_t* tag);
};

#if defined(__x86_64__)
extern const GcmKernel kGcmVaes256;
extern const GcmKernel kGcmVaes512;
#endif

/// The best that this CPU and its operating system offer: Vaes512, Vaes256 or None.
AesLevel gcmLevel();

/// Null for a level that is not there. Blocks8 is none: libcrypto is as good.
const GcmKernel* gcmKernel(AesLevel level);

/// One key, both directions. Not for two threads at a time.
class AesGcm {
 public:
  /// `length` is 16, 24 or 32.
  AesGcm(const GcmKernel& kernel, const uint8_t* key, size_t length);
  ~AesGcm();
  AesGcm(const AesGcm&) = delete;
  AesGcm& operator=(const AesGcm&) = delete;
  void rekey(const uint8_t* key, size_t length) { kernel_.setKey(key_, key, length); }
  /// `tag` may lie behind `text.out`.
  void seal(const GcmText& text, uint8_t* tag) { kernel_.seal(key_, text, tag); }
  /// `tag` may lie behind `text.in`. false: not authentic, and `text.out` is zeros.
  bool open(const GcmText& text, const uint8_t* tag);

 private:
  const GcmKernel& kernel_;
  GcmKey key_;
};

}  // namespace nekit
