#include "tun/tun-device.hh"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

#ifdef __linux__

#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <sys/utsname.h>

#include "packet/headers.hh"

// Younger than the headers of some build machines.
#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

namespace nekit {

namespace {

constexpr int kHeaderLength = sizeof(VirtioHeader);
// So many segments in a row that could have been joined: the next is read as if it could. A wrong guess moves its bytes once more.
constexpr int kStreak = 2;
// What an IPv4 header can say, in bytes; IPv6 has its own besides.
constexpr size_t kLongest = 0xffff;
constexpr unsigned kTcpOffload = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
constexpr unsigned kUdpOffload = TUN_F_USO4 | TUN_F_USO6;

// Reads the length of a super-packet of IPv4 off its buffer where the header says 0 (from 6.3 on), and has memory for one in pieces of more than a page.
constexpr int kLargeSince[] = {6, 6};

bool knowsLarge() {
  utsname system;
  int version[2] = {};
  if (uname(&system) != 0 || std::sscanf(system.release, "%d.%d", &version[0], &version[1]) != 2) return false;
  return version[0] > kLargeSince[0] || (version[0] == kLargeSince[0] && version[1] >= kLargeSince[1]);
}

// There is no memory in so large pieces, or whoever judges packets does not take one like this.
bool isTooLarge(int error) { return error == EMSGSIZE || error == ENOBUFS || error == ENOMEM || error == EINVAL; }

size_t aligned(size_t at) { return (at + 15) & ~size_t{15}; }

bool gone(int error) { return error == EBADFD || error == EBADF || error == ENODEV || error == ENXIO; }

}  // namespace

TunDevice::~TunDevice() { close(); }

int TunDevice::open(const TunOptions& options) {
  fd_ = ::open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (fd_ < 0) return errno;
  ifreq request{};
  if (options.name.size() >= sizeof request.ifr_name) {
    close();
    return ENAMETOOLONG;
  }
  std::memcpy(request.ifr_name, options.name.data(), options.name.size());
  const int queues = options.multiQueue ? IFF_MULTI_QUEUE : 0;
  request.ifr_flags = static_cast<short>(IFF_TUN | IFF_NO_PI | queues | (options.offload ? IFF_VNET_HDR : 0));
  if (ioctl(fd_, TUNSETIFF, &request) != 0) {
    const int error = errno;
    close();
    return error;
  }
  alone_ = !options.multiQueue;
  name_.assign(request.ifr_name, strnlen(request.ifr_name, sizeof request.ifr_name));
  header_ = options.offload;
  return setUp(options.offload ? kOffloadChecksum | kOffloadTcp | kOffloadUdp : 0);
}

int TunDevice::adopt(int fd, bool offload) {
  ifreq request{};
  if (ioctl(fd, TUNGETIFF, &request) != 0) return errno == ENOTTY || errno == EBADFD ? EINVAL : errno;
  const int flags = request.ifr_flags & 0xffff;
  if ((flags & IFF_TUN) == 0 || (flags & IFF_NO_PI) == 0) return EINVAL;  // TAP, or with a protocol word in front
  fd_ = fcntl(fd, F_DUPFD_CLOEXEC, 0);
  if (fd_ < 0) return errno;
  const int mode = fcntl(fd_, F_GETFL);
  if (mode < 0 || fcntl(fd_, F_SETFL, mode | O_NONBLOCK) != 0) {
    const int error = errno;
    close();
    return error;
  }
  name_.assign(request.ifr_name, strnlen(request.ifr_name, sizeof request.ifr_name));
  header_ = (flags & IFF_VNET_HDR) != 0;
  return setUp(offload ? kOffloadChecksum | kOffloadTcp | kOffloadUdp : 0);
}

// Agrees on the header's length and on as many offloads as the kernel has.
int TunDevice::setUp(uint32_t wanted) {
  scratch_.resize(kLargestPacket);
  if (!header_) {
    ioctl(fd_, TUNSETOFFLOAD, 0);  // the device keeps what it was last told, which could not be told apart without a header
    return 0;
  }
  int length = kHeaderLength;
  if (ioctl(fd_, TUNSETVNETHDRSZ, &length) != 0) {
    const int error = errno;
    close();
    return error;
  }
  if ((wanted & kOffloadUdp) != 0 && ioctl(fd_, TUNSETOFFLOAD, kTcpOffload | kUdpOffload) == 0) offload_ = kOffloadChecksum | kOffloadTcp | kOffloadUdp;
  else if ((wanted & kOffloadTcp) != 0 && ioctl(fd_, TUNSETOFFLOAD, kTcpOffload) == 0) offload_ = kOffloadChecksum | kOffloadTcp;
  else if ((wanted & kOffloadChecksum) != 0 && ioctl(fd_, TUNSETOFFLOAD, TUN_F_CSUM) == 0) offload_ = kOffloadChecksum;
  else ioctl(fd_, TUNSETOFFLOAD, 0);  // one that was handed to us may have had some
  takesLarge_ = (offload_ & kOffloadTcp) != 0 && knowsLarge();
  return 0;
}

int TunDevice::read(uint8_t* slab, const PacketFields& fields, const FlowSeed& seed, double* drops, bool& more) {
  size_t at = 0;
  size_t count = 0;
  size_t headers = 0;  // of the packet that is expected to go on where the last one ends; 0: it is read as it is
  for (size_t reads = 0;; ++reads) {
    more = at >= kBatchBytes;
    if (more || count == kMostPackets || reads == 2 * kMostPackets) return static_cast<int>(count);
    VirtioHeader header;
    uint8_t* into = slab + (headers == 0 ? at : fields.end[count - 1]);
    iovec parts[3] = {{&header, kHeaderLength}, {headers_, headers}, {into, kLargestPacket - headers}};
    const ssize_t got = header_ ? ::readv(fd_, parts, 3) : ::readv(fd_, parts + 1, 2);
    if (got < 0) {
      if (errno == EINTR) continue;
      if (gone(errno) && count == 0) return -errno;
      return static_cast<int>(count);  // nothing is left, or it will be said again
    }
    const size_t length = header_ ? static_cast<size_t>(got) - std::min<size_t>(static_cast<size_t>(got), kHeaderLength) : static_cast<size_t>(got);
    if (length == 0) continue;
    const bool good = header_ && (header.flags & (virtio::kNeedsChecksum | virtio::kDataValid)) != 0;
    const bool unfinished = header_ && (header.flags & virtio::kNeedsChecksum) != 0;
    const uint16_t segment = header_ && header.gsoType != virtio::kGsoNone ? header.gsoSize : 0;
    const Vouch vouch = good ? Vouch::kGood : Vouch::kNothing;
    if (headers > 0) {
      const Following next{headers_, headers, into, length - std::min(length, headers), vouch, segment};
      const bool own = !unfinished || header.checksumStart == fields.transport[count - 1] - fields.start[count - 1];
      if (own && follows(slab, fields, count - 1, next)) {
        join(fields, count - 1, next);
        at = aligned(fields.end[count - 1]);
        continue;
      }
      std::memmove(slab + at + headers, into, next.payloadLength);
      std::memcpy(slab + at, headers_, std::min(length, headers));
      headers = 0;
      streak_ = 0;
    }
    const auto begin = static_cast<uint32_t>(at);
    const auto end = static_cast<uint32_t>(at + length);
    Drop drop = parsePacket(slab, begin, end, vouch, segment, seed, fields, count);
    if (drop == Drop::kNone && unfinished && header.checksumStart != fields.transport[count] - begin) {
      // That of a packet within this one.
      drop = finishChecksum(slab + begin, length, header.checksumStart, header.checksumOffset) ? parsePacket(slab, begin, end, Vouch::kNothing, segment, seed, fields, count)
                                                                                              : Drop::kTransport;
    }
    if (drop != Drop::kNone) {
      drops[static_cast<size_t>(drop)] += 1;
      headers = 0;
      continue;
    }
    headers = toJoin(slab, fields, count);
    ++count;
    at = aligned(at + length);
  }
}

bool TunDevice::readable() const {
  pollfd wanted{fd_, POLLIN, 0};
  return ::poll(&wanted, 1, 0) > 0;
}

// How many bytes of headers the packet behind this one will have if it goes on where this one ends, which is worth a guess once some have done so.
size_t TunDevice::toJoin(const uint8_t* slab, const PacketFields& fields, size_t index) {
  const size_t headers = joinableHeaders(fields, index);
  if (headers == 0 || headers > kMostHeaders) {
    streak_ = 0;
    return 0;
  }
  if (index > 0) {
    const uint8_t* packet = slab + fields.start[index];
    const Following next{packet, headers, packet + headers, fields.end[index] - fields.payload[index], Vouch::kGood, fields.segmentSize[index]};
    streak_ = follows(slab, fields, index - 1, next) ? streak_ + 1 : 0;
  } else if (fields.flow[index] != lastFlow_) streak_ = 0;
  lastFlow_ = fields.flow[index];
  return streak_ >= kStreak ? headers : 0;
}

int TunDevice::put(const VirtioHeader& header, const uint8_t* packet, size_t length, const uint8_t* payload, size_t more) {
  const iovec parts[3] = {{const_cast<VirtioHeader*>(&header), kHeaderLength}, {const_cast<uint8_t*>(packet), length}, {const_cast<uint8_t*>(payload), more}};
  const iovec* first = header_ ? parts : parts + 1;
  const int count = (header_ ? 2 : 1) + (more > 0 ? 1 : 0);
  for (;;) {
    const ssize_t put = ::writev(fd_, first, count);
    if (put >= 0) return 0;
    if (errno != EINTR) return errno;
  }
}

int TunDevice::write(uint8_t* packet, size_t length, const uint8_t* payload, size_t more, uint16_t segmentSize) {
  Layout layout;
  if (fd_ < 0) return EBADF;
  const size_t whole = length + more;
  if (!layoutOf(packet, whole, layout)) return EINVAL;
  if (more > 0 && (layout.payload != length || layout.protocol != protocol::kTcp || layout.fragment)) return EINVAL;
  if (whole > kLongest) return writeLarge(packet, layout, payload, more, segmentSize);
  const bool super = isSuper(layout, whole, segmentSize);
  const bool udp = layout.protocol == protocol::kUdp;
  const uint8_t* body = more > 0 ? payload : packet + layout.payload;
  if (super && (offload_ & (udp ? kOffloadUdp : kOffloadTcp)) == 0) return writeCut(packet, layout, body, whole, segmentSize);
  VirtioHeader header;
  if ((offload_ & kOffloadChecksum) != 0) {
    leaveChecksums(packet, whole, layout, segmentSize, header);
    const int error = put(header, packet, length, payload, more);
    // Linux cuts a datagram into 128 at most, or 64, as its version goes.
    return error == EINVAL && super && udp ? writeCut(packet, layout, body, whole, segmentSize) : error;
  }
  if (more > 0) {  // a checksum is of all of it
    if (whole > scratch_.size()) return EINVAL;
    std::memcpy(scratch_.data(), packet, length);
    std::memcpy(scratch_.data() + length, payload, more);
    packet = scratch_.data();
  }
  computeChecksums(packet, whole, layout);
  return put(header, packet, whole);
}

int TunDevice::writeCut(const uint8_t* packet, const Layout& layout, const uint8_t* body, size_t whole, uint16_t segmentSize) {
  // One reference is all that std::function keeps without allocating.
  struct {
    TunDevice* device;
    int error;
  } state{this, 0};
  const bool cut = cutSegments(packet, body, whole, layout, segmentSize, scratch_.data(), scratch_.size(), [&state](uint8_t* segment, size_t segmentLength) {
    state.error = state.device->put(VirtioHeader{}, segment, segmentLength);
    return state.error == 0;
  });
  return cut ? state.error : EINVAL;
}

int TunDevice::writeLarge(uint8_t* packet, const Layout& layout, const uint8_t* payload, size_t more, uint16_t segmentSize) {
  const size_t head = layout.payload;
  if (more == 0 || head > kMostHeaders || segmentSize == 0 || head + segmentSize > kLongest) return EMSGSIZE;
  if (takesLarge_ && layout.version == 4) {
    VirtioHeader header;
    leaveChecksums(packet, head + more, layout, segmentSize, header);
    const int error = put(header, packet, head, payload, more);
    if (!isTooLarge(error)) return error;
    if (error == EMSGSIZE) takesLarge_ = false;  // which more memory would not change
  }
  const size_t most = (kLongest - head) / segmentSize;
  uint8_t own[kMostHeaders];
  for (Part part; part.offset < more; part.offset += part.length, part.number += most) {
    part.length = std::min(most * segmentSize, more - part.offset);
    part.last = part.offset + part.length == more;
    headerOfPart(packet, layout, part, own);
    const int error = write(own, head, payload + part.offset, part.length, segmentSize);
    if (error != 0) return error;
  }
  return 0;
}

size_t TunDevice::ready(const uint8_t* packet, size_t length, uint8_t* into) const {
  Layout layout;
  if (length > kMostHeaders || !layoutOf(packet, length, layout)) return 0;
  const size_t at = header_ ? kHeaderLength : 0;
  std::memcpy(into + at, packet, length);
  VirtioHeader header;
  if ((offload_ & kOffloadChecksum) != 0) leaveChecksums(into + at, length, layout, 0, header);
  else computeChecksums(into + at, length, layout);
  if (header_) std::memcpy(into, &header, sizeof header);
  return at + length;
}

void TunDevice::close() {
  if (fd_ < 0) return;
  if (alone_ && offload_ != 0) ioctl(fd_, TUNSETOFFLOAD, 0);  // whoever has the device next, if it stays, may not know what to do with it
  ::close(fd_);
  fd_ = -1;
}

}  // namespace nekit

#else

namespace nekit {

TunDevice::~TunDevice() { close(); }
int TunDevice::open(const TunOptions&) { return ENOSYS; }
int TunDevice::adopt(int, bool) { return ENOSYS; }
int TunDevice::setUp(uint32_t) { return ENOSYS; }
int TunDevice::read(uint8_t*, const PacketFields&, const FlowSeed&, double*, bool&) { return -ENOSYS; }
bool TunDevice::readable() const { return false; }
int TunDevice::writeLarge(uint8_t*, const Layout&, const uint8_t*, size_t, uint16_t) { return ENOSYS; }
int TunDevice::writeCut(const uint8_t*, const Layout&, const uint8_t*, size_t, uint16_t) { return ENOSYS; }
int TunDevice::put(const VirtioHeader&, const uint8_t*, size_t, const uint8_t*, size_t) { return ENOSYS; }
int TunDevice::write(uint8_t*, size_t, const uint8_t*, size_t, uint16_t) { return ENOSYS; }
size_t TunDevice::ready(const uint8_t*, size_t, uint8_t*) const { return 0; }
void TunDevice::close() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

}  // namespace nekit

#endif
