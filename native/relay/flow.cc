#include "relay/flow.hh"

#include <fcntl.h>
#include <sys/socket.h>

#include <cerrno>

namespace nekit {

namespace {

// One read. Small flows need less, and bigger ones splice; more than a socket's usual window gains nothing.
constexpr size_t kReadSize = 256 * 1024;
// What one way may move before others get their turn: a few milliseconds of a core.
constexpr size_t kCopyShare = 512 * 1024;
// The same on the loop's thread, where JavaScript waits; who needs more goes to the other thread.
constexpr size_t kLoopShare = 64 * 1024;
constexpr size_t kSpliceShare = 4 * 1024 * 1024;
constexpr size_t kSpliceSize = 1024 * 1024;
// A way that has carried this much in all is taken for bulk.
constexpr uint64_t kBulk = 256 * 1024;
// Above it a drained buffer is given back.
constexpr size_t kKeepPending = 64 * 1024;

}  // namespace

RelayScratch::RelayScratch() : bytes(kReadSize) {}

Flow::Flow(uint32_t id, std::unique_ptr<Conn> a, std::unique_ptr<Conn> b, Limits limits, double* up, double* down, int64_t now)
    : a_(std::move(a)), b_(std::move(b)), limits_(limits), lastActive_(now), began_(now), id_(id) {
  a_->flow = this;
  b_->flow = this;
  up_.from = down_.to = a_.get();
  up_.to = down_.from = b_.get();
  up_.counter = up;
  down_.counter = down;
  // What its own calls have left over goes first.
  for (Way* way : {&up_, &down_}) {
    Conn& to = *way->to;
    way->pending.assign(to.sealed.begin() + static_cast<ptrdiff_t>(to.sealedAt), to.sealed.end());
    std::vector<uint8_t>().swap(to.sealed);
    to.sealedAt = 0;
  }
  for (Way* way : {&up_, &down_}) {
    Conn& from = *way->from;
    if (from.openedAt < from.opened.size()) sealFirst(*way, from.opened.data() + from.openedAt, from.opened.size() - from.openedAt);
    std::vector<uint8_t>().swap(from.opened);
    from.openedAt = 0;
  }
  // Its edges may have come while JavaScript had it.
  a_->readable = a_->writable = b_->readable = b_->writable = true;
}

Flow::~Flow() {
  closeSocket(*a_, !ended_ || reason_ != kEndClean);
  closeSocket(*b_, !ended_ || reason_ != kEndClean);
}

void Flow::prepend(bool fromA, const uint8_t* bytes, size_t length) {
  if (length > 0) sealFirst(fromA ? up_ : down_, bytes, length);
}

// Before the first `pump`, which then ends it.
void Flow::sealFirst(Way& way, const uint8_t* plain, size_t length) {
  if (seal(way, plain, length)) return;
  reason_ = kEndSealed;
  guilty_ = way.to;
}

Step Flow::pump(RelayScratch& scratch, bool splice, int64_t now) {
  if (ended_) return Step::kEnded;
  if (reason_ != 0) return failed(reason_, *guilty_, scratch.pipes);
  const uint64_t before = moved();
  const bool wasHalfClosed = up_.done || down_.done;
  const bool hadFailed = a_->failed || b_->failed;
  const Step up = pumpWay(up_, down_, scratch, splice, now);
  if (up == Step::kEnded) return up;
  const Step down = pumpWay(down_, up_, scratch, splice, now);
  if (down == Step::kEnded) return down;
  if (moved() != before || wasHalfClosed != (up_.done || down_.done)) {
    lastActive_ = now;
    unsent_ = kUnknown;
  }
  if (!(up_.done && down_.done) && (a_->failed || b_->failed)) {
    // A reset that no read and no write ran into: it waits behind bytes that cannot be sent, or behind a FIN.
    // One that a write has just found out about is read once more first.
    if (!hadFailed || up == Step::kAgain || down == Step::kAgain) return Step::kAgain;
    const Conn& guilty = a_->failed ? *a_ : *b_;
    int error = 0;
    socklen_t length = sizeof error;
    getsockopt(guilty.fd, SOL_SOCKET, SO_ERROR, &error, &length);
    return failed(error != 0 ? error : ECONNRESET, guilty, scratch.pipes);
  }
  if (up_.done && down_.done) {
    ended_ = true;
    scratch.pipes.give(std::move(up_.pipe));
    scratch.pipes.give(std::move(down_.pipe));
    return Step::kEnded;
  }
  return up == Step::kAgain || down == Step::kAgain ? Step::kAgain : Step::kWait;
}

Step Flow::pumpWay(Way& way, const Way& other, RelayScratch& scratch, bool splice, int64_t now) {
  if (way.done) return Step::kWait;
  const bool plain = way.from->codec == nullptr && way.to->codec == nullptr;
  if (!plain && prologueWaits(*way.to) && (way.from->finSeen || now - began_ >= kPrologueDelayMs)) {
    if (!seal(way, nullptr, 0)) return failed(kEndSealed, *way.to, scratch.pipes);
  }
  size_t share = 0;
  bool spliced = false;
  for (;;) {
    int error = flush(way);
    if (error == 0 && way.pipe != nullptr) error = drainPipe(way);
    if (error != 0 && error != EAGAIN) return refused(way, error, scratch.pipes);
    if (error == EAGAIN) return wait(way, scratch.pipes);
    if (way.from->finSeen) {
      if (way.from->codec != nullptr && way.from->codec->midRecord()) return failed(kEndSealed, *way.from, scratch.pipes);
      // The last FIN is said by closing.
      if (!other.done && shutdown(way.to->fd, SHUT_WR) != 0 && errno != ENOTCONN) return failed(errno, *way.to, scratch.pipes);
      way.to->finSent = true;
      way.done = true;
      scratch.pipes.give(std::move(way.pipe));
      return Step::kWait;
    }
    if (share >= (spliced ? kSpliceShare : splice ? kCopyShare : kLoopShare)) return Step::kAgain;
    if (!way.from->readable) return wait(way, scratch.pipes);
    // splice knows nothing of urgent marks: it stops at one for ever, or takes it for the end.
    const bool bulk = splice && plain && way.moved >= kBulk && !way.from->urgent && !way.sawZero;
    if (bulk && way.pipe == nullptr) way.pipe = scratch.pipes.take();
    if (bulk && way.pipe != nullptr) {
      const ptrdiff_t got = ::splice(way.from->fd, nullptr, way.pipe->write, nullptr, kSpliceSize, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
      if (got > 0) {
        way.pipe->filled += static_cast<size_t>(got);
        share += static_cast<size_t>(got);
        spliced = true;
      } else if (got == 0) {
        way.sawZero = true;
      } else if (errno == EAGAIN) {
        way.from->readable = false;  // the pipe is empty, so it is the socket that has nothing
      } else if (errno != EINTR) {
        return failed(errno, *way.from, scratch.pipes);
      }
      continue;
    }
    // Reading for a full socket would only fill memory.
    if (!way.to->writable) return wait(way, scratch.pipes);
    const ptrdiff_t got = receive(*way.from, scratch.bytes.data(), splice ? scratch.bytes.size() : kLoopShare);
    if (got == -EAGAIN) return wait(way, scratch.pipes);
    if (got < 0) return failed(static_cast<int>(-got), *way.from, scratch.pipes);
    if (got == 0) continue;
    auto length = static_cast<size_t>(got);
    share += length;
    const uint8_t* bytes = scratch.bytes.data();
    bool opened = true;
    if (way.from->codec != nullptr) {
      scratch.opened.clear();
      opened = way.from->codec->open(bytes, length, scratch.opened);
      bytes = scratch.opened.data();
      length = scratch.opened.size();
    }
    // What could be opened before an error is good, and goes on; the error then ends it.
    if (length > 0) {
      const int put = forward(way, bytes, length, scratch);
      if (put != 0 && opened) return refused(way, put, scratch.pipes);
    }
    if (!opened) return failed(kEndSealed, *way.from, scratch.pipes);
  }
}

// Nothing to do before the next event: a pipe that is empty may serve another flow meanwhile.
Step Flow::wait(Way& way, PipePool& pipes) {
  if (way.pipe != nullptr && way.pipe->filled == 0) pipes.give(std::move(way.pipe));
  return Step::kWait;
}

// A write that a reset has ended says nothing of what came before the reset: a server's early answer may still be there to read. The end of `pump` then
// ends the flow, once nothing is left.
Step Flow::refused(Way& way, int error, PipePool& pipes) {
  if (error != EPIPE && error != ECONNRESET) return failed(error, *way.to, pipes);
  way.to->failed = way.to->readable = true;
  return wait(way, pipes);
}

// Sends plain bytes in the form that `to` wants, while nothing is pending: what the socket does not take is then. 0, or why it ended.
int Flow::forward(Way& way, const uint8_t* plain, size_t length, RelayScratch& scratch) {
  const uint8_t* bytes = plain;
  size_t size = length;
  if (Codec* codec = way.to->codec.get(); codec != nullptr) {
    scratch.sealed.clear();
    codec->seal(plain, length, scratch.sealed);
    if (codec->error() != nullptr) return kEndSealed;
    bytes = scratch.sealed.data();
    size = scratch.sealed.size();
  }
  const ptrdiff_t put = send(*way.to, bytes, size);
  if (put < 0 && put != -EAGAIN) return static_cast<int>(-put);
  const size_t gone = put < 0 ? 0 : static_cast<size_t>(put);
  // Of sealed bytes nothing counts before all are gone.
  const size_t counted = gone == size ? length : way.to->codec != nullptr ? 0 : gone;
  if (counted > 0) count(way, counted);
  if (gone < size) {
    way.pending.assign(bytes + gone, bytes + size);
    way.sent = 0;
    way.payload = length - counted;
  }
  return 0;
}

// Puts plain bytes, or the prologue alone, into what is pending, in the form that `to` wants. false: its codec failed.
bool Flow::seal(Way& way, const uint8_t* plain, size_t length) {
  Codec* codec = way.to->codec.get();
  if (codec == nullptr) {
    way.pending.insert(way.pending.end(), plain, plain + length);
  } else {
    if (length == 0) codec->sealPrologue(way.pending);
    else codec->seal(plain, length, way.pending);
    if (codec->error() != nullptr) return false;
  }
  way.payload += length;
  return true;
}

// 0: nothing is left; EAGAIN: the socket is full; else what went wrong.
int Flow::flush(Way& way) {
  while (way.sent < way.pending.size()) {
    if (!way.to->writable) return EAGAIN;
    const ptrdiff_t put = send(*way.to, way.pending.data() + way.sent, way.pending.size() - way.sent);
    if (put < 0) return static_cast<int>(-put);
    way.sent += static_cast<size_t>(put);
    if (way.payload == way.pending.size()) count(way, static_cast<size_t>(put));
  }
  if (!way.pending.empty()) {
    if (way.payload != way.pending.size()) count(way, way.payload);
    way.pending.clear();
    way.sent = way.payload = 0;
    if (way.pending.capacity() > kKeepPending) std::vector<uint8_t>().swap(way.pending);
  }
  return 0;
}

int Flow::drainPipe(Way& way) {
  while (way.pipe->filled > 0) {
    if (!way.to->writable) return EAGAIN;
    const ptrdiff_t put = ::splice(way.pipe->read, nullptr, way.to->fd, nullptr, way.pipe->filled, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    if (put > 0) {
      way.pipe->filled -= static_cast<size_t>(put);
      count(way, static_cast<size_t>(put));
    } else if (put < 0 && errno == EAGAIN) {
      way.to->writable = false;
    } else if (put < 0 && errno != EINTR) {
      return errno;
    }
  }
  return 0;
}

void Flow::count(Way& way, size_t bytes) {
  way.moved += bytes;
  // One writer at a time; JavaScript reads it whenever it likes.
  __atomic_store_n(reinterpret_cast<uint64_t*>(way.counter), __builtin_bit_cast(uint64_t, static_cast<double>(way.moved)), __ATOMIC_RELAXED);
}

Step Flow::failed(int reason, const Conn& guilty, PipePool& pipes) {
  fail(reason, pipes);
  guilty_ = &guilty;
  return Step::kEnded;
}

void Flow::fail(int reason, PipePool& pipes) {
  if (ended_) return;
  ended_ = true;
  reason_ = reason;
  guilty_ = nullptr;
  pipes.give(std::move(up_.pipe));
  pipes.give(std::move(down_.pipe));
}

int Flow::overdue(int64_t now) {
  // Half of it is early enough to begin to look: most flows are never silent for so long, and most others have nothing left to send.
  if (now - lastActive_ < shortestLimit() / 2) return 0;
  if (unsent_ != 0) {
    const int64_t unsent = unsentOf(*a_) + unsentOf(*b_);
    if (unsent < unsent_) lastActive_ = now;  // a slow reader takes what we have long handed over
    unsent_ = unsent;
  }
  const bool half = (up_.done || down_.done) && unsent_ == 0;
  if (now - lastActive_ < (half ? limits_.halfCloseMs : limits_.idleMs)) return 0;
  return half ? kEndHalfClose : kEndIdle;
}

void Flow::shrink() {
  for (Way* way : {&up_, &down_})
    if (way->pending.empty() && way->pending.capacity() > 0) std::vector<uint8_t>().swap(way->pending);
}

}  // namespace nekit
