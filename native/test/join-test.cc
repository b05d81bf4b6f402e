// Joining segments undoes cutting them, and joins nothing else.
#include "packet/join.hh"

#include <algorithm>
#include <cstring>
#include <random>
#include <vector>

#include "cipher/bytes.hh"
#include "packet/headers.hh"
#include "packet/outgoing.hh"
#include "test/check.hh"

namespace nekit {
namespace {

using Packet = std::vector<uint8_t>;

constexpr uint32_t kSequence = 0xffffff00;  // the numbers begin again in between
constexpr uint32_t kTimestamp = 0x7ffffff0;
constexpr size_t kSlab = 256 * 1024;

/// What a batch of one packet is in, with the slab behind it.
struct One {
  uint32_t start = 0, end = 0, transport = 0, payload = 0, flow = 0, sequence = 0, acknowledgment = 0;
  uint8_t version = 0, protocol = 0, flags = 0;
  uint16_t sourcePort = 0, destinationPort = 0, window = 0, segmentSize = 0;
  Packet slab = Packet(kSlab);

  PacketFields fields() {
    return {&start, &end, &transport, &payload, &version, &protocol, &flags, &sourcePort, &destinationPort, &flow, &sequence, &acknowledgment, &window, &segmentSize};
  }

  void hold(const Packet& packet, uint16_t segment = 0) {
    std::copy(packet.begin(), packet.end(), slab.begin());
    CHECK(parsePacket(slab.data(), 0, static_cast<uint32_t>(packet.size()), Vouch::kGood, segment, {1, 2}, fields(), 0) == Drop::kNone);
  }

  /// As a device reads it that guesses: the payload lies where ours ends. The headers stay in `packet`.
  Following following(const Packet& packet, Vouch vouch = Vouch::kNothing, uint16_t segment = 0) {
    const size_t headers = std::min<size_t>(payload - start, packet.size());
    std::copy(packet.begin() + static_cast<ptrdiff_t>(headers), packet.end(), slab.begin() + end);
    return {packet.data(), headers, slab.data() + end, packet.size() - headers, vouch, segment};
  }

  bool takes(const Packet& packet, Vouch vouch = Vouch::kNothing, uint16_t segment = 0) {
    const Following next = following(packet, vouch, segment);
    if (!follows(slab.data(), fields(), 0, next)) return false;
    join(fields(), 0, next);
    return true;
  }
};

Packet finished(Packet packet) {
  Layout layout;
  if (layoutOf(packet.data(), packet.size(), layout)) computeChecksums(packet.data(), packet.size(), layout);
  return packet;
}

/// Bytes `[from, from + payload)` of a stream.
Packet segment(bool six, bool timestamps, size_t from, size_t payload, uint8_t flags = kTcpAck) {
  const size_t ip = six ? kIp6Header : kMinIp4Header;
  const size_t header = kMinTcpHeader + (timestamps ? 12 : 0);
  Packet packet(ip + header + payload);
  const size_t length = packet.size() > 0xffff ? 0 : packet.size();
  if (six) {
    packet[0] = 0x60;
    store16be(&packet[4], length == 0 ? 0 : length - ip);
    packet[6] = protocol::kTcp;
    packet[7] = 64;
    packet[23] = 1;
    packet[39] = 2;
  } else {
    packet[0] = 0x45;
    store16be(&packet[2], length);
    store16be(&packet[4], 0xfffe + from);
    packet[6] = 0x40;
    packet[8] = 64;
    packet[9] = protocol::kTcp;
    packet[15] = 1;
    packet[19] = 2;
  }
  uint8_t* tcp = &packet[ip];
  store16be(tcp, 1234);
  store16be(tcp + 2, 443);
  const auto sequence = static_cast<uint32_t>(kSequence + from);
  for (int i = 0; i < 4; ++i) tcp[4 + i] = static_cast<uint8_t>(sequence >> (24 - 8 * i));
  tcp[11] = 9;
  tcp[12] = static_cast<uint8_t>(header / 4 << 4);
  tcp[kTcpFlags] = flags;
  store16be(tcp + kTcpWindow, 4096);
  if (timestamps) {
    const uint8_t options[] = {1, 1, 8, 10, kTimestamp >> 24, kTimestamp >> 16 & 0xff, kTimestamp >> 8 & 0xff, kTimestamp & 0xff, 0, 0, 0, 5};
    std::copy(std::begin(options), std::end(options), tcp + kMinTcpHeader);
  }
  for (size_t i = 0; i < payload; ++i) packet[ip + header + i] = static_cast<uint8_t>((from + i) * 7 >> 3);
  return finished(packet);
}

void undoesCutting() {
  std::mt19937 random(1);
  for (int run = 0; run < 400; ++run) {
    const bool six = run % 2 == 0;
    const auto unit = static_cast<uint16_t>(random() % 1'460 + 1);
    const size_t payload = unit + random() % 40'000 % (unit * 64) + 1;
    Packet super = segment(six, run % 3 != 0, 0, payload, kTcpAck | kTcpPsh);
    Layout layout;
    CHECK(layoutOf(super.data(), super.size(), layout));
    std::vector<Packet> parts;
    Packet scratch(0xffff + 40);
    CHECK(cutSegments(super.data(), super.data() + layout.payload, super.size(), layout, unit, scratch.data(), scratch.size(), [&](uint8_t* bytes, size_t length) {
      parts.emplace_back(bytes, bytes + length);
      return true;
    }));
    One one;
    one.hold(parts[0]);
    for (size_t i = 1; i < parts.size(); ++i) CHECK(one.takes(parts[i], run % 5 == 0 ? Vouch::kGood : Vouch::kNothing));
    CHECK(one.start == 0 && one.payload == layout.payload && one.end == super.size() && one.segmentSize == unit);
    CHECK(one.flags == (kTcpAck | kTcpPsh) && one.sequence == kSequence);
    CHECK(std::equal(super.begin() + static_cast<ptrdiff_t>(layout.payload), super.end(), one.slab.begin() + static_cast<ptrdiff_t>(layout.payload)));
  }
}

/// Whether the stack may be told of this header's bit by the first segment alone.
bool mayDiffer(bool six, bool timestamps, size_t bit) {
  const size_t at = bit / 8;
  const size_t tcp = six ? kIp6Header : kMinIp4Header;
  if (!six && (at == 4 || at == 5)) return true;  // identification
  if (at == tcp + kTcpFlags) return (1 << (7 - bit % 8)) == kTcpPsh;
  const size_t value = tcp + kMinTcpHeader + 4;
  if (!timestamps || at < value || at >= value + 4) return false;
  const uint32_t turned = 0x80000000 >> (bit - value * 8);
  return turned != 0x80000000 && (kTimestamp & turned) == 0;  // a newer one
}

void joinsNothingElse() {
  constexpr size_t kUnit = 100;
  for (const bool six : {false, true}) {
    for (const bool timestamps : {false, true}) {
      const Packet first = segment(six, timestamps, 0, kUnit);
      const Packet next = segment(six, timestamps, kUnit, kUnit);
      One one;
      one.hold(first);
      CHECK(joinableHeaders(one.fields(), 0) == first.size() - kUnit);
      for (size_t bit = 0; bit < next.size() * 8; ++bit) {
        Packet turned = next;
        turned[bit / 8] ^= static_cast<uint8_t>(0x80 >> bit % 8);
        One other = one;
        CHECK(!other.takes(turned));
        if (bit / 8 >= next.size() - kUnit) continue;
        // Right in itself, but for fields that the checksums do not depend on.
        const size_t tcp = six ? kIp6Header : kMinIp4Header;
        if ((!six && (bit / 8 == 10 || bit / 8 == 11)) || (bit / 8 >= tcp + kTcpChecksum && bit / 8 < tcp + kTcpChecksum + 2)) continue;
        CHECK(other.takes(finished(turned)) == mayDiffer(six, timestamps, bit));
      }
      for (size_t length = 0; length < next.size(); ++length) {
        One other = one;
        CHECK(!other.takes(Packet(next.begin(), next.begin() + static_cast<ptrdiff_t>(length)), Vouch::kGood));
      }
      CHECK(!One(one).takes(segment(six, timestamps, 0, kUnit)));          // once more
      CHECK(!One(one).takes(segment(six, timestamps, 2 * kUnit, kUnit)));  // one is missing
      CHECK(!One(one).takes(segment(six, timestamps, kUnit - 1, kUnit)));
      CHECK(one.takes(next));
    }
  }
}

void units() {
  One one;
  one.hold(segment(false, true, 0, 100));
  CHECK(!One(one).takes(segment(false, true, 100, 101)));
  CHECK(!One(one).takes(segment(false, true, 100, 400), Vouch::kGood, 101));
  CHECK(one.takes(segment(false, true, 100, 400), Vouch::kGood, 100));
  CHECK(one.takes(segment(false, true, 500, 250), Vouch::kGood, 100));
  CHECK(!One(one).takes(segment(false, true, 750, 100)));  // the one before it was the last of its kind
  CHECK(one.segmentSize == 100);
  One super;
  super.hold(segment(true, false, 0, 60'000), 1'000);
  for (size_t from = 60'000; from <= 180'000; from += 60'000) CHECK(super.takes(segment(true, false, from, 60'000), Vouch::kGood, 1'000));
  CHECK(super.end - super.payload == 240'000 && super.segmentSize == 1'000);  // more than a length field can say
}

void joinable() {
  One one;
  for (const uint8_t other : {0x01, 0x02, 0x04, 0x20, 0x40, 0x80}) {
    one.hold(segment(false, true, 0, 100, kTcpAck | other));
    CHECK(joinableHeaders(one.fields(), 0) == 0);
    one.hold(segment(false, true, 0, 100));
    CHECK(!one.takes(segment(false, true, 100, 100, kTcpAck | other)));
  }
  one.hold(segment(false, true, 0, 100, 0));
  CHECK(joinableHeaders(one.fields(), 0) == 0);
  one.hold(segment(false, true, 0, 0));
  CHECK(joinableHeaders(one.fields(), 0) == 0);
  CHECK(!one.takes(segment(false, true, 0, 0)));
  CHECK(!one.takes(segment(false, true, 0, 100)));  // nor may what a handshake ends with, which nobody asked about
  Packet extended = segment(true, false, 0, 100);
  extended[6] = protocol::kDestinationOptions;
  const uint8_t padding[] = {protocol::kTcp, 0, 1, 4, 0, 0, 0, 0};
  extended.insert(extended.begin() + kIp6Header, std::begin(padding), std::end(padding));
  store16be(&extended[4], extended.size() - kIp6Header);
  one.hold(extended);
  CHECK(one.protocol == protocol::kTcp && joinableHeaders(one.fields(), 0) == 0);
  Packet datagram = segment(false, false, 0, 100);
  datagram[9] = protocol::kUdp;
  store16be(&datagram[24], 120);
  one.hold(finished(datagram));
  CHECK(one.protocol == protocol::kUdp && joinableHeaders(one.fields(), 0) == 0);
}

}  // namespace
}  // namespace nekit

int main() {
  nekit::undoesCutting();
  nekit::joinsNothingElse();
  nekit::units();
  nekit::joinable();
  return 0;
}
