// Joins segments of TCP that follow one another, as receive offload does: the stack in JavaScript has one to look at instead of many.
#pragma once

#include <cstddef>
#include <cstdint>

#include "packet/parse.hh"

namespace nekit {

/// A segment that is not in the slab yet: its headers here, its payload where the one before it ends.
struct Following {
  const uint8_t* headers;
  size_t headerLength;
  const uint8_t* payload;
  size_t payloadLength;
  Vouch vouch;
  /// Of a super-packet, otherwise 0.
  uint16_t segmentSize;
};

/// The length of the headers that a segment which can be joined to packet `index` has; 0: none can.
size_t joinableHeaders(const PacketFields& fields, size_t index);

/**
 * Whether a packet, of as many bytes of headers as `joinableHeaders` says, is the very next segment of packet `index` and says nothing new but its bytes and PSH: all headers are the same but for lengths, identification, checksums,
 * sequence number and a timestamp that is not older. (Of joined ones the first timestamp counts, as it does for one ACK of several segments, RFC 7323 section 4.3.) What is not vouched for is verified.
 */
bool follows(const uint8_t* slab, const PacketFields& fields, size_t index, const Following& next);

/// Makes it part of packet `index`, whose length field stays as it is. Its payload must lie behind the other's already.
void join(const PacketFields& fields, size_t index, const Following& next);

}  // namespace nekit
