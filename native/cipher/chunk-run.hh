// Read first: Shadowsocks SIP004/SIP007 (and SIP022, whose chunks are longer).
//
//   chunk: seal(length u16be) 2+16 | seal(payload) length+16      two operations, two nonces
#pragma once

#include <cstddef>
#include <cstdint>

#include "cipher/aead.hh"
#include "cipher/nonce-counter.hh"

namespace nekit {

inline constexpr size_t kSealedLength = 2 + kTagLength;
/// Longest payload of a chunk: SIP004 reserves the top two bits, SIP022 does not.
inline constexpr size_t kMaxPayload = 0x3fff;
inline constexpr size_t kMaxPayload2022 = 0xffff;

enum class RunStatus : uint8_t { Ok, NotAuthentic, TooLong, Exhausted, Failed };

/// Bytes on the wire of `length` plain bytes in chunks of at most `maxPayload`.
size_t sealedRunLength(size_t length, size_t maxPayload);

/// Seals all of `plain` as chunks into `out`, which has `sealedRunLength` bytes and does not overlap. Ok, Exhausted
/// (nothing done) or Failed.
RunStatus sealRun(Aead& aead, NonceCounter& nonce, const uint8_t* plain, size_t length, size_t maxPayload,
                  uint8_t* out);

struct RunProgress {
  size_t consumed;  // bytes of `wire` in whole chunks
  size_t produced;  // bytes of `out`
};

/**
 * Opens the whole chunks at the start of `wire` into `out`, which has `length` bytes and does not overlap. A chunk that
 * is not whole yet is left, its length is read again next time. When the status is not Ok, `progress` tells of the
 * chunks before the bad one.
 */
RunStatus openRun(Aead& aead, NonceCounter& nonce, const uint8_t* wire, size_t length, size_t maxPayload, uint8_t* out,
                  RunProgress& progress);

}  // namespace nekit
