// Acknowledgments that a thread writes: which ones may be late, that each is written once, and who counts what is refused.
#include "tun/ack-writer.hh"

#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <thread>
#include <vector>

#include "cipher/bytes.hh"
#include "packet/headers.hh"
#include "packet/outgoing.hh"
#include "relay/flow-set.hh"
#include "test/check.hh"

namespace nekit {
namespace {

constexpr int kPatienceMs = 20'000;
constexpr size_t kIp4 = 20;
constexpr size_t kIp6 = 40;

// A bare acknowledgment with the timestamps that most have.
std::vector<uint8_t> ackPacket(uint8_t version, uint32_t number) {
  const size_t ip = version == 4 ? kIp4 : kIp6;
  std::vector<uint8_t> packet(ip + 32);
  if (version == 4) {
    packet[0] = 0x45;
    store16be(&packet[2], static_cast<uint16_t>(packet.size()));
    packet[8] = 64;
    packet[9] = 6;
  } else {
    packet[0] = 0x60;
    store16be(&packet[4], 32);
    packet[6] = 6;
    packet[7] = 64;
  }
  std::memcpy(&packet[ip + 8], &number, sizeof number);
  packet[ip + 12] = 0x80;
  packet[ip + 13] = 0x10;
  store16be(&packet[ip + 14], 2 * 1'460);
  return packet;
}

void testMayBeLate() {
  for (const uint8_t version : {uint8_t{4}, uint8_t{6}}) {
    const size_t ip = version == 4 ? kIp4 : kIp6;
    const auto good = ackPacket(version, 1);
    CHECK(AckWriter::mayBeLate(good.data(), good.size()));
    for (const uint8_t flags : {0x00, 0x02, 0x12, 0x11, 0x14, 0x04, 0x30, 0x18}) {
      auto other = good;
      other[ip + 13] = flags;
      CHECK(!AckWriter::mayBeLate(other.data(), other.size()));
    }
    for (const size_t window : {0, 1, 2 * 1'460 - 1}) {
      auto narrow = good;
      store16be(&narrow[ip + 14], window);
      CHECK(!AckWriter::mayBeLate(narrow.data(), narrow.size()));
    }
    auto full = good;
    full.push_back('x');
    store16be(&full[version == 4 ? 2 : 4], static_cast<uint16_t>(version == 4 ? full.size() : full.size() - kIp6));
    CHECK(!AckWriter::mayBeLate(full.data(), full.size()));
    auto datagram = good;
    datagram[version == 4 ? 9 : 6] = 17;
    CHECK(!AckWriter::mayBeLate(datagram.data(), datagram.size()));
    for (size_t length = 0; length < good.size(); length++) CHECK(!AckWriter::mayBeLate(good.data(), length));
  }
  auto fragment = ackPacket(4, 1);
  fragment[6] = 0x20;
  CHECK(!AckWriter::mayBeLate(fragment.data(), fragment.size()));
}

// What `ready` makes of a packet where nothing is left to a device: the same with its checksums.
void testReady() {
  const TunDevice device;
  auto packet = ackPacket(4, 7);
  uint8_t ready[TunDevice::kMostReady];
  CHECK(device.ready(packet.data(), packet.size(), ready) == packet.size());
  Layout layout;
  CHECK(layoutOf(packet.data(), packet.size(), layout));
  computeChecksums(packet.data(), packet.size(), layout);
  CHECK(std::memcmp(packet.data(), ready, packet.size()) == 0);
  CHECK(device.ready(packet.data(), packet.size() - 1, ready) == 0);
  const std::vector<uint8_t> large(TunDevice::kMostHeaders + 1, 0x45);
  CHECK(device.ready(large.data(), large.size(), ready) == 0);
}

struct Pair {
  explicit Pair(int type) { CHECK(socketpair(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0); }
  ~Pair() {
    for (const int fd : fds) ::close(fd);
  }
  int fds[2];
};

// The number in the next datagram.
uint32_t receive(int fd) {
  pollfd readable{fd, POLLIN, 0};
  CHECK(poll(&readable, 1, kPatienceMs) == 1);
  uint8_t bytes[sizeof(uint32_t) + 1];
  CHECK(read(fd, bytes, sizeof bytes) == sizeof(uint32_t));
  uint32_t number;
  std::memcpy(&number, bytes, sizeof number);
  return number;
}

// The thread writes by itself what the owner does not take back.
void testThread() {
  Pair pair(SOCK_DGRAM);
  AckWriter acks(pair.fds[0]);
  for (uint32_t i = 0; i < 1'000; i++) {
    acks.add(reinterpret_cast<const uint8_t*>(&i), sizeof i);
    acks.handOver();
    CHECK(receive(pair.fds[1]) == i);
  }
}

// However thread and owner share them, each acknowledgment is written once.
void testWritten() {
  Pair pair(SOCK_DGRAM);
  AckWriter acks(pair.fds[0]);
  uint32_t given = 0;
  uint32_t received = 0;
  std::vector<bool> seen;
  for (int turn = 0; turn < 2'000; turn++) {
    const uint32_t count = 1 + static_cast<uint32_t>(turn) % 2;
    for (uint32_t i = 0; i < count; i++) {
      const uint32_t number = given++;
      acks.add(reinterpret_cast<const uint8_t*>(&number), sizeof number);
    }
    acks.handOver();
    if (turn % 3 == 0) acks.takeBack();
    if (turn % 3 == 1) std::this_thread::yield();
    if (turn % 4 != 3) continue;
    // Before the socket is full: it holds few datagrams.
    acks.takeBack();
    for (seen.resize(given); received < given; received++) {
      const uint32_t number = receive(pair.fds[1]);
      CHECK(number < given && !seen[number]);
      seen[number] = true;
    }
  }
  CHECK(acks.takeFailed() == 0);
  uint8_t more;
  CHECK(read(pair.fds[1], &more, 1) < 0);
}

void testRefused() {
  Pair pair(SOCK_DGRAM);
  AckWriter acks(pair.fds[0]);
  CHECK(::shutdown(pair.fds[0], SHUT_WR) == 0);
  for (uint32_t i = 0; i < 10; i++) acks.add(reinterpret_cast<const uint8_t*>(&i), sizeof i);
  acks.handOver();
  acks.takeBack();
  uint32_t failed = 0;
  for (const int64_t end = nowMs() + kPatienceMs; failed < 10; failed += acks.takeFailed()) CHECK(nowMs() < end);
  CHECK(failed == 10);
}

// A writer that ends: its thread writes nothing to the descriptor afterwards.
void testEnd() {
  for (int turn = 0; turn < 100; turn++) {
    Pair pair(SOCK_DGRAM);
    {
      AckWriter acks(pair.fds[0]);
      for (uint32_t i = 0; i < AckWriter::kMost; i++) acks.add(reinterpret_cast<const uint8_t*>(&i), sizeof i);
      acks.handOver();
    }
    // In their order, without a gap: what the thread had not begun is not written.
    uint8_t bytes[8];
    uint32_t got = 0;
    for (; read(pair.fds[1], bytes, sizeof bytes) > 0; got++) CHECK(std::memcmp(bytes, &got, sizeof got) == 0);
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    CHECK(read(pair.fds[1], bytes, sizeof bytes) < 0);
  }
}

}  // namespace
}  // namespace nekit

int main() {
  signal(SIGPIPE, SIG_IGN);
  nekit::testMayBeLate();
  nekit::testReady();
  nekit::testThread();
  nekit::testWritten();
  nekit::testRefused();
  nekit::testEnd();
  return 0;
}
