#include "binding/cipher-objects.hh"

#include <cstring>
#include <string>

#include "binding/byte-range.hh"
#include "cipher/chunk-run.hh"

namespace nekit {
namespace {

Napi::Error failed(Napi::Env env) { return codedError(env, "CIPHER_FAILED", "the cryptographic library failed"); }

void throwRun(Napi::Env env, RunStatus status) {
  switch (status) {
    case RunStatus::Ok:
      return;
    case RunStatus::NotAuthentic:
      throw codedError(env, "CIPHER_AUTH", "authentication failed: wrong password or cipher, or altered bytes");
    case RunStatus::TooLong:
      throw codedError(env, "CIPHER_PROTOCOL", "a chunk is longer than the protocol allows");
    case RunStatus::Exhausted:
      throw codedError(env, "CIPHER_EXHAUSTED", "the nonce counter has come to its end");
    case RunStatus::Failed:
      throw failed(env);
  }
}

size_t maxPayloadOf(const Napi::Value& value) {
  const double number = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : 0;
  if (!(number >= 1 && number <= 0xffff)) throw argumentError(value.Env(), "maxPayload: 1 to 65535");
  return static_cast<size_t>(number);
}

}  // namespace

Napi::Function AeadObject::define(Napi::Env env) {
  return DefineClass(
      env, "Aead",
      {InstanceMethod<&AeadObject::seal>("seal"), InstanceMethod<&AeadObject::open>("open"),
       InstanceMethod<&AeadObject::sealRun>("sealRun"), InstanceMethod<&AeadObject::openRun>("openRun")});
}

AeadObject::AeadObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<AeadObject>(info) {
  method_ = info[0].IsString() ? aeadByName(info[0].As<Napi::String>().Utf8Value().c_str()) : nullptr;
  if (method_ == nullptr) throw argumentError(info.Env(), "method: no such AEAD");
  std::memcpy(key_, bytesOfLength(info[1], method_->keyLength, "key"), method_->keyLength);
}

void AeadObject::Finalize(Napi::Env) { wipe(key_, sizeof(key_)); }

Aead& AeadObject::half(Napi::Env env, Aead::Use use) {
  std::unique_ptr<Aead>& aead = use == Aead::Use::Seal ? sealer_ : opener_;
  if (aead == nullptr) aead = Aead::create(method_->method, key_, use);
  if (aead == nullptr) throw failed(env);
  return *aead;
}

const uint8_t* AeadObject::nonce(const Napi::Value& value) const {
  return bytesOfLength(value, method_->nonceLength, "nonce");
}

/// seal(nonce, plain, start, end, out, outStart, aad?): bytes written
Napi::Value AeadObject::seal(const Napi::CallbackInfo& info) {
  const uint8_t* nonceBytes = nonce(info[0]);
  const ByteRange plain = rangeOf(info[1], info[2], info[3], "plain");
  const ByteRange out = rangeOf(info[4], info[5], info.Env().Undefined(), "out");
  const ByteRange aad = info[6].IsUndefined() ? ByteRange{nullptr, 0} : bytesOf(info[6], "aad");
  if (out.length < plain.length + kTagLength) throw argumentError(info.Env(), "out: too short");
  if (!half(info.Env(), Aead::Use::Seal).seal(nonceBytes, plain.data, plain.length, out.data, aad.data, aad.length))
    throw failed(info.Env());
  return Napi::Number::New(info.Env(), static_cast<double>(plain.length + kTagLength));
}

/// open(nonce, sealed, start, end, out, outStart, aad?): bytes written, -1 if not authentic
Napi::Value AeadObject::open(const Napi::CallbackInfo& info) {
  const uint8_t* nonceBytes = nonce(info[0]);
  const ByteRange sealed = rangeOf(info[1], info[2], info[3], "sealed");
  const ByteRange out = rangeOf(info[4], info[5], info.Env().Undefined(), "out");
  const ByteRange aad = info[6].IsUndefined() ? ByteRange{nullptr, 0} : bytesOf(info[6], "aad");
  if (sealed.length < kTagLength) return Napi::Number::New(info.Env(), -1);
  if (out.length < sealed.length - kTagLength) throw argumentError(info.Env(), "out: too short");
  const bool authentic =
      half(info.Env(), Aead::Use::Open).open(nonceBytes, sealed.data, sealed.length, out.data, aad.data, aad.length);
  return Napi::Number::New(info.Env(), authentic ? static_cast<double>(sealed.length - kTagLength) : -1);
}

/// sealRun(nonce, plain, start, end, maxPayload, out, outStart): bytes written; nonce moves on
Napi::Value AeadObject::sealRun(const Napi::CallbackInfo& info) {
  nonce(info[0]);
  const ByteRange nonceBytes = bytesOf(info[0], "nonce");
  const ByteRange plain = rangeOf(info[1], info[2], info[3], "plain");
  const size_t maxPayload = maxPayloadOf(info[4]);
  const ByteRange out = rangeOf(info[5], info[6], info.Env().Undefined(), "out");
  const size_t length = sealedRunLength(plain.length, maxPayload);
  if (out.length < length) throw argumentError(info.Env(), "out: too short");
  NonceCounter counter(nonceBytes.data, nonceBytes.length);
  const RunStatus status =
      nekit::sealRun(half(info.Env(), Aead::Use::Seal), counter, plain.data, plain.length, maxPayload, out.data);
  std::memcpy(nonceBytes.data, counter.bytes(), nonceBytes.length);
  throwRun(info.Env(), status);
  return Napi::Number::New(info.Env(), static_cast<double>(length));
}

/// openRun(nonce, wire, start, end, maxPayload, out, outStart, progress): progress = [consumed, produced]; nonce moves
/// on
Napi::Value AeadObject::openRun(const Napi::CallbackInfo& info) {
  nonce(info[0]);
  const ByteRange nonceBytes = bytesOf(info[0], "nonce");
  const ByteRange wire = rangeOf(info[1], info[2], info[3], "wire");
  const size_t maxPayload = maxPayloadOf(info[4]);
  const ByteRange out = rangeOf(info[5], info[6], info.Env().Undefined(), "out");
  if (!info[7].IsTypedArray() || info[7].As<Napi::TypedArray>().TypedArrayType() != napi_uint32_array ||
      info[7].As<Napi::Uint32Array>().ElementLength() < 2)
    throw argumentError(info.Env(), "progress: no Uint32Array of 2");
  if (out.length < wire.length) throw argumentError(info.Env(), "out: too short");
  NonceCounter counter(nonceBytes.data, nonceBytes.length);
  RunProgress progress{};
  const RunStatus status = nekit::openRun(half(info.Env(), Aead::Use::Open), counter, wire.data, wire.length,
                                          maxPayload, out.data, progress);
  std::memcpy(nonceBytes.data, counter.bytes(), nonceBytes.length);
  uint32_t* report = info[7].As<Napi::Uint32Array>().Data();
  report[0] = static_cast<uint32_t>(progress.consumed);
  report[1] = static_cast<uint32_t>(progress.produced);
  throwRun(info.Env(), status);
  return info.Env().Undefined();
}

Napi::Function PacketAeadObject::define(Napi::Env env) {
  return DefineClass(
      env, "PacketAead",
      {InstanceMethod<&PacketAeadObject::seal>("seal"), InstanceMethod<&PacketAeadObject::open>("open")});
}

PacketAeadObject::PacketAeadObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<PacketAeadObject>(info) {
  const AeadInfo* method = info[0].IsString() ? aeadByName(info[0].As<Napi::String>().Utf8Value().c_str()) : nullptr;
  if (method == nullptr) throw argumentError(info.Env(), "method: no such AEAD");
  packets_ = PacketAead::create(method->method, bytesOfLength(info[1], method->keyLength, "key"));
  if (packets_ == nullptr) throw failed(info.Env());
}

/// seal(plain, start, end, out, outStart): bytes written
Napi::Value PacketAeadObject::seal(const Napi::CallbackInfo& info) {
  const ByteRange plain = rangeOf(info[0], info[1], info[2], "plain");
  const ByteRange out = rangeOf(info[3], info[4], info.Env().Undefined(), "out");
  const size_t length = packets_->saltLength() + plain.length + kTagLength;
  if (out.length < length) throw argumentError(info.Env(), "out: too short");
  if (!packets_->seal(plain.data, plain.length, out.data)) throw failed(info.Env());
  return Napi::Number::New(info.Env(), static_cast<double>(length));
}

/// open(packet, start, end, out, outStart): bytes written, -1 if not authentic
Napi::Value PacketAeadObject::open(const Napi::CallbackInfo& info) {
  const ByteRange packet = rangeOf(info[0], info[1], info[2], "packet");
  const ByteRange out = rangeOf(info[3], info[4], info.Env().Undefined(), "out");
  const size_t overhead = packets_->saltLength() + kTagLength;
  if (packet.length < overhead) return Napi::Number::New(info.Env(), -1);
  if (out.length < packet.length - overhead) throw argumentError(info.Env(), "out: too short");
  const bool authentic = packets_->open(packet.data, packet.length, out.data);
  return Napi::Number::New(info.Env(), authentic ? static_cast<double>(packet.length - overhead) : -1);
}

Napi::Function StreamCipherObject::define(Napi::Env env) {
  return DefineClass(env, "StreamCipher", {InstanceMethod<&StreamCipherObject::process>("process")});
}

StreamCipherObject::StreamCipherObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<StreamCipherObject>(info) {
  const StreamMethod* method =
      info[0].IsString() ? streamMethod(info[0].As<Napi::String>().Utf8Value().c_str()) : nullptr;
  if (method == nullptr) throw argumentError(info.Env(), "method: no such stream cipher");
  const uint8_t* key = bytesOfLength(info[1], method->keyLength, "key");
  const uint8_t* iv = bytesOfLength(info[2], method->ivLength, "iv");
  cipher_ = StreamCipher::create(*method, key, iv, info[3].ToBoolean());
  if (cipher_ == nullptr) throw failed(info.Env());
}

/// process(bytes, start, end, out, outStart)
void StreamCipherObject::process(const Napi::CallbackInfo& info) {
  const ByteRange in = rangeOf(info[0], info[1], info[2], "bytes");
  const ByteRange out = rangeOf(info[3], info[4], info.Env().Undefined(), "out");
  if (out.length < in.length) throw argumentError(info.Env(), "out: too short");
  if (!cipher_->process(in.data, in.length, out.data))
    throw codedError(info.Env(), "CIPHER_EXHAUSTED", "the key stream has come to its end");
}

Napi::Function AesBlockObject::define(Napi::Env env) {
  return DefineClass(env, "AesBlock", {InstanceMethod<&AesBlockObject::process>("process")});
}

AesBlockObject::AesBlockObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<AesBlockObject>(info) {
  const ByteRange key = bytesOf(info[0], "key");
  if (key.length != 16 && key.length != 24 && key.length != 32)
    throw argumentError(info.Env(), "key: 16, 24 or 32 bytes are needed");
  if (!block_.start(key.data, key.length, info[1].ToBoolean())) throw failed(info.Env());
}

/// process(bytes, start): 16 bytes in place
void AesBlockObject::process(const Napi::CallbackInfo& info) {
  const ByteRange bytes = rangeOf(info[0], info[1], info.Env().Undefined(), "bytes");
  if (bytes.length < AesBlock::kLength) throw argumentError(info.Env(), "bytes: a block has 16");
  if (!block_.process(bytes.data, bytes.data)) throw failed(info.Env());
}

}  // namespace nekit
