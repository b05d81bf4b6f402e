// The socket engine for JavaScript: class `Engine` (its TypeScript face: packages/core/src/native/addon.ts).
#pragma once

#include <napi.h>

namespace nekit {

class Engine;

/// An object of class `Engine`, for others who work with its conns. It lives as long as the object.
class EngineOwner {
 public:
  virtual ~EngineOwner() = default;
  virtual Engine* engine() = 0;
};

/// null where it is no such object.
EngineOwner* engineOwnerOf(napi_env env, napi_value value);

void exportEngine(Napi::Env env, Napi::Object exports);

}  // namespace nekit
