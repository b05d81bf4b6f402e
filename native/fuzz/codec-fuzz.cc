// Codec::open on anything. With clang: -fsanitize=fuzzer. With any compiler: -DNEKIT_FUZZ_MAIN, then `codec-fuzz [runs]
// [seed]`.
//
// The first byte of the input chooses codec and role, the second how the rest is cut, the third whether the bytes are
// taken as they are or XORed into a genuine stream, without which a fuzzer never gets past the first tag.
#include <dlfcn.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>
#include <vector>

#include "cipher/shadowsocks-2022.hh"
#include "cipher/shadowsocks-aead.hh"
#include "cipher/shadowsocks-stream.hh"

namespace {

using Bytes = std::vector<uint8_t>;

const Bytes kAddress = {1, 127, 0, 0, 1, 0, 80};

/// A client and a server of one method, the same for all inputs but for their salts.
struct Pair {
  std::unique_ptr<nekit::Codec> client;
  std::unique_ptr<nekit::Codec> server;
};

Pair makePair(unsigned kind) {
  const Bytes key(32, 0x42);
  const nekit::StreamMethod& cfb = *nekit::streamMethod("aes-256-cfb");
  const unsigned which = kind % 6;
  switch (which) {
    case 0:
    case 4: {
      const auto method = which == 0 ? nekit::AeadMethod::Aes256Gcm : nekit::AeadMethod::XChaCha20Poly1305;
      return {nekit::ShadowsocksAead::create(method, key.data(), key.size(), kAddress),
              nekit::ShadowsocksAead::create(method, key.data(), key.size(), {})};
    }
    case 1:
      return {nekit::ShadowsocksStream::create(cfb, key.data(), key.size(), kAddress),
              nekit::ShadowsocksStream::create(cfb, key.data(), key.size(), {})};
    default:
      break;
  }
  const Bytes user(32, 0x43);
  const bool identity = which == 3;
  nekit::Shadowsocks2022Options client;
  nekit::Shadowsocks2022Options server;
  if (which == 5) client.method = server.method = nekit::AeadMethod::ChaCha20Poly1305;
  client.keys = {key};
  if (identity) client.keys.push_back(user);
  client.header = kAddress;
  server.server = true;
  server.keys = {key};
  if (identity) server.users = {Bytes(32, 0x44), user};
  return {nekit::Shadowsocks2022::create(std::move(client)), nekit::Shadowsocks2022::create(std::move(server))};
}

/// Bytes that were opened.
size_t openInParts(nekit::Codec& codec, const Bytes& wire, size_t step) {
  Bytes plain;
  for (size_t at = 0; at < wire.size(); at += step) {
    if (!codec.open(wire.data() + at, std::min(step, wire.size() - at), plain)) {
      if (codec.error() == nullptr) std::abort();
      // Dead is dead.
      const size_t before = plain.size();
      if (codec.open(wire.data(), wire.size(), plain) || plain.size() != before) std::abort();
      codec.seal(wire.data(), wire.size(), plain);
      if (plain.size() != before || codec.prologuePending()) std::abort();
      return plain.size();
    }
    if (codec.error() != nullptr) std::abort();
    // Nothing comes out of what was not found good.
    if (!plain.empty() && !codec.spoke()) std::abort();
  }
  // More plain bytes than wire bytes would be made up.
  if (plain.size() > wire.size()) std::abort();
  return plain.size();
}

}  // namespace

/// Before anybody asks for it: there is no node here that brings one. A fuzzer that could make no codec would find nothing, and look well.
extern "C" int LLVMFuzzerInitialize(int*, char***) {
  dlopen("libcrypto.so.3", RTLD_NOW | RTLD_GLOBAL);
  if (nekit::available()) return 0;
  std::printf("skipped: no libcrypto.so.3\n");
  std::exit(0);
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 3) return 0;
  Pair pair = makePair(data[0]);
  if (pair.client == nullptr || pair.server == nullptr) std::abort();
  const bool towardsClient = (data[0] & 0x80) != 0;
  const size_t step = 1 + size_t{data[1]} * 7;
  const bool mutate = (data[2] & 1) != 0;
  Bytes input(data + 3, data + size);
  if (!mutate) {
    openInParts(towardsClient ? *pair.client : *pair.server, input, step);
    return 0;
  }
  Bytes wire;
  const Bytes message(200, 0x55);
  for (int i = 0; i < 3; ++i) pair.client->seal(message.data(), message.size(), wire);
  nekit::Codec* target = pair.server.get();
  if (towardsClient) {
    Bytes opened;
    if (!pair.server->open(wire.data(), wire.size(), opened)) std::abort();
    wire.clear();
    for (int i = 0; i < 3; ++i) pair.server->seal(message.data(), message.size(), wire);
    target = pair.client.get();
  }
  // Each pair of input bytes alters one place; a last odd byte cuts the end off.
  for (size_t i = 0; i + 1 < input.size(); i += 2) wire[(size_t{input[i]} * 3) % wire.size()] ^= input[i + 1];
  if (input.size() % 2 == 1) wire.resize(wire.size() - input.back() % wire.size());
  const size_t opened = openInParts(*target, wire, step);
  const size_t sent = 3 * message.size() + (towardsClient ? 0 : kAddress.size());
  // More than was sealed is made up. What was left alone comes out whole, and may end there.
  if (opened > sent) std::abort();
  if (input.empty() && (opened != sent || target->midRecord() || !target->spoke() || target->error() != nullptr)) std::abort();
  return 0;
}

#ifdef NEKIT_FUZZ_MAIN
int main(int count, char** arguments) {
  const unsigned long runs = count > 1 ? std::strtoul(arguments[1], nullptr, 10) : 20000;
  const unsigned long seed = count > 2 ? std::strtoul(arguments[2], nullptr, 10) : 1;
  LLVMFuzzerInitialize(nullptr, nullptr);
  std::mt19937_64 random(seed);
  Bytes input;
  for (unsigned long run = 0; run < runs; ++run) {
    input.resize(random() % 8 == 0 ? random() % 3000 : random() % 12);
    for (uint8_t& byte : input) byte = static_cast<uint8_t>(random());
    LLVMFuzzerTestOneInput(input.data(), input.size());
  }
  std::printf("%lu runs, seed %lu\n", runs, seed);
  return 0;
}
#endif
