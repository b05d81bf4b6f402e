// What may be set on a socket before it is used.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "socket/address.hh"

namespace nekit {

struct SocketOptions {
  bool noDelay = true;
  // TCP_KEEPIDLE in seconds; 0: no keep-alive.
  int keepAliveSeconds = 0;
  // SO_MARK; 0: none. Needs CAP_NET_ADMIN.
  uint32_t mark = 0;
  // SO_BINDTODEVICE; empty: none.
  std::string device;
  // The address to send from; its port is usually 0.
  std::optional<Address> source;
  // TCP_FASTOPEN_CONNECT: the SYN waits for the first write and takes it along.
  bool fastOpen = false;
  // IPPROTO_MPTCP where the kernel has it, TCP where not.
  bool multipath = false;
  bool reusePort = false;
};

/// An urgent byte stays where it is in the stream, which a relay would lose a byte of otherwise (RFC 6093 section 6).
void keepUrgentInLine(int fd);

// Applies what is asked for to a new socket. Returns 0 or an errno; `mark` and `device` that are refused are errors, since traffic would take
// another way than it was told to.
int applyOptions(int fd, int family, const SocketOptions& options);

}  // namespace nekit
