// Conns in edge mode, whose bytes a codec may seal and open, and what is on its way out of them.
#include <cerrno>
#include <utility>

#include "socket/engine.hh"

namespace nekit {

int Engine::setCodec(int32_t id, std::unique_ptr<Codec> codec) {
  Conn* conn = conns_.find(id);
  if (conn == nullptr || conn->codec != nullptr) return -EBADF;
  conn->codec = std::move(codec);
  return 0;
}

ptrdiff_t Engine::pending(int32_t id) const {
  const Conn* conn = conns_.find(id);
  return conn == nullptr ? -EBADF : static_cast<ptrdiff_t>(pendingOf(*conn));
}

ptrdiff_t Engine::unsent(int32_t id) const {
  const Conn* conn = conns_.find(id);
  return conn == nullptr ? -EBADF : static_cast<ptrdiff_t>(pendingOf(*conn)) + static_cast<ptrdiff_t>(unsentOf(*conn));
}

int Engine::setEdge(int32_t id) {
  Conn* conn = conns_.find(id);
  if (conn == nullptr) return -EBADF;
  if (!conn->edge) {
    conn->taken = 0;
    if (prologueWaits(*conn)) {
      silent_.push_back({id, nowMs() + kPrologueDelayMs});
      setTimer();
    }
  }
  conn->edge = true;
  conn->wantRead = true;
  return 0;
}

void Engine::sendPrologues() {
  size_t count = 0;
  for (; count < silent_.size() && silent_[count].until <= now_; count++) {
    const int32_t id = silent_[count].id;
    Conn* conn = conns_.find(id);
    if (conn == nullptr || !prologueWaits(*conn)) continue;
    const ptrdiff_t left = sendPrologue(*conn);
    if (left == -EAGAIN) conn->wantWrite = true;
    else if (left != 0) tell(Event::kFailed, id, static_cast<int32_t>(-left));
  }
  silent_.erase(silent_.begin(), silent_.begin() + static_cast<ptrdiff_t>(count));
}

std::string Engine::whyConnFailed(int32_t id, int error) const {
  const Conn* conn = conns_.find(id);
  return conn == nullptr ? std::string() : whyFailed(*conn, error);
}

}  // namespace nekit
