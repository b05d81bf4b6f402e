// What the closer's thread, its owner and its end do to descriptors: each is closed once, whoever comes to it.
#include <dirent.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "relay/closer.hh"
#include "relay/flow-set.hh"
#include "test/check.hh"

namespace nekit {
namespace {

constexpr size_t kFlows = 50;
constexpr int64_t kPatienceMs = 20'000;

size_t openDescriptors() {
  size_t count = 0;
  DIR* directory = opendir("/proc/self/fd");
  CHECK(directory != nullptr);
  while (readdir(directory) != nullptr) count++;
  closedir(directory);
  return count;
}

template <typename F>
void await(F isTrue) {
  for (const int64_t end = nowMs() + kPatienceMs; !isTrue(); std::this_thread::yield()) CHECK(nowMs() < end);
}

// Flows that have ended cleanly, and the far ends of their sockets.
struct Ended {
  Ended() {
    RelayScratch scratch;
    for (size_t i = 0; i < kFlows; i++) {
      std::unique_ptr<Conn> ends[2];
      for (auto& end : ends) {
        int pair[2];
        CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) == 0);
        CHECK(::shutdown(pair[1], SHUT_WR) == 0);
        near.push_back(pair[0]);
        far.push_back(pair[1]);
        end = std::make_unique<Conn>();
        end->fd = pair[0];
        end->readHup = true;
      }
      auto flow = std::make_unique<Flow>(static_cast<uint32_t>(i + 1), std::move(ends[0]), std::move(ends[1]), Flow::Limits{1000, 1000}, counters, counters + 1, 0);
      CHECK(flow->pump(scratch, false, 0) == Step::kEnded && flow->reason() == kEndClean);
      flows.push_back(std::move(flow));
    }
  }
  ~Ended() {
    for (const int fd : far) ::close(fd);
  }

  // Of the descriptors that were the flows'. Nothing is opened while they are counted.
  size_t open() const {
    size_t count = 0;
    for (const int fd : near)
      if (fcntl(fd, F_GETFD) >= 0) count++;
    return count;
  }

  double counters[2] = {};
  std::vector<std::unique_ptr<Flow>> flows;
  std::vector<int> near;
  std::vector<int> far;
};

void testThread() {
  Closer closer;
  if (!closer.wants(kFlows)) return;  // one core: nobody calls `take`
  CHECK(!closer.wants(0) && !closer.wants(1));
  CHECK(closer.takeBack().empty());
  for (int turn = 0; turn < 20; turn++) {
    Ended ended;
    closer.take(std::move(ended.flows));
    await([&] { return ended.open() == 0; });
  }
}

void testTakenBack() {
  Closer closer;
  if (!closer.wants(kFlows)) return;
  size_t taken = 0;
  for (int turn = 0; turn < 200; turn++) {
    Ended ended;
    closer.take(std::move(ended.flows));
    await([&] { return ended.open() <= 2 * (kFlows - static_cast<size_t>(turn) % kFlows); });
    const auto left = closer.takeBack();
    taken += left.size();
    // What is ours again stays open; the thread is through with the rest, but for the one that it has in hand.
    for (const auto& flow : left) CHECK(flow->a().fd >= 0 && flow->b().fd >= 0);
    const size_t open = ended.open();
    CHECK(open >= 2 * left.size() && open <= 2 * left.size() + 2);
  }
  std::printf("%zu of %zu were taken back\n", taken, 200 * kFlows);
}

void testEnd() {
  for (int turn = 0; turn < 50; turn++) {
    Ended ended;
    {
      Closer closer;
      if (!closer.wants(kFlows)) return;
      closer.take(std::move(ended.flows));
    }
    CHECK(ended.open() == 0);
  }
}

}  // namespace
}  // namespace nekit

int main() {
  const size_t before = nekit::openDescriptors();
  nekit::testThread();
  nekit::testTakenBack();
  nekit::testEnd();
  CHECK(nekit::openDescriptors() == before);
  return 0;
}
