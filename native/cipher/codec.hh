// Between plain bytes and the bytes of a sealed connection, in both directions: what the handshake in JavaScript uses
// and the relay thread takes over.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace nekit {

/**
 * A seal half and an open half. Used by one thread at a time; nothing is counted twice when it moves to another. After
 * an error it is dead: `seal` appends nothing, `open` returns false.
 */
class Codec {
 public:
  virtual ~Codec();
  /// Appends the wire form of `plain` to `wire`. The prologue (salt, header) that has not gone out yet goes in front.
  /// Look at `error()` afterwards: a nonce counter may be exhausted, a server may not answer before it was asked.
  virtual void seal(const uint8_t* plain, size_t length, std::vector<uint8_t>& wire) = 0;
  /// Takes wire bytes in any fragmentation, appends what it opened to `plain` (also what came before an error). false:
  /// authentication failed or protocol broken; `error()` says which.
  virtual bool open(const uint8_t* wire, size_t length, std::vector<uint8_t>& plain) = 0;
  /// Null while alive, else "CODE: text". Codes: CIPHER_AUTH, CIPHER_PROTOCOL, CIPHER_CLOCK, CIPHER_REFUSED,
  /// CIPHER_EXHAUSTED, CIPHER_FAILED.
  virtual const char* error() const = 0;
  /// Whether a FIN here would cut a record (or a salt, or a header) in two. Of a codec that is alive.
  virtual bool midRecord() const = 0;
  /// Whether something of the peer's was found good: its first record, or its IV where there are no records.
  virtual bool spoke() const = 0;
  /// Something to send even if no plain bytes come: a client's header.
  virtual bool prologuePending() const = 0;
  /// Appends the prologue by itself, if one is pending.
  virtual void sealPrologue(std::vector<uint8_t>& wire) = 0;
};

/// What the Shadowsocks codecs have in common: a client's header, a salt for each direction, and an end.
class ShadowsocksCodec : public Codec {
 public:
  const char* error() const override { return error_.empty() ? nullptr : error_.c_str(); }
  bool prologuePending() const override { return !sealing_ && !header_.empty() && error_.empty(); }
  void sealPrologue(std::vector<uint8_t>& wire) override {
    if (prologuePending()) seal(nullptr, 0, wire);
  }
  /// The salt (or IV) that the other side sent, empty before. A server looks it up in its replay filter.
  const std::vector<uint8_t>& peerSalt() const { return peerSalt_; }
  /// Ours, drawn when it is first asked for or needed; empty where the method has none. A server puts it into its replay
  /// filter: what it sends must not come back as a request.
  const std::vector<uint8_t>& salt() {
    drawSalt();
    return salt_;
  }

 protected:
  /// `header` goes in front of the first plain bytes: the target's address at a client, empty at a server.
  explicit ShadowsocksCodec(std::vector<uint8_t> header) : header_(std::move(header)) {}
  bool alive() const { return error_.empty(); }
  /// Returns false. The first error stays.
  bool fail(const char* error);
  /// The same in both directions.
  virtual size_t saltLength() const = 0;
  /// false: there is no randomness.
  bool drawSalt();

  std::vector<uint8_t> header_;
  std::vector<uint8_t> salt_;  // ours
  std::vector<uint8_t> peerSalt_;
  bool sealing_ = false;  // the prologue has gone out

 private:
  std::string error_;
};

namespace codec_errors {
inline constexpr const char* kAuth = "CIPHER_AUTH: authentication failed: wrong password or cipher, or altered bytes";
inline constexpr const char* kTooLong = "CIPHER_PROTOCOL: a chunk is longer than the protocol allows";
inline constexpr const char* kReflected = "CIPHER_PROTOCOL: the peer sent our own salt back";
inline constexpr const char* kExhausted = "CIPHER_EXHAUSTED: the nonce counter has come to its end";
inline constexpr const char* kFailed = "CIPHER_FAILED: the cryptographic library failed";
}  // namespace codec_errors

/// Longest header that a client may give: an address of SOCKS has at most 259 bytes.
inline constexpr size_t kMaxHeader = 1024;

}  // namespace nekit
