// Objects under ids that are numbers for JavaScript: a slot and a generation, so that an old id is not taken for the slot's new owner.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

namespace nekit {

template <typename T>
class Slots {
 public:
  static constexpr uint32_t kSlotBits = 20;
  static constexpr uint32_t kSlotMask = (1u << kSlotBits) - 1;
  // Ids stay positive as int32.
  static constexpr uint32_t kGenerations = 1u << (31 - kSlotBits);

  // 0: there are no slots left, and the object stays the caller's.
  int32_t add(std::unique_ptr<T>&& object) {
    uint32_t slot;
    if (!free_.empty()) {
      slot = free_.front();
      free_.pop_front();
    } else {
      if (entries_.size() > kSlotMask) return 0;
      slot = static_cast<uint32_t>(entries_.size());
      entries_.push_back({});
    }
    Entry& entry = entries_[slot];
    entry.generation = entry.generation + 1 == kGenerations ? 1 : entry.generation + 1;
    entry.object = std::move(object);
    size_++;
    return static_cast<int32_t>(entry.generation << kSlotBits | slot);
  }

  T* find(int32_t id) const {
    const uint32_t slot = static_cast<uint32_t>(id) & kSlotMask;
    if (id <= 0 || slot >= entries_.size()) return nullptr;
    const Entry& entry = entries_[slot];
    return entry.generation == static_cast<uint32_t>(id) >> kSlotBits ? entry.object.get() : nullptr;
  }

  std::unique_ptr<T> take(int32_t id) {
    if (find(id) == nullptr) return nullptr;
    const uint32_t slot = static_cast<uint32_t>(id) & kSlotMask;
    free_.push_back(slot);
    size_--;
    return std::move(entries_[slot].object);
  }

  template <typename F>
  void each(F&& visit) {
    for (Entry& entry : entries_)
      if (entry.object != nullptr) visit(*entry.object);
  }

  size_t size() const { return size_; }

 private:
  struct Entry {
    std::unique_ptr<T> object;
    uint32_t generation = 0;
  };
  std::vector<Entry> entries_;
  // Oldest first: an id comes again only after all other slots were used.
  std::deque<uint32_t> free_;
  size_t size_ = 0;
};

}  // namespace nekit
