// A thread that closes what has ended, while the event loop goes on: closing is a sixth of what a short connection costs, and the loop's core is the one that is short.
#pragma once

#include <semaphore.h>

#include <cstddef>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "relay/flow.hh"

namespace nekit {

class Closer {
 public:
  Closer();
  // Closes what is left.
  ~Closer();
  Closer(const Closer&) = delete;
  Closer& operator=(const Closer&) = delete;

  // Whether it would take so many. Waking it for one costs as much as closing that.
  bool wants(size_t flows) const { return usable_ && flows >= kWorthWaking; }
  // Flows that are in no epoll any more: closing takes a descriptor out of those that it is in, and would lock them.
  void take(std::vector<std::unique_ptr<Flow>> flows);
  // What it has not come to, for want of a free core, is the caller's again. So nothing waits for longer than from one call to the next.
  std::vector<std::unique_ptr<Flow>> takeBack();

 private:
  static constexpr size_t kWorthWaking = 2;

  void run();

  // Only the owner's: there is a core for a thread, and room.
  bool usable_ = std::thread::hardware_concurrency() > 1;
  std::mutex mutex_;
  // Posted once for each time that it was asleep. (std::condition_variable needs a newer libstdc++ than the published addon may.)
  sem_t wake_;
  std::vector<std::unique_ptr<Flow>> queue_;
  bool asleep_ = false;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace nekit
