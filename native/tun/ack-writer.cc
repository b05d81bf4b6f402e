#include "tun/ack-writer.hh"

#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "cipher/bytes.hh"
#include "packet/headers.hh"
#include "packet/outgoing.hh"

namespace nekit {

namespace {

// But for those of ECN.
constexpr uint8_t kFlags = 0x3f;
// Not shifted: two segments of Ethernet's size. As we shift windows it is more than any segment.
constexpr size_t kWideWindow = 2 * 1'460;

}  // namespace

AckWriter::AckWriter(int fd) : fd_(fd), helper_("nekit-acks", [this](Ack& ack) { write(ack); }) {}

bool AckWriter::mayBeLate(const uint8_t* packet, size_t length) {
  Layout layout;
  if (length > TunDevice::kMostHeaders || !layoutOf(packet, length, layout)) return false;
  if (layout.protocol != protocol::kTcp || layout.fragment || layout.payload != length) return false;
  const uint8_t* tcp = packet + layout.transport;
  return (tcp[kTcpFlags] & kFlags) == kTcpAck && load16be(tcp + kTcpWindow) >= kWideWindow;
}

void AckWriter::add(const uint8_t* ready, size_t length) {
  Ack& ack = added_.emplace_back();
  ack.length = static_cast<uint16_t>(std::min(length, ack.bytes.size()));
  std::copy_n(ready, ack.length, ack.bytes.data());
}

void AckWriter::handOver() {
  takeBack();
  if (helper_.take(added_)) return;
  for (const Ack& ack : added_) write(ack);
  added_.clear();
}

void AckWriter::takeBack() {
  helper_.takeBack(left_);
  for (const Ack& ack : left_) write(ack);
  left_.clear();
}

void AckWriter::write(const Ack& ack) {
  while (::write(fd_, ack.bytes.data(), ack.length) < 0) {
    if (errno == EINTR) continue;
    failed_.fetch_add(1, std::memory_order_relaxed);
    return;
  }
}

}  // namespace nekit
