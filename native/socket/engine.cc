#include "socket/engine.hh"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

namespace nekit {

namespace {

constexpr int kEventsAtOnce = 256;
// Connections that one wake-up takes from one listener, so that those that are there get their turn.
constexpr int kAcceptsAtOnce = 64;
// The most that is read for one conn in one wake-up.
constexpr size_t kReadAtOnce = 64 * 1024;
// Less room than this is none: many short reads cost more than one in the next batch.
constexpr size_t kLeastRoom = 4 * 1024;
// A relay that has moved so much goes to a thread: it will be bulk, and JavaScript must not wait for it, nor it for JavaScript.
constexpr uint64_t kToThread = 64 * 1024;
// One core moves some 30 Gbit/s of plain bytes and a fifth of that sealed; more threads than cores gain nothing.
constexpr size_t kMostThreads = 4;
// Waking the closer for one flow costs as much as closing that.
constexpr size_t kWorthHelp = 2;
// How long a listener without descriptors waits.
constexpr int64_t kPauseMs = 100;

int newSocket(int family, const SocketOptions& options) {
  const int type = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC;
  if (options.multipath && family != AF_UNIX) {
    const int fd = socket(family, type, IPPROTO_MPTCP);
    if (fd >= 0 || (errno != EPROTONOSUPPORT && errno != EINVAL && errno != ENOPROTOOPT)) return fd;
  }
  return socket(family, type, 0);
}

}  // namespace

Engine::Engine(uint8_t* slab, size_t slabSize)
    : epoll_(epoll_create1(EPOLL_CLOEXEC)),
      wake_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)),
      timer_(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)),
      mostThreads_(std::clamp<size_t>(coresAllowed(), 1, kMostThreads)),
      slab_(slab),
      slabSize_(slabSize) {
  int error = epoll_ < 0 || wake_ < 0 || timer_ < 0 ? errno : 0;
  if (error == 0) error = watch(wake_, EPOLLIN, wakeWatch_);
  if (error == 0) error = watch(timer_, EPOLLIN, timerWatch_);
  if (error != 0) {
    for (const int fd : {epoll_, wake_, timer_})
      if (fd >= 0) ::close(fd);
    throw std::system_error(error, std::generic_category(), "the socket engine");
  }
  flows_.bulkAt = kToThread;
}

Engine::~Engine() {
  threads_.clear();
  conns_.each([](Conn& conn) { closeSocket(conn, true); });
  listeners_.each([](Listener& listener) { ::close(listener.fd); });
  for (const int fd : {epoll_, wake_, timer_}) ::close(fd);
}

int Engine::watch(int fd, uint32_t events, Watched& what) {
  watched_.add(what);
  epoll_event event{};
  event.events = events;
  event.data.u64 = what.token;
  if (epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event) == 0) return 0;
  const int error = errno;
  watched_.remove(what);
  return error;
}

// For descriptors that stay open, and before closing those that are level-triggered: see WatchTable for why close alone may leave them in the
// epoll. An edge-triggered one that is closed gives an event or two that nobody takes, which is cheaper than a call for each connection.
void Engine::unwatch(int fd, Watched& what) {
  watched_.remove(what);
  epoll_ctl(epoll_, EPOLL_CTL_DEL, fd, nullptr);
}

int32_t Engine::listen(const Address& address, const Listen& how) {
  const int fd = newSocket(address.family(), how.options);
  if (fd < 0) return -errno;
  const int on = 1;
  int error = 0;
  if (address.family() != AF_UNIX) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (how.options.reusePort && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) != 0) error = errno;
  if (address.family() == AF_INET6) {
    const int only = how.ipv6Only ? 1 : 0;
    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof only);
  }
  // Accepted sockets inherit what is set here.
  if (error == 0) error = applyOptions(fd, address.family(), how.options);
  if (error == 0 && bind(fd, address.get(), address.length) != 0) error = errno;
  if (error == 0 && ::listen(fd, how.backlog) != 0) error = errno;
  auto listener = std::make_unique<Listener>();
  listener->fd = fd;
  Listener& kept = *listener;
  if (error == 0) error = watch(fd, EPOLLIN, kept);
  if (error == 0) {
    const int32_t id = listeners_.add(std::move(listener));
    if (id != 0) {
      kept.id = id;
      return id;
    }
    error = ENFILE;
    unwatch(fd, kept);
  }
  ::close(fd);
  return -error;
}

void Engine::closeListener(int32_t id) {
  auto listener = listeners_.take(id);
  if (listener == nullptr) return;
  if (listener->paused) paused_--;
  else unwatch(listener->fd, *listener);
  ::close(listener->fd);
}

int32_t Engine::connect(const Address& address, const SocketOptions& options) {
  auto conn = std::make_unique<Conn>();
  conn->fd = newSocket(address.family(), options);
  if (conn->fd < 0) return -errno;
  int error = applyOptions(conn->fd, address.family(), options);
  if (error == 0 && ::connect(conn->fd, address.get(), address.length) != 0 && errno != EINPROGRESS) error = errno;
  if (error != 0) {
    closeSocket(*conn, false);
    return -error;
  }
  conn->connecting = true;
  return keep(std::move(conn));
}

int32_t Engine::adopt(int fd) {
  auto conn = std::make_unique<Conn>();
  conn->fd = fd;
  keepUrgentInLine(fd);
  return keep(std::move(conn));
}

// The conn with an id, watched; or -errno, and the descriptor is closed.
int32_t Engine::keep(std::unique_ptr<Conn> conn) {
  Conn& kept = *conn;
  if (const int error = watch(kept.fd, watchedEvents(), kept); error != 0) {
    closeSocket(kept, true);
    return -error;
  }
  const int32_t id = conns_.add(std::move(conn));
  if (id == 0) {
    watched_.remove(kept);
    closeSocket(kept, true);
    return -ENFILE;
  }
  kept.id = static_cast<uint32_t>(id);
  return id;
}

ptrdiff_t Engine::read(int32_t id, uint8_t* into, size_t length) {
  Conn* conn = conns_.find(id);
  if (conn == nullptr) return -EBADF;
  ptrdiff_t got = -EAGAIN;
  if (conn->codec != nullptr) got = receivePlain(*conn, into, length);
  else if (conn->finSeen) got = 0;
  else if (conn->readable) got = receive(*conn, into, length);
  if (got == -EAGAIN) {
    conn->wantRead = true;
    conn->told = false;
  } else if (got > 0) tookOut(*conn, static_cast<size_t>(got));
  return got;
}

ptrdiff_t Engine::write(int32_t id, const uint8_t* from, size_t length) {
  Conn* conn = conns_.find(id);
  if (conn == nullptr) return -EBADF;
  ptrdiff_t put = -EAGAIN;
  if (conn->writable) put = sendPlain(*conn, from, length);
  if (put == -EAGAIN) put = 0;
  if (put >= 0 && (static_cast<size_t>(put) < length || pendingOf(*conn) > 0)) conn->wantWrite = true;
  return put;
}

int Engine::shutdown(int32_t id) {
  Conn* conn = conns_.find(id);
  if (conn == nullptr) return -EBADF;
  if (conn->finSent) return 0;
  if (const ptrdiff_t left = sendPrologue(*conn); left != 0) {
    conn->wantWrite = left == -EAGAIN;
    return static_cast<int>(left);
  }
  conn->finSent = true;
  return ::shutdown(conn->fd, SHUT_WR) == 0 ? 0 : -errno;
}

void Engine::close(int32_t id, bool reset) { bury(id, reset); }

void Engine::bury(int32_t id, bool reset) {
  auto conn = conns_.take(id);
  if (conn == nullptr) return;
  watched_.remove(*conn);
  closeSocket(*conn, reset);
}

int Engine::detach(int32_t id) {
  auto conn = conns_.take(id);
  if (conn == nullptr) return -EBADF;
  unwatch(conn->fd, *conn);
  return conn->fd;
}

int Engine::addressOf(int32_t id, bool remote, Address& out) const {
  int fd = -1;
  if (const Conn* conn = conns_.find(id); conn != nullptr) fd = conn->fd;
  if (fd < 0) return -EBADF;
  out.length = sizeof out.storage;
  const int done = remote ? getpeername(fd, out.get(), &out.length) : getsockname(fd, out.get(), &out.length);
  return done == 0 ? 0 : -errno;
}

int Engine::listenerAddress(int32_t id, Address& out) const {
  const Listener* listener = listeners_.find(id);
  if (listener == nullptr) return -EBADF;
  out.length = sizeof out.storage;
  return getsockname(listener->fd, out.get(), &out.length) == 0 ? 0 : -errno;
}

int32_t Engine::relay(int32_t a, int32_t b, Flow::Limits limits, double* up, double* down) {
  if (a == b || conns_.find(a) == nullptr || conns_.find(b) == nullptr) return -EBADF;
  const int32_t id = relays_.add(std::make_unique<Relaying>());
  if (id == 0) return -ENFILE;
  auto flow = std::make_unique<Flow>(static_cast<uint32_t>(id), conns_.take(a), conns_.take(b), limits, up, down, nowMs());
  relays_.find(id)->flow = flow.get();
  flows_.add(std::move(flow));
  setTimer();
  return id;
}

void Engine::prepend(int32_t relay, bool fromA, const uint8_t* bytes, size_t length) {
  const Relaying* relaying = relays_.find(relay);
  if (relaying != nullptr && relaying->flow != nullptr) relaying->flow->prepend(fromA, bytes, length);
}

void Engine::abortRelay(int32_t relay) {
  const Relaying* relaying = relays_.find(relay);
  if (relaying == nullptr) return;
  if (relaying->flow == nullptr) {
    relaying->thread->abort(static_cast<uint32_t>(relay));
    return;
  }
  flows_.abort(static_cast<uint32_t>(relay));
}

std::string Engine::whyRelayEnded(int32_t relay) const {
  const auto found = why_.find(relay);
  return found == why_.end() ? std::string() : found->second;
}

void Engine::wake() {
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t done = ::write(wake_, &one, sizeof one);
}

const std::vector<Event>& Engine::poll() {
  events_.clear();
  why_.clear();
  used_ = 0;
  now_ = nowMs();
  feedHungry();
  std::vector<int32_t> deferred;
  deferred.swap(deferred_);
  for (const int32_t id : deferred)
    if (Conn* conn = conns_.find(id); conn != nullptr && conn->wantRead) deliver(*conn);
  epoll_event heardOf[kEventsAtOnce];
  const int count = epoll_wait(epoll_, heardOf, kEventsAtOnce, 0);
  bool threadEnded = false;
  for (int i = 0; i < count; i++) {
    Watched* what = watched_.find(heardOf[i].data.u64);
    if (what == nullptr) continue;
    switch (what->kind) {
      case Watched::Kind::kConn:
        heard(*static_cast<Conn*>(what), heardOf[i].events);
        break;
      case Watched::Kind::kListener:
        acceptSome(*static_cast<Listener*>(what));
        break;
      case Watched::Kind::kWake: {
        uint64_t times;
        [[maybe_unused]] const ssize_t got = ::read(wake_, &times, sizeof times);
        threadEnded = true;
        break;
      }
      case Watched::Kind::kTimer:
        tick();
        break;
      case Watched::Kind::kUdp:
        heard(*static_cast<Udp*>(what), heardOf[i].events);
        break;
    }
  }
  runFlows();
  if (threadEnded) {
    for (const auto& thread : threads_) {
      auto elsewhere = thread->takeEnded();
      ended(elsewhere);
    }
  }
  ended(flows_.ended);
  flows_.buryFailed([this](Conn& conn) { watched_.remove(conn); });
  setTimer();
  return events_;
}

void Engine::closeEnded() {
  // What JavaScript has aborted meanwhile is reset before anything else, like what `poll` saw.
  flows_.buryFailed([this](Conn& conn) { watched_.remove(conn); });
  closer_.takeBack(left_);
  auto dead = flows_.takeDead();
  const bool helped = closer_.usable() && dead.size() >= kWorthHelp;
  for (const auto& flow : dead) {
    for (Conn* conn : {&flow->a(), &flow->b()}) {
      if (helped) unwatch(conn->fd, *conn);
      else watched_.remove(*conn);
    }
  }
  if (helped) closer_.take(dead);
  // Behind that, so that the thread has something to do meanwhile.
  left_.clear();
}

void Engine::heard(Conn& conn, uint32_t events) {
  note(conn, events);
  if (conn.flow != nullptr) {
    flows_.heard(conn);
    return;
  }
  if (conn.connecting) {
    connected(conn, events);
    return;
  }
  const auto id = static_cast<int32_t>(conn.id);
  if (conn.failed && !conn.wantRead) {
    // Nobody reads now, so nobody would find out.
    int error = 0;
    socklen_t length = sizeof error;
    getsockopt(conn.fd, SOL_SOCKET, SO_ERROR, &error, &length);
    conn.wantWrite = false;
    tell(Event::kFailed, id, error != 0 ? error : ECONNRESET);
    return;
  }
  if (conn.wantWrite && conn.writable) {
    const ptrdiff_t flushed = flushSealed(conn);
    if (flushed == 0) {
      conn.wantWrite = false;
      tell(Event::kWritable, id);
    } else if (flushed != -EAGAIN) {
      tell(Event::kFailed, id, static_cast<int32_t>(-flushed));
      return;
    }
  }
  if (conn.wantRead && conn.readable) deliver(conn);
}

void Engine::connected(Conn& conn, uint32_t events) {
  if ((events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) == 0) return;
  int error = 0;
  if ((events & (EPOLLERR | EPOLLHUP)) != 0) {
    socklen_t length = sizeof error;
    if (getsockopt(conn.fd, SOL_SOCKET, SO_ERROR, &error, &length) != 0) error = errno;
    // Connected, and reset before we looked: a read will tell. Neither: refused, by something that left no errno.
    if (error == 0 && (events & EPOLLIN) == 0) error = ECONNREFUSED;
  }
  conn.connecting = false;
  conn.failed = false;
  const auto id = static_cast<int32_t>(conn.id);
  tell(Event::kConnected, id, error);
  if (error != 0) bury(id, false);
}

size_t Engine::room(size_t bytes) {
  const size_t left = slabSize_ - used_;
  return left < bytes ? left : bytes;
}

// Reads for a waiting read, or tells a conn in edge mode.
void Engine::deliver(Conn& conn) {
  const auto id = static_cast<int32_t>(conn.id);
  if (conn.edge) {
    if (!conn.told) tell(Event::kReadable, id);
    conn.told = true;
    return;
  }
  const size_t most = room(kReadAtOnce);
  if (most < kLeastRoom) {
    deferred_.push_back(id);
    return;
  }
  const ptrdiff_t got = receivePlain(conn, slab_ + used_, most);
  if (got == -EAGAIN) return;
  conn.wantRead = false;
  if (got < 0) {
    tell(Event::kFailed, id, static_cast<int32_t>(-got));
    return;
  }
  tell(Event::kData, id, static_cast<int32_t>(used_), static_cast<int32_t>(got));
  used_ += static_cast<size_t>(got);
}

void Engine::acceptSome(Listener& listener) {
  for (int i = 0; i < kAcceptsAtOnce; i++) {
    if (room(kPackedAddress) < kPackedAddress) return;  // level-triggered: it comes again
    Address peer;
    peer.length = sizeof peer.storage;
    const int fd = accept4(listener.fd, peer.get(), &peer.length, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
      switch (errno) {
        case EMFILE:
        case ENFILE:
        case ENOBUFS:
        case ENOMEM:
          pause(listener, errno);
          return;
        case EAGAIN:
          return;
        default:
          continue;  // this one connection has failed already: accept(2), "Error handling"
      }
    }
    auto conn = std::make_unique<Conn>();
    conn->fd = fd;
    conn->writable = true;
    const int32_t id = keep(std::move(conn));
    if (id < 0) continue;
    pack(peer, slab_ + used_);
    tell(Event::kAccepted, id, listener.id, static_cast<int32_t>(used_));
    used_ += kPackedAddress;
  }
}

void Engine::pause(Listener& listener, int error) {
  unwatch(listener.fd, listener);
  listener.paused = true;
  paused_++;
  tell(Event::kListenerPaused, listener.id, error);
}

void Engine::runFlows() {
  flows_.run(now_);
  for (auto& flow : flows_.takeBulk()) {
    RelayThread* thread = threadForOne();
    if (thread == nullptr) {
      flows_.bulkAt = 0;  // it stays, and so will others
      flows_.add(std::move(flow));
      continue;
    }
    for (Conn* conn : {&flow->a(), &flow->b()}) unwatch(conn->fd, *conn);
    Relaying& relaying = *relays_.find(static_cast<int32_t>(flow->id()));
    relaying.flow = nullptr;
    relaying.thread = thread;
    thread->load++;
    thread->take(std::move(flow));
  }
}

// The thread that has the fewest flows; another one where all have some. Null: there is no room for any.
RelayThread* Engine::threadForOne() {
  RelayThread* least = nullptr;
  for (const auto& thread : threads_)
    if (least == nullptr || thread->load < least->load) least = thread.get();
  if (threads_.size() >= mostThreads_ || (least != nullptr && least->load == 0)) return least;
  auto another = std::make_unique<RelayThread>(wake_);
  if (!another->start()) {
    mostThreads_ = threads_.size();
    return least;
  }
  threads_.push_back(std::move(another));
  return threads_.back().get();
}

void Engine::ended(std::vector<EndedFlow>& flows) {
  for (EndedFlow& flow : flows) {
    const auto id = static_cast<int32_t>(flow.id);
    const auto relaying = relays_.take(id);
    if (relaying->thread != nullptr) relaying->thread->load--;
    if (!flow.why.empty()) why_[id] = std::move(flow.why);
    tell(Event::kRelayEnded, id, flow.reason);
  }
  flows.clear();
}

// Ticks while there are relays with limits here, listeners that wait, or headers.
void Engine::setTimer() {
  int64_t wanted = flows_.size() > 0 ? flows_.tickMs() : 0;
  if (paused_ > 0 && (wanted == 0 || wanted > kPauseMs)) wanted = kPauseMs;
  if (!silent_.empty() && (wanted == 0 || wanted > kPrologueDelayMs)) wanted = kPrologueDelayMs;
  if (wanted == timerMs_) return;
  timerMs_ = wanted;
  itimerspec when{};
  when.it_value.tv_sec = when.it_interval.tv_sec = wanted / 1000;
  when.it_value.tv_nsec = when.it_interval.tv_nsec = wanted % 1000 * 1000000;
  timerfd_settime(timer_, 0, &when, nullptr);
}

void Engine::tick() {
  uint64_t times;
  [[maybe_unused]] const ssize_t got = ::read(timer_, &times, sizeof times);
  flows_.sweep(now_);
  sendPrologues();
  if (paused_ == 0) return;
  listeners_.each([this](Listener& listener) {
    if (!listener.paused || watch(listener.fd, EPOLLIN, listener) != 0) return;
    listener.paused = false;
    paused_--;
  });
}

}  // namespace nekit
