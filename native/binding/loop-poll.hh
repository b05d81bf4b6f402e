// Calls back on the environment's own event loop when a descriptor is readable. Closes itself with the environment.
#pragma once

#include <napi.h>

#include <functional>

struct uv_poll_s;

namespace nekit {

class LoopPoll {
 public:
  // `heard` runs on the loop with a handle scope open; `closed` once, when no call will follow: after `close`, or when the environment ends.
  // Returns null and throws a JavaScript error where the loop has no such handles.
  static LoopPoll* open(Napi::Env env, int fd, std::function<void()> heard, std::function<void()> closed);

  // Whether it keeps the loop alive.
  void hold(bool alive);
  // Idempotent. The object deletes itself afterwards.
  void close();

 private:
  LoopPoll(Napi::Env env, std::function<void()> heard, std::function<void()> closed);
  ~LoopPoll() = default;
  static void onPoll(uv_poll_s* handle, int status, int events);

  napi_env env_;
  std::function<void()> heard_;
  std::function<void()> closed_;
  void* handle_ = nullptr;
  napi_async_cleanup_hook_handle hook_ = nullptr;
  bool held_ = true;
  bool closing_ = false;
};

}  // namespace nekit
