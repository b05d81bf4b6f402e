// The socket engine of one event loop: everything is polled through one epoll descriptor, and all that a wake-up brings is one batch of events.
//
// Who owns what: a conn belongs to the engine until it is closed, detached as a descriptor, or given to a relay together with another one.
// Ids are numbers with a generation inside: an id of something that is gone is refused with -EBADF, never taken for another.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "relay/flow-set.hh"
#include "relay/helper-thread.hh"
#include "relay/relay-thread.hh"
#include "socket/conn.hh"
#include "socket/options.hh"
#include "socket/slots.hh"
#include "socket/udp.hh"

namespace nekit {

// What JavaScript is told: four numbers each.
struct Event {
  enum Kind : int32_t {
    kAccepted = 1,       // id, listener, offset of the packed peer address in the slab
    kConnected = 2,      // id, 0 or errno (then the conn is gone)
    kData = 3,           // id, offset in the slab, length; length 0: FIN; a read was waiting
    kFailed = 4,         // id, errno: reset, or what a waiting read or write ran into. The conn is still to be closed
    kWritable = 5,       // id: a write was waiting
    kReadable = 6,       // id: for conns in edge mode
    kRelayEnded = 7,     // relay, reason (relay/flow.hh)
    kListenerPaused = 8, // listener, errno: no descriptors or memory; goes on by itself
    kUdpReceived = 9,    // id, offset of the records in the slab, how many (socket/udp.hh)
    kUdpWritable = 10,   // id: there was no room to send
    kUdpFailed = 11,     // id, errno. It is still to be closed
  };
  int32_t kind;
  int32_t id;
  int32_t a;
  int32_t b;
};

class Engine {
 public:
  // `slab` is where events leave bytes; it outlives the engine. Throws std::system_error where there are no descriptors left.
  Engine(uint8_t* slab, size_t slabSize);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  int epoll() const { return epoll_; }

  struct Listen {
    int backlog = 1024;
    bool ipv6Only = false;
    SocketOptions options;
  };
  // An id, or -errno.
  int32_t listen(const Address& address, const Listen& how);
  void closeListener(int32_t id);
  // Settles with kConnected. An id, or -errno.
  int32_t connect(const Address& address, const SocketOptions& options);

  // Bytes read now into `into`, 0 for FIN, -EAGAIN: what comes is told with kData (kReadable in edge mode), or -errno.
  ptrdiff_t read(int32_t id, uint8_t* into, size_t length);
  // What waits behind the first `held` bytes: how many more, or -EAGAIN (kReadable tells), or -ENODATA: only a read can tell what comes behind them (the end, an error, an urgent mark).
  // -EOPNOTSUPP: it cannot be peeked into (a codec, no TCP, Linux before 6.9).
  ptrdiff_t ahead(int32_t id, size_t held);
  // Copies `length` bytes and leaves them where they are. `position` counts from when the conn was set to edge mode, modulo 2^32. How many, or -errno (-EINVAL: taken already).
  ptrdiff_t peek(int32_t id, uint32_t position, uint8_t* into, size_t length);
  // Takes bytes out that are there, and drops them. How many, or -errno.
  ptrdiff_t skip(int32_t id, size_t length);
  // Bytes taken; fewer than offered (0 included): kWritable follows. Or -errno.
  ptrdiff_t write(int32_t id, const uint8_t* from, size_t length);
  // FIN, behind all that was written. 0 or -errno; -EAGAIN: it was not said, for want of room for what goes before it. kWritable follows.
  int shutdown(int32_t id);
  void close(int32_t id, bool reset);
  // Takes a socket out of the engine, for somebody else's event loop. The descriptor, or -EBADF.
  int detach(int32_t id);
  // What can be read is told, and no more. A codec whose header waits for the first bytes sends it by itself some ms later: the other end may be the one that speaks first.
  int setEdge(int32_t id);
  // From here on `read` and `write`, and a relay, speak plain bytes. Once; a conn with a codec cannot be detached. 0 or -EBADF.
  int setCodec(int32_t id, std::unique_ptr<Codec> codec);
  // Bytes that were taken and are not yet in the kernel, or -EBADF.
  ptrdiff_t pending(int32_t id) const;
  // The same, and what the kernel has and the peer has not acknowledged, or -EBADF.
  ptrdiff_t unsent(int32_t id) const;
  // Takes a connected descriptor in. An id, or -errno; the descriptor is the engine's only on success.
  int32_t adopt(int fd);
  // `remote`: the peer's, else our own. 0 or -errno.
  int addressOf(int32_t id, bool remote, Address& out) const;
  int listenerAddress(int32_t id, Address& out) const;

  // Hands both conns to a relay; their ids are spent. An id for kRelayEnded, or -EBADF. `up` and `down` are written to until then.
  int32_t relay(int32_t a, int32_t b, Flow::Limits limits, double* up, double* down);
  // Before the loop turns: bytes that go in front of what comes from a, or b.
  void prepend(int32_t relay, bool fromA, const uint8_t* bytes, size_t length);
  void abortRelay(int32_t relay);
  // Until the next `poll`: what kEndSealed of a relay means, "CODE: text".
  std::string whyRelayEnded(int32_t relay) const;
  // See `whyFailed`; empty too for a conn that is gone.
  std::string whyConnFailed(int32_t id, int error) const;

  // An id, or -errno. What arrives is told with kUdpReceived.
  int32_t udpOpen(const Address& address, const SocketOptions& options);
  // How many of the records were taken, the rest is dropped; kUdpWritable follows if that was for want of room. Or -EBADF.
  ptrdiff_t udpSend(int32_t id, const uint8_t* bytes, size_t size, const UdpRecord* records, size_t count);
  void udpClose(int32_t id);
  int udpAddress(int32_t id, Address& out) const;

  // Handles what epoll has, without waiting. Call it again at once while `more`, and also after calls that came between two polls.
  const std::vector<Event>& poll();
  // Closes what has ended cleanly, with help where there is much of it; what JavaScript has aborted since `poll` is reset. After the events of `poll` were told: what they make JavaScript send gives others work,
  // which they do while we close.
  void closeEnded();
  bool more() const { return !deferred_.empty() || flows_.busy() || !flows_.ended.empty(); }
  // Makes the epoll descriptor readable, so that the loop calls `poll` once more.
  void wake();

  // Conns, listeners, relays and UDP sockets: what keeps the event loop alive.
  size_t open() const { return conns_.size() + listeners_.size() + relays_.size() + udp_.size(); }

 private:
  struct Listener : Watched {
    Listener() : Watched(Kind::kListener) {}
    int fd = -1;
    int32_t id = 0;
    bool paused = false;
  };
  struct Relaying {
    Flow* flow;                     // null: it is on a thread
    RelayThread* thread = nullptr;  // which one
  };

  int watch(int fd, uint32_t events, Watched& what);
  void unwatch(int fd, Watched& what);
  void heard(Conn& conn, uint32_t events);
  void connected(Conn& conn, uint32_t events);
  void deliver(Conn& conn);
  void heard(Udp& udp, uint32_t events);
  void deliver(Udp& udp);
  void feedHungry();
  void stillHungry(Udp& udp);
  void rewatch(Udp& udp);
  void acceptSome(Listener& listener);
  void pause(Listener& listener, int error);
  void runFlows();
  RelayThread* threadForOne();
  // Empties the vector.
  void ended(std::vector<EndedFlow>& flows);
  void setTimer();
  void tick();
  void sendPrologues();
  void tell(Event::Kind kind, int32_t id, int32_t a = 0, int32_t b = 0) { events_.push_back({kind, id, a, b}); }
  int32_t keep(std::unique_ptr<Conn> conn);
  void bury(int32_t id, bool reset);
  size_t room(size_t bytes);

  int epoll_ = -1;
  int wake_ = -1;
  int timer_ = -1;
  WatchTable watched_;
  Watched wakeWatch_{Watched::Kind::kWake};
  Watched timerWatch_{Watched::Kind::kTimer};
  int64_t timerMs_ = 0;
  int64_t now_ = 0;
  Slots<Conn> conns_;
  Slots<Listener> listeners_;
  Slots<Relaying> relays_;
  Slots<Udp> udp_;
  FlowSet flows_{false};
  // Closes what has ended, while the loop goes on: closing is a sixth of what a short connection costs, and the loop's core is the one that is short.
  Helper<std::unique_ptr<Flow>> closer_{"nekit-closer", [](std::unique_ptr<Flow>& flow) { flow.reset(); }};
  // What it has not come to: empty, but for its room.
  std::vector<std::unique_ptr<Flow>> left_;
  std::vector<std::unique_ptr<RelayThread>> threads_;
  size_t mostThreads_;
  std::vector<Event> events_;
  // Of the relays that the present events tell of.
  std::unordered_map<int32_t, std::string> why_;
  uint8_t* const slab_;
  const size_t slabSize_;
  size_t used_ = 0;
  // Conns whose read found no room in the slab.
  std::vector<int32_t> deferred_;
  // Conns in edge mode that had written nothing when they came, whose codec has a header to send, by the time when it goes out.
  struct Silent {
    int32_t id;
    int64_t until;
  };
  std::vector<Silent> silent_;
  // UDP sockets that found none.
  std::vector<int32_t> hungry_;
  uint32_t turn_ = 0;
  size_t paused_ = 0;
};

}  // namespace nekit
