// TUN devices for JavaScript: class `Tun` and function `netlink` (their TypeScript face: packages/core/src/native/tun-addon.ts).
#pragma once

#include <napi.h>

namespace nekit {

void exportTun(Napi::Env env, Napi::Object exports);

}  // namespace nekit
