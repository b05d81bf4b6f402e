#include "cipher/record-buffer.hh"

#include <algorithm>

namespace nekit {
namespace {

/// What an idle connection may keep allocated.
constexpr size_t kKeepAllocated = 64;

}  // namespace

const uint8_t* RecordBuffer::take(size_t size, const uint8_t*& wire, size_t& length) {
  if (spent_) {
    if (kept_.capacity() > kKeepAllocated)
      std::vector<uint8_t>().swap(kept_);
    else
      kept_.clear();
    spent_ = false;
  }
  if (kept_.empty() && length >= size) {
    const uint8_t* record = wire;
    wire += size;
    length -= size;
    return record;
  }
  if (length == 0) return nullptr;
  kept_.reserve(size);
  const size_t part = std::min(size - kept_.size(), length);
  kept_.insert(kept_.end(), wire, wire + part);
  wire += part;
  length -= part;
  spent_ = kept_.size() == size;
  return spent_ ? kept_.data() : nullptr;
}

}  // namespace nekit
