// A thread that carries bulk. Flows are handed to it whole; how they end comes back in batches.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "relay/flow-set.hh"

namespace nekit {

class RelayThread {
 public:
  // `wakeFd`: an eventfd that is written to when `takeEnded` has something new.
  explicit RelayThread(int wakeFd);
  // Resets all flows that are left.
  ~RelayThread();

  // Call before `take`. False: there is no room for a thread.
  bool start();
  // The flow's sockets must be in no epoll.
  void take(std::unique_ptr<Flow> flow);
  void abort(uint32_t id);
  std::vector<EndedFlow> takeEnded();

  // Flows that it has: its owner counts them.
  size_t load = 0;

 private:
  bool usable() const { return epoll_ >= 0 && wake_ >= 0; }
  void run();

  const int wakeFd_;
  int epoll_ = -1;
  int wake_ = -1;
  std::thread thread_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Flow>> inbox_;
  std::vector<uint32_t> aborts_;
  std::vector<EndedFlow> outbox_;
  bool stop_ = false;
};

}  // namespace nekit
