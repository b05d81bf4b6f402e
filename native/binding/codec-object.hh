// Codec for JavaScript: used in a handshake, then moved to the relay.
#pragma once

#include <napi.h>

#include <memory>

#include "cipher/codec.hh"
#include "cipher/shadowsocks-2022.hh"

namespace nekit {

/// new Codec(spec); the shape of `spec` is CodecSpec of core's native/cipher.ts.
class CodecObject : public Napi::ObjectWrap<CodecObject> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit CodecObject(const Napi::CallbackInfo& info);

  /// True for objects of this class, in any environment of this addon.
  static bool is(const Napi::Value& value);
  /// Null if dead, taken, or a JavaScript check is still to come.
  std::unique_ptr<Codec> take();

 private:
  void start2022(Napi::Env env, const Napi::Object& spec);
  void requireAlive(Napi::Env env);
  Napi::Value seal(const Napi::CallbackInfo& info);
  Napi::Value open(const Napi::CallbackInfo& info);
  Napi::Value sealPrologue(const Napi::CallbackInfo& info);
  Napi::Value prologuePending(const Napi::CallbackInfo& info);
  Napi::Value midRecord(const Napi::CallbackInfo& info);
  Napi::Value peerSalt(const Napi::CallbackInfo& info);
  Napi::Value user(const Napi::CallbackInfo& info);

  std::unique_ptr<ShadowsocksCodec> codec_;
  Shadowsocks2022* sip022_ = nullptr;  // codec_, if it is one
  bool busy_ = false;                  // inside a check of its own
};

}  // namespace nekit
