// What a helper's thread, its owner and its end do to jobs, here flows to be closed: each descriptor is closed once, whoever comes to it.
#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "relay/flow-set.hh"
#include "relay/helper-thread.hh"
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

struct Closer : Helper<std::unique_ptr<Flow>> {
  Closer() : Helper("nekit-closer", [](std::unique_ptr<Flow>& flow) { flow.reset(); }) {}
};

void testThread() {
  Closer closer;
  std::vector<std::unique_ptr<Flow>> none;
  closer.takeBack(none);
  CHECK(none.empty());
  for (int turn = 0; turn < 20; turn++) {
    Ended ended;
    CHECK(closer.take(ended.flows) && ended.flows.empty());
    await([&] { return ended.open() == 0; });
  }
}

void testTakenBack() {
  Closer closer;
  size_t taken = 0;
  for (int turn = 0; turn < 200; turn++) {
    Ended ended;
    std::vector<Flow*> flows;
    for (const auto& flow : ended.flows) flows.push_back(flow.get());
    CHECK(closer.take(ended.flows));
    await([&] { return ended.open() <= 2 * (kFlows - static_cast<size_t>(turn) % kFlows); });
    std::vector<std::unique_ptr<Flow>> left;
    closer.takeBack(left);
    taken += left.size();
    // What is ours again stays open, and is the end of what we gave; the thread is through with the rest, but for the one that it has in hand.
    for (size_t i = 0; i < left.size(); i++) {
      CHECK(left[i].get() == flows[kFlows - left.size() + i]);
      CHECK(left[i]->a().fd >= 0 && left[i]->b().fd >= 0);
    }
    const size_t open = ended.open();
    CHECK(open >= 2 * left.size() && open <= 2 * left.size() + 2);
    left.clear();
    await([&] { return ended.open() == 0; });
  }
  std::printf("%zu of %zu were taken back\n", taken, 200 * kFlows);
}

void testEnd() {
  for (int turn = 0; turn < 50; turn++) {
    Ended ended;
    {
      Closer closer;
      CHECK(closer.take(ended.flows));
    }
    CHECK(ended.open() == 0);
  }
}

void testOneCore() {
  cpu_set_t before;
  CHECK(sched_getaffinity(0, sizeof before, &before) == 0);
  cpu_set_t one;
  CPU_ZERO(&one);
  for (int core = 0; core < CPU_SETSIZE && CPU_COUNT(&one) == 0; core++)
    if (CPU_ISSET(core, &before)) CPU_SET(core, &one);
  CHECK(sched_setaffinity(0, sizeof one, &one) == 0);
  {
    Ended ended;
    Closer closer;
    CHECK(coresAllowed() == 1 && !closer.usable() && !closer.take(ended.flows));
    CHECK(ended.flows.size() == kFlows && ended.open() == 2 * kFlows);
  }
  CHECK(sched_setaffinity(0, sizeof before, &before) == 0);
}

}  // namespace
}  // namespace nekit

int main() {
  const size_t before = nekit::openDescriptors();
  nekit::testOneCore();
  if (nekit::coresAllowed() > 1) {
    nekit::testThread();
    nekit::testTakenBack();
    nekit::testEnd();
  } else {
    std::printf("skipped: a helper wants a second core\n");
  }
  CHECK(nekit::openDescriptors() == before);
  return 0;
}
