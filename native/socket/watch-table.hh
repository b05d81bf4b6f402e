// Who an epoll event is for. The epoll holds numbers, not pointers: an event that comes late, when its descriptor has been closed (also
// while a child process that is being made has copies of all descriptors, which keep them in the epoll), finds nobody.
#pragma once

#include <cstdint>
#include <vector>

namespace nekit {

// What can be watched: knows its place in the table.
struct Watched {
  enum class Kind : uint8_t { kConn, kListener, kUdp, kWake, kTimer };
  explicit Watched(Kind k) : kind(k) {}
  Kind kind;
  // 0: not watched.
  uint64_t token = 0;
};

class WatchTable {
 public:
  void add(Watched& what) {
    uint32_t slot;
    if (!free_.empty()) {
      slot = free_.back();
      free_.pop_back();
    } else {
      slot = static_cast<uint32_t>(entries_.size());
      entries_.push_back({});
    }
    Entry& entry = entries_[slot];
    entry.what = &what;
    // 2^32 times round one slot within the life of one event: it cannot be.
    what.token = static_cast<uint64_t>(++entry.generation) << 32 | slot;
  }

  // null: it is gone.
  Watched* find(uint64_t token) const {
    const auto slot = static_cast<uint32_t>(token);
    if (slot >= entries_.size()) return nullptr;
    const Entry& entry = entries_[slot];
    return entry.generation == static_cast<uint32_t>(token >> 32) ? entry.what : nullptr;
  }

  void remove(Watched& what) {
    if (what.token == 0) return;
    const auto slot = static_cast<uint32_t>(what.token);
    entries_[slot].what = nullptr;
    free_.push_back(slot);
    what.token = 0;
  }

 private:
  struct Entry {
    Watched* what = nullptr;
    uint32_t generation = 0;
  };
  std::vector<Entry> entries_;
  std::vector<uint32_t> free_;
};

}  // namespace nekit
