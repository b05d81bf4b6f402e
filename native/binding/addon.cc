// The addon's entry: one instance per environment (main thread or worker), nothing global.
#include <napi.h>

#include "binding/cipher-binding.hh"
#include "binding/engine-binding.hh"

namespace nekit {

class Addon : public Napi::Addon<Addon> {
 public:
  Addon(Napi::Env, Napi::Object exports) {
    DefineAddon(exports, {InstanceValue("abi", Napi::Number::New(exports.Env(), 1), napi_enumerable)});
    exportEngine(exports.Env(), exports);
    exportCiphers(exports.Env(), exports);
  }
};

NODE_API_ADDON(Addon)

}  // namespace nekit
