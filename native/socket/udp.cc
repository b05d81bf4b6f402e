#include "socket/udp.hh"

#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

namespace nekit {

namespace {

// What the kernel may hold for us. It counts twice as much, and some 2.3 KB for a datagram of 1,400 bytes: so long as 3,600 of them take to come may nobody look after them,
// 200 ms at 200 Mbit/s. A sender only waits.
constexpr int kReceiveBuffer = 4 * 1024 * 1024;
constexpr int kSendBuffer = 1024 * 1024;
// Messages of one recvmmsg: each needs room for the largest, until its length is known.
constexpr size_t kReceiveAtOnce = 8;
// Of one sendmmsg.
constexpr size_t kSendAtOnce = 64;
constexpr size_t kPartsAtOnce = 256;
// UDP_MAX_SEGMENTS of all kernels, and the largest payload over IPv4.
constexpr size_t kSegments = 64;
constexpr size_t kRunBytes = 65507;
// Errors of receive in a row after which it is given up. ICMP's come one at a time.
constexpr int kFailures = 64;

union Peer {
  sockaddr any;
  sockaddr_in four;
  sockaddr_in6 six;
};

void packPeer(const Peer& peer, uint8_t* out) {
  std::memset(out, 0, kPackedAddress);
  uint16_t port = 0;
  if (peer.any.sa_family == AF_INET) {
    port = ntohs(peer.four.sin_port);
    std::memcpy(out, &peer.four.sin_addr, 4);
    out[18] = 4;
  } else if (peer.any.sa_family == AF_INET6) {
    port = ntohs(peer.six.sin6_port);
    std::memcpy(out, &peer.six.sin6_addr, 16);
    out[18] = 6;
    std::memcpy(out + 20, &peer.six.sin6_scope_id, 4);
  }
  std::memcpy(out + 16, &port, 2);
}

// The length of the address, 0 if it is not of the family.
socklen_t unpackPeer(const uint8_t* in, int family, Peer& out) {
  uint16_t port;
  std::memcpy(&port, in + 16, 2);
  if (in[18] == 4 && family == AF_INET) {
    out.four = {};
    out.four.sin_family = AF_INET;
    out.four.sin_port = htons(port);
    std::memcpy(&out.four.sin_addr, in, 4);
    return sizeof out.four;
  }
  if (in[18] == 6 && family == AF_INET6) {
    out.six = {};
    out.six.sin6_family = AF_INET6;
    out.six.sin6_port = htons(port);
    std::memcpy(&out.six.sin6_addr, in, 16);
    std::memcpy(&out.six.sin6_scope_id, in + 20, 4);
    return sizeof out.six;
  }
  return 0;
}

// Who may set up networks, as one with a TUN may, gets it whatever net.core.{r,w}mem_max says (208 KiB mostly); else as much as that allows.
void setBuffer(int fd, int force, int option, int size) {
  if (setsockopt(fd, SOL_SOCKET, force, &size, sizeof size) != 0) setsockopt(fd, SOL_SOCKET, option, &size, sizeof size);
}

// The size of the datagrams in a message, 0 for a message that is one.
int segmentOf(msghdr& head, size_t length) {
  for (cmsghdr* part = CMSG_FIRSTHDR(&head); part != nullptr; part = CMSG_NXTHDR(&head, part)) {
    if (part->cmsg_level != SOL_UDP || part->cmsg_type != UDP_GRO) continue;
    int segment;
    std::memcpy(&segment, CMSG_DATA(part), sizeof segment);
    return segment > 0 && static_cast<size_t>(segment) < length ? segment : 0;
  }
  return 0;
}

bool within(const UdpRecord& record, size_t size) {
  return record.offset >= 0 && record.length >= 0 && static_cast<size_t>(record.offset) + static_cast<size_t>(record.length) <= size;
}

}  // namespace

// Messages for one sendmmsg, and what they are made of. Not initialised: only what is used is written.
struct Udp::Volley {
  mmsghdr heads[kSendAtOnce];
  Peer peers[kSendAtOnce];
  iovec parts[kPartsAtOnce];
  alignas(cmsghdr) uint8_t control[kSendAtOnce][CMSG_SPACE(sizeof(uint16_t))];
  // Records of each message, and the size of its datagrams where it is a run.
  size_t first[kSendAtOnce];
  size_t records[kSendAtOnce];
  int segment[kSendAtOnce];
  size_t messages;
  size_t used;

  bool full() const { return messages == kSendAtOnce || used == kPartsAtOnce; }

  // False for a run that no kernel takes: one record with more segments than that.
  bool wasPossible(size_t message) const {
    const msghdr& head = heads[message].msg_hdr;
    const size_t lead = head.msg_iov[0].iov_len;
    return records[message] > 1 || (lead <= kRunBytes && lead <= kSegments * static_cast<size_t>(segment[message]));
  }

  // Adds the record at `at` and those behind it that can go with it. The index after them.
  size_t add(const uint8_t* bytes, size_t size, const UdpRecord* records_, size_t at, size_t count, int family, int segmentMost) {
    const UdpRecord& lead = records_[at];
    if (!within(lead, size)) return at + 1;
    msghdr& head = heads[messages].msg_hdr;
    head = {};
    head.msg_namelen = unpackPeer(lead.peer, family, peers[messages]);
    if (head.msg_namelen == 0) return at + 1;
    head.msg_name = &peers[messages];
    head.msg_iov = parts + used;
    parts[used++] = part(bytes, lead);
    size_t next = at + 1;
    int step = lead.segment > 0 && lead.length > lead.segment ? lead.segment : 0;
    if (step == 0 && lead.length > 0 && lead.length <= segmentMost) {
      auto total = static_cast<size_t>(lead.length);
      for (bool shorter = false; next < count && next - at < kSegments && !shorter; next++) {
        const UdpRecord& record = records_[next];
        if (record.segment != 0 || record.length <= 0 || record.length > lead.length || !within(record, size)) break;
        if (std::memcmp(record.peer, lead.peer, kPackedAddress) != 0) break;
        total += static_cast<size_t>(record.length);
        if (total > kRunBytes || !join(bytes, record)) break;
        shorter = record.length < lead.length;
      }
      if (next - at > 1) step = lead.length;
    }
    head.msg_iovlen = static_cast<size_t>(parts + used - head.msg_iov);
    if (step > 0) cut(head, static_cast<uint16_t>(step));
    first[messages] = at;
    records[messages] = next - at;
    segment[messages] = step;
    messages++;
    return next;
  }

 private:
  static iovec part(const uint8_t* bytes, const UdpRecord& record) {
    return {const_cast<uint8_t*>(bytes + record.offset), static_cast<size_t>(record.length)};
  }

  // Adds the record's bytes to the message that is being made.
  bool join(const uint8_t* bytes, const UdpRecord& record) {
    iovec& last = parts[used - 1];
    if (static_cast<uint8_t*>(last.iov_base) + last.iov_len == bytes + record.offset) {
      last.iov_len += static_cast<size_t>(record.length);
      return true;
    }
    if (used == kPartsAtOnce) return false;
    parts[used++] = part(bytes, record);
    return true;
  }

  void cut(msghdr& head, uint16_t size) {
    head.msg_control = control[messages];
    head.msg_controllen = sizeof control[messages];
    cmsghdr* option = CMSG_FIRSTHDR(&head);
    option->cmsg_level = SOL_UDP;
    option->cmsg_type = UDP_SEGMENT;
    option->cmsg_len = CMSG_LEN(sizeof size);
    std::memcpy(CMSG_DATA(option), &size, sizeof size);
  }
};

Udp::~Udp() {
  if (fd >= 0) ::close(fd);
}

int Udp::open(const Address& address, const SocketOptions& options) {
  family_ = address.family();
  if (family_ != AF_INET && family_ != AF_INET6) return EAFNOSUPPORT;
  fd = socket(family_, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return errno;
  const int on = 1;
  if (family_ == AF_INET6) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
  if (options.reusePort && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) != 0) return errno;
  SocketOptions wanted;
  wanted.noDelay = false;
  wanted.mark = options.mark;
  wanted.device = options.device;
  if (const int refusal = applyOptions(fd, family_, wanted); refusal != 0) return refusal;
  setBuffer(fd, SO_RCVBUFFORCE, SO_RCVBUF, kReceiveBuffer);
  setBuffer(fd, SO_SNDBUFFORCE, SO_SNDBUF, kSendBuffer);
  setsockopt(fd, SOL_UDP, UDP_GRO, &on, sizeof on);  // a kernel without it gives one datagram at a time
  // 0 switches nothing on; it only asks whether the kernel knows the option.
  const int none = 0;
  segmentMost_ = setsockopt(fd, SOL_UDP, UDP_SEGMENT, &none, sizeof none) == 0 ? INT16_MAX : 0;
  return bind(fd, address.get(), address.length) == 0 ? 0 : errno;
}

size_t Udp::receive(uint8_t* slab, size_t& used, size_t end, UdpRecord* records) {
  mmsghdr heads[kReceiveAtOnce];
  iovec parts[kReceiveAtOnce];
  Peer peers[kReceiveAtOnce];
  alignas(cmsghdr) uint8_t control[kReceiveAtOnce][CMSG_SPACE(sizeof(int))];
  size_t count = 0;
  const size_t start = used;
  while (count < kMessages && used - start < kBytes) {
    const size_t most = std::min({kMessages - count, (end - used) / kLargest, kReceiveAtOnce});
    if (most == 0) break;
    uint8_t* const into = slab + used;
    for (size_t i = 0; i < most; i++) {
      parts[i] = {into + i * kLargest, kLargest};
      heads[i].msg_hdr = {&peers[i], sizeof peers[i], &parts[i], 1, control[i], sizeof control[i], 0};
    }
    const int got = recvmmsg(fd, heads, static_cast<unsigned>(most), MSG_DONTWAIT, nullptr);
    if (got < 0) {
      if (errno == EAGAIN || errno == EWOULDBLOCK) break;
      // An ICMP error that was told to this socket says nothing about the next datagram.
      if (errno == EINTR || ++failures_ < kFailures) continue;
      error = errno;
      break;
    }
    failures_ = 0;
    for (int i = 0; i < got; i++) {
      const size_t length = heads[i].msg_len;
      UdpRecord& record = records[count++];
      packPeer(peers[i], record.peer);
      record.offset = static_cast<int32_t>(used);
      record.length = static_cast<int32_t>(length);
      record.segment = segmentOf(heads[i].msg_hdr, length);
      if (parts[i].iov_base != slab + used) std::memmove(slab + used, parts[i].iov_base, length);
      used += length;
    }
    if (static_cast<size_t>(got) < most) break;
  }
  return count;
}

size_t Udp::send(const uint8_t* bytes, size_t size, const UdpRecord* records, size_t count, bool& full) {
  size_t taken = 0;
  Volley volley;
  full = false;
  for (size_t at = 0; at < count && !full;) {
    volley.messages = 0;
    volley.used = 0;
    while (at < count && !volley.full()) at = volley.add(bytes, size, records, at, count, family_, segmentMost_);
    for (size_t sent = 0; sent < volley.messages && !full;) {
      const int put = sendmmsg(fd, volley.heads + sent, static_cast<unsigned>(volley.messages - sent), MSG_DONTWAIT | MSG_NOSIGNAL);
      if (put > 0) {
        for (int i = 0; i < put; i++) taken += volley.records[sent++];
        continue;
      }
      const int why = errno;
      if (why == EINTR) continue;
      if (why == EAGAIN || why == EWOULDBLOCK) {
        full = true;
        break;
      }
      // The first of them is refused: too long, no route. As a run it may be refused for being one.
      if (volley.segment[sent] > 0 && (why == EIO || why == EINVAL || why == EMSGSIZE || why == EOPNOTSUPP)) {
        if (volley.wasPossible(sent)) refused(why, volley.segment[sent]);
        taken += sendSingly(bytes, records + volley.first[sent], volley.records[sent], full);
      }
      sent++;
    }
  }
  return taken;
}

// EIO: never on this socket (no checksum offload, IPsec). Else the segments do not fit the path as they are.
void Udp::refused(int why, int segment) { segmentMost_ = why == EIO || why == EOPNOTSUPP ? 0 : std::min(segmentMost_, segment - 1); }

// Records of one run, each datagram by itself.
size_t Udp::sendSingly(const uint8_t* bytes, const UdpRecord* records, size_t count, bool& full) {
  Peer peer;
  const socklen_t length = unpackPeer(records->peer, family_, peer);
  size_t taken = 0;
  for (size_t i = 0; i < count; i++) {
    const UdpRecord& record = records[i];
    const int step = record.segment > 0 ? record.segment : record.length;
    bool all = true;
    for (int at = 0; at < record.length; at += step) {
      ssize_t put;
      do {
        put = sendto(fd, bytes + record.offset + at, static_cast<size_t>(std::min(step, record.length - at)), MSG_DONTWAIT | MSG_NOSIGNAL, &peer.any, length);
      } while (put < 0 && errno == EINTR);
      if (put >= 0) continue;
      all = false;
      if (errno != EAGAIN && errno != EWOULDBLOCK) continue;
      full = true;
      return taken;
    }
    if (all) taken++;
  }
  return taken;
}

}  // namespace nekit
