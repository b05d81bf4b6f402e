// The flows of one thread: pumps those that have something to do, in turn, and watches their time.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "relay/flow.hh"

namespace nekit {

int64_t nowMs();

struct EndedFlow {
  uint32_t id;
  int reason;
  // With kEndSealed: "CODE: text".
  std::string why;
};

class FlowSet {
 public:
  // `splice`: big flows may borrow pipes.
  explicit FlowSet(bool splice) : splice_(splice) {}
  ~FlowSet();

  // Takes the flow and pumps it with the next `run`.
  void add(std::unique_ptr<Flow> flow);
  // After `note` was told of an edge. One that has ended has its descriptors until `bury`, and so may still be told.
  void heard(Conn& conn) {
    if (!conn.flow->ended()) queue(*conn.flow);
  }
  // Pumps each flow that has something to do, once. True: some have more.
  bool run(int64_t now);
  // Ends what has been silent for too long.
  void sweep(int64_t now);
  // Resets both ends. False: there is no such flow here.
  bool abort(uint32_t id);
  // Gives away the flows that have become bulk (see `bulkAt`); they are in no epoll any more after the caller has seen to it.
  std::vector<std::unique_ptr<Flow>> takeBulk();

  // Flows that moved more than so many bytes are collected for `takeBulk`; 0: none are.
  uint64_t bulkAt = 0;

  // ms between two sweeps that keep all limits to about an eighth.
  int64_t tickMs() const { return waiting_ ? kWaitingTick : tickMs_; }
  size_t size() const { return flows_.size(); }
  bool busy() const { return !queue_.empty(); }

  // Bytes that have been moved, by all flows.
  uint64_t moved = 0;

  // Flows that have ended since this was last emptied.
  std::vector<EndedFlow> ended;
  // Call when no event of the current batch is left: ended flows are only then destroyed, which closes their conns. `leave` takes each conn out of
  // whatever has told of it.
  template <typename F>
  void bury(F&& leave) {
    for (const auto& flow : graveyard_) {
      leave(flow->a());
      leave(flow->b());
    }
    graveyard_.clear();
  }
  // The same, but the caller destroys them.
  std::vector<std::unique_ptr<Flow>> takeDead() { return std::exchange(graveyard_, {}); }
  // The same as `bury` of those only that have not ended cleanly: nobody may come before their resets, or a transfer that was cut off could look complete.
  template <typename F>
  void buryFailed(F&& leave) {
    const auto failed = std::stable_partition(graveyard_.begin(), graveyard_.end(), [](const auto& flow) { return flow->reason() == kEndClean; });
    for (auto flow = failed; flow != graveyard_.end(); ++flow) {
      leave((*flow)->a());
      leave((*flow)->b());
    }
    graveyard_.erase(failed, graveyard_.end());
  }

 private:
  void queue(Flow& flow);
  void remove(Flow& flow);

  // While a prologue waits for its time.
  static constexpr int64_t kWaitingTick = 10;

  bool splice_;
  bool waiting_ = false;
  int64_t tickMs_ = 1000;
  RelayScratch scratch_;
  std::unordered_map<uint32_t, std::unique_ptr<Flow>> flows_;
  std::vector<Flow*> queue_;
  std::vector<Flow*> turn_;
  std::vector<uint32_t> bulk_;
  std::vector<std::unique_ptr<Flow>> graveyard_;
};

}  // namespace nekit
