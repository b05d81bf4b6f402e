#include "relay/pipe-pool.hh"

#include <fcntl.h>
#include <unistd.h>

namespace nekit {

namespace {

// /proc/sys/fs/pipe-max-size allows 1 MiB to everybody; a user's pipes together have a soft limit of 16,384 pages by default, beyond which
// they get smaller or are refused: then the flow copies.
constexpr int kPipeSize = 1024 * 1024;
constexpr size_t kMaxIdle = 32;
constexpr size_t kMaxPipes = 256;
// After a refusal so many flows copy before the system is asked again.
constexpr size_t kRefusals = 1000;

}  // namespace

Pipe::~Pipe() {
  if (read >= 0) close(read);
  if (write >= 0) close(write);
}

std::unique_ptr<Pipe> PipePool::take() {
  if (!idle_.empty()) {
    auto pipe = std::move(idle_.back());
    idle_.pop_back();
    out_++;
    return pipe;
  }
  if (out_ >= kMaxPipes) return nullptr;
  if (refuse_ > 0) {
    refuse_--;
    return nullptr;
  }
  refuse_ = kRefusals;
  int ends[2];
  if (pipe2(ends, O_NONBLOCK | O_CLOEXEC) != 0) return nullptr;
  auto pipe = std::make_unique<Pipe>();
  pipe->read = ends[0];
  pipe->write = ends[1];
  // A default pipe of 64 KiB would be slower than copying.
  if (fcntl(pipe->write, F_SETPIPE_SZ, kPipeSize) < kPipeSize) return nullptr;
  out_++;
  refuse_ = 0;
  return pipe;
}

void PipePool::give(std::unique_ptr<Pipe> pipe) {
  if (pipe == nullptr) return;
  out_--;
  refuse_ = 0;
  if (pipe->filled == 0 && idle_.size() < kMaxIdle) idle_.push_back(std::move(pipe));
}

}  // namespace nekit
