#include "relay/relay-thread.hh"

#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <iterator>

#include "relay/helper-thread.hh"

namespace nekit {

namespace {

constexpr int kEventsAtOnce = 256;
// After a turn that has moved at least kBulkTurn bytes of its only flow the thread rests for a moment: more has come by then, and one wake-up carries it
// (one stream on loopback gains some per cent). With several flows there is always something to do by the time the last of them has been served.
constexpr uint64_t kBulkTurn = 64 * 1024;
constexpr timespec kRest{0, 30'000};
// Timers of this thread are kept to so many ns; the default of 50 us would be longer than the rest.
constexpr unsigned long kTimerSlack = 1'000;

bool watch(int epoll, Conn& conn) {
  epoll_event event{};
  event.events = watchedEvents();
  event.data.ptr = &conn;
  return epoll_ctl(epoll, EPOLL_CTL_ADD, conn.fd, &event) == 0;
}

void poke(int fd) {
  const uint64_t one = 1;
  // A full counter is as good as a new one.
  [[maybe_unused]] const ssize_t done = write(fd, &one, sizeof one);
}

}  // namespace

RelayThread::RelayThread(int wakeFd) : wakeFd_(wakeFd), epoll_(epoll_create1(EPOLL_CLOEXEC)), wake_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
  if (!usable()) return;
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.ptr = nullptr;
  epoll_ctl(epoll_, EPOLL_CTL_ADD, wake_, &event);
}

RelayThread::~RelayThread() {
  if (thread_.joinable()) {
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
    }
    poke(wake_);
    thread_.join();
  }
  if (epoll_ >= 0) close(epoll_);
  if (wake_ >= 0) close(wake_);
}

bool RelayThread::start() {
  if (thread_.joinable()) return true;
  if (!usable()) return false;
  thread_ = startHelper("nekit-relay", [this] { run(); });
  return thread_.joinable();
}

void RelayThread::take(std::unique_ptr<Flow> flow) {
  {
    const std::lock_guard lock(mutex_);
    inbox_.push_back(std::move(flow));
  }
  poke(wake_);
}

void RelayThread::abort(uint32_t id) {
  {
    const std::lock_guard lock(mutex_);
    aborts_.push_back(id);
  }
  poke(wake_);
}

std::vector<EndedFlow> RelayThread::takeEnded() {
  const std::lock_guard lock(mutex_);
  return std::move(outbox_);
}

void RelayThread::run() {
  prctl(PR_SET_TIMERSLACK, kTimerSlack);
  FlowSet flows(true);
  std::vector<epoll_event> events(kEventsAtOnce);
  std::vector<std::unique_ptr<Flow>> arrived;
  std::vector<uint32_t> aborts;
  int64_t swept = nowMs();
  for (;;) {
    const int timeout = flows.busy() ? 0 : flows.size() > 0 ? static_cast<int>(flows.tickMs()) : -1;
    const int count = epoll_wait(epoll_, events.data(), kEventsAtOnce, timeout);
    const int64_t now = nowMs();
    bool woken = false;
    for (int i = 0; i < count; i++) {
      auto* conn = static_cast<Conn*>(events[static_cast<size_t>(i)].data.ptr);
      if (conn == nullptr) {
        woken = true;
        continue;
      }
      note(*conn, events[static_cast<size_t>(i)].events);
      flows.heard(*conn);
    }
    if (woken) {
      uint64_t times;
      [[maybe_unused]] const ssize_t got = read(wake_, &times, sizeof times);
      const std::lock_guard lock(mutex_);
      if (stop_) return;
      arrived.swap(inbox_);
      aborts.swap(aborts_);
    } else if (count < 0 && errno != EINTR) {
      return;  // the epoll descriptor is gone: nothing more will ever be heard
    }
    for (auto& flow : arrived) {
      const bool watched = watch(epoll_, flow->a()) && watch(epoll_, flow->b());
      const uint32_t id = flow->id();
      flows.add(std::move(flow));
      if (!watched) flows.abort(id);
    }
    arrived.clear();
    for (const uint32_t id : aborts) flows.abort(id);
    aborts.clear();
    const uint64_t before = flows.moved;
    flows.run(now);
    if (flows.size() == 1 && flows.moved - before >= kBulkTurn && !flows.busy()) nanosleep(&kRest, nullptr);
    if (now - swept >= flows.tickMs()) {
      swept = now;
      flows.sweep(now);
    }
    // Its epoll has pointers, so closing is not enough: see WatchTable.
    flows.bury([this](Conn& conn) { epoll_ctl(epoll_, EPOLL_CTL_DEL, conn.fd, nullptr); });
    if (flows.ended.empty()) continue;
    bool first;
    {
      const std::lock_guard lock(mutex_);
      first = outbox_.empty();
      outbox_.insert(outbox_.end(), std::make_move_iterator(flows.ended.begin()), std::make_move_iterator(flows.ended.end()));
    }
    flows.ended.clear();
    if (first) poke(wakeFd_);
  }
}

}  // namespace nekit
