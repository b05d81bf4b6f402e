// A stream socket and what epoll has told of it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "cipher/codec.hh"
#include "socket/watch-table.hh"

namespace nekit {

class Flow;

// TCP or Unix. All sockets are edge-triggered, and registered once for everything: what an edge says is kept here until a call finds the opposite.
struct Conn : Watched {
  Conn() : Watched(Kind::kConn) {}
  int fd = -1;
  // Slot and generation, as JavaScript knows it.
  uint32_t id = 0;
  bool connecting = false;
  // There may be something to read; a call that finds nothing clears it.
  bool readable = false;
  bool writable = false;
  // EPOLLRDHUP came: FIN or RST is behind what is still to be read. Only then must one read until the end, else a short read is the end.
  bool readHup = false;
  // EPOLLPRI came: reads stop at the urgent mark, so a short read says nothing any more.
  bool urgent = false;
  // EPOLLERR came.
  bool failed = false;
  // A read or a write of JavaScript's waits for an event.
  bool wantRead = false;
  bool wantWrite = false;
  // Bytes that were taken out of it since it is in edge mode, modulo 2^32.
  uint32_t taken = 0;
  // Where the next peek would begin, in bytes from the first unread one, or one of these.
  static constexpr int64_t kPeekUnsaid = -1;   // it has to be said
  static constexpr int64_t kPeekUnknown = -2;  // nobody has asked yet whether one can
  static constexpr int64_t kPeekNever = -3;
  int64_t peekAt = kPeekUnknown;
  // JavaScript reads and writes itself when told (NativeConn); otherwise what arrives is read for it.
  bool edge = false;
  // In edge mode: it knows that there may be something to read, for it has been told so since a read of its found nothing.
  bool told = false;
  bool finSeen = false;
  bool finSent = false;
  // The relay it belongs to, if any.
  Flow* flow = nullptr;

  // What seals and opens its bytes, and what that has left over: sealed and not yet in the kernel, opened and not yet taken.
  std::unique_ptr<Codec> codec;
  std::vector<uint8_t> sealed;
  std::vector<uint8_t> opened;
  size_t sealedAt = 0;
  size_t openedAt = 0;
};

// What is registered for each conn: once, edge-triggered.
uint32_t watchedEvents();

// Notes down what epoll said.
void note(Conn& conn, uint32_t events);

// How long a header waits for the first bytes. Servers that speak first must learn of the connection though the client says nothing; those that wait get header and data in one.
constexpr int64_t kPrologueDelayMs = 10;

// The codec has a header to send, and no bytes have come to go with it.
inline bool prologueWaits(const Conn& conn) { return conn.codec != nullptr && conn.codec->prologuePending(); }

// Bytes that were taken and are not yet in the kernel.
inline size_t pendingOf(const Conn& conn) { return conn.sealed.size() - conn.sealedAt; }

// Plain bytes through the codec, where there is one; else the same as `receive` and `send`. -EPROTO: see `whyFailed`.
// A sealed record is taken whole: what the kernel has no room for stays pending, and goes with the next call or with `flushSealed`.
ptrdiff_t receivePlain(Conn& conn, uint8_t* into, size_t length);
ptrdiff_t sendPlain(Conn& conn, const uint8_t* from, size_t length);
// 0: nothing is pending any more; -EAGAIN or another -errno.
ptrdiff_t flushSealed(Conn& conn);
// Bytes in the kernel that the peer has not acknowledged (of a Unix socket: memory that its reader has not taken); 0 where nobody knows.
int64_t unsentOf(const Conn& conn);
// What has to be on the wire before a FIN: the header, where it still waits for bytes to go with, and what is pending. As `flushSealed`, or -EPROTO.
ptrdiff_t sendPrologue(Conn& conn);

// What is known of a conn with a codec that failed with an errno, beyond that number: "CODE: text", else empty. While its descriptor is open.
std::string whyFailed(const Conn& conn, int error);

// recv/send with the flags kept in step. >= 0: bytes (0 from receive: FIN); < 0: -errno, -EAGAIN where one has to wait.
ptrdiff_t receive(Conn& conn, uint8_t* into, size_t length);
ptrdiff_t send(Conn& conn, const uint8_t* from, size_t length);

// Whether bytes can be copied out of it and left in it: TCP, from Linux 6.9 on.
bool mayPeek(Conn& conn);
// Copies bytes from `offset` of what is unread on; where `mayPeek`. How many, or -errno.
ptrdiff_t peekInto(Conn& conn, int32_t offset, uint8_t* into, size_t length);
// Takes bytes out and drops them; where `mayPeek`. How many, or -errno.
ptrdiff_t drop(Conn& conn, size_t length);
// So many bytes are no longer in it.
void tookOut(Conn& conn, size_t length);

// Closes; `reset`: with RST where there is TCP.
void closeSocket(Conn& conn, bool reset);

}  // namespace nekit
