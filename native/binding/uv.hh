// The few functions of libuv that a poll handle needs. They are those of the running node, which exports them; its header is not on every machine.
#pragma once

#include <cstddef>

extern "C" {
struct uv_loop_s;
struct uv_handle_s;
struct uv_poll_s;
typedef void (*nekit_uv_poll_cb)(uv_poll_s* handle, int status, int events);
typedef void (*nekit_uv_close_cb)(uv_handle_s* handle);
int uv_poll_init(uv_loop_s* loop, uv_poll_s* handle, int fd);
int uv_poll_start(uv_poll_s* handle, int events, nekit_uv_poll_cb callback);
int uv_poll_stop(uv_poll_s* handle);
void uv_close(uv_handle_s* handle, nekit_uv_close_cb callback);
void uv_ref(uv_handle_s* handle);
void uv_unref(uv_handle_s* handle);
size_t uv_handle_size(int type);
const char* uv_handle_type_name(int type);
}

namespace nekit {

constexpr int kUvPoll = 8;       // UV_POLL: the same in all versions since 1.0; the name is checked at run time
constexpr int kUvReadable = 1;   // UV_READABLE

// `data` is the first field of every handle.
inline void*& dataOf(void* handle) { return *static_cast<void**>(handle); }

}  // namespace nekit
