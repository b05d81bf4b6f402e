#include "relay/closer.hh"

#include <utility>

#include "relay/helper-thread.hh"

namespace nekit {

Closer::Closer() { sem_init(&wake_, 0, 0); }

Closer::~Closer() {
  if (thread_.joinable()) {
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
    }
    sem_post(&wake_);
    thread_.join();
  }
  sem_destroy(&wake_);
}

void Closer::take(std::vector<std::unique_ptr<Flow>> flows) {
  if (!thread_.joinable()) {
    thread_ = startHelper("nekit-closer", [this] { run(); });
    usable_ = thread_.joinable();
    if (!usable_) return;
  }
  bool wake;
  {
    const std::lock_guard lock(mutex_);
    for (auto& flow : flows) queue_.push_back(std::move(flow));
    wake = std::exchange(asleep_, false);
  }
  if (wake) sem_post(&wake_);
}

std::vector<std::unique_ptr<Flow>> Closer::takeBack() {
  if (!thread_.joinable()) return {};
  const std::lock_guard lock(mutex_);
  return std::exchange(queue_, {});
}

void Closer::run() {
  std::unique_lock lock(mutex_);
  while (!stop_) {
    if (queue_.empty()) {
      asleep_ = true;
      lock.unlock();
      sem_wait(&wake_);  // also for nothing, where a signal comes
      lock.lock();
      continue;
    }
    auto flow = std::move(queue_.back());
    queue_.pop_back();
    lock.unlock();
    flow.reset();
    lock.lock();
  }
}

}  // namespace nekit
