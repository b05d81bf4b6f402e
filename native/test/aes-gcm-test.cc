// AES-GCM of our own, in every width that this CPU has, against the published vectors and libcrypto.
#include <dlfcn.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "cipher/aead.hh"
#include "cipher/aes-gcm.hh"
#include "cipher/openssl.hh"
#include "test/check.hh"

namespace nekit {
namespace {

using Bytes = std::vector<uint8_t>;

Bytes fromHex(const std::string& hex) {
  Bytes bytes;
  for (size_t i = 0; i < hex.size(); i += 2)
    bytes.push_back(static_cast<uint8_t>(std::stoul(hex.substr(i, 2), nullptr, 16)));
  return bytes;
}

Bytes randomOf(std::mt19937& random, size_t length) {
  Bytes bytes(length);
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
  return bytes;
}

GcmText textOf(const Bytes& nonce, const Bytes& aad, const uint8_t* in, uint8_t* out, size_t length) {
  return {nonce.data(), aad.data(), aad.size(), in, out, length};
}

Bytes sealed(AesGcm& gcm, const Bytes& nonce, const Bytes& aad, const Bytes& plain) {
  Bytes out(plain.size() + kTagLength);
  gcm.seal(textOf(nonce, aad, plain.data(), out.data(), plain.size()), out.data() + plain.size());
  return out;
}

// Of the paper that proposed GCM (McGrew and Viega, appendix B): those with a nonce of 12 bytes.
const struct {
  const char* key;
  const char* nonce;
  const char* aad;
  const char* plain;
  const char* sealed;
} kVectors[] = {
    {"00000000000000000000000000000000", "000000000000000000000000", "", "", "58e2fccefa7e3061367f1d57a4e7455a"},
    {"00000000000000000000000000000000", "000000000000000000000000", "", "00000000000000000000000000000000",
     "0388dace60b6a392f328c2b971b2fe78ab6e47d42cec13bdf53a67b21257bddf"},
    {"feffe9928665731c6d6a8f9467308308", "cafebabefacedbaddecaf888", "feedfacedeadbeeffeedfacedeadbeefabaddad2",
     "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657"
     "ba637b39",
     "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac97"
     "3d58e0915bc94fbc3221a5db94fae95ae7121a47"},
    {"000000000000000000000000000000000000000000000000", "000000000000000000000000", "", "",
     "cd33b28ac773f74ba00ed1f312572435"},
    {"feffe9928665731c6d6a8f9467308308feffe9928665731c", "cafebabefacedbaddecaf888",
     "feedfacedeadbeeffeedfacedeadbeefabaddad2",
     "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657"
     "ba637b39",
     "3980ca0b3c00e841eb06fac4872a2757859e1ceaa6efd984628593b40ca1e19c7d773d00c144c525ac619d18c84a3f4718e2448b2fe324d9"
     "ccda27102519498e80f1478f37ba55bd6d27618c"},
    {"0000000000000000000000000000000000000000000000000000000000000000", "000000000000000000000000", "", "",
     "530f8afbc74536b9a963b4f1c4cb738b"},
    {"feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308", "cafebabefacedbaddecaf888",
     "feedfacedeadbeeffeedfacedeadbeefabaddad2",
     "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657"
     "ba637b39",
     "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0a"
     "bcc9f66276fc6ece0f4e1768cddf8853bb2d551b"},
};

void testVectors(const GcmKernel& kernel) {
  for (const auto& vector : kVectors) {
    const Bytes key = fromHex(vector.key);
    const Bytes nonce = fromHex(vector.nonce);
    const Bytes aad = fromHex(vector.aad);
    const Bytes plain = fromHex(vector.plain);
    AesGcm gcm(kernel, key.data(), key.size());
    CHECK(sealed(gcm, nonce, aad, plain) == fromHex(vector.sealed));
  }
}

/// What libcrypto makes of it, also where Aead would not ask it.
class Reference {
 public:
  Reference(const Bytes& key) {
    const char* name = key.size() == 16 ? "AES-128-GCM" : key.size() == 24 ? "AES-192-GCM" : "AES-256-GCM";
    CHECK(context_.start(name, key.data(), nullptr, true));
  }
  Bytes seal(const Bytes& nonce, const Bytes& aad, const Bytes& plain) {
    const OpenSsl& ssl = *openssl();
    Bytes out(plain.size() + kTagLength);
    uint8_t* tag = out.data() + plain.size();
    int written = 0;
    CHECK(ssl.init(context_.get(), nullptr, nullptr, nullptr, nonce.data(), 1) == 1);
    if (!aad.empty())
      CHECK(ssl.update(context_.get(), nullptr, &written, aad.data(), static_cast<int>(aad.size())) == 1);
    if (!plain.empty())
      CHECK(ssl.update(context_.get(), out.data(), &written, plain.data(), static_cast<int>(plain.size())) == 1);
    constexpr int kGetTag = 0x10;
    CHECK(ssl.finish(context_.get(), tag, &written) == 1);
    CHECK(ssl.contextControl(context_.get(), kGetTag, static_cast<int>(kTagLength), tag) == 1);
    return out;
  }

 private:
  EvpContext context_;
};

void testMessage(AesGcm& gcm, Reference& reference, std::mt19937& random, size_t length, size_t aadLength) {
  const Bytes nonce = randomOf(random, 12);
  const Bytes aad = randomOf(random, aadLength);
  const Bytes plain = randomOf(random, length);
  const Bytes expected = reference.seal(nonce, aad, plain);
  CHECK(sealed(gcm, nonce, aad, plain) == expected);

  Bytes place(plain);
  place.resize(length + kTagLength);
  gcm.seal(textOf(nonce, aad, place.data(), place.data(), length), place.data() + length);
  CHECK(place == expected);

  Bytes opened(length, 7);
  CHECK(gcm.open(textOf(nonce, aad, expected.data(), opened.data(), length), expected.data() + length));
  CHECK(opened == plain);
  CHECK(gcm.open(textOf(nonce, aad, place.data(), place.data(), length), place.data() + length));
  place.resize(length);
  CHECK(place == plain);

  // One bit anywhere: text, tag, AAD or nonce.
  Bytes altered(expected);
  const size_t at = random() % altered.size();
  altered[at] = static_cast<uint8_t>(altered[at] ^ 1u << random() % 8);
  opened.assign(length, 7);
  CHECK(!gcm.open(textOf(nonce, aad, altered.data(), opened.data(), length), altered.data() + length));
  CHECK(opened == Bytes(length));
  CHECK(!gcm.open(textOf(nonce, aad, altered.data(), altered.data(), length), altered.data() + length));
  altered.resize(length);
  CHECK(altered == opened);
  Bytes other(aad);
  if (other.empty()) other.push_back(0);
  else other[random() % other.size()] ^= 0x80;
  CHECK(!gcm.open(textOf(nonce, other, expected.data(), opened.data(), length), expected.data() + length));
  Bytes moved(nonce);
  moved[random() % moved.size()] ^= 1;
  CHECK(!gcm.open(textOf(moved, aad, expected.data(), opened.data(), length), expected.data() + length));
}

void testLengths(const GcmKernel& kernel) {
  std::mt19937 random(5);
  for (const size_t keyLength : {16, 24, 32}) {
    const Bytes key = randomOf(random, keyLength);
    Reference reference(key);
    AesGcm gcm(kernel, key.data(), key.size());
    for (size_t length = 0; length <= 1100; ++length) testMessage(gcm, reference, random, length, 0);
    for (size_t aad = 0; aad <= 300; ++aad) testMessage(gcm, reference, random, random() % 700, aad);
    for (const size_t length : {1400u, 8191u, 16383u, 65519u, 65535u, 65536u, 65551u, 1048576u, 1048577u})
      testMessage(gcm, reference, random, length, random() % 40);
  }
}

/// Bytes that end where memory ends. AddressSanitizer sees nothing of loads and stores with a mask.
class Edge {
 public:
  Edge() {
    place_ = static_cast<uint8_t*>(mmap(nullptr, 2 * page_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    CHECK(place_ != MAP_FAILED && mprotect(place_, page_, PROT_READ | PROT_WRITE) == 0);
  }
  ~Edge() { munmap(place_, 2 * page_); }
  Edge(const Edge&) = delete;
  Edge& operator=(const Edge&) = delete;
  uint8_t* last(size_t length) { return place_ + page_ - length; }

 private:
  const size_t page_ = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  uint8_t* place_;
};

void testEdges(const GcmKernel& kernel) {
  std::mt19937 random(8);
  const Bytes key = randomOf(random, 32);
  const Bytes nonce = randomOf(random, 12);
  AesGcm gcm(kernel, key.data(), key.size());
  Edge in;
  Edge out;
  Edge aad;
  for (size_t length = 0; length <= 1100; ++length) {
    const Bytes plain = randomOf(random, length);
    std::copy(plain.begin(), plain.end(), in.last(length));
    // What lies before must stay as it is.
    std::fill(out.last(length + 64), out.last(length), uint8_t{9});
    const size_t aadLength = length % 80;
    const GcmText text{nonce.data(), aad.last(aadLength), aadLength, in.last(length), out.last(length), length};
    uint8_t tag[kTagLength];
    gcm.seal(text, tag);
    const GcmText back{nonce.data(), aad.last(aadLength), aadLength, out.last(length), out.last(length), length};
    CHECK(gcm.open(back, tag));
    CHECK(std::equal(plain.begin(), plain.end(), out.last(length)));
    CHECK(std::count(out.last(length + 64), out.last(length), 9) == 64);
  }
}

void testKeys(const GcmKernel& kernel) {
  std::mt19937 random(6);
  AesGcm gcm(kernel, randomOf(random, 32).data(), 32);
  for (int i = 0; i < 600; ++i) {
    // Powers are made as they are needed: each length must do as the first one of its key.
    const Bytes key = randomOf(random, 16 + 8 * (random() % 3));
    Reference reference(key);
    gcm.rekey(key.data(), key.size());
    testMessage(gcm, reference, random, random() % 700, i % 3 == 0 ? random() % 100 : 0);
    testMessage(gcm, reference, random, random() % 700, 0);
  }
}

// Through the class. `kernel` may be null: libcrypto.
void testAead(const GcmKernel* kernel) {
  std::mt19937 random(7);
  for (const AeadMethod method : {AeadMethod::Aes128Gcm, AeadMethod::Aes192Gcm, AeadMethod::Aes256Gcm}) {
    const Bytes key = randomOf(random, aeadInfo(method).keyLength);
    const auto sealer = Aead::create(method, key.data(), Aead::Use::Seal, kernel);
    const auto opener = Aead::create(method, key.data(), Aead::Use::Open, kernel);
    CHECK(sealer != nullptr && opener != nullptr);
    for (int round = 0; round < 2; ++round) {
      const Bytes next = randomOf(random, key.size());
      Reference reference(round == 0 ? key : next);
      if (round == 1) CHECK(sealer->rekey(next.data(), Aead::Use::Seal) && opener->rekey(next.data(), Aead::Use::Open));
      for (size_t length = 0; length < 600; ++length) {
        const Bytes nonce = randomOf(random, 12);
        const Bytes aad = randomOf(random, length % 30);
        const Bytes plain = randomOf(random, length);
        Bytes wire(length + kTagLength);
        Bytes opened(length);
        CHECK(sealer->seal(nonce.data(), plain.data(), length, wire.data(), aad.data(), aad.size()));
        CHECK(wire == reference.seal(nonce, aad, plain));
        CHECK(opener->open(nonce.data(), wire.data(), wire.size(), opened.data(), aad.data(), aad.size()));
        CHECK(opened == plain);
        wire[random() % wire.size()] ^= 4;
        CHECK(!opener->open(nonce.data(), wire.data(), wire.size(), opened.data(), aad.data(), aad.size()));
        CHECK(opened == Bytes(length));
      }
    }
  }
}

}  // namespace
}  // namespace nekit

int main() {
  using namespace nekit;
  // There is no node here that brings one.
  dlopen("libcrypto.so.3", RTLD_NOW | RTLD_GLOBAL);
  CHECK(gcmKernel(AesLevel::None) == nullptr && gcmKernel(AesLevel::Blocks8) == nullptr);
  for (const AesLevel level : {AesLevel::Vaes256, AesLevel::Vaes512}) {
    const GcmKernel* kernel = gcmKernel(level);
    if (kernel == nullptr) {
      std::printf("gcm level %d skipped: this CPU does not have it\n", static_cast<int>(level));
      continue;
    }
    testVectors(*kernel);
    testEdges(*kernel);
    if (!available()) continue;
    testLengths(*kernel);
    testKeys(*kernel);
    testAead(kernel);
  }
  if (available()) testAead(nullptr);
  else std::printf("comparison skipped: no libcrypto.so.3\n");
  std::printf("aes-gcm: passed\n");
  return 0;
}
