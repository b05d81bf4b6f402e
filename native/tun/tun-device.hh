// A TUN device: packets in batches, with the kernel's offloads where it has them. Linux; see `open` for others.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "packet/join.hh"
#include "packet/outgoing.hh"
#include "packet/parse.hh"

namespace nekit {

/// Bit set.
enum TunOffload : uint32_t {
  kOffloadChecksum = 1,  // checksums are left to the kernel, and vouched for by it
  kOffloadTcp = 2,       // TCP super-packets both ways
  kOffloadUdp = 4,       // the same for UDP (Linux 6.2)
};

struct TunOptions {
  std::string name;           // empty, or with a %d: the kernel chooses
  bool offload = true;        // as much as the kernel has
  bool multiQueue = false;
};

/// One queue of a TUN device, non-blocking.
class TunDevice {
 public:
  static constexpr size_t kMostPackets = 256;
  /// What `read` stops at, about: little enough to be still in the processor's cache when it is sent on. The slab must have room for one packet of the largest size beyond it.
  static constexpr size_t kBatchBytes = 256 * 1024;
  /// Batches that a wake-up reads at most, so that the loop gets its turn.
  static constexpr int kMostBatches = 8;
  static constexpr size_t kLargestPacket = 65'535 + 40;
  static constexpr size_t kSlabBytes = kBatchBytes + kLargestPacket;

  TunDevice() = default;
  ~TunDevice();
  TunDevice(const TunDevice&) = delete;
  TunDevice& operator=(const TunDevice&) = delete;

  /// 0 or an errno: EPERM (no right), ENOENT (no /dev/net/tun), EBUSY (somebody has it), ENOSYS (not on this system).
  int open(const TunOptions& options);
  /// Works on a duplicate of a descriptor that is a TUN already, with the flags that it has; the given one stays its owner's. 0 or an errno: EINVAL (no TUN), EBADF.
  int adopt(int fd, bool offload);

  int fd() const { return fd_; }
  const std::string& name() const { return name_; }
  uint32_t offload() const { return offload_; }

  /**
   * Reads what is there, up to a batch, and joins segments of TCP that follow one another (packet/join.hh). How many packets are in `fields`; -errno when the device is gone (EBADFD and the like). `more` tells whether it stopped at the
   * bound of bytes: there are large packets, of which another batch may be read at once. Dropped ones are counted in `drops[reason]`.
   */
  int read(uint8_t* slab, const PacketFields& fields, const FlowSeed& seed, double* drops, bool& more);

  /// Whether another `read` would find something now.
  bool readable() const;

  /// What `write` may read from `packet` on to see what it is, however short it is.
  static constexpr size_t kMostHeaders = 128;

  /**
   * Sends one packet, of which checksums and lengths of segments are still to be done: `length` bytes and, for TCP, `more` bytes of payload that lie elsewhere. They may be more than a packet
   * holds, with a length field of 0: Linux takes such from 6.6 on (IPv4 alone, without an extension header). 0, or the errno that it was dropped with.
   */
  int write(uint8_t* packet, size_t length, const uint8_t* payload, size_t more, uint16_t segmentSize);

  /// What `ready` makes at most of a packet of kMostHeaders bytes.
  static constexpr size_t kMostReady = sizeof(VirtioHeader) + kMostHeaders;

  /// Writes to `into` (kMostReady bytes) what one `write` to `fd` sends: a copy of a packet of at most kMostHeaders bytes that need not be cut, with its checksums. Its length; 0: it is no whole packet.
  size_t ready(const uint8_t* packet, size_t length, uint8_t* into) const;

  void close();

 private:
  int setUp(uint32_t wanted);
  int writeLarge(uint8_t* packet, const Layout& layout, const uint8_t* payload, size_t more, uint16_t segmentSize);
  // In packets of their own, all checksums in them.
  int writeCut(const uint8_t* packet, const Layout& layout, const uint8_t* body, size_t whole, uint16_t segmentSize);
  size_t toJoin(const uint8_t* slab, const PacketFields& fields, size_t index);
  int put(const VirtioHeader& header, const uint8_t* packet, size_t length, const uint8_t* payload = nullptr, size_t more = 0);

  int fd_ = -1;
  std::string name_;
  bool alone_ = false;  // nobody else has a queue of the device, or a descriptor of this one
  bool header_ = false;  // a VirtioHeader stands in front of each packet
  uint32_t offload_ = 0;
  bool takesLarge_ = false;  // super-packets of IPv4 above 64 KiB
  std::vector<uint8_t> scratch_;
  // Of the packet that is being read, where it was to be joined to the one before it.
  uint8_t headers_[kMostHeaders] = {};
  // Segments in a row that could have been joined.
  int streak_ = 0;
  uint32_t lastFlow_ = 0;
};

}  // namespace nekit
