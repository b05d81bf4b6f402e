#include "relay/flow-set.hh"

#include <time.h>

#include <algorithm>

namespace nekit {

namespace {

constexpr int64_t kShortestTick = 10;
constexpr int64_t kLongestTick = 1000;

}  // namespace

int64_t nowMs() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

FlowSet::~FlowSet() = default;

void FlowSet::add(std::unique_ptr<Flow> flow) {
  tickMs_ = std::clamp(std::min(tickMs_, flow->shortestLimit() / 8), kShortestTick, kLongestTick);
  Flow& added = *flow;
  waiting_ = waiting_ || added.prologuePending();
  flows_.emplace(added.id(), std::move(flow));
  queue(added);
}

void FlowSet::queue(Flow& flow) {
  if (flow.queued || flow.over()) return;
  flow.queued = true;
  queue_.push_back(&flow);
}

bool FlowSet::run(int64_t now) {
  turn_.swap(queue_);
  for (Flow* flow : turn_) {
    flow->queued = false;
    const uint64_t before = flow->moved();
    const Step step = flow->pump(scratch_, splice_, now);
    moved += flow->moved() - before;
    switch (step) {
      case Step::kEnded:
        remove(*flow);
        break;
      case Step::kAgain:
        queue(*flow);
        [[fallthrough]];
      case Step::kWait:
        if (bulkAt != 0 && flow->moved() >= bulkAt) bulk_.push_back(flow->id());
        break;
    }
  }
  turn_.clear();
  return !queue_.empty();
}

void FlowSet::sweep(int64_t now) {
  std::vector<std::pair<Flow*, int>> late;
  bool waiting = false;
  for (auto& [id, flow] : flows_) {
    if (flow->prologueDue(now)) queue(*flow);
    waiting = waiting || flow->prologuePending();
    if (const int reason = flow->overdue(now); reason != 0) late.emplace_back(flow.get(), reason);
    flow->shrink();
  }
  for (auto [flow, reason] : late) {
    flow->fail(reason, scratch_.pipes);
    remove(*flow);
  }
  if (flows_.empty()) tickMs_ = kLongestTick;
  waiting_ = waiting;
}

bool FlowSet::abort(uint32_t id) {
  const auto found = flows_.find(id);
  if (found == flows_.end()) return false;
  found->second->fail(kEndAborted, scratch_.pipes);
  remove(*found->second);
  return true;
}

void FlowSet::remove(Flow& flow) {
  std::string why = flow.why();
  const int reason = why.empty() ? flow.reason() : kEndSealed;
  ended.push_back({flow.id(), reason, std::move(why)});
  if (flow.queued) queue_.erase(std::find(queue_.begin(), queue_.end(), &flow));
  const auto found = flows_.find(flow.id());
  graveyard_.push_back(std::move(found->second));
  flows_.erase(found);
}

std::vector<std::unique_ptr<Flow>> FlowSet::takeBulk() {
  std::vector<std::unique_ptr<Flow>> taken;
  for (const uint32_t id : bulk_) {
    const auto found = flows_.find(id);
    if (found == flows_.end()) continue;
    Flow& flow = *found->second;
    if (flow.queued) {
      queue_.erase(std::find(queue_.begin(), queue_.end(), &flow));
      flow.queued = false;
    }
    taken.push_back(std::move(found->second));
    flows_.erase(found);
  }
  bulk_.clear();
  return taken;
}

}  // namespace nekit
