// Checks an IP packet and writes down where its parts are: what a stack in JavaScript needs, in flat arrays. Nothing is allocated, and
// no length off the wire is believed before it has been compared with what is there.
#pragma once

#include <cstddef>
#include <cstdint>

namespace nekit {

/// Why a packet is dropped. The numbers are known to JavaScript (core/src/ip).
enum class Drop : uint8_t {
  kNone = 0,
  kShort = 1,              // no whole IP header
  kVersion = 2,            // neither 4 nor 6
  kHeaderLength = 3,       // IHL, total length or payload length contradict what is there
  kHeaderChecksum = 4,
  kSourceRoute = 5,        // LSRR, SSRR (RFC 7126), type 0 routing header (RFC 5095)
  kExtensionHeaders = 6,   // too many, cut off, or in an order that RFC 8200 section 4.1 forbids
  kTransportHeader = 7,    // TCP, UDP or ICMP header cut off, or lengths that contradict
  kTransportChecksum = 8,
  kOutput = 9,             // ours, to be sent: malformed, or the device did not take it
  kCount = 10,
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

/// Parses `slab[start, end)` into index `at` of `fields`. What is not kNone has written nothing that counts.
Drop parsePacket(const uint8_t* slab, uint32_t start, uint32_t end, Vouch vouch, uint16_t segmentSize, const FlowSeed& seed, const PacketFields& fields,
                 size_t at);

}  // namespace nekit
