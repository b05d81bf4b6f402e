#pragma once

#include <napi.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

namespace nekit {

/// Bytes of a Uint8Array, good until JavaScript runs again.
struct ByteRange {
  uint8_t* data;
  size_t length;
};

/// An error with a `code`, as everything in this project throws it.
inline Napi::Error codedError(Napi::Env env, const char* code, const std::string& message) {
  Napi::Error error = Napi::Error::New(env, message);
  error.Set("code", Napi::String::New(env, code));
  return error;
}

inline Napi::Error argumentError(Napi::Env env, const std::string& message) {
  return codedError(env, "ERR_INVALID_ARG_VALUE", message);
}

/// All bytes of a Uint8Array. Throws ERR_INVALID_ARG_VALUE for anything else.
inline ByteRange bytesOf(const Napi::Value& value, const char* name) {
  napi_typedarray_type type = napi_int8_array;
  size_t length = 0;
  void* data = nullptr;
  // Also tells what is no typed array at all, in the one call that is needed anyway.
  if (napi_get_typedarray_info(value.Env(), value, &type, &length, &data, nullptr, nullptr) != napi_ok ||
      type != napi_uint8_array)
    throw argumentError(value.Env(), std::string(name) + ": no Uint8Array");
  // An empty array may have no address, and libcrypto and memcpy want one.
  // Nothing is ever written there.
  static const uint8_t nothing = 0;
  return {data != nullptr ? static_cast<uint8_t*>(data) : const_cast<uint8_t*>(&nothing), length};
}

/// `start` to `end` of a Uint8Array; absent ones mean its ends. Throws ERR_INVALID_ARG_VALUE if they lie outside.
inline ByteRange rangeOf(const Napi::Value& value, const Napi::Value& start, const Napi::Value& end, const char* name) {
  const ByteRange all = bytesOf(value, name);
  const double from = start.IsUndefined() ? 0 : start.As<Napi::Number>().DoubleValue();
  const double to = end.IsUndefined() ? static_cast<double>(all.length) : end.As<Napi::Number>().DoubleValue();
  if (!(from >= 0 && from <= to && to <= static_cast<double>(all.length)) || from != std::floor(from) ||
      to != std::floor(to))
    throw argumentError(value.Env(), std::string(name) + ": the range lies outside of the bytes");
  return {all.data + static_cast<size_t>(from), static_cast<size_t>(to - from)};
}

/// A Uint8Array of exactly `length` bytes.
inline const uint8_t* bytesOfLength(const Napi::Value& value, size_t length, const char* name) {
  const ByteRange bytes = bytesOf(value, name);
  if (bytes.length != length)
    throw argumentError(value.Env(), std::string(name) + ": " + std::to_string(length) + " bytes are needed");
  return bytes.data;
}

/// A copy as a new Uint8Array.
inline Napi::Value toBytes(Napi::Env env, const std::vector<uint8_t>& bytes) {
  Napi::Uint8Array array = Napi::Uint8Array::New(env, bytes.size());
  if (!bytes.empty()) std::copy(bytes.begin(), bytes.end(), array.Data());
  return array;
}

}  // namespace nekit
