// Checks an IP packet and writes down where its parts are: what a stack in JavaScript needs, in flat arrays. Nothing is allocated, and
// no length off the wire is believed before it has been compared with what is there.
#pragma once

#include <cstddef>
#include <cstdint>

namespace nekit {

/// Why a packet is dropped. The numbers are PARSE_DROP of core/src/ip/batch-parser.ts, whose twin in C++ this is.
enum class Drop : uint8_t {
  kVersion = 0,      // neither 4 nor 6
  kShort = 1,        // no whole IP header
  kLength = 2,       // longer than what is there
  kHeader = 3,       // IHL contradicts
  kChecksum = 4,     // of the IP header or of the transport
  kExtension = 5,    // extension headers: too many, cut off, or in an order that RFC 8200 section 4.1 forbids
  kSourceRoute = 6,  // LSRR, SSRR (RFC 7126), routing headers that are type 0 (RFC 5095) or not at their end
  kTransport = 7,    // TCP, UDP or ICMP header cut off, or lengths that contradict
  kOutput = 9,       // ours, to be sent: malformed, or the device did not take it
  kCount = 10,
  kNone = 255,
};

/// One array for each field, index = packet. Offsets are from the slab's begin.
struct PacketFields {
  uint32_t* start;
  uint32_t* end;
  uint32_t* transport;
  uint32_t* payload;
  uint8_t* version;
  uint8_t* protocol;  // the last one, behind IPv6 extension headers; 44: a fragment
  uint8_t* flags;     // of TCP
  uint16_t* sourcePort;
  uint16_t* destinationPort;
  uint32_t* flow;  // hash of addresses, ports and protocol
  uint32_t* sequence;
  uint32_t* acknowledgment;
  uint16_t* window;
  uint16_t* segmentSize;
};

/// What the device says of the transport checksum.
enum class Vouch : uint8_t {
  kNothing,  // verify it
  kGood,     // it was verified, or has not been computed yet because it never left the machine
};

/// Against chosen collisions in the flow table.
struct FlowSeed {
  uint64_t a;
  uint64_t b;
};

/// The hash of a flow, as parsePacket writes it down: of the source's and the destination's address, one behind the other, `addressLength` (4 or 16) bytes each, and the ports as they stand in the
/// packet (0 but for TCP and UDP).
uint32_t flowHash(const uint8_t* addresses, size_t addressLength, uint32_t ports, uint8_t protocol, const FlowSeed& seed);

/// Parses `slab[start, end)` into index `at` of `fields`. What is not kNone has written nothing that counts.
Drop parsePacket(const uint8_t* slab, uint32_t start, uint32_t end, Vouch vouch, uint16_t segmentSize, const FlowSeed& seed, const PacketFields& fields,
                 size_t at);

}  // namespace nekit
