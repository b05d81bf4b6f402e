#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "test/check.hh"

namespace nekit {

/// Two ends of a connection over loopback, the one that has connected first. `receiveBuffer`: of that one, in bytes; 0: as the system has it.
inline std::pair<int, int> tcpPair(int receiveBuffer = 0) {
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  CHECK(bind(listener, reinterpret_cast<sockaddr*>(&address), length) == 0 && listen(listener, 1) == 0);
  CHECK(getsockname(listener, reinterpret_cast<sockaddr*>(&address), &length) == 0);
  const int a = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  CHECK(receiveBuffer == 0 || setsockopt(a, SOL_SOCKET, SO_RCVBUF, &receiveBuffer, sizeof receiveBuffer) == 0);
  CHECK(connect(a, reinterpret_cast<sockaddr*>(&address), length) == 0 || errno == EINPROGRESS);
  const int b = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
  CHECK(b >= 0);
  ::close(listener);
  return {a, b};
}

}  // namespace nekit
