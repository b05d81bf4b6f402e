#include "socket/options.hh"

#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cerrno>

namespace nekit {

namespace {

// Defaults of Linux are 75 s and 9 probes: after a minute of silence a dead peer takes another eleven to be noticed.
constexpr int kKeepAliveInterval = 15;
constexpr int kKeepAliveProbes = 4;

int set(int fd, int level, int name, int value) {
  return setsockopt(fd, level, name, &value, sizeof value) == 0 ? 0 : errno;
}

}  // namespace

void keepUrgentInLine(int fd) { set(fd, SOL_SOCKET, SO_OOBINLINE, 1); }

int applyOptions(int fd, int family, const SocketOptions& options) {
  const bool ip = family == AF_INET || family == AF_INET6;
  if (ip) keepUrgentInLine(fd);
  if (ip && options.noDelay) set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  if (ip && options.keepAliveSeconds > 0) {
    set(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set(fd, IPPROTO_TCP, TCP_KEEPIDLE, options.keepAliveSeconds);
    set(fd, IPPROTO_TCP, TCP_KEEPINTVL, kKeepAliveInterval);
    set(fd, IPPROTO_TCP, TCP_KEEPCNT, kKeepAliveProbes);
  }
  if (options.mark != 0) {
    if (const int error = set(fd, SOL_SOCKET, SO_MARK, static_cast<int>(options.mark)); error != 0) return error;
  }
  if (!options.device.empty()) {
    if (setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, options.device.c_str(), static_cast<socklen_t>(options.device.size())) != 0) return errno;
  }
  if (ip && options.fastOpen) set(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1);  // a kernel without it just connects
  if (options.source && options.source->family() == family) {
    if (options.source->port() == 0) set(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
    if (bind(fd, options.source->get(), options.source->length) != 0) return errno;
  }
  return 0;
}

}  // namespace nekit
