// A UDP socket that takes and gives datagrams in runs: recvmmsg and sendmmsg, and one message for many datagrams of one size to or from one
// peer where the kernel has that (UDP_GRO, UDP_SEGMENT). Nothing here waits: what the kernel does not take is dropped.
#pragma once

#include <cstddef>
#include <cstdint>

#include "socket/address.hh"
#include "socket/conn.hh"
#include "socket/options.hh"

namespace nekit {

// One datagram, or many of one size and peer, as JavaScript and this exchange them: nine numbers.
struct UdpRecord {
  uint8_t peer[kPackedAddress];
  // Where the payload is.
  int32_t offset;
  int32_t length;
  // 0: one datagram. Else the payload is to be cut into datagrams of this size, the last of which may be shorter.
  int32_t segment;
};
static_assert(sizeof(UdpRecord) == 9 * sizeof(int32_t));

class Udp : public Watched {
 public:
  // Messages and bytes of one wake-up, so that others have their turn. A message with GRO may be 64 datagrams.
  static constexpr size_t kMessages = 64;
  static constexpr size_t kBytes = 256 * 1024;
  // The room that one message needs.
  static constexpr size_t kLargest = 64 * 1024;

  Udp() : Watched(Kind::kUdp) {}
  ~Udp();
  Udp(const Udp&) = delete;
  Udp& operator=(const Udp&) = delete;

  // Binds to an IP address and a port, 0: any. 0 or an errno.
  int open(const Address& address, const SocketOptions& options);

  // Receives what is there to slab[used, end) without gaps, moves `used`, and describes it in `records` (kMessages of them). How many.
  // Less than kLargest of room: none. `error` is set when the socket is of no more use.
  size_t receive(uint8_t* slab, size_t& used, size_t end, UdpRecord* records);

  // How many of the records the kernel has taken; `full`: the rest was not tried, as there is no room until the socket is writable again.
  // A record that is not within `size` bytes is dropped.
  size_t send(const uint8_t* bytes, size_t size, const UdpRecord* records, size_t count, bool& full);

  int fd = -1;
  int32_t id = 0;
  int error = 0;
  // epoll also waits for room to send.
  bool wantWrite = false;
  // There was no room for what it had to give.
  bool hungry = false;
  // The engine's turn in which it was last served.
  uint32_t servedIn = 0;

 private:
  struct Volley;
  size_t sendSingly(const uint8_t* bytes, const UdpRecord* records, size_t count, bool& full);
  void refused(int why, int segment);

  int family_ = 0;
  // Larger segments are not sent as runs: the kernel has refused them.
  int segmentMost_ = 0;
  int failures_ = 0;
};

}  // namespace nekit
