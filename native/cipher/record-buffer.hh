#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace nekit {

/// Makes records of a known size out of wire bytes in any fragmentation. A record that lies whole in the wire bytes is
/// not copied.
class RecordBuffer {
 public:
  /**
   * `size` contiguous bytes, or null after having kept what there is of them. `wire` and `length` move on. What is
   * returned is good until the next call or the end of the wire bytes. An unfinished record costs its own size and no
   * more.
   */
  const uint8_t* take(size_t size, const uint8_t*& wire, size_t& length);
  /// Bytes kept of a record that is not whole.
  size_t pending() const { return spent_ ? 0 : kept_.size(); }

 private:
  std::vector<uint8_t> kept_;
  bool spent_ = false;
};

}  // namespace nekit
