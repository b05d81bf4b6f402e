// The socket engine for JavaScript: class `Engine` (its TypeScript face: packages/core/src/native/addon.ts).
#pragma once

#include <napi.h>

namespace nekit {

void exportEngine(Napi::Env env, Napi::Object exports);

}  // namespace nekit
