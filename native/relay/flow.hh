// One relay: two sockets, two ways. A flow knows nothing of epoll or threads; whoever polls (see flow-set.hh) tells it what was heard.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "relay/pipe-pool.hh"
#include "socket/conn.hh"

namespace nekit {

// What flows of one thread share.
struct RelayScratch {
  RelayScratch();
  std::vector<uint8_t> bytes;
  std::vector<uint8_t> opened;
  std::vector<uint8_t> sealed;
  PipePool pipes;
};

// Why a flow ended; a positive number is an errno.
enum : int { kEndClean = 0, kEndIdle = -1, kEndHalfClose = -2, kEndAborted = -3, kEndSealed = -4 };

enum class Step {
  kWait,   // nothing to do before the next event
  kAgain,  // its share is used up, there is more
  kEnded,  // see `reason`
};

class Flow {
 public:
  struct Limits {
    int64_t idleMs;
    int64_t halfCloseMs;
  };

  // Takes the conns. `up` and `down` are cells that JavaScript reads: bytes from a to b, and back; they outlive the flow.
  Flow(uint32_t id, std::unique_ptr<Conn> a, std::unique_ptr<Conn> b, Limits limits, double* up, double* down, int64_t now);
  ~Flow();
  Flow(const Flow&) = delete;
  Flow& operator=(const Flow&) = delete;

  // Bytes that were read from a, or from b, before and go in front.
  void prepend(bool fromA, const uint8_t* bytes, size_t length);

  // Moves what can be moved, but no more than the flow's share.
  // `splice`: a thread that does nothing else; the share is larger there, and pipes may be borrowed.
  Step pump(RelayScratch& scratch, bool splice, int64_t now);

  // Ends it from outside: both ends are reset.
  void fail(int reason, PipePool& pipes);

  // A codec waits for the first bytes to send its prologue with them; false once none does.
  bool prologuePending() const { return prologueWaits(*a_) || prologueWaits(*b_); }
  // Sends prologues that have waited long enough, with the next `pump`.
  bool prologueDue(int64_t now) const { return now - began_ >= kPrologueDelayMs && prologuePending(); }

  // kEndIdle or kEndHalfClose when it has been silent for too long, else 0.
  int overdue(int64_t now);
  // Lets go of memory that a silent flow does not need.
  void shrink();

  Conn& a() { return *a_; }
  Conn& b() { return *b_; }
  uint32_t id() const { return id_; }
  int reason() const { return reason_; }
  // What `reason` does not say of a sealed connection (see `whyFailed`).
  std::string why() const { return guilty_ == nullptr ? std::string() : whyFailed(*guilty_, reason_); }
  // It has ended; events that its sockets still have are nobody's.
  bool over() const { return ended_; }
  bool ended() const { return ended_; }
  uint64_t moved() const { return up_.moved + down_.moved; }
  int64_t began() const { return began_; }

  int64_t shortestLimit() const { return limits_.idleMs < limits_.halfCloseMs ? limits_.idleMs : limits_.halfCloseMs; }

  // In the list of flows that have more to do (flow-set.cc).
  bool queued = false;

 private:
  struct Way {
    Conn* from;
    Conn* to;
    double* counter;
    // Taken from `from` and not yet in the kernel towards `to`, from `sent` on.
    std::vector<uint8_t> pending;
    size_t sent = 0;
    // Of `pending`, what counts as payload once it is gone (a sealed record is longer than what is in it).
    size_t payload = 0;
    std::unique_ptr<Pipe> pipe;
    uint64_t moved = 0;
    // splice gave 0, which is no proof of a FIN: recv decides.
    bool sawZero = false;
    bool done = false;
  };

  Step pumpWay(Way& way, const Way& other, RelayScratch& scratch, bool splice, int64_t now);
  int forward(Way& way, const uint8_t* plain, size_t length, RelayScratch& scratch);
  bool seal(Way& way, const uint8_t* plain, size_t length);
  void sealFirst(Way& way, const uint8_t* plain, size_t length);
  Step wait(Way& way, PipePool& pipes);
  Step refused(Way& way, int error, PipePool& pipes);
  int flush(Way& way);
  int drainPipe(Way& way);
  void count(Way& way, size_t bytes);
  Step failed(int reason, const Conn& guilty, PipePool& pipes);

  std::unique_ptr<Conn> a_;
  std::unique_ptr<Conn> b_;
  Way up_;
  Way down_;
  Limits limits_;
  int64_t lastActive_;
  // What the kernel had not got rid of when it was last asked in this silence.
  static constexpr int64_t kUnknown = -1;
  int64_t unsent_ = kUnknown;
  int64_t began_;
  uint32_t id_;
  int reason_ = 0;
  // Which of the two has failed.
  const Conn* guilty_ = nullptr;
  bool ended_ = false;
};

}  // namespace nekit
