#include "tun/netlink.hh"

#include <cerrno>

#ifdef __linux__

#include <linux/netlink.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

namespace nekit {

namespace {

// Some 10,000 interfaces, at 1.5 KB each.
constexpr size_t kMostAnswer = 16 * 1024 * 1024;
constexpr size_t kReadSize = 64 * 1024;
// The kernel answers within the call; it waits at most for its own configuration lock.
constexpr timeval kPatience{1, 0};

#ifndef NETLINK_GET_STRICT_CHK
#define NETLINK_GET_STRICT_CHK 12
#endif

struct Socket {
  int fd;
  explicit Socket(int descriptor) : fd(descriptor) {}
  ~Socket() {
    if (fd >= 0) close(fd);
  }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
};

// Whether a message that ends the answer stands in `bytes`.
bool isLast(const uint8_t* bytes, size_t length) {
  const auto* message = reinterpret_cast<const nlmsghdr*>(bytes);
  for (auto left = static_cast<int>(length); NLMSG_OK(message, static_cast<unsigned>(left)); message = NLMSG_NEXT(message, left))
    if (message->nlmsg_type == NLMSG_DONE || message->nlmsg_type == NLMSG_ERROR) return true;
  return false;
}

}  // namespace

int netlinkRequest(const uint8_t* request, size_t length, std::vector<uint8_t>& answer) {
  const Socket socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
  if (socket.fd < 0) return errno;
  if (setsockopt(socket.fd, SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof kPatience) != 0) return errno;
  // A list with what it is to be restricted to: an old kernel (before 4.20) gives all, and who asks looks again.
  const auto* header = reinterpret_cast<const nlmsghdr*>(request);
  const int strict = 1;
  if (length >= sizeof *header && (header->nlmsg_flags & NLM_F_DUMP) == NLM_F_DUMP)
    static_cast<void>(setsockopt(socket.fd, SOL_NETLINK, NETLINK_GET_STRICT_CHK, &strict, sizeof strict));
  sockaddr_nl kernel{};
  kernel.nl_family = AF_NETLINK;
  if (sendto(socket.fd, request, length, 0, reinterpret_cast<const sockaddr*>(&kernel), sizeof kernel) < 0) return errno;
  for (;;) {
    const size_t at = answer.size();
    if (at + kReadSize > kMostAnswer) return ENOBUFS;
    answer.resize(at + kReadSize);
    sockaddr_nl from{};
    socklen_t fromLength = sizeof from;
    const ssize_t got = recvfrom(socket.fd, answer.data() + at, kReadSize, MSG_TRUNC, reinterpret_cast<sockaddr*>(&from), &fromLength);
    const int error = errno;
    if (got > static_cast<ssize_t>(kReadSize)) return EMSGSIZE;
    answer.resize(at + (got > 0 ? static_cast<size_t>(got) : 0));
    if (got < 0 && error == EINTR) continue;
    if (got < 0) return error == EAGAIN ? ETIMEDOUT : error;
    if (from.nl_pid != 0) {
      answer.resize(at);  // not from the kernel
      continue;
    }
    if (isLast(answer.data() + at, static_cast<size_t>(got))) return 0;
  }
}

}  // namespace nekit

#else

namespace nekit {

int netlinkRequest(const uint8_t*, size_t, std::vector<uint8_t>&) { return ENOSYS; }

}  // namespace nekit

#endif
