#include "packet/join.hh"

#include <cstring>

#include "cipher/bytes.hh"
#include "packet/checksum.hh"
#include "packet/headers.hh"

namespace nekit {

namespace {

// NOP, NOP, timestamps: RFC 7323 appendix A.
constexpr uint8_t kUsualTimestamps[] = {1, 1, 8, 10};
constexpr size_t kUsualOptions = 12;

bool same(const uint8_t* a, const uint8_t* b, size_t from, size_t to) { return std::memcmp(a + from, b + from, to - from) == 0; }

bool sameIp4(const uint8_t* first, const uint8_t* next, size_t length, size_t whole) {
  return same(first, next, 0, kIp4Length) && load16be(next + kIp4Length) == whole && same(first, next, kIp4Fragment, kIp4Checksum) && same(first, next, kIp4Source, length) &&
         checksumFold(checksumAdd(next, length)) == 0xffff;
}

bool sameIp6(const uint8_t* first, const uint8_t* next, size_t whole) {
  return same(first, next, 0, kIp6Length) && load16be(next + kIp6Length) + kIp6Header == whole && same(first, next, kIp6Length + 2, kIp6Header);
}

bool sameOptions(const uint8_t* first, const uint8_t* next, size_t length) {
  if (length != kUsualOptions || std::memcmp(first, kUsualTimestamps, sizeof kUsualTimestamps) != 0) return std::memcmp(first, next, length) == 0;
  const size_t value = sizeof kUsualTimestamps;
  return same(first, next, 0, value) && load32be(next + value) - load32be(first + value) < 0x80000000 && same(first, next, value + 4, length);
}

}  // namespace

size_t joinableHeaders(const PacketFields& fields, size_t index) {
  if (fields.protocol[index] != protocol::kTcp || (fields.flags[index] & ~kTcpPsh) != kTcpAck || fields.end[index] == fields.payload[index]) return 0;
  // An extension header may say anything.
  if (fields.version[index] == 6 && fields.transport[index] - fields.start[index] != kIp6Header) return 0;
  return fields.payload[index] - fields.start[index];
}

bool follows(const uint8_t* slab, const PacketFields& fields, size_t index, const Following& next) {
  const uint8_t* first = slab + fields.start[index];
  const size_t ip = fields.transport[index] - fields.start[index];
  const size_t whole = next.headerLength + next.payloadLength;
  if (next.payloadLength == 0 || next.headerLength != fields.payload[index] - fields.start[index]) return false;
  if (!(fields.version[index] == 4 ? sameIp4(first, next.headers, ip, whole) : sameIp6(first, next.headers, whole))) return false;
  const uint8_t* before = first + ip;
  const uint8_t* tcp = next.headers + ip;
  const size_t length = next.headerLength - ip;
  const uint32_t gone = fields.end[index] - fields.payload[index];
  if (!same(before, tcp, 0, kTcpSequence) || load32be(tcp + kTcpSequence) != fields.sequence[index] + gone || !same(before, tcp, kTcpAcknowledgment, kTcpFlags)) return false;
  if ((tcp[kTcpFlags] & ~kTcpPsh) != kTcpAck || !same(before, tcp, kTcpWindow, kTcpChecksum) || !same(before, tcp, kTcpUrgent, kMinTcpHeader)) return false;
  if (!sameOptions(before + kMinTcpHeader, tcp + kMinTcpHeader, length - kMinTcpHeader)) return false;
  // As long as the others, or the last.
  const size_t unit = fields.segmentSize[index] != 0 ? fields.segmentSize[index] : gone;
  if (unit == 0 || gone % unit != 0 || (next.segmentSize != 0 ? next.segmentSize != unit : next.payloadLength > unit)) return false;
  if (next.vouch == Vouch::kGood) return true;
  const size_t addressLength = fields.version[index] == 4 ? 4 : 16;
  const uint8_t* addresses = next.headers + (fields.version[index] == 4 ? kIp4Source : kIp6Source);
  const uint64_t sum = checksumAdd(tcp, length, pseudoHeaderSum(addresses, addressLength, protocol::kTcp, whole - ip));
  return checksumFold(checksumAdd(next.payload, next.payloadLength, sum)) == 0xffff;
}

void join(const PacketFields& fields, size_t index, const Following& next) {
  if (fields.segmentSize[index] == 0) fields.segmentSize[index] = static_cast<uint16_t>(fields.end[index] - fields.payload[index]);
  fields.end[index] += static_cast<uint32_t>(next.payloadLength);
  fields.flags[index] |= next.headers[fields.transport[index] - fields.start[index] + kTcpFlags] & kTcpPsh;
}

}  // namespace nekit
