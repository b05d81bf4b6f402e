// Read first: RFC 1071. The Internet checksum: the ones' complement of the ones' complement sum of 16-bit words.
#pragma once

#include <cstddef>
#include <cstdint>

namespace nekit {

/// The unfolded sum of `length` bytes in network order, on top of `sum`. All parts but the last must be even in length. 2^32 words may be added before it overflows.
uint64_t checksumAdd(const uint8_t* bytes, size_t length, uint64_t sum = 0);

/// Folds to 16 bits. Not complemented.
inline uint16_t checksumFold(uint64_t sum) {
  sum = (sum & 0xffffffff) + (sum >> 32);
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(sum);
}

/// Sum of the pseudo-header (RFC 9293 section 3.1, RFC 8200 section 8.1). `addressLength` is 4 or 16; the two addresses lie one behind the other.
inline uint64_t pseudoHeaderSum(const uint8_t* addresses, size_t addressLength, uint8_t protocol, size_t length) {
  return checksumAdd(addresses, 2 * addressLength) + protocol + (length >> 16) + (length & 0xffff);
}

}  // namespace nekit
