#include "cipher/chunk-reader.hh"

namespace nekit {

RunStatus ChunkReader::open(Aead& aead, NonceCounter& nonce, RecordBuffer& buffer, const uint8_t* wire, size_t length,
                            std::vector<uint8_t>& plain) {
  plain.reserve(plain.size() + length + buffer.pending());
  for (;;) {
    const uint8_t* record = buffer.take(inPayload_ ? payload_ + kTagLength : kSealedLength, wire, length);
    if (record == nullptr) return RunStatus::Ok;
    if (nonce.exhausted()) return RunStatus::Exhausted;
    if (inPayload_) {
      const size_t at = plain.size();
      plain.resize(at + payload_);
      if (!aead.open(nonce.bytes(), record, payload_ + kTagLength, plain.data() + at)) {
        plain.resize(at);
        return RunStatus::NotAuthentic;
      }
    } else {
      uint8_t size[2];
      if (!aead.open(nonce.bytes(), record, kSealedLength, size)) return RunStatus::NotAuthentic;
      payload_ = load16be(size);
      if (payload_ > maxPayload_) return RunStatus::TooLong;
    }
    nonce.step();
    inPayload_ = !inPayload_;
  }
}

}  // namespace nekit
