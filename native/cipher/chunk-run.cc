#include "cipher/chunk-run.hh"

#include <algorithm>

namespace nekit {

size_t sealedRunLength(size_t length, size_t maxPayload) {
  const size_t chunks = (length + maxPayload - 1) / maxPayload;
  return length + chunks * (kSealedLength + kTagLength);
}

RunStatus sealRun(Aead& aead, NonceCounter& nonce, const uint8_t* plain, size_t length, size_t maxPayload,
                  uint8_t* out) {
  if (!nonce.lasts(2 * ((length + maxPayload - 1) / maxPayload))) return RunStatus::Exhausted;
  while (length > 0) {
    const size_t payload = std::min(length, maxPayload);
    uint8_t size[2];
    store16be(size, payload);
    if (!aead.seal(nonce.bytes(), size, sizeof(size), out)) return RunStatus::Failed;
    nonce.step();
    out += kSealedLength;
    if (!aead.seal(nonce.bytes(), plain, payload, out)) return RunStatus::Failed;
    nonce.step();
    out += payload + kTagLength;
    plain += payload;
    length -= payload;
  }
  return RunStatus::Ok;
}

RunStatus openRun(Aead& aead, NonceCounter& nonce, const uint8_t* wire, size_t length, size_t maxPayload, uint8_t* out,
                  RunProgress& progress) {
  progress = {0, 0};
  while (length - progress.consumed >= kSealedLength) {
    if (!nonce.lasts(2)) return RunStatus::Exhausted;
    const uint8_t* chunk = wire + progress.consumed;
    uint8_t size[2];
    NonceCounter next = nonce;
    if (!aead.open(next.bytes(), chunk, kSealedLength, size)) return RunStatus::NotAuthentic;
    next.step();
    const size_t payload = load16be(size);
    if (payload > maxPayload) return RunStatus::TooLong;
    const size_t whole = kSealedLength + payload + kTagLength;
    if (length - progress.consumed < whole) break;
    if (!aead.open(next.bytes(), chunk + kSealedLength, payload + kTagLength, out + progress.produced))
      return RunStatus::NotAuthentic;
    next.step();
    nonce = next;
    progress.consumed += whole;
    progress.produced += payload;
  }
  return RunStatus::Ok;
}

}  // namespace nekit
