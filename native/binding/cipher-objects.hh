// Aead, StreamCipher and AesBlock for JavaScript.
#pragma once

#include <napi.h>

#include <memory>

#include "cipher/aead.hh"
#include "cipher/aes-block.hh"
#include "cipher/shadowsocks-packet.hh"
#include "cipher/stream-cipher.hh"

namespace nekit {

/// new Aead(method, key): one key, both directions.
class AeadObject : public Napi::ObjectWrap<AeadObject> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit AeadObject(const Napi::CallbackInfo& info);

 private:
  Aead& half(Napi::Env env, Aead::Use use);
  const uint8_t* nonce(const Napi::Value& value) const;
  Napi::Value seal(const Napi::CallbackInfo& info);
  Napi::Value open(const Napi::CallbackInfo& info);
  Napi::Value sealRun(const Napi::CallbackInfo& info);
  Napi::Value openRun(const Napi::CallbackInfo& info);
  void Finalize(Napi::Env env) override;

  const AeadInfo* method_ = nullptr;
  uint8_t key_[kMaxKeyLength] = {};
  std::unique_ptr<Aead> sealer_;
  std::unique_ptr<Aead> opener_;
};

/// new PacketAead(method, key): datagrams of Shadowsocks, both directions.
class PacketAeadObject : public Napi::ObjectWrap<PacketAeadObject> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit PacketAeadObject(const Napi::CallbackInfo& info);

 private:
  Napi::Value seal(const Napi::CallbackInfo& info);
  Napi::Value open(const Napi::CallbackInfo& info);

  std::unique_ptr<PacketAead> packets_;
};

/// new StreamCipher(method, key, iv, encrypt): one direction of a stream.
class StreamCipherObject : public Napi::ObjectWrap<StreamCipherObject> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit StreamCipherObject(const Napi::CallbackInfo& info);

 private:
  void process(const Napi::CallbackInfo& info);

  std::unique_ptr<StreamCipher> cipher_;
};

/// new AesBlock(key, encrypt): single blocks in place.
class AesBlockObject : public Napi::ObjectWrap<AesBlockObject> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit AesBlockObject(const Napi::CallbackInfo& info);

 private:
  void process(const Napi::CallbackInfo& info);

  AesBlock block_;
};

}  // namespace nekit
