#include "socket/conn.hh"

#include <linux/sockios.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace nekit {

uint32_t watchedEvents() { return EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLPRI | EPOLLET; }

void note(Conn& conn, uint32_t events) {
  if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) conn.readable = true;
  if ((events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0) conn.writable = true;
  if ((events & (EPOLLRDHUP | EPOLLHUP)) != 0) conn.readHup = true;
  if ((events & EPOLLPRI) != 0) conn.urgent = true;
  if ((events & EPOLLERR) != 0) conn.failed = true;
}

ptrdiff_t receive(Conn& conn, uint8_t* into, size_t length) {
  if (length == 0) return -EAGAIN;  // a read of nothing gives 0, which would look like FIN
  for (;;) {
    const ptrdiff_t got = recv(conn.fd, into, length, 0);
    if (got > 0) {
      // Whatever comes after this call brings a new edge, so a short read is the end, unless FIN, RST or an urgent mark was announced before.
      if (static_cast<size_t>(got) < length && !conn.readHup && !conn.urgent && !conn.failed) conn.readable = false;
      return got;
    }
    if (got == 0) {
      // Whoever asked for the error took it away, and what is left looks like FIN.
      if (conn.failed) return -ECONNRESET;
      conn.finSeen = true;
      conn.readable = false;
      return 0;
    }
    if (errno == EINTR) continue;
    if (errno == EAGAIN || errno == EWOULDBLOCK) {
      conn.readable = false;
      return -EAGAIN;
    }
    return -errno;
  }
}

bool mayPeek(Conn& conn) {
  if (conn.peekAt == Conn::kPeekUnknown) {
    int protocol = 0;
    socklen_t length = sizeof protocol;
    const int start = 0;
    const bool tcp = getsockopt(conn.fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &length) == 0 && protocol == IPPROTO_TCP;
    conn.peekAt = tcp && setsockopt(conn.fd, SOL_SOCKET, SO_PEEK_OFF, &start, sizeof start) == 0 ? Conn::kPeekUnsaid : Conn::kPeekNever;
  }
  return conn.peekAt != Conn::kPeekNever;
}

ptrdiff_t peekInto(Conn& conn, int32_t offset, uint8_t* into, size_t length) {
  if (length == 0) return 0;
  if (conn.peekAt != offset && setsockopt(conn.fd, SOL_SOCKET, SO_PEEK_OFF, &offset, sizeof offset) != 0) return -errno;
  conn.peekAt = Conn::kPeekUnsaid;
  for (;;) {
    const ptrdiff_t got = recv(conn.fd, into, length, MSG_PEEK);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return -errno;
    conn.peekAt = offset + got;
    return got;
  }
}

ptrdiff_t drop(Conn& conn, size_t length) {
  size_t done = 0;
  while (done < length) {
    const ptrdiff_t got = recv(conn.fd, nullptr, length - done, MSG_TRUNC);  // tcp(7): dropped, and not copied anywhere
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0 && done == 0) return got < 0 ? -errno : 0;
    if (got <= 0) break;
    done += static_cast<size_t>(got);
    tookOut(conn, static_cast<size_t>(got));
  }
  return static_cast<ptrdiff_t>(done);
}

void tookOut(Conn& conn, size_t length) {
  conn.taken += static_cast<uint32_t>(length);
  if (conn.peekAt >= 0) conn.peekAt = Conn::kPeekUnsaid;
}

ptrdiff_t send(Conn& conn, const uint8_t* from, size_t length) {
  for (;;) {
    const ptrdiff_t put = ::send(conn.fd, from, length, MSG_NOSIGNAL);
    if (put >= 0) {
      if (static_cast<size_t>(put) < length) conn.writable = false;
      return put;
    }
    if (errno == EINTR) continue;
    if (errno == EAGAIN || errno == EWOULDBLOCK) {
      conn.writable = false;
      return -EAGAIN;
    }
    return -errno;
  }
}

namespace {

// Wire bytes that one call reads, and plain bytes that are sealed at once.
constexpr size_t kWireSize = 64 * 1024;

constexpr const char* kTruncated = "CIPHER_TRUNCATED: the sealed connection ended in the middle of a record";
constexpr const char* kNoReply =
    "SEALED_NO_REPLY: the other end of the sealed connection reset it before it had said anything: a wrong password or cipher, a clock that differs by more "
    "than 30 s, or a target that refused";

// A reset may come behind bytes that nobody has read.
bool hasUnread(const Conn& conn) {
  char byte;
  return recv(conn.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

}  // namespace

ptrdiff_t receivePlain(Conn& conn, uint8_t* into, size_t length) {
  if (conn.codec == nullptr) return receive(conn, into, length);
  while (conn.openedAt == conn.opened.size()) {
    conn.opened.clear();
    conn.openedAt = 0;
    if (conn.finSeen) return conn.codec->midRecord() ? -EPROTO : 0;
    if (!conn.readable) return -EAGAIN;
    uint8_t wire[kWireSize];
    const ptrdiff_t got = receive(conn, wire, sizeof wire);
    if (got < 0) return got;
    if (got == 0) continue;
    if (!conn.codec->open(wire, static_cast<size_t>(got), conn.opened)) return -EPROTO;
  }
  const size_t most = conn.opened.size() - conn.openedAt;
  const size_t count = most < length ? most : length;
  std::memcpy(into, conn.opened.data() + conn.openedAt, count);
  conn.openedAt += count;
  return static_cast<ptrdiff_t>(count);
}

ptrdiff_t flushSealed(Conn& conn) {
  while (pendingOf(conn) > 0) {
    if (!conn.writable) return -EAGAIN;
    const ptrdiff_t put = send(conn, conn.sealed.data() + conn.sealedAt, pendingOf(conn));
    if (put < 0) return put;
    conn.sealedAt += static_cast<size_t>(put);
  }
  conn.sealed.clear();
  conn.sealedAt = 0;
  return 0;
}

ptrdiff_t sendPlain(Conn& conn, const uint8_t* from, size_t length) {
  if (conn.codec == nullptr) return send(conn, from, length);
  if (const ptrdiff_t left = flushSealed(conn); left != 0) return left;
  size_t taken = 0;
  // To the end, or until the socket is full: who is told that less was taken waits for an edge, and a socket with room gives none.
  while (taken < length && pendingOf(conn) == 0) {
    const size_t count = std::min(length - taken, kWireSize);
    conn.codec->seal(from + taken, count, conn.sealed);
    if (conn.codec->error() != nullptr) return -EPROTO;
    if (const ptrdiff_t put = flushSealed(conn); put < 0 && put != -EAGAIN) return put;
    taken += count;
  }
  return static_cast<ptrdiff_t>(taken);
}

int64_t unsentOf(const Conn& conn) {
  int bytes = 0;
  if (ioctl(conn.fd, SIOCOUTQ, &bytes) != 0 || bytes <= 0) return 0;
  return conn.finSent ? bytes - 1 : bytes;  // FIN counts as one
}

ptrdiff_t sendPrologue(Conn& conn) {
  if (prologueWaits(conn)) {
    conn.codec->sealPrologue(conn.sealed);
    if (conn.codec->error() != nullptr) return -EPROTO;
  }
  return flushSealed(conn);
}

std::string whyFailed(const Conn& conn, int error) {
  if (conn.codec == nullptr) return {};
  if (const char* why = conn.codec->error(); why != nullptr) return why;
  if (conn.finSeen && conn.codec->midRecord()) return kTruncated;
  const bool reset = error == ECONNRESET || error == EPIPE || error == ENOTCONN;
  return reset && !conn.codec->spoke() && !hasUnread(conn) ? kNoReply : std::string();
}

void closeSocket(Conn& conn, bool reset) {
  if (conn.fd < 0) return;
  if (reset) {
    const linger now{1, 0};
    setsockopt(conn.fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);  // no TCP: no matter
  }
  close(conn.fd);
  conn.fd = -1;
}

}  // namespace nekit
