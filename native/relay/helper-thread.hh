// The threads beside the event loop: how they begin, and one that takes work off the loop.
#pragma once

#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>

#include <cstddef>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace nekit {

// A thread with a name of at most 15 characters that gets no signals: those are the main thread's. Not joinable where there is no room for one.
// Where all cores are busy it does not interrupt who makes the bytes for every few of them, so one turn carries more. An idle core takes it at once all the same.
template <typename F>
std::thread startHelper(const char* name, F run) {
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  std::thread thread;
  try {
    thread = std::thread([name, run = std::move(run)] {
      pthread_setname_np(pthread_self(), name);
      const sched_param none{};
      pthread_setschedparam(pthread_self(), SCHED_BATCH, &none);
      run();
    });
  } catch (const std::exception&) {
    // The caller sees that it is not joinable.
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return thread;
}

// Cores that this process may use.
inline size_t coresAllowed() {
  cpu_set_t allowed;
  // More than 1,024 cores do not fit in the set.
  return sched_getaffinity(0, sizeof allowed, &allowed) == 0 ? static_cast<size_t>(CPU_COUNT(&allowed)) : std::thread::hardware_concurrency();
}

/**
 * A thread that does jobs, one after the other, while its owner goes on. What it has not come to, for want of a free core, its owner takes back and does itself, so that nothing waits for a busy
 * machine. A job that nobody has done or taken back is destroyed with the helper.
 */
template <typename Job>
class Helper {
 public:
  /// `work` is called on the thread, which begins with the first jobs. `name`: a literal of at most 15 characters.
  Helper(const char* name, std::function<void(Job&)> work) : name_(name), work_(std::move(work)), usable_(coresAllowed() > 1) { sem_init(&wake_, 0, 0); }

  ~Helper() {
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

  Helper(const Helper&) = delete;
  Helper& operator=(const Helper&) = delete;

  /// Whether there is a core for the thread, and room for it as far as is known.
  bool usable() const { return usable_; }

  /// Takes all of them, in their order, and leaves `jobs` empty. false: there is no thread, and they stay where they are.
  bool take(std::vector<Job>& jobs) {
    if (!usable_) return false;
    if (!thread_.joinable()) {
      thread_ = startHelper(name_, [this] { run(); });
      usable_ = thread_.joinable();
      if (!usable_) return false;
    }
    bool wake;
    {
      const std::lock_guard lock(mutex_);
      for (Job& job : jobs) queue_.push_back(std::move(job));
      wake = std::exchange(asleep_, false);
    }
    if (wake) sem_post(&wake_);
    jobs.clear();
    return true;
  }

  /// Appends to `jobs` those that the thread has not begun, in their order. It may still be at the one before them.
  void takeBack(std::vector<Job>& jobs) {
    if (!thread_.joinable()) return;
    const std::lock_guard lock(mutex_);
    for (; next_ < queue_.size(); ++next_) jobs.push_back(std::move(queue_[next_]));
    queue_.clear();
    next_ = 0;
  }

 private:
  void run() {
    std::unique_lock lock(mutex_);
    while (!stop_) {
      if (next_ == queue_.size()) {
        queue_.clear();
        next_ = 0;
        asleep_ = true;
        lock.unlock();
        sem_wait(&wake_);  // also for nothing, where a signal comes
        lock.lock();
        continue;
      }
      {
        Job job = std::move(queue_[next_++]);
        lock.unlock();
        work_(job);
      }  // destroyed without the lock
      lock.lock();
    }
  }

  const char* const name_;
  const std::function<void(Job&)> work_;
  // The owner's only.
  bool usable_;
  std::mutex mutex_;
  // Posted once for each time that the thread was asleep. (std::condition_variable needs a newer libstdc++ than the published addon may.)
  sem_t wake_;
  std::vector<Job> queue_;
  // Those in front of it are done, or in the thread's hand.
  size_t next_ = 0;
  bool asleep_ = false;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace nekit
