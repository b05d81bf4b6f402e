// The named packets of fuzz/corpus/packets.txt. What is said of them there, packages/core/test/support/packet-corpus.ts holds the TypeScript parser to.
#pragma once

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "packet/checksum.hh"
#include "packet/parse.hh"

namespace nekit {

struct NamedPacket {
  std::string name;
  bool vouched;
  uint16_t segmentSize;
  std::string outcome;
  std::string digest;
  std::vector<uint8_t> bytes;
};

/// NEKIT_CORPUS is the file's path, from CMake. Empty where it cannot be read.
inline std::vector<NamedPacket> readCorpus() {
  std::vector<NamedPacket> packets;
  std::ifstream file(NEKIT_CORPUS);
  for (std::string line; std::getline(file, line);) {
    if (line.empty() || line[0] == '#') continue;
    std::istringstream words(line);
    NamedPacket packet;
    std::string hex;
    words >> packet.name >> packet.vouched >> packet.segmentSize >> packet.outcome >> packet.digest >> hex;
    for (size_t i = 0; i + 1 < hex.size(); i += 2) packet.bytes.push_back(static_cast<uint8_t>(std::stoul(hex.substr(i, 2), nullptr, 16)));
    packets.push_back(packet);
  }
  return packets;
}

inline std::string outcomeOf(const std::vector<uint8_t>& packet, bool vouched, uint16_t size) {
  uint32_t start = 0, end = 0, transport = 0, payload = 0, flow = 0, sequence = 0, acknowledgment = 0;
  uint8_t version = 0, protocol = 0, flags = 0;
  uint16_t sourcePort = 0, destinationPort = 0, window = 0, segment = 0;
  const PacketFields fields{&start,      &end,             &transport, &payload,  &version,        &protocol, &flags,
                            &sourcePort, &destinationPort, &flow,      &sequence, &acknowledgment, &window,   &segment};
  // Exactly as large as the packet, so that a sanitizer sees every byte beyond.
  const std::vector<uint8_t> exact(packet);
  const Drop drop = parsePacket(exact.data(), 0, static_cast<uint32_t>(exact.size()), vouched ? Vouch::kGood : Vouch::kNothing, size, {1, 2}, fields, 0);
  constexpr const char* names[] = {"version", "short", "length", "header", "checksum", "extension", "sourceRoute", "transport"};
  if (drop != Drop::kNone) return names[static_cast<size_t>(drop)];
  std::ostringstream text;
  text << int{version} << '/' << transport << '/' << payload << '/' << end << '/' << int{protocol};
  if (protocol == 6 || protocol == 17) text << '/' << sourcePort << '/' << destinationPort;
  if (protocol == 6) text << '/' << int{flags} << '/' << sequence << '/' << acknowledgment << '/' << window;
  return text.str();
}

namespace corpus {

inline constexpr uint32_t kFnvBasis = 0x811c9dc5;
inline constexpr int kMutants = 500;

inline uint32_t fnv(uint32_t hash, const std::string& text) {
  for (const char letter : text) hash = (hash ^ static_cast<uint8_t>(letter)) * 0x01000193;
  return hash;
}

/// Marsaglia's xorshift, 32 bits.
struct Random {
  uint32_t x;
  explicit Random(uint32_t seed) : x(seed == 0 ? 1 : seed) {}
  uint32_t operator()() {
    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    return x;
  }
};

/// One to three changes; then, for every second one, the header's checksum is set right, so that what stands behind it is looked at.
inline std::vector<uint8_t> mutate(std::vector<uint8_t> bytes, Random& random) {
  for (uint32_t changes = 1 + random() % 3; changes > 0; --changes) {
    const uint32_t kind = random() % 4;
    const size_t at = random() % (kind == 3 ? std::min<size_t>(bytes.size(), 60) : bytes.size());
    const uint32_t value = random();
    if (kind == 0) bytes[at] ^= static_cast<uint8_t>(1 << value % 8);
    else if (kind == 1 && at > 0) bytes.resize(at);
    else bytes[at] = static_cast<uint8_t>(value);
  }
  const size_t header = static_cast<size_t>(bytes[0] & 0x0f) * 4;
  if (random() % 2 == 1 && bytes[0] >> 4 == 4 && header >= 20 && header <= bytes.size()) {
    bytes[10] = bytes[11] = 0;
    const auto sum = static_cast<uint16_t>(~checksumFold(checksumAdd(bytes.data(), header)));
    bytes[10] = static_cast<uint8_t>(sum >> 8);
    bytes[11] = static_cast<uint8_t>(sum);
  }
  return bytes;
}

}  // namespace corpus

/// Over the outcomes of the mutants, each followed by a line feed.
inline std::string digestOf(const NamedPacket& packet) {
  uint32_t digest = corpus::kFnvBasis;
  corpus::Random random(corpus::fnv(corpus::kFnvBasis, packet.name));
  for (int i = 0; i < corpus::kMutants; ++i) {
    const std::vector<uint8_t> mutant = corpus::mutate(packet.bytes, random);
    digest = corpus::fnv(digest, outcomeOf(mutant, random() % 2 == 1, 0) + '\n');
  }
  char text[9];
  std::snprintf(text, sizeof text, "%08x", digest);
  return text;
}

}  // namespace nekit
