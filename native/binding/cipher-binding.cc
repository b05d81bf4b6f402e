#include "binding/cipher-binding.hh"

#include <vector>

#include "binding/byte-range.hh"
#include "binding/cipher-objects.hh"
#include "binding/codec-object.hh"
#include "cipher/blake3.hh"
#include "cipher/key-derivation.hh"

namespace nekit {
namespace {

/// Longest output that the functions below are asked for, bytes.
constexpr double kMaxOutput = 4096;

size_t lengthOf(const Napi::Value& value) {
  const double length = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : -1;
  if (!(length >= 1 && length <= kMaxOutput)) throw argumentError(value.Env(), "length: 1 to 4096");
  return static_cast<size_t>(length);
}

Napi::Value orFailed(Napi::Env env, bool done, std::vector<uint8_t>& out) {
  if (!done) throw codedError(env, "CIPHER_FAILED", "the cryptographic library failed");
  const Napi::Value bytes = toBytes(env, out);
  wipe(out.data(), out.size());
  return bytes;
}

/// hkdfSha1(key, salt, info, length)
Napi::Value exportedHkdfSha1(const Napi::CallbackInfo& info) {
  const ByteRange key = bytesOf(info[0], "key");
  const ByteRange salt = bytesOf(info[1], "salt");
  const ByteRange label = bytesOf(info[2], "info");
  std::vector<uint8_t> out(lengthOf(info[3]));
  return orFailed(
      info.Env(),
      hkdfSha1(key.data, key.length, salt.data, salt.length, label.data, label.length, out.data(), out.size()), out);
}

/// bytesToKey(password, length)
Napi::Value exportedBytesToKey(const Napi::CallbackInfo& info) {
  const ByteRange password = bytesOf(info[0], "password");
  std::vector<uint8_t> out(lengthOf(info[1]));
  return orFailed(info.Env(), bytesToKey(password.data, password.length, out.data(), out.size()), out);
}

/// blake3(bytes, length)
Napi::Value exportedBlake3(const Napi::CallbackInfo& info) {
  const ByteRange bytes = bytesOf(info[0], "bytes");
  std::vector<uint8_t> out(lengthOf(info[1]));
  Blake3 hasher;
  hasher.update(bytes.data, bytes.length);
  hasher.finish(out.data(), out.size());
  return toBytes(info.Env(), out);
}

/// blake3DeriveKey(context, material, length)
Napi::Value exportedBlake3DeriveKey(const Napi::CallbackInfo& info) {
  if (!info[0].IsString()) throw argumentError(info.Env(), "context: no string");
  const std::string context = info[0].As<Napi::String>().Utf8Value();
  const ByteRange material = bytesOf(info[1], "material");
  std::vector<uint8_t> out(lengthOf(info[2]));
  Blake3 hasher = Blake3::deriveKey(reinterpret_cast<const uint8_t*>(context.data()), context.size());
  hasher.update(material.data, material.length);
  hasher.finish(out.data(), out.size());
  return orFailed(info.Env(), true, out);
}

}  // namespace

void exportCiphers(Napi::Env env, Napi::Object exports) {
  exports.Set("ciphersAvailable", Napi::Boolean::New(env, available()));
  if (!available()) return;
  exports.Set("Aead", AeadObject::define(env));
  exports.Set("PacketAead", PacketAeadObject::define(env));
  exports.Set("StreamCipher", StreamCipherObject::define(env));
  exports.Set("AesBlock", AesBlockObject::define(env));
  exports.Set("Codec", CodecObject::define(env));
  exports.Set("hkdfSha1", Napi::Function::New<exportedHkdfSha1>(env, "hkdfSha1"));
  exports.Set("bytesToKey", Napi::Function::New<exportedBytesToKey>(env, "bytesToKey"));
  exports.Set("blake3", Napi::Function::New<exportedBlake3>(env, "blake3"));
  exports.Set("blake3DeriveKey", Napi::Function::New<exportedBlake3DeriveKey>(env, "blake3DeriveKey"));
}

std::unique_ptr<Codec> takeCodec(Napi::Value value) {
  return CodecObject::is(value) ? CodecObject::Unwrap(value.As<Napi::Object>())->take() : nullptr;
}

}  // namespace nekit
