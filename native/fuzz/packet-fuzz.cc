// parsePacket on anything. With clang: -fsanitize=fuzzer. With any compiler: -DNEKIT_FUZZ_MAIN, then `packet-fuzz [runs] [seed]`, which begins with the named packets
// (corpus/packets.txt) and goes on with mutants of them and with noise; `packet-fuzz write FOLDER` makes a file for libFuzzer of each named packet.
//
// The first byte of the input chooses what the device vouches for and whether the rest is put into a plausible packet first, without which few inputs get past the
// IP header; the second the segment size. What was accepted must lie inside of what was given, and what is sent on must be what it was.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <vector>

#include "packet/headers.hh"
#include "packet/outgoing.hh"
#include "packet/parse.hh"

namespace {

using Bytes = std::vector<uint8_t>;

void require(bool condition) {
  if (!condition) std::abort();
}

/// Lengths and checksums set right, as far as there is room for them.
void makePlausible(Bytes& packet) {
  if (packet.size() < nekit::kIp6Header + nekit::kMinTcpHeader || packet.size() > 65535) return;
  const size_t length = packet.size();
  if ((packet[0] & 1) != 0) {
    packet[0] = static_cast<uint8_t>(0x40 | (5 + packet[0] / 2 % 11));
    packet[2] = static_cast<uint8_t>(length >> 8);
    packet[3] = static_cast<uint8_t>(length);
    packet[6] &= 0x40;
    packet[7] = 0;
    constexpr uint8_t protocols[] = {1, 6, 17, 47};
    packet[9] = protocols[packet[9] % 4];
  } else {
    packet[0] = 0x60;
    packet[4] = static_cast<uint8_t>((length - nekit::kIp6Header) >> 8);
    packet[5] = static_cast<uint8_t>(length - nekit::kIp6Header);
    constexpr uint8_t protocols[] = {0, 6, 17, 43, 44, 51, 58, 60};
    packet[6] = protocols[packet[6] % 8];
  }
  nekit::Layout layout;
  if (nekit::layoutOf(packet.data(), length, layout)) nekit::computeChecksums(packet.data(), length, layout);
}

void check(const Bytes& given, nekit::Vouch vouch, uint16_t segment) {
  uint32_t words[7];
  uint8_t bytes[3];
  uint16_t shorts[4];
  const nekit::PacketFields fields{&words[0], &words[1], &words[2], &words[3], &bytes[0],  &bytes[1],  &bytes[2],
                                   &shorts[0], &shorts[1], &words[4], &words[5], &words[6], &shorts[2], &shorts[3]};
  // Exactly as large as the packet, so that a sanitizer sees every byte beyond.
  const std::unique_ptr<uint8_t[]> exact(new uint8_t[given.size()]);
  std::copy(given.begin(), given.end(), exact.get());
  const auto length = static_cast<uint32_t>(given.size());
  const nekit::Drop drop = nekit::parsePacket(exact.get(), 0, length, vouch, segment, {1, 2}, fields, 0);
  require(drop < nekit::Drop::kOutput || drop == nekit::Drop::kNone);
  if (drop != nekit::Drop::kNone) return;
  require(words[0] == 0 && words[1] <= length && words[2] <= words[1] && words[3] >= words[2] && words[3] <= words[1]);
  require(bytes[0] == 4 || bytes[0] == 6);
  nekit::Layout layout;
  if (segment == 0 || !nekit::layoutOf(exact.get(), words[1], layout)) return;
  Bytes scratch(65535 + 40);
  size_t together = 0;
  const bool cut = nekit::cutSegments(exact.get(), exact.get() + layout.payload, words[1], layout, segment, scratch.data(), scratch.size(), [&](uint8_t*, size_t part) {
    together += part - layout.payload;
    return true;
  });
  if (cut) require(together == words[1] - layout.payload);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  Bytes packet(data + 2, data + size);
  if ((data[0] & 2) != 0) makePlausible(packet);
  check(packet, (data[0] & 1) != 0 ? nekit::Vouch::kGood : nekit::Vouch::kNothing, static_cast<uint16_t>(data[1] % 4 == 0 ? 0 : data[1] * 11));
  return 0;
}

#ifdef NEKIT_FUZZ_MAIN
#include <fstream>
#include <string>

#include "test/packet-corpus.hh"

namespace {

/// As LLVMFuzzerTestOneInput reads it. Super-packets of the corpus have sizes that its second byte cannot say; it takes one that cuts them, too.
Bytes inputOf(const Bytes& packet, bool vouched, uint16_t segmentSize) {
  Bytes input{static_cast<uint8_t>(vouched ? 1 : 0), static_cast<uint8_t>(segmentSize == 0 ? 0 : 91)};
  input.insert(input.end(), packet.begin(), packet.end());
  return input;
}

}  // namespace

int main(int count, char** arguments) {
  const auto corpus = nekit::readCorpus();
  require(!corpus.empty());
  if (count > 2 && std::strcmp(arguments[1], "write") == 0) {
    for (const auto& packet : corpus) {
      const Bytes input = inputOf(packet.bytes, packet.vouched, packet.segmentSize);
      std::ofstream(std::string(arguments[2]) + '/' + packet.name, std::ios::binary).write(reinterpret_cast<const char*>(input.data()), static_cast<std::streamsize>(input.size()));
    }
    return 0;
  }
  const unsigned long runs = count > 1 ? std::strtoul(arguments[1], nullptr, 10) : 20000;
  const unsigned long seed = count > 2 ? std::strtoul(arguments[2], nullptr, 10) : 1;
  std::mt19937_64 random(seed);
  nekit::corpus::Random changes(static_cast<uint32_t>(seed));
  Bytes input;
  for (const auto& packet : corpus) {
    input = inputOf(packet.bytes, packet.vouched, packet.segmentSize);
    LLVMFuzzerTestOneInput(input.data(), input.size());
  }
  for (unsigned long run = 0; run < runs; ++run) {
    if (run % 2 == 0) {
      input.resize(random() % 16 == 0 ? random() % 4000 : random() % 200);
      for (uint8_t& byte : input) byte = static_cast<uint8_t>(random());
    } else {
      const auto& packet = corpus[random() % corpus.size()];
      input = inputOf(nekit::corpus::mutate(packet.bytes, changes), random() % 2 == 0, random() % 2 == 0 ? packet.segmentSize : 1);
    }
    LLVMFuzzerTestOneInput(input.data(), input.size());
  }
  std::printf("%lu runs, seed %lu\n", runs, seed);
  return 0;
}
#endif
