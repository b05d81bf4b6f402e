#include "packet/parse.hh"

#include <algorithm>
#include <cstring>

#include "cipher/bytes.hh"
#include "packet/checksum.hh"
#include "packet/headers.hh"

namespace nekit {

namespace {

// More extension headers than these have no honest use.
constexpr int kMostExtensionHeaders = 8;

constexpr uint8_t kOptionEnd = 0;
constexpr uint8_t kOptionNop = 1;
constexpr uint8_t kOptionLsrr = 131;
constexpr uint8_t kOptionSsrr = 137;
// Of IPv6: one byte, and the bits of a kind that say what to do where it is unknown.
constexpr uint8_t kOptionPad1 = 0;
constexpr uint8_t kOptionRefuse = 0xc0;

uint64_t load64(const uint8_t* p) {
  uint64_t value;
  std::memcpy(&value, p, sizeof value);
  return value;
}

uint64_t mix(uint64_t a, uint64_t b) {
#ifdef __SIZEOF_INT128__
  __extension__ using Wide = unsigned __int128;
  const Wide product = static_cast<Wide>(a) * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
#else
  const uint64_t low = (a ^ b) * 0x9e3779b97f4a7c15;
  return low ^ (low >> 32) ^ (a >> 29) ^ (b << 7);
#endif
}

/// Where an IP header led to.
struct Inner {
  uint32_t transport;
  uint32_t end;
  uint8_t protocol;
};

bool hasSourceRoute(const uint8_t* options, size_t length) {
  for (size_t at = 0; at < length;) {
    const uint8_t kind = options[at];
    if (kind == kOptionEnd) return false;
    if (kind == kOptionNop) {
      ++at;
      continue;
    }
    if (kind == kOptionLsrr || kind == kOptionSsrr) return true;
    if (at + 1 >= length) return false;
    at += std::max<size_t>(2, options[at + 1]);
  }
  return false;
}

// Options of IPv6 that ask to be refused by who does not know them, or that do not end where their header does: RFC 8200 section 4.2.
bool mustRefuse(const uint8_t* options, size_t length) {
  for (size_t at = 0; at < length;) {
    const uint8_t kind = options[at];
    if (kind == kOptionPad1) {
      ++at;
      continue;
    }
    if ((kind & kOptionRefuse) != 0 || at + 1 >= length) return true;
    at += 2 + static_cast<size_t>(options[at + 1]);
    if (at > length) return true;
  }
  return false;
}

Drop parseIp4(const uint8_t* slab, uint32_t start, uint32_t end, Inner& inner) {
  const uint8_t* header = slab + start;
  const size_t there = end - start;
  const size_t headerLength = static_cast<size_t>(header[0] & 0x0f) * 4;
  const size_t total = load16be(header + 2);
  if (headerLength < kMinIp4Header || total < headerLength) return Drop::kHeader;
  if (total > there) return Drop::kLength;
  if (checksumFold(checksumAdd(header, headerLength)) != 0xffff) return Drop::kChecksum;
  if (headerLength > kMinIp4Header && hasSourceRoute(header + kMinIp4Header, headerLength - kMinIp4Header)) return Drop::kSourceRoute;
  const size_t fragment = load16be(header + 6);
  inner.transport = start + static_cast<uint32_t>(headerLength);
  inner.end = start + static_cast<uint32_t>(total);
  inner.protocol = (fragment & 0x3fff) != 0 ? protocol::kFragment : header[9];
  return Drop::kNone;
}

Drop parseIp6(const uint8_t* slab, uint32_t start, uint32_t end, Inner& inner) {
  const uint8_t* header = slab + start;
  if (end - start < kIp6Header) return Drop::kShort;
  const size_t payload = load16be(header + 4);
  if (payload > end - start - kIp6Header) return Drop::kLength;
  uint32_t at = start + static_cast<uint32_t>(kIp6Header);
  const uint32_t stop = at + static_cast<uint32_t>(payload);
  uint8_t next = header[6];
  for (int count = 0;; ++count) {
    const bool known = next == protocol::kHopByHop || next == protocol::kRouting || next == protocol::kDestinationOptions || next == protocol::kFragment;
    if (!known) break;
    if (count == kMostExtensionHeaders || stop - at < 8) return Drop::kExtension;
    if (next == protocol::kHopByHop && count > 0) return Drop::kExtension;
    const uint8_t* extension = slab + at;
    // A route that is not at its end yet is not ours to follow; one that is says nothing, whatever its type (RFC 8200 section 4.4, RFC 5095 section 3).
    if (next == protocol::kRouting && extension[3] != 0) return Drop::kSourceRoute;
    size_t length = (static_cast<size_t>(extension[1]) + 1) * 8;
    if (next == protocol::kFragment) {
      length = 8;
      if ((load16be(extension + 2) & 0xfff9) != 0) break;  // else an atomic fragment, which is whole (RFC 6946)
    }
    if (length > stop - at) return Drop::kExtension;
    if ((next == protocol::kHopByHop || next == protocol::kDestinationOptions) && mustRefuse(extension + 2, length - 2)) return Drop::kExtension;
    next = extension[0];
    at += static_cast<uint32_t>(length);
  }
  inner.transport = at;
  inner.end = stop;
  inner.protocol = next;
  return Drop::kNone;
}

bool checksumGood(const uint8_t* slab, const Inner& inner, const uint8_t* addresses, size_t addressLength, bool pseudo) {
  const size_t length = inner.end - inner.transport;
  const uint64_t sum = pseudo ? pseudoHeaderSum(addresses, addressLength, inner.protocol, length) : 0;
  return checksumFold(checksumAdd(slab + inner.transport, length, sum)) == 0xffff;
}

}  // namespace

// Folded multiplication with a secret on both sides, as wyhash has it.
uint32_t flowHash(const uint8_t* addresses, size_t addressLength, uint32_t ports, uint8_t protocol, const FlowSeed& seed) {
  uint64_t hash = seed.a ^ protocol;
  for (size_t at = 0; at < 2 * addressLength; at += 8) hash = mix(hash ^ load64(addresses + at), seed.b ^ 0xa0761d6478bd642f);
  hash = mix(hash ^ ports, seed.b ^ 0xe7037ed1a0b428db);
  return static_cast<uint32_t>(hash ^ hash >> 32);
}

Drop parsePacket(const uint8_t* slab, uint32_t start, uint32_t end, Vouch vouch, uint16_t segmentSize, const FlowSeed& seed, const PacketFields& fields,
                 size_t index) {
  if (end < start + kMinIp4Header) return Drop::kShort;
  const uint8_t version = slab[start] >> 4;
  Inner inner{};
  const Drop drop = version == 4 ? parseIp4(slab, start, end, inner) : version == 6 ? parseIp6(slab, start, end, inner) : Drop::kVersion;
  if (drop != Drop::kNone) return drop;
  const size_t addressLength = version == 4 ? 4 : 16;
  const uint8_t* addresses = slab + start + (version == 4 ? kIp4Source : kIp6Source);
  const uint8_t* transport = slab + inner.transport;
  const size_t length = inner.end - inner.transport;
  uint32_t ports = 0;
  uint32_t payload = inner.transport;
  uint8_t flags = 0;
  uint32_t sequence = 0;
  uint32_t acknowledgment = 0;
  uint16_t window = 0;
  const bool verify = vouch == Vouch::kNothing;
  switch (inner.protocol) {
    case protocol::kTcp: {
      if (length < kMinTcpHeader) return Drop::kTransport;
      const size_t headerLength = static_cast<size_t>(transport[12] >> 4) * 4;
      if (headerLength < kMinTcpHeader || headerLength > length) return Drop::kTransport;
      if (verify && !checksumGood(slab, inner, addresses, addressLength, true)) return Drop::kChecksum;
      ports = load32be(transport);
      payload += static_cast<uint32_t>(headerLength);
      flags = transport[kTcpFlags];
      sequence = load32be(transport + 4);
      acknowledgment = load32be(transport + 8);
      window = static_cast<uint16_t>(load16be(transport + kTcpWindow));
      break;
    }
    case protocol::kUdp: {
      if (length < kUdpHeader) return Drop::kTransport;
      const size_t said = load16be(transport + 4);
      if (segmentSize == 0) {
        if (said < kUdpHeader || said > length) return Drop::kTransport;
        inner.end = inner.transport + static_cast<uint32_t>(said);
      }
      const bool none = load16be(transport + kUdpChecksum) == 0;
      if (verify && none && version == 6) return Drop::kChecksum;
      if (verify && !none && !checksumGood(slab, inner, addresses, addressLength, true)) return Drop::kChecksum;
      ports = load32be(transport);
      payload += static_cast<uint32_t>(kUdpHeader);
      break;
    }
    case protocol::kIcmp:
    case protocol::kIcmp6:
      // Of the other version it is just a protocol that nobody speaks.
      if ((inner.protocol == protocol::kIcmp) != (version == 4)) break;
      if (length < kMinIcmp) return Drop::kTransport;
      payload += static_cast<uint32_t>(kMinIcmp);
      if (verify && !checksumGood(slab, inner, addresses, addressLength, version == 6)) return Drop::kChecksum;
      break;
    default:
      break;
  }
  fields.start[index] = start;
  fields.end[index] = inner.end;
  fields.transport[index] = inner.transport;
  fields.payload[index] = payload;
  fields.version[index] = version;
  fields.protocol[index] = inner.protocol;
  fields.flags[index] = flags;
  fields.sourcePort[index] = static_cast<uint16_t>(ports >> 16);
  fields.destinationPort[index] = static_cast<uint16_t>(ports);
  fields.flow[index] = flowHash(addresses, addressLength, ports, inner.protocol, seed);
  fields.sequence[index] = sequence;
  fields.acknowledgment[index] = acknowledgment;
  fields.window[index] = window;
  fields.segmentSize[index] = segmentSize;
  return Drop::kNone;
}

}  // namespace nekit
