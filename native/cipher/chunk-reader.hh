#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "cipher/chunk-run.hh"
#include "cipher/record-buffer.hh"

namespace nekit {

/// Opens a stream of chunks in any fragmentation. A length is opened once, an unfinished chunk costs its own size.
class ChunkReader {
 public:
  explicit ChunkReader(size_t maxPayload) : maxPayload_(maxPayload) {}
  /// Takes all of `wire` and appends to `plain`. Not to be called again once it returned another status than Ok.
  RunStatus open(Aead& aead, NonceCounter& nonce, RecordBuffer& buffer, const uint8_t* wire, size_t length,
                 std::vector<uint8_t>& plain);
  /// A length was opened, and its payload has not come yet.
  bool midChunk() const { return inPayload_; }
  /// The next record is the payload of a chunk whose length is known from elsewhere (the first chunk of SIP022).
  void expectPayload(size_t payload) {
    payload_ = payload;
    inPayload_ = true;
  }

 private:
  const size_t maxPayload_;
  size_t payload_ = 0;
  bool inPayload_ = false;
};

}  // namespace nekit
