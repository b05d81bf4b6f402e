#include "binding/codec-object.hh"

#include <cstring>
#include <string>

#include "binding/byte-range.hh"
#include "cipher/shadowsocks-aead.hh"
#include "cipher/shadowsocks-stream.hh"

namespace nekit {
namespace {

// Random; tells our objects from those of other addons.
constexpr napi_type_tag kCodecTag = {0x6e656b6974434f44, 0x91b4c07f35a2e8d6};

constexpr char kCheckName[] = "check";

std::vector<uint8_t> copyOf(const Napi::Value& value, const char* name) {
  if (value.IsUndefined()) return {};
  const ByteRange bytes = bytesOf(value, name);
  return {bytes.data, bytes.data + bytes.length};
}

std::vector<std::vector<uint8_t>> copiesOf(const Napi::Value& value, const char* name) {
  std::vector<std::vector<uint8_t>> copies;
  if (value.IsUndefined()) return copies;
  if (!value.IsArray()) throw argumentError(value.Env(), std::string(name) + ": no array");
  const Napi::Array array = value.As<Napi::Array>();
  for (uint32_t i = 0; i < array.Length(); ++i) copies.push_back(copyOf(array.Get(i), name));
  return copies;
}

std::string textOf(const Napi::Value& value) {
  return value.IsString() ? value.As<Napi::String>().Utf8Value() : std::string();
}

/// "CODE: text" of Codec::error() as an error with that code.
Napi::Error codecError(Napi::Env env, const char* error) {
  const char* colon = std::strchr(error, ':');
  return codedError(env, std::string(error, colon).c_str(), colon + 2);
}

}  // namespace

Napi::Function CodecObject::define(Napi::Env env) {
  return DefineClass(
      env, "Codec",
      {InstanceMethod<&CodecObject::seal>("seal"), InstanceMethod<&CodecObject::open>("open"),
       InstanceMethod<&CodecObject::sealPrologue>("sealPrologue"),
       InstanceAccessor<&CodecObject::prologuePending>("prologuePending"),
       InstanceAccessor<&CodecObject::midRecord>("midRecord"), InstanceAccessor<&CodecObject::peerSalt>("peerSalt"),
       InstanceAccessor<&CodecObject::salt>("salt"), InstanceAccessor<&CodecObject::user>("user")});
}

CodecObject::CodecObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<CodecObject>(info) {
  const Napi::Env env = info.Env();
  if (!info[0].IsObject()) throw argumentError(env, "spec: no object");
  const Napi::Object spec = info[0].As<Napi::Object>();
  const std::string kind = textOf(spec.Get("kind"));
  const std::string method = textOf(spec.Get("method"));
  if (kind == "2022") {
    start2022(env, spec);
  } else {
    const ByteRange key = bytesOf(spec.Get("key"), "key");
    std::vector<uint8_t> header = copyOf(spec.Get("header"), "header");
    const AeadInfo* aead = kind == "aead" ? aeadByName(method.c_str()) : nullptr;
    const StreamMethod* stream = kind == "stream" ? streamMethod(method.c_str()) : nullptr;
    if (aead != nullptr) codec_ = ShadowsocksAead::create(aead->method, key.data, key.length, std::move(header));
    if (stream != nullptr) codec_ = ShadowsocksStream::create(*stream, key.data, key.length, std::move(header));
  }
  if (codec_ == nullptr)
    throw argumentError(env, "spec: no such kind or method, or a key or header of the wrong length");
  if (napi_type_tag_object(env, info.This(), &kCodecTag) != napi_ok)
    throw codedError(env, "CIPHER_FAILED", "the object cannot be tagged");
}

void CodecObject::start2022(Napi::Env env, const Napi::Object& spec) {
  Shadowsocks2022Options options;
  const std::string role = textOf(spec.Get("role"));
  const std::string method = textOf(spec.Get("method"));
  const std::string prefix = "2022-blake3-";
  if (method.compare(0, prefix.size(), prefix) != 0) return;
  const std::string inner = method.substr(prefix.size());
  const AeadInfo* aead = aeadByName(inner == "chacha20-poly1305" ? "chacha20-ietf-poly1305" : inner.c_str());
  if (aead == nullptr || (role != "client" && role != "server")) return;
  options.method = aead->method;
  options.server = role == "server";
  options.keys = copiesOf(spec.Get("keys"), "keys");
  options.users = copiesOf(spec.Get("users"), "users");
  options.header = copyOf(spec.Get("header"), "header");
  if (spec.Get("clockOffset").IsNumber()) options.clockOffset = spec.Get("clockOffset").As<Napi::Number>().Int64Value();
  if (spec.Get("check").IsFunction()) {
    // Kept by the JavaScript object, not by a reference of ours: a check that mentions its own codec would keep both
    // for ever.
    Value().DefineProperty(Napi::PropertyDescriptor::Value(kCheckName, spec.Get("check")));
    options.check = [this, env](const uint8_t* header, size_t length) {
      // Called only from open() below: in this thread, inside a call from JavaScript.
      const Napi::Function check = Value().Get(kCheckName).As<Napi::Function>();
      return check.Call({toBytes(env, {header, header + length}), toBytes(env, codec_->peerSalt())})
          .ToBoolean()
          .Value();
    };
  }
  std::unique_ptr<Shadowsocks2022> codec = Shadowsocks2022::create(std::move(options));
  sip022_ = codec.get();
  codec_ = std::move(codec);
}

bool CodecObject::is(const Napi::Value& value) {
  bool tagged = false;
  return value.IsObject() && napi_check_object_type_tag(value.Env(), value, &kCodecTag, &tagged) == napi_ok && tagged;
}

std::unique_ptr<Codec> CodecObject::take() {
  if (codec_ == nullptr || busy_ || codec_->error() != nullptr || (sip022_ != nullptr && sip022_->checkPending()))
    return nullptr;
  sip022_ = nullptr;
  return std::move(codec_);
}

void CodecObject::requireAlive(Napi::Env env) {
  if (codec_ == nullptr || busy_)
    throw codedError(env, "CIPHER_MOVED", "the codec has been given away, is in use or has ended");
  if (codec_->error() != nullptr) throw codecError(env, codec_->error());
}

/// seal(plain): Uint8Array
Napi::Value CodecObject::seal(const Napi::CallbackInfo& info) {
  requireAlive(info.Env());
  const ByteRange plain = bytesOf(info[0], "plain");
  std::vector<uint8_t> wire;
  codec_->seal(plain.data, plain.length, wire);
  requireAlive(info.Env());
  return toBytes(info.Env(), wire);
}

/// open(wire): Uint8Array. Throws with `code`.
Napi::Value CodecObject::open(const Napi::CallbackInfo& info) {
  requireAlive(info.Env());
  const ByteRange wire = bytesOf(info[0], "wire");
  std::vector<uint8_t> plain;
  // A check may run JavaScript, which may detach the array.
  const bool foreign = sip022_ != nullptr && sip022_->checkPending();
  const std::vector<uint8_t> copy(wire.data, wire.data + (foreign ? wire.length : 0));
  busy_ = true;
  try {
    codec_->open(foreign ? copy.data() : wire.data, wire.length, plain);
  } catch (...) {
    // The check threw: what it read is half done, so nothing may go on with it.
    codec_.reset();
    sip022_ = nullptr;
    busy_ = false;
    throw;
  }
  busy_ = false;
  requireAlive(info.Env());
  return toBytes(info.Env(), plain);
}

Napi::Value CodecObject::sealPrologue(const Napi::CallbackInfo& info) {
  requireAlive(info.Env());
  std::vector<uint8_t> wire;
  codec_->sealPrologue(wire);
  requireAlive(info.Env());
  return toBytes(info.Env(), wire);
}

Napi::Value CodecObject::prologuePending(const Napi::CallbackInfo& info) {
  return Napi::Boolean::New(info.Env(), codec_ != nullptr && codec_->prologuePending());
}

/// false for one that is dead or given away.
Napi::Value CodecObject::midRecord(const Napi::CallbackInfo& info) {
  return Napi::Boolean::New(info.Env(), codec_ != nullptr && codec_->error() == nullptr && codec_->midRecord());
}

/// Uint8Array, empty before the salt came.
Napi::Value CodecObject::peerSalt(const Napi::CallbackInfo& info) {
  return toBytes(info.Env(), codec_ != nullptr ? codec_->peerSalt() : std::vector<uint8_t>());
}

/// Uint8Array, empty where the method has none, or the codec has been given away.
Napi::Value CodecObject::salt(const Napi::CallbackInfo& info) {
  return toBytes(info.Env(), codec_ != nullptr ? codec_->salt() : std::vector<uint8_t>());
}

/// Index into `users`, -1 without.
Napi::Value CodecObject::user(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), sip022_ != nullptr ? sip022_->user() : -1);
}

}  // namespace nekit
