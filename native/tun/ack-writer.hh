// Acknowledgments that a thread writes while the event loop reads on.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "relay/helper-thread.hh"
#include "tun/tun-device.hh"

namespace nekit {

/**
 * The kernel handles a packet in the call that writes it, and the sender that it acknowledges sends within that call: several microseconds for some bytes, during which who writes reads nothing.
 * So that sender and reader work at the same time, acknowledgments are written by a thread while there is more to read. Those that it has not come to by the time of the next ones are the
 * loop's again; one that it has in hand may come behind what the loop writes later (by a turn of the scheduler, where all cores are busy), see `mayBeLate`.
 */
class AckWriter {
 public:
  /// At once, so that little is copied for nothing where no core is free.
  static constexpr size_t kMost = 256;

  /// `fd`: a device's, open for as long as this lives.
  explicit AckWriter(int fd);

  /// Whether there is a core for it.
  bool usable() const { return helper_.usable(); }

  /**
   * Whether nobody is worse off if newer packets of its flow overtake this one: it acknowledges, carries nothing, opens or ends nothing, and its window is wide. (A peer that has acknowledged
   * nothing newer takes the older window, RFC 9293 section 3.10.7.4: one with room for two segments lets it go on, a smaller one could stop it.)
   */
  static bool mayBeLate(const uint8_t* packet, size_t length);

  /// Keeps a copy of what TunDevice::ready has made of a packet that may be late, for the next `handOver`.
  void add(const uint8_t* ready, size_t length);
  /// Takes back what the thread has not come to, writes that, and gives it what was added.
  void handOver();
  /// Writes what the thread has not come to, so that nothing that is written next overtakes it for want of a core.
  void takeBack();
  /// How many the device has not taken since this was asked last.
  uint32_t takeFailed() { return failed_.exchange(0, std::memory_order_relaxed); }

 private:
  struct Ack {
    uint16_t length = 0;
    std::array<uint8_t, TunDevice::kMostReady> bytes;
  };

  void write(const Ack& ack);

  const int fd_;
  std::atomic<uint32_t> failed_{0};
  std::vector<Ack> added_;
  std::vector<Ack> left_;
  // Last: its thread ends before the rest does.
  Helper<Ack> helper_;
};

}  // namespace nekit
