// What a flow owes to bytes that are on their way when one end resets, or is slow.
#include "relay/flow.hh"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <memory>
#include <tuple>
#include <vector>

#include "test/check.hh"
#include "test/tcp-pair.hh"

namespace nekit {
namespace {

constexpr char kAnswer[] = "HTTP/1.1 413 Content Too Large\r\n\r\n";
constexpr size_t kChunk = 32 * 1024;

// A connection over loopback: the end that the flow has, and its peer's.
struct Link {
  std::unique_ptr<Conn> conn = std::make_unique<Conn>();
  int peer = -1;

  Link() {
    std::tie(peer, conn->fd) = tcpPair(16 * 1024);
    const int large = 1024 * 1024;
    CHECK(setsockopt(conn->fd, SOL_SOCKET, SO_SNDBUF, &large, sizeof large) == 0);
  }
};

size_t drain(int fd) {
  std::vector<char> bytes(kChunk);
  size_t all = 0;
  for (ptrdiff_t got; (got = recv(fd, bytes.data(), bytes.size(), 0)) > 0;) all += static_cast<size_t>(got);
  return all;
}

struct Scene {
  Link client, server;
  int near = client.peer, far = server.peer;
  double up = 0, down = 0;
  RelayScratch scratch;
  Flow flow{1, std::move(client.conn), std::move(server.conn), {60'000, 1'000}, &up, &down, 0};

  ~Scene() {
    ::close(near);
    if (far >= 0) ::close(far);
  }

  Step pump() {
    note(flow.a(), EPOLLIN | EPOLLOUT);
    note(flow.b(), EPOLLIN | EPOLLOUT);
    return flow.pump(scratch, true, 0);
  }

  void put(int fd, size_t bytes) {
    const std::vector<char> chunk(bytes, 'x');
    CHECK(::send(fd, chunk.data(), bytes, MSG_NOSIGNAL) == static_cast<ptrdiff_t>(bytes));
  }
};

// The server answers and closes with bytes unread, which is a reset right behind the answer.
void testEarlyAnswer(bool bulk, bool announced) {
  Scene scene;
  for (size_t sent = 0, got = 0; bulk && got < 512 * 1024; got += drain(scene.far)) {
    if (sent - got < kChunk) {
      scene.put(scene.near, kChunk);
      sent += kChunk;
    }
    CHECK(scene.pump() != Step::kEnded);
  }
  scene.put(scene.near, 1'000);
  CHECK(scene.pump() == Step::kWait);
  CHECK(::send(scene.far, kAnswer, sizeof kAnswer, 0) == sizeof kAnswer);
  ::close(scene.far);
  scene.far = -1;
  scene.put(scene.near, 1'000);
  if (announced) note(scene.flow.b(), EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLHUP | EPOLLERR);
  int rounds = 0;
  while (scene.pump() != Step::kEnded) CHECK(++rounds < 10);
  CHECK(scene.flow.reason() == ECONNRESET);
  char answer[sizeof kAnswer];
  CHECK(recv(scene.near, answer, sizeof answer, 0) == sizeof kAnswer && std::memcmp(answer, kAnswer, sizeof kAnswer) == 0);
  CHECK(recv(scene.near, answer, sizeof answer, 0) < 0 && errno == EAGAIN);  // no FIN
}

// All is in the kernel, and its reader takes it slowly: that is no silence.
void testSlowReader() {
  Scene scene;
  constexpr size_t kAll = 8 * kChunk;
  for (size_t sent = 0; sent < kAll; sent += kChunk) {
    scene.put(scene.far, kChunk);
    CHECK(scene.pump() == Step::kWait);
  }
  CHECK(shutdown(scene.far, SHUT_WR) == 0);
  CHECK(scene.pump() == Step::kWait);
  CHECK(scene.down == kAll);
  CHECK(scene.flow.overdue(900) == 0);
  CHECK(scene.flow.overdue(1'500) == 0);
  char some[4096];
  size_t got = 0;
  int64_t now = 1'500;
  for (ptrdiff_t count; got < kAll; usleep(100)) {
    if ((count = recv(scene.near, some, sizeof some, 0)) > 0) got += static_cast<size_t>(count);
    CHECK(scene.flow.overdue(now += 50) == 0);
  }
  usleep(300'000);  // the last acknowledgment
  CHECK(now > 4'000);
  CHECK(scene.flow.overdue(now + 600) == 0);
  CHECK(scene.flow.overdue(now + 1'700) == kEndHalfClose);
}

// Who takes nothing is given as long as an idle flow.
void testNoReader() {
  Scene scene;
  for (int i = 0; i < 8; ++i) {
    scene.put(scene.far, kChunk);
    CHECK(scene.pump() == Step::kWait);
  }
  CHECK(shutdown(scene.far, SHUT_WR) == 0);
  CHECK(scene.pump() == Step::kWait);
  CHECK(scene.flow.overdue(59'000) == 0);
  CHECK(scene.flow.overdue(61'000) == kEndIdle);
}

}  // namespace
}  // namespace nekit

int main() {
  for (const bool bulk : {false, true})
    for (const bool announced : {false, true}) nekit::testEarlyAnswer(bulk, announced);
  nekit::testSlowReader();
  nekit::testNoReader();
}
