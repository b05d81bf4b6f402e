// UDP through the engine: random runs against a model, too little room in the slab, and records that are not what they should be.
#include <arpa/inet.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <deque>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "socket/engine.hh"
#include "test/check.hh"

namespace nekit {
namespace {

using Datagram = std::string;

Address ip(const char* host, uint16_t port = 0) { return Address::ofIp(host, port).value(); }

// An engine with a slab of its own.
struct Side {
  explicit Side(size_t slabSize) : slab(slabSize), engine(slab.data(), slab.size()) {}

  int32_t open(const char* host) {
    const int32_t id = engine.udpOpen(ip(host), {});
    CHECK(id > 0);
    return id;
  }

  uint16_t port(int32_t id) {
    Address address;
    CHECK(engine.udpAddress(id, address) == 0);
    return address.port();
  }

  // One turn; waits for it at most `ms`. Datagrams by socket, each cut out of its run.
  void turn(int ms, std::map<int32_t, std::deque<Datagram>>& got) {
    pollfd waiting{engine.epoll(), POLLIN, 0};
    ::poll(&waiting, 1, ms);
    for (const Event& event : engine.poll()) {
      CHECK(event.kind == Event::kUdpReceived);
      CHECK(event.a >= 0 && event.a % 4 == 0 && event.b > 0 && event.b <= static_cast<int32_t>(Udp::kMessages));
      const auto* records = reinterpret_cast<const UdpRecord*>(slab.data() + event.a);
      CHECK(event.a + event.b * sizeof(UdpRecord) <= slab.size());
      for (int i = 0; i < event.b; i++) cut(records[i], got[event.id]);
    }
  }

  void cut(const UdpRecord& record, std::deque<Datagram>& into) {
    CHECK(record.offset >= 0 && record.length >= 0 && static_cast<size_t>(record.offset + record.length) <= slab.size());
    const int step = record.segment > 0 ? record.segment : record.length;
    int at = 0;
    do {
      const int length = std::min(step, record.length - at);
      into.emplace_back(reinterpret_cast<const char*>(slab.data() + record.offset + at), static_cast<size_t>(length));
      at += length;
    } while (at < record.length);
  }

  std::vector<uint8_t> slab;
  Engine engine;
};

// Datagrams for one call, and where they go.
struct Outgoing {
  void add(const Address& to, const Datagram& datagram) {
    UdpRecord& record = records.emplace_back();
    pack(to, record.peer);
    record.offset = static_cast<int32_t>(bytes.size());
    record.length = static_cast<int32_t>(datagram.size());
    record.segment = 0;
    bytes.insert(bytes.end(), datagram.begin(), datagram.end());
  }
  ptrdiff_t send(Side& side, int32_t id) { return side.engine.udpSend(id, bytes.data(), bytes.size(), records.data(), records.size()); }

  std::vector<uint8_t> bytes;
  std::vector<UdpRecord> records;
};

// Runs and single datagrams of all sizes from several sockets to several others, which have little room.
void testRandom(const char* host, uint32_t seed) {
  std::mt19937 random(seed);
  const auto below = [&](uint32_t limit) { return static_cast<size_t>(random() % limit); };
  Side from(1024 * 1024);
  Side to(80 * 1024 + below(200 * 1024));
  int32_t senders[3];
  int32_t receivers[4];
  Address targets[4];
  for (int32_t& id : senders) id = from.open(host);
  for (int i = 0; i < 4; i++) {
    receivers[i] = to.open(host);
    targets[i] = ip(host, to.port(receivers[i]));
  }
  for (int round = 0; round < 100; round++) {
    std::map<int32_t, std::deque<Datagram>> expected;
    std::map<int32_t, std::deque<Datagram>> got;
    Outgoing out;
    size_t total = 0;
    size_t count = 0;
    // Not more than the smallest buffers of a system hold.
    while (total < 60'000 && count < 80) {
      const size_t target = below(4);
      const size_t size = below(20) == 0 ? below(65'000) : below(4) == 0 ? below(3) : below(1500);
      const size_t many = size > 2000 ? 1 : 1 + below(40);
      for (size_t i = 0; i < many && total < 60'000 && count < 80; i++) {
        Datagram datagram(i + 1 == many && size > 0 ? 1 + below(static_cast<uint32_t>(size)) : size, ' ');
        for (char& byte : datagram) byte = static_cast<char>(random());
        out.add(targets[target], datagram);
        total += datagram.size() + 500;
        count++;
        expected[receivers[target]].push_back(datagram);
      }
    }
    CHECK(out.send(from, senders[below(3)]) == static_cast<ptrdiff_t>(count));
    size_t arrived = 0;
    for (int turns = 0; arrived < count && turns < 1000; turns++) {
      to.turn(1000, got);
      arrived = 0;
      for (const auto& [id, datagrams] : got) arrived += datagrams.size();
    }
    CHECK(got == expected);
  }
}

// What the one who sends says of the size of its datagrams.
void testSegments() {
  Side side(512 * 1024);
  const int32_t a = side.open("127.0.0.1");
  const int32_t b = side.open("127.0.0.1");
  for (const auto& [length, segment] : {std::pair{10'000, 1000}, {10'001, 1000}, {64'000, 1000}, {60'000, 200}, {999, 1000}, {1000, 1000}}) {
    Outgoing out;
    Datagram whole(static_cast<size_t>(length), ' ');
    for (size_t i = 0; i < whole.size(); i++) whole[i] = static_cast<char>(i * 7 + i / 256);
    out.add(ip("127.0.0.1", side.port(b)), whole);
    out.records[0].segment = segment;
    CHECK(out.send(side, a) == 1);
    std::map<int32_t, std::deque<Datagram>> got;
    const auto wanted = static_cast<size_t>((length + segment - 1) / segment);
    for (int turns = 0; got[b].size() < wanted && turns < 1000; turns++) side.turn(1000, got);
    Datagram joined;
    for (const Datagram& datagram : got[b]) {
      CHECK(datagram.size() == static_cast<size_t>(segment) || &datagram == &got[b].back());
      joined += datagram;
    }
    CHECK(joined == whole);
  }
}

void testNonsense() {
  Side side(512 * 1024);
  const int32_t a = side.open("127.0.0.1");
  const int32_t b = side.open("127.0.0.1");
  Outgoing out;
  for (int i = 0; i < 12; i++) out.add(ip("127.0.0.1", side.port(b)), "good");
  out.records[0].offset = -1;
  out.records[1].length = -1;
  out.records[2].length = 1 << 20;
  out.records[3].offset = INT32_MAX;
  out.records[3].length = INT32_MAX;
  out.records[4].peer[18] = 6;
  out.records[5].peer[18] = 0;
  out.records[6].segment = -7;
  pack(ip("127.0.0.1", 0), out.records[7].peer);
  pack(ip("255.255.255.255", 9), out.records[8].peer);
  out.records[9].segment = INT32_MAX;
  CHECK(out.send(side, a) == 4);  // 6, 9, 10 and 11
  std::map<int32_t, std::deque<Datagram>> got;
  for (int turns = 0; got[b].size() < 4 && turns < 1000; turns++) side.turn(1000, got);
  for (const Datagram& datagram : got[b]) CHECK(datagram == "good");
  CHECK(side.engine.udpSend(a, nullptr, 0, nullptr, 0) == 0);
  CHECK(side.engine.udpOpen(Address::ofPath("/tmp/x").value(), {}) == -EAFNOSUPPORT);
  CHECK(side.engine.udpOpen(ip("127.0.0.1", side.port(b)), {}) == -EADDRINUSE);
}

// A port that nobody has, and ids that are spent.
void testGone() {
  Side side(512 * 1024);
  const int32_t a = side.open("::1");
  const int32_t b = side.open("::1");
  const uint16_t port = side.port(b);
  CHECK(side.engine.open() == 2);
  Outgoing out;
  for (int i = 0; i < 3; i++) out.add(ip("::1", port), "hello");
  CHECK(out.send(side, a) == 3);
  side.engine.udpClose(b);  // with datagrams in it
  side.engine.udpClose(b);
  CHECK(side.engine.open() == 1);
  std::map<int32_t, std::deque<Datagram>> got;
  for (int i = 0; i < 5; i++) {
    CHECK(out.send(side, a) == 3);
    side.turn(5, got);
  }
  CHECK(got.empty());
  CHECK(out.send(side, b) == -EBADF);
  Address address;
  CHECK(side.engine.udpAddress(b, address) == -EBADF);
  const int32_t c = side.engine.udpOpen(ip("::1", port), {});
  CHECK(c > 0 && c != b);
  CHECK(out.send(side, b) == -EBADF);
  CHECK(out.send(side, a) == 3);
  for (int turns = 0; got[c].size() < 3 && turns < 1000; turns++) side.turn(1000, got);
}

void testNoDescriptors() {
  Side side(512 * 1024);
  std::vector<int> taken;
  for (int fd = dup(0); fd >= 0 && taken.size() < 1'000'000; fd = dup(0)) taken.push_back(fd);
  CHECK(side.engine.udpOpen(ip("127.0.0.1"), {}) == -EMFILE);
  for (const int fd : taken) close(fd);
  CHECK(side.engine.udpOpen(ip("127.0.0.1"), {}) > 0);
}

}  // namespace
}  // namespace nekit

int main() {
  using namespace nekit;
  for (uint32_t seed = 1; seed <= 5; seed++) {
    testRandom("127.0.0.1", seed);
    testRandom("::1", seed);
  }
  testSegments();
  testNonsense();
  testGone();
  testNoDescriptors();
  std::printf("udp: passed\n");
  return 0;
}
