#include "cipher/shadowsocks-2022.hh"

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <ctime>

#include "cipher/aes-block.hh"
#include "cipher/blake3.hh"

namespace nekit {
namespace {

constexpr char kSessionContext[] = "shadowsocks 2022 session subkey";
constexpr char kIdentityContext[] = "shadowsocks 2022 identity subkey";
constexpr uint8_t kRequest = 0;
constexpr uint8_t kResponse = 1;
constexpr size_t kIdentityLength = 16;
/// Type, timestamp, length.
constexpr size_t kFixedLength = 1 + 8 + 2;
constexpr size_t kMaxPadding = 900;  // bytes; SIP022
/// Seconds that the clocks of both ends may differ by; SIP022.
constexpr int64_t kMaxClockSkew = 30;

void deriveKey(const char* context, const std::vector<uint8_t>& key, const std::vector<uint8_t>& salt, uint8_t* out) {
  std::vector<uint8_t> material(key);
  material.insert(material.end(), salt.begin(), salt.end());
  blake3DeriveKey(context, material.data(), material.size(), out);
  wipe(material.data(), material.size());
}

/// What an identity header says of a key.
void identityOf(const std::vector<uint8_t>& key, uint8_t* out) {
  Blake3 hasher;
  hasher.update(key.data(), key.size());
  hasher.finish(out, kIdentityLength);
}

/// Bytes of the address of SOCKS5 at the start of `bytes`, 0 if it is none or not whole.
size_t addressLength(const uint8_t* bytes, size_t length) {
  if (length < 2) return 0;
  const size_t whole = bytes[0] == 1                   ? 1 + 4 + 2
                       : bytes[0] == 4                 ? 1 + 16 + 2
                       : bytes[0] == 3 && bytes[1] > 0 ? 2 + size_t{bytes[1]} + 2
                                                       : 0;
  return whole <= length ? whole : 0;
}

bool takesKeys(const std::vector<std::vector<uint8_t>>& keys, size_t length) {
  return std::all_of(keys.begin(), keys.end(),
                     [length](const std::vector<uint8_t>& key) { return key.size() == length; });
}

}  // namespace

std::unique_ptr<Shadowsocks2022> Shadowsocks2022::create(Shadowsocks2022Options options) {
  const AeadInfo& info = aeadInfo(options.method);
  const bool aes = options.method == AeadMethod::Aes128Gcm || options.method == AeadMethod::Aes256Gcm;
  if (!available() || (!aes && options.method != AeadMethod::ChaCha20Poly1305)) return nullptr;
  if (options.keys.empty() || !takesKeys(options.keys, info.keyLength) || !takesKeys(options.users, info.keyLength))
    return nullptr;
  if (!aes && (options.keys.size() > 1 || !options.users.empty())) return nullptr;
  if (options.server ? options.keys.size() != 1 || !options.header.empty()
                     : options.header.empty() || !options.users.empty())
    return nullptr;
  if (options.header.size() > kMaxHeader) return nullptr;
  return std::unique_ptr<Shadowsocks2022>(new Shadowsocks2022(std::move(options)));
}

Shadowsocks2022::Shadowsocks2022(Shadowsocks2022Options options)
    : ShadowsocksCodec(std::move(options.header)), options_(std::move(options)), info_(aeadInfo(options_.method)) {}

Shadowsocks2022::~Shadowsocks2022() {
  for (auto* keys : {&options_.keys, &options_.users}) {
    for (std::vector<uint8_t>& key : *keys) wipe(key.data(), key.size());
  }
}

int64_t Shadowsocks2022::now() const { return static_cast<int64_t>(std::time(nullptr)) + options_.clockOffset; }

/// Client: the key of the user. Server: the one that the request came with.
std::unique_ptr<Aead> Shadowsocks2022::session(const std::vector<uint8_t>& salt, Aead::Use use) {
  uint8_t subkey[Blake3::kOutLength];
  deriveKey(kSessionContext, user_ >= 0 ? options_.users[static_cast<size_t>(user_)] : options_.keys.back(), salt,
            subkey);
  std::unique_ptr<Aead> aead = Aead::create(info_.method, subkey, use);
  wipe(subkey, sizeof(subkey));
  return aead;
}

bool Shadowsocks2022::sealOne(const uint8_t* plain, size_t length, std::vector<uint8_t>& wire) {
  const size_t at = wire.size();
  wire.resize(at + length + kTagLength);
  if (!sealer_->seal(sealNonce_.bytes(), plain, length, wire.data() + at)) return fail(codec_errors::kFailed);
  sealNonce_.step();
  return true;
}

bool Shadowsocks2022::sealIdentities(std::vector<uint8_t>& wire) {
  for (size_t i = 0; i + 1 < options_.keys.size(); ++i) {
    uint8_t key[Blake3::kOutLength];
    uint8_t block[kIdentityLength];
    deriveKey(kIdentityContext, options_.keys[i], salt_, key);
    identityOf(options_.keys[i + 1], block);
    AesBlock aes;
    const bool done = aes.start(key, info_.keyLength, true) && aes.process(block, block);
    wipe(key, sizeof(key));
    if (!done) return fail(codec_errors::kFailed);
    wire.insert(wire.end(), block, block + sizeof(block));
  }
  return true;
}

size_t Shadowsocks2022::sealRequest(const uint8_t* plain, size_t length, std::vector<uint8_t>& wire) {
  std::vector<uint8_t> variable = std::move(header_);
  header_.clear();
  // Padding hides that nothing follows yet; with payload the length says little anyway.
  size_t padding = 0;
  if (length == 0) {
    uint8_t random[2];
    if (!randomBytes(random, sizeof(random))) return fail(codec_errors::kFailed), 0;
    padding = 1 + load16be(random) % kMaxPadding;
  }
  const size_t at = variable.size();
  variable.resize(at + 2 + padding);
  store16be(variable.data() + at, padding);
  const size_t part = std::min(length, kMaxPayload2022 - variable.size());
  variable.insert(variable.end(), plain, plain + part);
  uint8_t fixed[kFixedLength];
  fixed[0] = kRequest;
  store64be(fixed + 1, static_cast<uint64_t>(now()));
  store16be(fixed + 9, variable.size());
  if (sealIdentities(wire) && sealOne(fixed, sizeof(fixed), wire)) sealOne(variable.data(), variable.size(), wire);
  return part;
}

size_t Shadowsocks2022::sealResponse(const uint8_t* plain, size_t length, std::vector<uint8_t>& wire) {
  const size_t part = std::min(length, kMaxPayload2022);
  std::vector<uint8_t> fixed(9);
  fixed[0] = kResponse;
  store64be(fixed.data() + 1, static_cast<uint64_t>(now()));
  fixed.insert(fixed.end(), peerSalt_.begin(), peerSalt_.end());
  fixed.resize(fixed.size() + 2);
  store16be(fixed.data() + fixed.size() - 2, part);
  if (sealOne(fixed.data(), fixed.size(), wire)) sealOne(plain, part, wire);
  return part;
}

void Shadowsocks2022::seal(const uint8_t* plain, size_t length, std::vector<uint8_t>& wire) {
  if (!alive() || (length == 0 && !prologuePending())) return;
  const size_t before = wire.size();
  if (!sealing_) {
    if (options_.server && stage_ != Stage::Chunks) {
      fail("CIPHER_PROTOCOL: a server cannot answer before the request");
      return;
    }
    sealing_ = true;
    if (!drawSalt() || (sealer_ = session(salt_, Aead::Use::Seal)) == nullptr) {
      fail(codec_errors::kFailed);
      return;
    }
    wire.insert(wire.end(), salt_.begin(), salt_.end());
    const size_t part = options_.server ? sealResponse(plain, length, wire) : sealRequest(plain, length, wire);
    plain += part;
    length -= part;
  }
  if (alive() && length > 0) {
    const size_t at = wire.size();
    wire.resize(at + sealedRunLength(length, kMaxPayload2022));
    const RunStatus status = sealRun(*sealer_, sealNonce_, plain, length, kMaxPayload2022, wire.data() + at);
    if (status != RunStatus::Ok) failRun(status);
  }
  if (!alive()) wire.resize(before);
}

bool Shadowsocks2022::openSalt(const uint8_t* record) {
  peerSalt_.assign(record, record + saltLength());
  if (peerSalt_ == salt_) return fail(codec_errors::kReflected);
  if (!options_.users.empty()) {
    stage_ = Stage::Identity;
    return true;
  }
  opener_ = session(peerSalt_, Aead::Use::Open);
  stage_ = Stage::Fixed;
  return opener_ != nullptr || fail(codec_errors::kFailed);
}

bool Shadowsocks2022::openIdentity(const uint8_t* record) {
  uint8_t key[Blake3::kOutLength];
  uint8_t block[kIdentityLength];
  deriveKey(kIdentityContext, options_.keys.front(), peerSalt_, key);
  AesBlock aes;
  const bool done = aes.start(key, info_.keyLength, false) && aes.process(record, block);
  wipe(key, sizeof(key));
  if (!done) return fail(codec_errors::kFailed);
  for (size_t i = 0; i < options_.users.size(); ++i) {
    uint8_t identity[kIdentityLength];
    identityOf(options_.users[i], identity);
    // All are compared, so that the time does not tell which user it is.
    if (equalBytes(identity, block, sizeof(block))) user_ = static_cast<int>(i);
  }
  if (user_ < 0) return fail(codec_errors::kAuth);
  opener_ = session(peerSalt_, Aead::Use::Open);
  stage_ = Stage::Fixed;
  return opener_ != nullptr || fail(codec_errors::kFailed);
}

bool Shadowsocks2022::openFixed(const uint8_t* record) {
  uint8_t header[kFixedLength + kMaxKeyLength];
  const size_t length = recordLength() - kTagLength;
  if (!opener_->open(openNonce_.bytes(), record, length + kTagLength, header)) return fail(codec_errors::kAuth);
  openNonce_.step();
  if (header[0] != (options_.server ? kRequest : kResponse))
    return fail("CIPHER_PROTOCOL: the first record is of the wrong type");
  // Unsigned, because what the peer wrote may be anything.
  const uint64_t difference = load64be(header + 1) - static_cast<uint64_t>(now());
  if (difference + kMaxClockSkew > 2 * kMaxClockSkew) {
    char text[96];
    std::snprintf(text, sizeof(text), "CIPHER_CLOCK: the peer's clock differs by %" PRId64 " s",
                  static_cast<int64_t>(difference));
    return fail(text);
  }
  if (!options_.server && (salt_.size() != saltLength() || !equalBytes(header + 9, salt_.data(), salt_.size())))
    return fail("CIPHER_PROTOCOL: the response belongs to another request");
  if (options_.check != nullptr) {
    const HeaderCheck check = std::move(options_.check);
    options_.check = nullptr;
    if (!check(header, length)) return fail("CIPHER_REFUSED: the header was refused");
  }
  const size_t next = load16be(header + length - 2);
  if (options_.server) {
    variableLength_ = next;
    stage_ = Stage::Variable;
  } else {
    reader_.expectPayload(next);
    stage_ = Stage::Chunks;
  }
  return true;
}

bool Shadowsocks2022::openVariable(const uint8_t* record, std::vector<uint8_t>& plain) {
  std::vector<uint8_t> header(variableLength_);
  if (!opener_->open(openNonce_.bytes(), record, variableLength_ + kTagLength, header.data()))
    return fail(codec_errors::kAuth);
  openNonce_.step();
  const size_t address = addressLength(header.data(), header.size());
  if (address == 0 || header.size() - address < 2) return fail("CIPHER_PROTOCOL: bad address in the request");
  const size_t padding = load16be(header.data() + address);
  const size_t payloadAt = address + 2 + padding;
  if (payloadAt > header.size()) return fail("CIPHER_PROTOCOL: the padding runs past the header");
  if (padding == 0 && payloadAt == header.size())
    return fail("CIPHER_PROTOCOL: a request without payload and without padding");
  plain.insert(plain.end(), header.begin(), header.begin() + static_cast<std::ptrdiff_t>(address));
  plain.insert(plain.end(), header.begin() + static_cast<std::ptrdiff_t>(payloadAt), header.end());
  stage_ = Stage::Chunks;
  return true;
}

/// Bytes on the wire of the record that `stage_` waits for.
size_t Shadowsocks2022::recordLength() const {
  switch (stage_) {
    case Stage::Salt:
      return saltLength();
    case Stage::Identity:
      return kIdentityLength;
    case Stage::Fixed:
      return kFixedLength + (options_.server ? 0 : saltLength()) + kTagLength;
    case Stage::Variable:
    case Stage::Chunks:
      break;
  }
  return variableLength_ + kTagLength;
}

bool Shadowsocks2022::open(const uint8_t* wire, size_t length, std::vector<uint8_t>& plain) {
  if (!alive()) return false;
  while (stage_ != Stage::Chunks) {
    const uint8_t* record = buffer_.take(recordLength(), wire, length);
    if (record == nullptr) return true;
    const bool good = stage_ == Stage::Salt       ? openSalt(record)
                      : stage_ == Stage::Identity ? openIdentity(record)
                      : stage_ == Stage::Fixed    ? openFixed(record)
                                                  : openVariable(record, plain);
    if (!good) return false;
  }
  const RunStatus status = reader_.open(*opener_, openNonce_, buffer_, wire, length, plain);
  return status == RunStatus::Ok || failRun(status);
}

bool Shadowsocks2022::failRun(RunStatus status) {
  switch (status) {
    case RunStatus::NotAuthentic:
      return fail(codec_errors::kAuth);
    case RunStatus::TooLong:
      return fail(codec_errors::kTooLong);
    case RunStatus::Exhausted:
      return fail(codec_errors::kExhausted);
    case RunStatus::Ok:
    case RunStatus::Failed:
      break;
  }
  return fail(codec_errors::kFailed);
}

}  // namespace nekit
