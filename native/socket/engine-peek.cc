// Bytes that stay in a conn while packets with them are sent.
#include <sys/ioctl.h>

#include <cerrno>

#include "socket/engine.hh"

namespace nekit {

ptrdiff_t Engine::ahead(int32_t id, size_t held) {
  Conn* conn = conns_.find(id);
  if (conn == nullptr) return -EBADF;
  if (conn->codec != nullptr || !mayPeek(*conn)) return -EOPNOTSUPP;
  int there = 0;
  if (ioctl(conn->fd, FIONREAD, &there) != 0) return -errno;
  if (there > 0 && static_cast<size_t>(there) > held) {
    conn->readable = true;  // the event that says so may still be on its way, and what was found may have to be read now
    return there - static_cast<ptrdiff_t>(held);
  }
  if (conn->readHup || conn->failed || conn->urgent) return -ENODATA;
  conn->wantRead = true;
  conn->told = false;
  return -EAGAIN;
}

ptrdiff_t Engine::peek(int32_t id, uint32_t position, uint8_t* into, size_t length) {
  Conn* conn = conns_.find(id);
  if (conn == nullptr) return -EBADF;
  const uint32_t at = position - conn->taken;
  if (!mayPeek(*conn) || at > INT32_MAX) return -EINVAL;
  return peekInto(*conn, static_cast<int32_t>(at), into, length);
}

ptrdiff_t Engine::skip(int32_t id, size_t length) {
  Conn* conn = conns_.find(id);
  if (conn == nullptr) return -EBADF;
  return mayPeek(*conn) ? drop(*conn, length) : -EINVAL;
}

}  // namespace nekit
