#include "cipher/aes-gcm.hh"

#include <cstring>

#include "cipher/bytes.hh"
#include "cipher/openssl.hh"

namespace nekit {

#if defined(__x86_64__)

namespace {

AesLevel detect() {
  if (aesLevel() < AesLevel::Vaes256 || !__builtin_cpu_supports("pclmul") || !__builtin_cpu_supports("vpclmulqdq"))
    return AesLevel::None;
  const bool wide = aesLevel() == AesLevel::Vaes512 && __builtin_cpu_supports("avx512bw") &&
                    __builtin_cpu_supports("avx512vl");
  return wide ? AesLevel::Vaes512 : AesLevel::Vaes256;
}

}  // namespace

AesLevel gcmLevel() {
  static const AesLevel level = detect();
  return level;
}

const GcmKernel* gcmKernel(AesLevel level) {
  if (level < AesLevel::Vaes256 || level > gcmLevel()) return nullptr;
  return level == AesLevel::Vaes512 ? &kGcmVaes512 : &kGcmVaes256;
}

#else

AesLevel gcmLevel() { return AesLevel::None; }
const GcmKernel* gcmKernel(AesLevel) { return nullptr; }

#endif

AesGcm::AesGcm(const GcmKernel& kernel, const uint8_t* key, size_t length) : kernel_(kernel), key_{} {
  rekey(key, length);
}

AesGcm::~AesGcm() { wipe(&key_, sizeof(key_)); }

bool AesGcm::open(const GcmText& text, const uint8_t* tag) {
  uint8_t own[16];
  kernel_.open(key_, text, own);
  // In constant time, and without a call: it counts where a chunk has two bytes.
  const uint64_t difference = (load64le(own) ^ load64le(tag)) | (load64le(own + 8) ^ load64le(tag + 8));
  if (difference == 0) return true;
  // What is not authentic is nobody's to see.
  if (text.length > 0) std::memset(text.out, 0, text.length);
  return false;
}

}  // namespace nekit
