// The addon's entry: one instance per environment (main thread or worker), nothing global.
#include <malloc.h>
#include <napi.h>

#include "binding/cipher-binding.hh"
#include "binding/engine-binding.hh"
#include "binding/tun-binding.hh"

namespace nekit {

// Gives memory that is free inside malloc back to the system, where malloc has a call for it.
void trim(const Napi::CallbackInfo&) {
#ifdef __GLIBC__
  malloc_trim(0);
#endif
}

class Addon : public Napi::Addon<Addon> {
 public:
  Addon(Napi::Env, Napi::Object exports) {
    DefineAddon(exports, {InstanceValue("abi", Napi::Number::New(exports.Env(), 4), napi_enumerable)});
    exportEngine(exports.Env(), exports);
    exportCiphers(exports.Env(), exports);
    exportTun(exports.Env(), exports);
    exports.Set("trim", Napi::Function::New<trim>(exports.Env(), "trim"));
  }
};

NODE_API_ADDON(Addon)

}  // namespace nekit
