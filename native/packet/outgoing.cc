#include "packet/outgoing.hh"

#include <algorithm>
#include <cstring>

#include "cipher/bytes.hh"
#include "packet/checksum.hh"
#include "packet/headers.hh"

namespace nekit {

namespace {

void store32be(uint8_t* p, uint32_t v) {
  store16be(p, v >> 16);
  store16be(p + 2, v & 0xffff);
}

uint64_t pseudoSum(const uint8_t* packet, size_t length, const Layout& layout) {
  const bool ip4 = layout.version == 4;
  return pseudoHeaderSum(packet + (ip4 ? kIp4Source : kIp6Source), ip4 ? 4 : 16, layout.protocol, length - layout.transport);
}

void finishIpHeader(uint8_t* packet, const Layout& layout) {
  if (layout.version != 4) return;
  store16be(packet + 10, 0);
  const size_t headerLength = static_cast<size_t>(packet[0] & 0x0f) * 4;
  store16be(packet + 10, static_cast<uint16_t>(~checksumFold(checksumAdd(packet, headerLength))));
}

/// Whether a length field of 16 bits says so; what is longer than it can say goes with 0 (as with Linux's BIG TCP).
bool saysLength(const uint8_t* field, size_t length) { return load16be(field) == (length > 0xffff ? 0 : length); }

/// Offset of the checksum in the transport header; 0 for protocols that have none of ours.
size_t checksumOffset(const Layout& layout) {
  switch (layout.protocol) {
    case protocol::kTcp:
      return kTcpChecksum;
    case protocol::kUdp:
      return kUdpChecksum;
    case protocol::kIcmp:
      return layout.version == 4 ? kIcmpChecksum : 0;
    case protocol::kIcmp6:
      return layout.version == 6 ? kIcmpChecksum : 0;
    default:
      return 0;
  }
}

}  // namespace

bool layoutOf(const uint8_t* packet, size_t length, Layout& layout) {
  layout = {};
  if (length < kMinIp4Header) return false;
  layout.version = packet[0] >> 4;
  if (layout.version == 4) {
    layout.transport = static_cast<size_t>(packet[0] & 0x0f) * 4;
    if (layout.transport < kMinIp4Header || !saysLength(packet + 2, length) || layout.transport > length) return false;
    layout.protocol = packet[9];
    layout.fragment = (load16be(packet + 6) & 0x3fff) != 0;
  } else if (layout.version == 6) {
    if (length < kIp6Header || !saysLength(packet + 4, length - kIp6Header)) return false;
    layout.transport = kIp6Header;
    layout.protocol = packet[6];
    layout.fragment = layout.protocol == protocol::kFragment;
  } else {
    return false;
  }
  layout.payload = layout.transport;
  if (layout.fragment) return true;
  const uint8_t* transport = packet + layout.transport;
  const size_t there = length - layout.transport;
  if (layout.protocol == protocol::kTcp) {
    if (there < kMinTcpHeader) return false;
    const size_t headerLength = static_cast<size_t>(transport[12] >> 4) * 4;
    if (headerLength < kMinTcpHeader || headerLength > there) return false;
    layout.payload += headerLength;
  } else if (layout.protocol == protocol::kUdp) {
    if (there < kUdpHeader) return false;
    layout.payload += kUdpHeader;
  } else if (checksumOffset(layout) != 0 && there < kMinIcmp) {
    return false;
  }
  return true;
}

void computeChecksums(uint8_t* packet, size_t length, const Layout& layout) {
  finishIpHeader(packet, layout);
  const size_t offset = layout.fragment ? 0 : checksumOffset(layout);
  if (offset == 0) return;
  uint8_t* transport = packet + layout.transport;
  store16be(transport + offset, 0);
  const bool pseudo = layout.protocol != protocol::kIcmp;
  const uint64_t sum = checksumAdd(transport, length - layout.transport, pseudo ? pseudoSum(packet, length, layout) : 0);
  auto checksum = static_cast<uint16_t>(~checksumFold(sum));
  if (checksum == 0 && layout.protocol == protocol::kUdp) checksum = 0xffff;  // 0 would mean none (RFC 768)
  store16be(transport + offset, checksum);
}

bool finishChecksum(uint8_t* packet, size_t length, size_t start, size_t offset) {
  if (start + offset + 2 > length) return false;
  const auto checksum = static_cast<uint16_t>(~checksumFold(checksumAdd(packet + start, length - start)));
  store16be(packet + start + offset, checksum == 0 && offset == kUdpChecksum ? 0xffff : checksum);
  return true;
}

void leaveChecksums(uint8_t* packet, size_t length, const Layout& layout, uint16_t segmentSize, VirtioHeader& header) {
  header = {};
  const bool tcp = layout.protocol == protocol::kTcp;
  if (layout.fragment || (!tcp && layout.protocol != protocol::kUdp)) {
    computeChecksums(packet, length, layout);
    return;
  }
  finishIpHeader(packet, layout);
  const size_t offset = tcp ? kTcpChecksum : kUdpChecksum;
  store16be(packet + layout.transport + offset, checksumFold(pseudoSum(packet, length, layout)));
  header.flags = virtio::kNeedsChecksum;
  header.checksumStart = static_cast<uint16_t>(layout.transport);
  header.checksumOffset = static_cast<uint16_t>(offset);
  if (!isSuper(layout, length, segmentSize)) return;
  header.gsoType = !tcp ? virtio::kGsoUdp : layout.version == 4 ? virtio::kGsoTcp4 : virtio::kGsoTcp6;
  header.headerLength = static_cast<uint16_t>(layout.payload);
  header.gsoSize = segmentSize;
}

void headerOfPart(const uint8_t* packet, const Layout& layout, const Part& part, uint8_t* into) {
  std::memcpy(into, packet, layout.payload);
  const size_t whole = layout.payload + part.length;
  if (layout.version == 4) {
    store16be(into + 2, whole);
    store16be(into + 4, (load16be(packet + 4) + part.number) & 0xffff);
  } else {
    store16be(into + 4, whole - kIp6Header);
  }
  uint8_t* transport = into + layout.transport;
  if (layout.protocol == protocol::kTcp) {
    store32be(transport + 4, load32be(packet + layout.transport + 4) + static_cast<uint32_t>(part.offset));
    // What ends or pushes belongs to the last byte, a reduced window to the first (RFC 3168).
    if (!part.last) transport[kTcpFlags] &= static_cast<uint8_t>(~(kTcpFin | kTcpPsh));
    if (part.offset > 0) transport[kTcpFlags] &= static_cast<uint8_t>(~kTcpCwr);
  } else {
    store16be(transport + 4, part.length + kUdpHeader);
  }
}

bool cutSegments(const uint8_t* packet, const uint8_t* payload, size_t length, const Layout& layout, uint16_t segmentSize, uint8_t* scratch, size_t scratchLength,
                 const std::function<bool(uint8_t* segment, size_t segmentLength)>& each) {
  if (layout.fragment || segmentSize == 0 || (layout.protocol != protocol::kTcp && layout.protocol != protocol::kUdp)) return false;
  if (layout.payload + segmentSize > scratchLength) return false;
  const size_t body = length - layout.payload;
  for (Part part; part.offset < body; part.offset += part.length, ++part.number) {
    part.length = std::min<size_t>(segmentSize, body - part.offset);
    part.last = part.offset + part.length == body;
    headerOfPart(packet, layout, part, scratch);
    std::memcpy(scratch + layout.payload, payload + part.offset, part.length);
    const size_t whole = layout.payload + part.length;
    computeChecksums(scratch, whole, layout);
    if (!each(scratch, whole)) break;
  }
  return true;
}

}  // namespace nekit
