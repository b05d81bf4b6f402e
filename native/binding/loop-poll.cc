#include "binding/loop-poll.hh"

#include <cstdlib>
#include <cstring>

#include "binding/uv.hh"

namespace nekit {

LoopPoll::LoopPoll(Napi::Env env, std::function<void()> heard, std::function<void()> closed)
    : env_(env), heard_(std::move(heard)), closed_(std::move(closed)) {}

LoopPoll* LoopPoll::open(Napi::Env env, int fd, std::function<void()> heard, std::function<void()> closed) {
  uv_loop_s* loop = nullptr;
  const char* name = uv_handle_type_name(kUvPoll);
  if (name == nullptr || std::strcmp(name, "poll") != 0 || napi_get_uv_event_loop(env, &loop) != napi_ok) {
    Napi::Error::New(env, "this runtime has no libuv loop to poll on").ThrowAsJavaScriptException();
    return nullptr;
  }
  auto* self = new LoopPoll(env, std::move(heard), std::move(closed));
  self->handle_ = std::calloc(1, uv_handle_size(kUvPoll));
  auto* poll = static_cast<uv_poll_s*>(self->handle_);
  if (self->handle_ == nullptr || uv_poll_init(loop, poll, fd) != 0) {
    std::free(self->handle_);
    delete self;
    Napi::Error::New(env, "the event loop refuses to poll").ThrowAsJavaScriptException();
    return nullptr;
  }
  dataOf(self->handle_) = self;
  uv_poll_start(poll, kUvReadable, &LoopPoll::onPoll);
  napi_add_async_cleanup_hook(
      env, [](napi_async_cleanup_hook_handle, void* data) { static_cast<LoopPoll*>(data)->close(); }, self, &self->hook_);
  return self;
}

void LoopPoll::onPoll(uv_poll_s* handle, int status, int) {
  auto* it = static_cast<LoopPoll*>(dataOf(handle));
  if (it->closing_) return;
  const Napi::HandleScope scope(it->env_);
  it->heard_();
  // libuv has stopped after an error. Who was called may not have seen it yet (a TUN that is being removed says EAGAIN for a moment), and is called again until it closes this.
  if (status < 0 && !it->closing_) uv_poll_start(handle, kUvReadable, &LoopPoll::onPoll);
}

void LoopPoll::hold(bool alive) {
  if (closing_ || alive == held_) return;
  held_ = alive;
  auto* handle = static_cast<uv_handle_s*>(handle_);
  if (alive) uv_ref(handle);
  else uv_unref(handle);
}

void LoopPoll::close() {
  if (closing_) return;
  closing_ = true;
  uv_poll_stop(static_cast<uv_poll_s*>(handle_));
  closed_();  // what is polled may be closed from here on
  uv_close(static_cast<uv_handle_s*>(handle_), [](uv_handle_s* handle) {
    auto* it = static_cast<LoopPoll*>(dataOf(handle));
    std::free(it->handle_);
    napi_remove_async_cleanup_hook(it->hook_);
    delete it;
  });
}

}  // namespace nekit
