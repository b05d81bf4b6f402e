// Parsing, checksums and cutting against simple models of them.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <random>
#include <vector>

#include "packet/checksum.hh"
#include "packet/headers.hh"
#include "packet/outgoing.hh"
#include "packet/parse.hh"
#include "test/check.hh"
#include "test/packet-corpus.hh"

namespace nekit {
namespace {

using Packet = std::vector<uint8_t>;

constexpr FlowSeed kSeed{0x1234, 0x5678};

/// The arrays of a batch of one.
struct One {
  uint32_t start = 0, end = 0, transport = 0, payload = 0, flow = 0, sequence = 0, acknowledgment = 0;
  uint8_t version = 0, protocol = 0, flags = 0;
  uint16_t sourcePort = 0, destinationPort = 0, window = 0, segmentSize = 0;

  PacketFields fields() {
    return {&start, &end, &transport, &payload, &version, &protocol, &flags, &sourcePort, &destinationPort, &flow, &sequence, &acknowledgment, &window, &segmentSize};
  }

  Drop parse(const Packet& packet, Vouch vouch = Vouch::kNothing, uint16_t segment = 0) {
    return parsePacket(packet.data(), 0, static_cast<uint32_t>(packet.size()), vouch, segment, kSeed, fields(), 0);
  }
};

/// RFC 1071 word by word.
uint16_t slowSum(const uint8_t* bytes, size_t length, uint64_t sum = 0) {
  for (size_t i = 0; i + 1 < length; i += 2) sum += static_cast<uint64_t>(bytes[i] << 8 | bytes[i + 1]);
  if (length % 2 == 1) sum += static_cast<uint64_t>(bytes[length - 1] << 8);
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(sum);
}

void put16(Packet& packet, size_t at, size_t value) {
  packet[at] = static_cast<uint8_t>(value >> 8);
  packet[at + 1] = static_cast<uint8_t>(value);
}

Packet ip4(uint8_t protocol, size_t transportLength, size_t options = 0) {
  Packet packet(20 + options + transportLength);
  packet[0] = static_cast<uint8_t>(0x45 + options / 4);
  put16(packet, 2, packet.size());
  put16(packet, 4, 0xfffe);
  packet[8] = 64;
  packet[9] = protocol;
  const uint8_t addresses[] = {192, 0, 2, 1, 198, 51, 100, 7};
  std::copy(std::begin(addresses), std::end(addresses), packet.begin() + 12);
  std::fill(packet.begin() + 20, packet.begin() + 20 + static_cast<ptrdiff_t>(options), uint8_t{1});
  return packet;
}

Packet ip6(uint8_t next, size_t payloadLength) {
  Packet packet(40 + payloadLength);
  packet[0] = 0x60;
  put16(packet, 4, payloadLength);
  packet[6] = next;
  packet[7] = 64;
  packet[8] = packet[24] = 0x20;
  packet[9] = packet[25] = 0x01;
  packet[23] = 1;
  packet[39] = 2;
  return packet;
}

/// Header checksum of IPv4, nothing else.
void headerSum(Packet& packet) {
  if (packet[0] >> 4 != 4) return;
  put16(packet, 10, 0);
  put16(packet, 10, static_cast<uint16_t>(~slowSum(packet.data(), static_cast<size_t>(packet[0] & 15) * 4)));
}

Packet tcp(bool six, size_t payload, uint8_t flags = 0x18) {
  Packet packet = six ? ip6(6, 20 + payload) : ip4(6, 20 + payload);
  const size_t at = six ? 40 : 20;
  put16(packet, at, 1234);
  put16(packet, at + 2, 443);
  packet[at + 4] = 0xff;
  packet[at + 5] = 0xff;
  packet[at + 6] = 0xff;
  packet[at + 7] = 0xf0;
  packet[at + 11] = 9;
  packet[at + 12] = 0x50;
  packet[at + 13] = flags;
  put16(packet, at + 14, 4096);
  for (size_t i = 0; i < payload; ++i) packet[at + 20 + i] = static_cast<uint8_t>(i * 7);
  return packet;
}

Packet udp(bool six, size_t payload) {
  Packet packet = six ? ip6(17, 8 + payload) : ip4(17, 8 + payload);
  const size_t at = six ? 40 : 20;
  put16(packet, at, 53);
  put16(packet, at + 2, 5353);
  put16(packet, at + 4, 8 + payload);
  for (size_t i = 0; i < payload; ++i) packet[at + 8 + i] = static_cast<uint8_t>(i * 3 + 1);
  return packet;
}

Packet finished(Packet packet) {
  Layout layout;
  CHECK(layoutOf(packet.data(), packet.size(), layout));
  computeChecksums(packet.data(), packet.size(), layout);
  return packet;
}

/// The transport checksum, by the slow sum.
bool transportGood(const Packet& packet) {
  const bool six = packet[0] >> 4 == 6;
  const size_t at = six ? 40 : static_cast<size_t>(packet[0] & 15) * 4;
  const size_t length = packet.size() - at;
  uint64_t sum = slowSum(packet.data() + (six ? 8 : 12), six ? 32 : 8);
  sum += (six ? packet[6] : packet[9]) + length;
  return slowSum(packet.data() + at, length, sum) == 0xffff;
}

void checksums() {
  std::mt19937 random(1);
  for (int run = 0; run < 2000; ++run) {
    std::vector<uint8_t> bytes(random() % 300 + (run % 100 == 0 ? 65000 : 0) + 8);
    for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(run % 7 == 0 ? 0xff : random());
    const size_t from = random() % 8;
    const uint64_t start = random() % 0x10000;
    CHECK(checksumFold(checksumAdd(bytes.data() + from, bytes.size() - from, start)) == slowSum(bytes.data() + from, bytes.size() - from, start));
  }
}

void goodPackets() {
  for (const bool six : {false, true}) {
    const size_t at = six ? 40 : 20;
    One one;
    Packet packet = finished(tcp(six, 100));
    CHECK(transportGood(packet));
    CHECK(one.parse(packet) == Drop::kNone);
    CHECK(one.version == (six ? 6 : 4) && one.protocol == 6 && one.flags == 0x18 && one.sourcePort == 1234 && one.destinationPort == 443);
    CHECK(one.sequence == 0xfffffff0 && one.acknowledgment == 9 && one.window == 4096);
    CHECK(one.start == 0 && one.end == packet.size() && one.transport == at && one.payload == at + 20);
    const uint32_t flow = one.flow;
    packet = tcp(six, 0);
    put16(packet, at, 1235);
    CHECK(one.parse(finished(packet)) == Drop::kNone && one.flow != flow);

    packet = finished(udp(six, 33));
    CHECK(transportGood(packet) && one.parse(packet) == Drop::kNone);
    CHECK(one.protocol == 17 && one.sourcePort == 53 && one.payload == at + 8 && one.end == packet.size());

    packet = six ? ip6(58, 12) : ip4(1, 12);
    packet[at] = six ? 128 : 8;
    CHECK(one.parse(finished(packet)) == Drop::kNone && one.protocol == (six ? 58 : 1));

    // Ethernet pads short frames; what is behind the total length is nobody's.
    packet = finished(tcp(six, 3));
    const size_t whole = packet.size();
    packet.resize(whole + 20, 0xaa);
    CHECK(one.parse(packet) == Drop::kNone && one.end == whole);
  }
}

void badPackets() {
  One one;
  CHECK(one.parse({}) == Drop::kShort);
  CHECK(one.parse(Packet(19, 0x45)) == Drop::kShort);
  CHECK(one.parse(Packet(40, 0x50)) == Drop::kVersion);
  for (const bool six : {false, true}) {
    const size_t at = six ? 40 : 20;
    const Packet good = finished(tcp(six, 40));
    for (size_t cut = 0; cut < good.size(); ++cut) CHECK(one.parse(Packet(good.begin(), good.begin() + static_cast<ptrdiff_t>(cut))) != Drop::kNone);
    for (size_t bit = 0; bit < good.size() * 8; ++bit) {
      Packet bad = good;
      bad[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
      // Traffic class, flow label and hop limit of IPv6 are covered by nothing, its next header and length by the pseudo-header.
      const bool free = six && (bit / 8 < 4 || bit / 8 == 7) && bad[0] >> 4 == 6;
      if (!free && !(six && bit / 8 == 6)) CHECK(one.parse(bad) != Drop::kNone);
    }
    Packet packet = tcp(six, 40);
    packet[at + 12] = 0x40;
    headerSum(packet);
    CHECK(one.parse(packet, Vouch::kGood) == Drop::kTransport);
    packet[at + 12] = 0xf0;
    headerSum(packet);
    CHECK(one.parse(packet, Vouch::kGood) == Drop::kNone);
    packet = finished(tcp(six, 3));
    packet[at + 12] = 0xf0;
    CHECK(one.parse(packet, Vouch::kGood) == Drop::kTransport);

    packet = finished(udp(six, 10));
    put16(packet, at + 4, 7);
    CHECK(one.parse(packet, Vouch::kGood) == Drop::kTransport);
    put16(packet, at + 4, 19);
    CHECK(one.parse(packet, Vouch::kGood) == Drop::kTransport);
    packet = udp(six, 10);
    headerSum(packet);
    CHECK(one.parse(packet) == (six ? Drop::kChecksum : Drop::kNone));  // no checksum: only IPv4 may
  }
  Packet options = ip4(6, 20, 8);
  options[20] = 131;
  options[21] = 7;
  options[40 - 28 + 20] = 0;
  put16(options, 28, 80);
  options[28 + 12] = 0x50;
  headerSum(options);
  CHECK(one.parse(options, Vouch::kGood) == Drop::kSourceRoute);
  options[20] = 7;  // record route is harmless
  headerSum(options);
  CHECK(one.parse(options, Vouch::kGood) == Drop::kNone && one.transport == 28);
}

/// IPv6 with the given extension headers, each [next header is filled in] of 8 bytes, before an empty TCP segment.
Packet extended(const std::vector<uint8_t>& chain, const std::vector<std::vector<uint8_t>>& bodies) {
  Packet packet = ip6(chain.front(), 8 * bodies.size() + 20);
  size_t at = 40;
  for (size_t i = 0; i < bodies.size(); ++i, at += 8) {
    packet[at] = chain[i + 1];
    std::copy(bodies[i].begin(), bodies[i].end(), packet.begin() + static_cast<ptrdiff_t>(at) + 1);
  }
  packet[at + 12] = 0x50;
  return packet;
}

void extensionHeaders() {
  One one;
  const std::vector<uint8_t> padded = {0, 1, 4, 0, 0, 0, 0};
  CHECK(one.parse(extended({0, 60, 6}, {padded, padded}), Vouch::kGood) == Drop::kNone);
  CHECK(one.protocol == 6 && one.transport == 56 && one.payload == 76);
  const std::vector<uint8_t> skipped = {0, 0x1e, 4, 0, 0, 0, 0};
  CHECK(one.parse(extended({60, 6}, {skipped}), Vouch::kGood) == Drop::kNone);
  for (const uint8_t refused : {0x5e, 0x9e, 0xde}) CHECK(one.parse(extended({0, 6}, {{0, refused, 4, 0, 0, 0, 0}}), Vouch::kGood) == Drop::kExtension);
  CHECK(one.parse(extended({60, 6}, {{0, 1, 5, 0, 0, 0, 0}}), Vouch::kGood) == Drop::kExtension);
  CHECK(one.parse(extended({60, 6}, {{0, 0, 0, 0, 0, 0, 1}}), Vouch::kGood) == Drop::kExtension);
  CHECK(one.parse(extended({60, 0, 6}, {padded, padded}), Vouch::kGood) == Drop::kExtension);  // hop-by-hop comes first
  CHECK(one.parse(extended({43, 6}, {{0, 0, 1, 0, 0, 0, 0}}), Vouch::kGood) == Drop::kSourceRoute);
  CHECK(one.parse(extended({43, 6}, {{0, 0, 0, 0, 0, 0, 0}}), Vouch::kGood) == Drop::kNone && one.protocol == 6 && one.transport == 48);
  CHECK(one.parse(extended({43, 6}, {{0, 4, 0, 0, 0, 0, 0}}), Vouch::kGood) == Drop::kNone);
  CHECK(one.parse(extended({60, 6}, {{9, 0, 0, 0, 0, 0, 0}}), Vouch::kGood) == Drop::kExtension);
  CHECK(one.parse(extended({44, 6}, {{0, 0, 0, 0, 0, 0, 1}}), Vouch::kGood) == Drop::kNone);
  CHECK(one.protocol == 6);  // an atomic fragment
  CHECK(one.parse(extended({44, 6}, {{0, 0, 1, 0, 0, 0, 1}}), Vouch::kGood) == Drop::kNone);
  CHECK(one.protocol == 44 && one.transport == 40);
  std::vector<uint8_t> chain(9, 60);
  chain.push_back(6);
  CHECK(one.parse(extended(chain, std::vector<std::vector<uint8_t>>(9, padded)), Vouch::kGood) == Drop::kExtension);
  chain.erase(chain.begin());
  CHECK(one.parse(extended(chain, std::vector<std::vector<uint8_t>>(8, padded)), Vouch::kGood) == Drop::kNone);

  Packet fragment = ip4(17, 16);
  fragment[6] = 0x20;
  headerSum(fragment);
  CHECK(one.parse(fragment) == Drop::kNone && one.protocol == 44);
}

void cutting() {
  std::mt19937 random(2);
  for (int run = 0; run < 400; ++run) {
    const bool six = random() % 2 == 0;
    const bool isTcp = random() % 2 == 0;
    const size_t payload = 1 + random() % (run % 20 == 0 ? 60000 : 4000);
    const auto segment = static_cast<uint16_t>(1 + random() % 1460);
    const Packet super = isTcp ? tcp(six, payload, 0x99) : udp(six, payload);
    Layout layout;
    CHECK(layoutOf(super.data(), super.size(), layout));
    std::vector<uint8_t> scratch(65535 + 40);
    std::vector<uint8_t> together;
    size_t count = 0;
    CHECK(cutSegments(super.data(), super.data() + layout.payload, super.size(), layout, segment, scratch.data(), scratch.size(), [&](uint8_t* bytes, size_t length) {
      const Packet part(bytes, bytes + length);
      One one;
      CHECK(one.parse(part) == Drop::kNone && one.end == length);
      if (isTcp) {
        const bool last = together.size() + segment >= payload;
        CHECK(one.sequence == 0xfffffff0 + static_cast<uint32_t>(together.size()));
        CHECK(one.flags == (0x10 | (last ? 0x09 : 0) | (count == 0 ? 0x80 : 0)));
      }
      if (!six) CHECK((part[4] << 8 | part[5]) == ((0xfffe + static_cast<int>(count)) & 0xffff));
      CHECK(length - one.payload <= segment);
      together.insert(together.end(), bytes + one.payload, bytes + length);
      ++count;
      return true;
    }));
    CHECK(together.size() == payload && std::equal(together.begin(), together.end(), super.begin() + static_cast<ptrdiff_t>(layout.payload)));
    CHECK(count == (payload + segment - 1) / segment);
  }
}

/// What a kernel does with a partial checksum: sums from checksumStart, what is in the field included.
void offloading() {
  for (const bool six : {false, true}) {
    for (const bool isTcp : {false, true}) {
      Packet packet = isTcp ? tcp(six, 77) : udp(six, 77);
      const Packet whole = finished(packet);
      Layout layout;
      CHECK(layoutOf(packet.data(), packet.size(), layout));
      VirtioHeader header;
      leaveChecksums(packet.data(), packet.size(), layout, 0, header);
      CHECK(header.flags == virtio::kNeedsChecksum && header.gsoType == virtio::kGsoNone);
      const size_t at = header.checksumStart;
      Packet left = packet;
      put16(packet, at + header.checksumOffset, static_cast<uint16_t>(~slowSum(packet.data() + at, packet.size() - at)));
      CHECK(packet == whole);
      CHECK(!finishChecksum(left.data(), left.size(), left.size() - 1, 0) && !finishChecksum(left.data(), left.size(), 0, left.size() - 1));
      CHECK(!finishChecksum(left.data(), left.size(), 0xffff, 0xffff));
      CHECK(finishChecksum(left.data(), left.size(), at, header.checksumOffset) && left == whole);
      leaveChecksums(packet.data(), packet.size(), layout, 20, header);
      CHECK(header.gsoSize == 20 && header.headerLength == layout.payload);
      CHECK(header.gsoType == (!isTcp ? virtio::kGsoUdp : six ? virtio::kGsoTcp6 : virtio::kGsoTcp4));
    }
  }
}

/// Super-packets that are longer than their length field can say.
void large() {
  std::mt19937 random(3);
  for (const bool six : {false, true}) {
    for (const size_t payload : {size_t{65516}, size_t{100'000}, size_t{256 * 1024}}) {
      Packet super = tcp(six, payload, 0x99);
      const size_t field = six ? 4 : 2;
      Layout layout;
      put16(super, field, 0);
      CHECK(layoutOf(super.data(), super.size(), layout));
      CHECK(layout.payload == super.size() - payload);
      CHECK(!layoutOf(super.data(), 0xffff, layout));
      for (const size_t said : {size_t{1}, size_t{0xffff}, super.size() & 0xffff}) {
        put16(super, field, said);
        CHECK(said == 0 || !layoutOf(super.data(), super.size(), layout));
      }
      put16(super, field, 0);
      CHECK(layoutOf(super.data(), super.size(), layout));

      // Whole: with a kernel's sum over all of it, the transport's checksum is good.
      Packet whole = super;
      VirtioHeader header;
      leaveChecksums(whole.data(), whole.size(), layout, 1460, header);
      CHECK(header.gsoType == (six ? virtio::kGsoTcp6 : virtio::kGsoTcp4) && header.gsoSize == 1460 && header.headerLength == layout.payload);
      const size_t at = header.checksumStart;
      put16(whole, at + header.checksumOffset, static_cast<uint16_t>(~slowSum(whole.data() + at, whole.size() - at)));
      CHECK(transportGood(whole));
      if (!six) CHECK(slowSum(whole.data(), 20) == 0xffff);

      // In parts: each a packet, their payloads the whole.
      std::vector<uint8_t> together;
      for (Part part; part.offset < payload; part.offset += part.length, ++part.number) {
        part.length = std::min<size_t>(1 + random() % 65'000, payload - part.offset);
        part.last = part.offset + part.length == payload;
        Packet packet(layout.payload + part.length);
        headerOfPart(super.data(), layout, part, packet.data());
        std::copy_n(super.begin() + static_cast<ptrdiff_t>(layout.payload + part.offset), part.length, packet.begin() + static_cast<ptrdiff_t>(layout.payload));
        packet = finished(packet);
        One one;
        CHECK(one.parse(packet) == Drop::kNone && one.end == packet.size());
        CHECK(one.sequence == 0xfffffff0 + static_cast<uint32_t>(part.offset));
        CHECK(one.flags == (0x10 | (part.last ? 0x09 : 0) | (part.offset == 0 ? 0x80 : 0)));
        if (!six) CHECK((packet[4] << 8 | packet[5]) == ((0xfffe + static_cast<int>(part.number)) & 0xffff));
        together.insert(together.end(), packet.begin() + one.payload, packet.end());
      }
      CHECK(together.size() == payload && std::equal(together.begin(), together.end(), super.begin() + static_cast<ptrdiff_t>(layout.payload)));
    }
  }
}

/// What the TypeScript parser is held to as well.
void corpusPackets() {
  const auto packets = readCorpus();
  CHECK(packets.size() > 60);
  bool same = true;
  for (const NamedPacket& packet : packets) {
    const std::string outcome = outcomeOf(packet.bytes, packet.vouched, packet.segmentSize);
    const std::string digest = digestOf(packet);
    if (outcome == packet.outcome && digest == packet.digest) continue;
    std::fprintf(stderr, "%s: %s %s, not %s %s\n", packet.name.c_str(), outcome.c_str(), digest.c_str(), packet.outcome.c_str(), packet.digest.c_str());
    same = false;
  }
  CHECK(same);
}

}  // namespace
}  // namespace nekit

int main() {
  nekit::checksums();
  nekit::goodPackets();
  nekit::badPackets();
  nekit::extensionHeaders();
  nekit::cutting();
  nekit::offloading();
  nekit::large();
  nekit::corpusPackets();
  return 0;
}
