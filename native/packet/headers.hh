// Read first: RFC 791, RFC 8200, RFC 9293 section 3.1, RFC 768. Where things stand in the headers, in bytes.
#pragma once

#include <cstddef>
#include <cstdint>

namespace nekit {

namespace protocol {
inline constexpr uint8_t kHopByHop = 0;
inline constexpr uint8_t kIcmp = 1;
inline constexpr uint8_t kTcp = 6;
inline constexpr uint8_t kUdp = 17;
inline constexpr uint8_t kRouting = 43;
/// Of IPv6; in a batch it stands for a fragment of either version.
inline constexpr uint8_t kFragment = 44;
inline constexpr uint8_t kIcmp6 = 58;
inline constexpr uint8_t kDestinationOptions = 60;
}  // namespace protocol

inline constexpr size_t kMinIp4Header = 20;
inline constexpr size_t kIp4Length = 2;
inline constexpr size_t kIp4Fragment = 6;
inline constexpr size_t kIp4Checksum = 10;
inline constexpr size_t kIp4Source = 12;
inline constexpr size_t kIp6Header = 40;
inline constexpr size_t kIp6Length = 4;
inline constexpr size_t kIp6Source = 8;
inline constexpr size_t kMinTcpHeader = 20;
inline constexpr size_t kTcpSequence = 4;
inline constexpr size_t kTcpAcknowledgment = 8;
inline constexpr size_t kTcpFlags = 13;
inline constexpr size_t kTcpWindow = 14;
inline constexpr size_t kTcpChecksum = 16;
inline constexpr size_t kTcpUrgent = 18;
inline constexpr size_t kUdpHeader = 8;
inline constexpr size_t kUdpChecksum = 6;
inline constexpr size_t kMinIcmp = 8;
inline constexpr size_t kIcmpChecksum = 2;
inline constexpr uint8_t kTcpFin = 0x01;
inline constexpr uint8_t kTcpPsh = 0x08;
inline constexpr uint8_t kTcpAck = 0x10;
inline constexpr uint8_t kTcpCwr = 0x80;

}  // namespace nekit
