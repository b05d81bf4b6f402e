// What JavaScript cannot reach (every instruction set, single classes), and the codecs without node. The published
// vectors of AEADs and stream ciphers are in packages/core/test/native/cipher.test.ts.
#include <dlfcn.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "cipher/aes-cfb.hh"
#include "cipher/blake3.hh"
#include "cipher/rc4.hh"
#include "cipher/record-buffer.hh"
#include "cipher/salsa.hh"
#include "cipher/shadowsocks-2022.hh"
#include "cipher/shadowsocks-aead.hh"
#include "cipher/shadowsocks-stream.hh"
#include "test/blake3-vectors.hh"
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

std::string toHex(const uint8_t* bytes, size_t length) {
  std::string hex;
  char digits[3];
  for (size_t i = 0; i < length; ++i) {
    std::snprintf(digits, sizeof(digits), "%02x", bytes[i]);
    hex += digits;
  }
  return hex;
}

Bytes randomOf(std::mt19937& random, size_t length) {
  Bytes bytes(length);
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
  return bytes;
}

const Bytes kAddress = {1, 127, 0, 0, 1, 0, 80};

void testBlake3() {
  std::mt19937 random(1);
  const auto* context = reinterpret_cast<const uint8_t*>(vectors::kBlake3Context);
  for (const vectors::Blake3Vector& vector : vectors::kBlake3) {
    Bytes input(vector.length);
    for (size_t i = 0; i < input.size(); ++i) input[i] = static_cast<uint8_t>(i % 251);
    for (int mode = 0; mode < 3; ++mode) {
      for (const bool parts : {false, true}) {
        Blake3 hasher = mode == 0   ? Blake3()
                        : mode == 1 ? Blake3::deriveKey(context, std::strlen(vectors::kBlake3Context))
                                    : Blake3::keyed(reinterpret_cast<const uint8_t*>(vectors::kBlake3Key));
        for (size_t at = 0; at < input.size();) {
          const size_t part = std::min<size_t>(parts ? 1 + random() % 300 : input.size(), input.size() - at);
          hasher.update(input.data() + at, part);
          at += part;
        }
        uint8_t out[32];
        hasher.finish(out, sizeof(out));
        CHECK(toHex(out, sizeof(out)) == (mode == 0 ? vector.hash : mode == 1 ? vector.derived : vector.keyed));
      }
    }
  }
  // The official vectors are longer than 32 bytes; this is the first one up to its 80th.
  uint8_t longer[80];
  Blake3().finish(longer, sizeof(longer));
  CHECK(toHex(longer, sizeof(longer)) ==
        "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262e00f03e7b69af26b7faaf09fcd333050338ddfe085b8cc"
        "869ca98b206c08243a"
        "26f5487789e8f660afe6c99ef9e0c52b");
}

/// Block by block with the kernel's own single-block function: no parallelism to be wrong.
Bytes cfbByHand(const AesKernel& kernel, const AesSchedule& schedule, Bytes chain, const Bytes& in, bool encrypt) {
  Bytes out(in.size());
  uint8_t stream[16];
  for (size_t i = 0; i < in.size(); ++i) {
    if (i % 16 == 0) kernel.encryptBlock(schedule, chain.data(), stream);
    out[i] = static_cast<uint8_t>(in[i] ^ stream[i % 16]);
    chain[i % 16] = encrypt ? out[i] : in[i];
  }
  return out;
}

void testCfb() {
  // SP 800-38A F.3.13, F.3.15, F.3.17; from the second block on it needs the right chain.
  const Bytes iv = fromHex("000102030405060708090a0b0c0d0e0f");
  const std::string plain =
      "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e5130c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17"
      "ad2b417be66c3710";
  const struct {
    const char* key;
    const char* sealed;
  } cases[] = {
      {"2b7e151628aed2a6abf7158809cf4f3c",
       "3b3fd92eb72dad20333449f8e83cfb4ac8a64537a0b3a93fcde3cdad9f1ce58b26751f67a3cbb140b1808cf187a4f4dfc04b05357c5d1c0"
       "eeac4c66f9ff7f2e6"},
      {"8e73b0f7da0e6452c810f32b809079e562f8ead2522c6b7b",
       "cdc80d6fddf18cab34c25909c99a417467ce7f7f81173621961a2b70171d3d7a2e1e8a1dd59b88b1c8e60fed1efac4c9c05f9f9ca9834fa"
       "042ae8fba584b09ff"},
      {"603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
       "dc7e84bfda79164b7ecd8486985d386039ffed143b28b1c832113c6331e5407bdf10132415e54b92a13ed0a8267ae2f975a385741ab9cef"
       "82031623d55b1e471"},
  };
  std::mt19937 random(2);
  for (const AesLevel level : {AesLevel::Blocks8, AesLevel::Vaes256, AesLevel::Vaes512}) {
    const AesKernel* kernel = aesKernel(level);
    if (kernel == nullptr) {
      std::printf("cfb level %d skipped: this CPU does not have it\n", static_cast<int>(level));
      continue;
    }
    for (const auto& vector : cases) {
      const Bytes key = fromHex(vector.key);
      for (const bool encrypt : {true, false}) {
        Bytes bytes = fromHex(encrypt ? plain : vector.sealed);
        AesCfb(*kernel, key.data(), key.size(), iv.data(), encrypt).process(bytes.data(), bytes.size(), bytes.data());
        CHECK(toHex(bytes.data(), bytes.size()) == (encrypt ? vector.sealed : plain));
      }
      // Long ones in odd parts, in place and not, against AES-NI's serial encryption.
      for (int run = 0; run < 40; ++run) {
        const Bytes message = randomOf(random, random() % 3000);
        Bytes sealed(message.size());
        AesCfb(*aesKernel(AesLevel::Blocks8), key.data(), key.size(), iv.data(), true)
            .process(message.data(), message.size(), sealed.data());
        Bytes opened(sealed);
        AesCfb cipher(*kernel, key.data(), key.size(), iv.data(), false);
        for (size_t at = 0; at < sealed.size();) {
          const size_t part = std::min<size_t>(1 + random() % 1200, sealed.size() - at);
          const bool inPlace = random() % 2 == 0;
          cipher.process(inPlace ? opened.data() + at : sealed.data() + at, part, opened.data() + at);
          at += part;
        }
        CHECK(opened == message);
      }
    }
  }
  if (const AesKernel* kernel = aesKernel(AesLevel::Blocks8)) {
    // The chain is handed on between single blocks and groups.
    AesSchedule schedule{};
    schedule.rounds = 10;
    for (size_t i = 0; i < sizeof(schedule.bytes); ++i) schedule.bytes[i] = static_cast<uint8_t>(random());
    const Bytes in = randomOf(random, 16 * 100);
    for (const bool encrypt : {true, false}) {
      Bytes out(in.size());
      Bytes chain = iv;
      (encrypt ? kernel->cfbEncrypt : kernel->cfbDecrypt)(schedule, chain.data(), in.data(), out.data(), 33);
      (encrypt ? kernel->cfbEncrypt : kernel->cfbDecrypt)(schedule, chain.data(), in.data() + 16 * 33,
                                                          out.data() + 16 * 33, 67);
      CHECK(out == cfbByHand(*kernel, schedule, iv, in, encrypt));
    }
  }
}

void testRc4() {
  const std::string plain = "Plaintext";
  uint8_t out[9];
  Rc4 rc4(reinterpret_cast<const uint8_t*>("Key"), 3);
  rc4.process(reinterpret_cast<const uint8_t*>(plain.data()), 4, out);
  rc4.process(reinterpret_cast<const uint8_t*>(plain.data()) + 4, 5, out + 4);
  CHECK(toHex(out, sizeof(out)) == "bbf316e8d940af0ad3");
}

void testHChaCha20() {
  // draft-irtf-cfrg-xchacha-03 section 2.2.1
  Bytes key(32);
  for (size_t i = 0; i < key.size(); ++i) key[i] = static_cast<uint8_t>(i);
  uint8_t subkey[32];
  hchacha20(key.data(), fromHex("000000090000004a0000000031415927").data(), subkey);
  CHECK(toHex(subkey, sizeof(subkey)) == "82413b4227b27bfed30e42508a877d73a0f9e4d58a74a853c12ec41326d3ecdc");
}

void testRecordBuffer() {
  RecordBuffer buffer;
  const Bytes wire = {1, 2, 3, 4, 5, 6, 7, 8, 9};
  const uint8_t* at = wire.data();
  size_t left = 5;
  CHECK(buffer.take(3, at, left) == wire.data());  // not copied
  CHECK(buffer.take(4, at, left) == nullptr && left == 0 && buffer.pending() == 2);
  at = wire.data() + 5;
  left = 4;
  const uint8_t* record = buffer.take(4, at, left);
  CHECK(record != nullptr && std::memcmp(record, wire.data() + 3, 4) == 0 && left == 2 && buffer.pending() == 0);
  CHECK(buffer.take(2, at, left) == wire.data() + 7 && left == 0);
  CHECK(buffer.take(1, at, left) == nullptr && buffer.pending() == 0);
}

void testExhaustedCounter() {
  const Bytes key(32, 1);
  for (const AeadMethod method : {AeadMethod::Aes256Gcm, AeadMethod::XChaCha20Poly1305}) {
    auto aead = Aead::create(method, key.data(), Aead::Use::Seal);
    const Bytes stored = fromHex("fdffffffffffffff00000000000000000000000000000000");
    NonceCounter nonce(stored.data(), aead->info().nonceLength);
    const Bytes plain(kMaxPayload + 1);
    Bytes out(sealedRunLength(plain.size(), kMaxPayload));
    CHECK(sealRun(*aead, nonce, plain.data(), plain.size(), kMaxPayload, out.data()) == RunStatus::Exhausted);
    CHECK(sealRun(*aead, nonce, plain.data(), kMaxPayload, kMaxPayload, out.data()) == RunStatus::Ok);
    CHECK(nonce.exhausted());
    CHECK(sealRun(*aead, nonce, plain.data(), 1, kMaxPayload, out.data()) == RunStatus::Exhausted);
    auto opener = Aead::create(method, key.data(), Aead::Use::Open);
    ChunkReader reader(kMaxPayload);
    RecordBuffer buffer;
    Bytes opened;
    CHECK(reader.open(*opener, nonce, buffer, out.data(), kSealedLength, opened) == RunStatus::Exhausted);
  }
}

struct Pair {
  const char* name;
  std::unique_ptr<Codec> client;
  std::unique_ptr<Codec> server;
};

std::vector<Pair> allPairs(const Bytes& key) {
  std::vector<Pair> pairs;
  for (const char* name :
       {"aes-128-gcm", "aes-192-gcm", "aes-256-gcm", "chacha20-ietf-poly1305", "xchacha20-ietf-poly1305"}) {
    const AeadInfo& info = *aeadByName(name);
    pairs.push_back({name, ShadowsocksAead::create(info.method, key.data(), info.keyLength, kAddress),
                     ShadowsocksAead::create(info.method, key.data(), info.keyLength, {})});
  }
  for (const char* name : {"none", "aes-128-cfb", "aes-192-cfb", "aes-256-cfb", "aes-128-ctr", "aes-192-ctr",
                           "aes-256-ctr", "chacha20", "chacha20-ietf", "salsa20", "rc4-md5"}) {
    const StreamMethod& method = *streamMethod(name);
    pairs.push_back({name, ShadowsocksStream::create(method, key.data(), method.keyLength, kAddress),
                     ShadowsocksStream::create(method, key.data(), method.keyLength, {})});
  }
  for (const AeadMethod method : {AeadMethod::Aes128Gcm, AeadMethod::Aes256Gcm, AeadMethod::ChaCha20Poly1305}) {
    for (const bool identity : {false, true}) {
      if (identity && method == AeadMethod::ChaCha20Poly1305) continue;
      const size_t length = aeadInfo(method).keyLength;
      const Bytes own(key.begin(), key.begin() + static_cast<std::ptrdiff_t>(length));
      const Bytes user(length, 7);
      Shadowsocks2022Options client;
      Shadowsocks2022Options server;
      client.method = server.method = method;
      client.keys = identity ? std::vector<Bytes>{own, user} : std::vector<Bytes>{own};
      client.header = kAddress;
      server.server = true;
      server.keys = {own};
      if (identity) server.users = {Bytes(length, 6), user};
      pairs.push_back({"2022", Shadowsocks2022::create(std::move(client)), Shadowsocks2022::create(std::move(server))});
    }
  }
  return pairs;
}

Bytes openInParts(Codec& codec, const Bytes& wire, std::mt19937& random) {
  Bytes plain;
  for (size_t at = 0; at < wire.size();) {
    const size_t part =
        std::min<size_t>(random() % 3 == 0 ? 1 + random() % 20 : 1 + random() % 90000, wire.size() - at);
    CHECK(codec.open(wire.data() + at, part, plain));
    at += part;
  }
  CHECK(codec.error() == nullptr);
  return plain;
}

void testCodecs() {
  std::mt19937 random(3);
  for (int run = 0; run < 6; ++run) {
    const Bytes key = randomOf(random, 32);
    for (Pair& pair : allPairs(key)) {
      CHECK(pair.client != nullptr && pair.server != nullptr);
      CHECK(pair.client->prologuePending() && !pair.server->prologuePending());
      Bytes sent = kAddress;
      Bytes wire;
      // Odd runs begin with the prologue alone, as with a protocol in which the server speaks first.
      if (run % 2 == 1) pair.client->sealPrologue(wire);
      for (int i = 0; i < 3; ++i) {
        const Bytes part = randomOf(random, i == 1 ? random() % 200000 : random() % 3000);
        pair.client->seal(part.data(), part.size(), wire);
        sent.insert(sent.end(), part.begin(), part.end());
      }
      pair.client->sealPrologue(wire);
      CHECK(!pair.client->prologuePending());
      CHECK(openInParts(*pair.server, wire, random) == sent);
      wire.clear();
      const Bytes answer = randomOf(random, random() % 200000);
      pair.server->seal(answer.data(), answer.size(), wire);
      CHECK(openInParts(*pair.client, wire, random) == answer);
    }
  }
}

// A FIN is good only between two records, and a reset says more once something was opened.
void testEnds() {
  const Bytes key(32, 9);
  for (Pair& pair : allPairs(key)) {
    const bool sip022 = std::string(pair.name) == "2022";
    const bool stream = streamMethod(pair.name) != nullptr;
    CHECK(!pair.server->spoke() && !pair.server->midRecord());
    Bytes wire;
    Bytes plain;
    pair.client->seal(key.data(), 20, wire);
    const size_t first = wire.size();
    pair.client->seal(key.data(), 20, wire);
    size_t cuts = 0;
    for (size_t at = 0; at < wire.size(); ++at) {
      if (pair.server->midRecord()) ++cuts;
      if (at == first) CHECK(!pair.server->midRecord() && pair.server->spoke());
      CHECK(pair.server->open(&wire[at], 1, plain));
    }
    CHECK(!pair.server->midRecord() && pair.server->spoke() && !pair.client->spoke());
    const size_t salt = stream ? streamMethod(pair.name)->ivLength : sip022 ? 0 : aeadByName(pair.name)->keyLength;
    // All but: the start, the end of the first record, and of the salt where the protocol allows an end there.
    CHECK(cuts == (stream ? (salt > 0 ? salt - 1 : 0) : wire.size() - (sip022 ? 2 : 3)));
  }
}

void testDeadCodec() {
  const Bytes key(32, 9);
  for (Pair& pair : allPairs(key)) {
    if (streamMethod(pair.name) != nullptr) continue;
    Bytes wire;
    Bytes plain;
    pair.client->seal(key.data(), 20, wire);
    wire.back() ^= 1;
    CHECK(!pair.server->open(wire.data(), wire.size(), plain));
    CHECK(std::string(pair.server->error()).rfind("CIPHER_AUTH: ", 0) == 0);
    wire.back() ^= 1;
    const size_t before = plain.size();
    CHECK(!pair.server->open(wire.data(), wire.size(), plain));
    pair.server->seal(key.data(), 20, plain);
    CHECK(plain.size() == before);
  }
}

void testClock() {
  const Bytes key(32, 9);
  for (const int64_t offset : {int64_t{0}, int64_t{-29}, int64_t{29}, int64_t{-40}, int64_t{40}, int64_t{1} << 40}) {
    Shadowsocks2022Options client;
    Shadowsocks2022Options server;
    client.keys = server.keys = {key};
    client.header = kAddress;
    client.clockOffset = offset;
    server.server = true;
    int checks = 0;
    server.check = [&checks](const uint8_t* header, size_t length) {
      ++checks;
      return header[0] == 0 && length == 11;
    };
    auto a = Shadowsocks2022::create(std::move(client));
    auto b = Shadowsocks2022::create(std::move(server));
    Bytes wire;
    Bytes plain;
    a->sealPrologue(wire);
    const bool near = offset >= -30 && offset <= 30;
    CHECK(b->checkPending());
    CHECK(b->open(wire.data(), wire.size(), plain) == near);
    CHECK(checks == (near ? 1 : 0));
    CHECK(near || std::string(b->error()).rfind("CIPHER_CLOCK: ", 0) == 0);
    CHECK(!near || (!b->checkPending() && plain == kAddress));
  }
}

}  // namespace
}  // namespace nekit

int main() {
  using namespace nekit;
  testBlake3();
  testCfb();
  testRc4();
  testHChaCha20();
  testRecordBuffer();
  // There is no node here that brings one.
  dlopen("libcrypto.so.3", RTLD_NOW | RTLD_GLOBAL);
  if (!available()) {
    std::printf("codecs skipped: no libcrypto.so.3\n");
    return 0;
  }
  testExhaustedCounter();
  testCodecs();
  testEnds();
  testDeadCodec();
  testClock();
  std::printf("ciphers: passed\n");
  return 0;
}
