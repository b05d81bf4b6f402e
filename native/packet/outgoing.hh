// Packets of ours on their way to a device: checksums, and super-packets cut where the device cannot do it itself.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

namespace nekit {

/// `struct virtio_net_hdr` (linux/virtio_net.h, which does not compile as C++), in the machine's order.
struct VirtioHeader {
  uint8_t flags = 0;
  uint8_t gsoType = 0;
  uint16_t headerLength = 0;
  uint16_t gsoSize = 0;
  uint16_t checksumStart = 0;
  uint16_t checksumOffset = 0;
};
static_assert(sizeof(VirtioHeader) == 10);

namespace virtio {
inline constexpr uint8_t kNeedsChecksum = 1;
inline constexpr uint8_t kDataValid = 2;
inline constexpr uint8_t kGsoNone = 0;
inline constexpr uint8_t kGsoTcp4 = 1;
inline constexpr uint8_t kGsoTcp6 = 4;
inline constexpr uint8_t kGsoUdp = 5;
inline constexpr uint8_t kGsoEcn = 0x80;
}  // namespace virtio

/// Writes the checksum that the kernel has left to whoever sends the packet on: from `start` on, to `start + offset`, where the sum of the pseudo-header stands. false: it lies outside.
bool finishChecksum(uint8_t* packet, size_t length, size_t start, size_t offset);

/// Where the parts of a packet of ours are.
struct Layout {
  size_t transport = 0;
  size_t payload = 0;
  uint8_t version = 0;
  uint8_t protocol = 0;
  bool fragment = false;  // a part of a datagram whose checksum stands in it already
};

/// false: it is no whole packet. One that is longer than its length field can say has 0 there. IPv6 with extension headers other than a fragment header is none of ours.
bool layoutOf(const uint8_t* packet, size_t length, Layout& layout);

/// Writes the checksums of header and transport. For what is no fragment.
void computeChecksums(uint8_t* packet, size_t length, const Layout& layout);

/// The same where the device computes the transport's, and cuts: `header` says what it has to do.
void leaveChecksums(uint8_t* packet, size_t length, const Layout& layout, uint16_t segmentSize, VirtioHeader& header);

/// Whether a packet with this segment size has to be cut.
inline bool isSuper(const Layout& layout, size_t length, uint16_t segmentSize) { return segmentSize > 0 && length - layout.payload > segmentSize; }

/// A part of a super-packet's payload.
struct Part {
  size_t offset = 0;
  size_t length = 0;
  size_t number = 0;  // of segments before it
  bool last = false;
};

/// Writes to `into` (layout.payload bytes) the headers of a packet of its own with this part, but for the checksums. TCP and UDP.
void headerOfPart(const uint8_t* packet, const Layout& layout, const Part& part, uint8_t* into);

/// Cuts a super-packet of TCP or UDP, whose payload may lie elsewhere, into packets, each with all its checksums, in `scratch` (one packet large). `each` returns
/// false to stop. false: `scratch` is too small, or the protocol cannot be cut.
bool cutSegments(const uint8_t* packet, const uint8_t* payload, size_t length, const Layout& layout, uint16_t segmentSize, uint8_t* scratch, size_t scratchLength,
                 const std::function<bool(uint8_t* segment, size_t segmentLength)>& each);

}  // namespace nekit
