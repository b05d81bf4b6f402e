// Arguments of calls from JavaScript, read without trust and without allocation.
#pragma once

#include <napi.h>

#include <cstddef>
#include <cstdint>

namespace nekit {

struct Bytes {
  uint8_t* data = nullptr;
  size_t length = 0;
};

// The memory of a Uint8Array, or nothing where it is none. Valid until the call returns, or as long as the array is referenced.
inline Bytes bytesOf(napi_env env, napi_value value) {
  napi_typedarray_type type;
  size_t length = 0;
  void* data = nullptr;
  if (napi_get_typedarray_info(env, value, &type, &length, &data, nullptr, nullptr) != napi_ok || type != napi_uint8_array) return {};
  return {static_cast<uint8_t*>(data), length};
}

// The part [start, end) of a Uint8Array; nothing where it is no part of it.
inline Bytes rangeOf(const Napi::CallbackInfo& info, size_t first) {
  const Bytes whole = bytesOf(info.Env(), info[first]);
  uint32_t start = 0;
  uint32_t end = 0;
  if (napi_get_value_uint32(info.Env(), info[first + 1], &start) != napi_ok) return {};
  if (napi_get_value_uint32(info.Env(), info[first + 2], &end) != napi_ok) return {};
  if (whole.data == nullptr || start > end || end > whole.length) return {};
  return {whole.data + start, end - start};
}

// 0 where it is no number.
inline int32_t intOf(const Napi::CallbackInfo& info, size_t index) {
  int32_t value = 0;
  napi_get_value_int32(info.Env(), info[index], &value);
  return value;
}

// -1 where it is no number that a descriptor can be: napi_get_value_int32 would make another one of it.
inline int descriptorOf(const Napi::CallbackInfo& info, size_t index) {
  double value = -1;
  if (napi_get_value_double(info.Env(), info[index], &value) != napi_ok || !(value >= 0 && value <= INT32_MAX)) return -1;
  return static_cast<int>(value);
}

inline bool flagOf(const Napi::CallbackInfo& info, size_t index) {
  bool value = false;
  napi_get_value_bool(info.Env(), info[index], &value);
  return value;
}

}  // namespace nekit
