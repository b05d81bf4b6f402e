// What an engine does of its own: it says once that there is something to read, lets bytes be copied that stay where they are, and resets what was aborted.
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "socket/engine.hh"
#include "test/check.hh"
#include "test/tcp-pair.hh"

namespace nekit {
namespace {

size_t readableIn(const std::vector<Event>& events) {
  return static_cast<size_t>(std::count_if(events.begin(), events.end(), [](const Event& event) { return event.kind == Event::kReadable; }));
}

// JavaScript that has been told reads until nothing is left; each edge until then would be a call for nothing.
void testReadable() {
  std::vector<uint8_t> slab(1 << 16);
  uint8_t bytes[8];
  Engine engine(slab.data(), slab.size());
  const auto [near, far] = tcpPair();
  const int32_t id = engine.adopt(near);
  CHECK(id > 0 && engine.setEdge(id) == 0);
  engine.poll();
  for (int turn = 0; turn < 3; turn++) {
    CHECK(::send(far, "ab", 2, 0) == 2 && readableIn(engine.poll()) == 1);
    CHECK(::send(far, "cd", 2, 0) == 2 && readableIn(engine.poll()) == 0);
    CHECK(engine.read(id, bytes, 3) == 3);
    CHECK(::send(far, "e", 1, 0) == 1 && readableIn(engine.poll()) == 0);
    CHECK(engine.read(id, bytes, sizeof bytes) == 2);  // less than asked for, but not yet nothing
    CHECK(::send(far, "f", 1, 0) == 1 && readableIn(engine.poll()) == 0);
    CHECK(engine.read(id, bytes, sizeof bytes) == 1 && engine.read(id, bytes, sizeof bytes) == -EAGAIN);
    CHECK(readableIn(engine.poll()) == 0);
  }
  ::shutdown(far, SHUT_WR);
  CHECK(readableIn(engine.poll()) == 1 && engine.read(id, bytes, sizeof bytes) == 0);
  ::close(far);
}

// A byte that is urgent is a byte like the others.
void testUrgent() {
  std::vector<uint8_t> slab(1 << 16);
  uint8_t bytes[16];
  Engine engine(slab.data(), slab.size());
  const auto [near, far] = tcpPair();
  const int32_t id = engine.adopt(near);
  CHECK(id > 0);
  std::string got;
  CHECK(::send(far, "ab", 2, 0) == 2 && ::send(far, "U", 1, MSG_OOB) == 1 && ::send(far, "cd", 2, 0) == 2);
  for (int turn = 0; turn < 100 && got.size() < 5; turn++) {
    engine.poll();
    const ptrdiff_t length = engine.read(id, bytes, sizeof bytes);
    if (length > 0) got.append(reinterpret_cast<char*>(bytes), static_cast<size_t>(length));
  }
  CHECK(got == "abUcd");
  ::close(far);
}

// Bytes that are copied out of a socket, again and again, until they are let go.
void testPeek() {
  std::vector<uint8_t> slab(1 << 16);
  uint8_t bytes[16];
  const auto text = [&bytes](ptrdiff_t length) { return std::string(reinterpret_cast<char*>(bytes), static_cast<size_t>(std::max<ptrdiff_t>(0, length))); };
  Engine engine(slab.data(), slab.size());
  const auto [near, far] = tcpPair();
  const int32_t id = engine.adopt(near);
  CHECK(id > 0 && engine.setEdge(id) == 0);
  engine.poll();
  const ptrdiff_t nothing = engine.ahead(id, 0);
  if (nothing == -EOPNOTSUPP) {
    std::puts("skipped: TCP cannot be peeked into at an offset before Linux 6.9");
    ::close(far);
    return;
  }
  CHECK(nothing == -EAGAIN);
  CHECK(::send(far, "abcdefgh", 8, 0) == 8 && readableIn(engine.poll()) == 1);
  CHECK(engine.ahead(id, 0) == 8 && engine.ahead(id, 5) == 3);
  CHECK(engine.ahead(id, 8) == -EAGAIN);
  CHECK(::send(far, "ij", 2, 0) == 2 && readableIn(engine.poll()) == 1);  // who found nothing is told
  CHECK(text(engine.peek(id, 0, bytes, 3)) == "abc" && text(engine.peek(id, 3, bytes, 3)) == "def");
  CHECK(text(engine.peek(id, 1, bytes, 4)) == "bcde");  // again
  CHECK(text(engine.peek(id, 9, bytes, 4)) == "j");     // fewer than were asked for
  CHECK(engine.peek(id, 10, bytes, 1) == -EAGAIN);
  CHECK(engine.skip(id, 4) == 4);
  CHECK(engine.ahead(id, 0) == 6);
  CHECK(engine.peek(id, 3, bytes, 1) == -EINVAL);  // it is gone
  CHECK(text(engine.peek(id, 4, bytes, 2)) == "ef");
  CHECK(text(engine.read(id, bytes, 2)) == "ef");
  CHECK(engine.peek(id, 5, bytes, 1) == -EINVAL && text(engine.peek(id, 6, bytes, 9)) == "ghij");
  CHECK(engine.skip(id, 99) == 4);
  CHECK(engine.read(id, bytes, 1) == -EAGAIN && ::send(far, "K", 1, 0) == 1);
  CHECK(engine.ahead(id, 0) == 1 && text(engine.read(id, bytes, 1)) == "K");  // before the event
  CHECK(::send(far, "klm", 3, 0) == 3);
  ::shutdown(far, SHUT_WR);
  engine.poll();
  CHECK(engine.ahead(id, 0) == 3 && engine.ahead(id, 3) == -ENODATA);
  CHECK(engine.peek(id, 14, bytes, 1) == 0);
  CHECK(text(engine.read(id, bytes, sizeof bytes)) == "klm" && engine.read(id, bytes, sizeof bytes) == 0);
  CHECK(engine.ahead(id + 1, 0) == -EBADF && engine.peek(id + 1, 0, bytes, 1) == -EBADF && engine.skip(id + 1, 1) == -EBADF);
  ::close(far);

  int ends[2];
  CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0);
  const int32_t local = engine.adopt(ends[0]);
  CHECK(local > 0 && engine.setEdge(local) == 0 && ::send(ends[1], "a", 1, 0) == 1);
  CHECK(engine.ahead(local, 0) == -EOPNOTSUPP && engine.peek(local, 0, bytes, 1) == -EINVAL && engine.skip(local, 1) == -EINVAL);
  ::close(ends[1]);
}

// Relays that JavaScript aborts while it is told a batch: their resets are out before `closeEnded` returns, however many they are.
void testAborted(size_t count) {
  std::vector<uint8_t> slab(1 << 16);
  std::vector<double> cells(2 * count);
  std::vector<int> far;
  std::vector<int32_t> relays;
  Engine engine(slab.data(), slab.size());
  for (size_t i = 0; i < count; i++) {
    int32_t ends[2];
    for (int32_t& end : ends) {
      const auto [near, other] = tcpPair();
      end = engine.adopt(near);
      CHECK(end > 0);
      far.push_back(other);
    }
    relays.push_back(engine.relay(ends[0], ends[1], {60'000, 60'000}, &cells[2 * i], &cells[2 * i + 1]));
    CHECK(relays.back() > 0);
  }
  engine.poll();
  for (const int32_t relay : relays) engine.abortRelay(relay);
  engine.closeEnded();
  for (const int fd : far) {
    char byte;
    CHECK(recv(fd, &byte, 1, 0) == -1 && errno == ECONNRESET);
    ::close(fd);
  }
  size_t ended = 0;
  for (const Event& event : engine.poll())
    if (event.kind == Event::kRelayEnded && event.a == kEndAborted) ended++;
  CHECK(ended == count);
}

// Seals nothing, and has a header.
class HeaderCodec : public Codec {
 public:
  explicit HeaderCodec(size_t length) : header_(length, 'h') {}
  void seal(const uint8_t* plain, size_t length, std::vector<uint8_t>& wire) override {
    sealPrologue(wire);
    wire.insert(wire.end(), plain, plain + length);
  }
  bool open(const uint8_t* wire, size_t length, std::vector<uint8_t>& plain) override {
    plain.insert(plain.end(), wire, wire + length);
    return true;
  }
  const char* error() const override { return nullptr; }
  bool midRecord() const override { return false; }
  bool spoke() const override { return true; }
  bool prologuePending() const override { return !header_.empty(); }
  void sealPrologue(std::vector<uint8_t>& wire) override {
    wire.insert(wire.end(), header_.begin(), header_.end());
    header_.clear();
  }

 private:
  std::vector<uint8_t> header_;
};

// What comes to `far` until `length` bytes, or the end (an 'E'), have come; ten seconds at most, while the engine runs.
std::string heardFrom(Engine& engine, int far, size_t length, const std::function<void(const Event&)>& told = {}) {
  std::string heard;
  for (int turn = 0; turn < 10'000 && heard.size() < length; turn++) {
    for (const Event& event : engine.poll())
      if (told) told(event);
    std::vector<char> bytes(1 << 20);
    const ssize_t got = recv(far, bytes.data(), bytes.size(), MSG_DONTWAIT);
    if (got > 0) heard.append(bytes.data(), static_cast<size_t>(got));
    if (got == 0) return heard + 'E';
    if (got < 0) usleep(1'000);
  }
  return heard;
}

// The header waits for the first bytes, but not for ever: who is asked may be the one that speaks first. A FIN comes behind it.
void testHeader() {
  std::vector<uint8_t> slab(1 << 16);
  const auto* hello = reinterpret_cast<const uint8_t*>("hello");
  Engine engine(slab.data(), slab.size());
  const auto made = [&engine](size_t header) {
    const auto [near, far] = tcpPair();
    const int32_t id = engine.adopt(near);
    CHECK(id > 0 && engine.setCodec(id, std::make_unique<HeaderCodec>(header)) == 0 && engine.setEdge(id) == 0);
    engine.poll();
    return std::pair{id, far};
  };
  for (int turn = 0; turn < 3; turn++) {  // the timer begins and ends
    const auto [silent, silentFar] = made(3);
    const auto [quick, quickFar] = made(3);
    const auto [closed, closedFar] = made(3);
    CHECK(engine.write(quick, hello, 5) == 5 && engine.shutdown(closed) == 0);
    engine.close(closed, false);
    CHECK(heardFrom(engine, quickFar, 8) == "hhhhello" && heardFrom(engine, closedFar, 4) == "hhhE");
    CHECK(heardFrom(engine, silentFar, 3) == "hhh");
    CHECK(engine.write(silent, hello, 5) == 5 && engine.shutdown(silent) == 0 && heardFrom(engine, silentFar, 6) == "helloE");
    for (const int fd : {silentFar, quickFar, closedFar}) ::close(fd);
  }
  // More than there is room for.
  const size_t large = 16 << 20;
  const auto [id, far] = made(large);
  CHECK(engine.shutdown(id) == -EAGAIN && engine.shutdown(id) == -EAGAIN && engine.pending(id) > 0);
  bool said = false;
  const std::string heard = heardFrom(engine, far, large + 1, [&engine, &said, id = id](const Event& event) {
    if (event.kind == Event::kWritable && event.id == id) said = engine.shutdown(id) == 0;
  });
  CHECK(said && heard.size() == large + 1 && heard.back() == 'E');
  ::close(far);
}

}  // namespace
}  // namespace nekit

int main() {
  nekit::testReadable();
  nekit::testUrgent();
  nekit::testPeek();
  nekit::testHeader();
  for (int turn = 0; turn < 20; turn++)
    for (const size_t count : {1, 2, 40}) nekit::testAborted(count);
  return 0;
}
