// Pipes for splice(2). A pipe costs two descriptors and its set-up three calls, so flows borrow one when they carry bulk and give it back empty.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

namespace nekit {

struct Pipe {
  int read = -1;
  int write = -1;
  size_t filled = 0;
  ~Pipe();
};

class PipePool {
 public:
  // Null where there are no descriptors, or where more than kMaxPipes are out: the flow goes on with recv and send.
  std::unique_ptr<Pipe> take();
  // A pipe that is not empty is closed: its bytes are nobody's.
  void give(std::unique_ptr<Pipe> pipe);

 private:
  std::vector<std::unique_ptr<Pipe>> idle_;
  size_t out_ = 0;
  // Takes that are refused at once, since one was refused before.
  size_t refuse_ = 0;
};

}  // namespace nekit
