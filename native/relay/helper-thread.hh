// How the threads beside the event loop begin.
#pragma once

#include <pthread.h>
#include <sched.h>
#include <signal.h>

#include <exception>
#include <thread>
#include <utility>

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

}  // namespace nekit
