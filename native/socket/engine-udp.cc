// The UDP half of the engine.
#include <sys/epoll.h>

#include <cerrno>
#include <cstring>

#include "socket/engine.hh"

namespace nekit {

int32_t Engine::udpOpen(const Address& address, const SocketOptions& options) {
  auto udp = std::make_unique<Udp>();
  if (const int error = udp->open(address, options); error != 0) return -error;
  Udp& kept = *udp;
  // Level-triggered: what one turn leaves is there in the next.
  if (const int error = watch(kept.fd, EPOLLIN, kept); error != 0) return -error;
  const int32_t id = udp_.add(std::move(udp));
  if (id == 0) {
    watched_.remove(kept);
    return -ENFILE;
  }
  kept.id = id;
  return id;
}

ptrdiff_t Engine::udpSend(int32_t id, const uint8_t* bytes, size_t size, const UdpRecord* records, size_t count) {
  Udp* udp = udp_.find(id);
  if (udp == nullptr) return -EBADF;
  bool full = false;
  const size_t taken = udp->send(bytes, size, records, count, full);
  if (full && !udp->wantWrite) {
    udp->wantWrite = true;
    rewatch(*udp);
  }
  return static_cast<ptrdiff_t>(taken);
}

void Engine::udpClose(int32_t id) {
  if (Udp* udp = udp_.find(id); udp != nullptr) unwatch(udp->fd, *udp);
  udp_.take(id);
}

int Engine::udpAddress(int32_t id, Address& out) const {
  const Udp* udp = udp_.find(id);
  if (udp == nullptr) return -EBADF;
  out.length = sizeof out.storage;
  return getsockname(udp->fd, out.get(), &out.length) == 0 ? 0 : -errno;
}

void Engine::heard(Udp& udp, uint32_t events) {
  if ((events & EPOLLOUT) != 0 && udp.wantWrite) {
    udp.wantWrite = false;
    rewatch(udp);
    tell(Event::kUdpWritable, udp.id);
  }
  if ((events & (EPOLLIN | EPOLLERR | EPOLLHUP)) != 0 && udp.servedIn != turn_) deliver(udp);
}

// Those that found no room are first in the next turn, or streams might never leave them any. Half of the slab, then the others come.
void Engine::feedHungry() {
  turn_++;
  std::vector<int32_t> hungry;
  hungry.swap(hungry_);
  for (const int32_t id : hungry) {
    Udp* udp = udp_.find(id);
    if (udp == nullptr) continue;
    udp->hungry = false;
    if (used_ < slabSize_ / 2) deliver(*udp);
    else stillHungry(*udp);
  }
}

void Engine::stillHungry(Udp& udp) {
  if (udp.hungry) return;
  udp.hungry = true;
  hungry_.push_back(udp.id);
}

void Engine::deliver(Udp& udp) {
  // The records come behind the payloads, at a multiple of four.
  constexpr size_t kForRecords = Udp::kMessages * sizeof(UdpRecord) + alignof(UdpRecord);
  udp.servedIn = turn_;
  if (room(Udp::kLargest + kForRecords) < Udp::kLargest + kForRecords) {
    stillHungry(udp);
    return;
  }
  UdpRecord records[Udp::kMessages];
  const size_t count = udp.receive(slab_, used_, slabSize_ - kForRecords, records);
  if (count > 0) {
    used_ = (used_ + alignof(UdpRecord) - 1) / alignof(UdpRecord) * alignof(UdpRecord);
    std::memcpy(slab_ + used_, records, count * sizeof(UdpRecord));
    tell(Event::kUdpReceived, udp.id, static_cast<int32_t>(used_), static_cast<int32_t>(count));
    used_ += count * sizeof(UdpRecord);
  }
  if (udp.error == 0) return;
  unwatch(udp.fd, udp);
  tell(Event::kUdpFailed, udp.id, udp.error);
}

void Engine::rewatch(Udp& udp) {
  epoll_event event{};
  event.events = udp.wantWrite ? EPOLLIN | EPOLLOUT : EPOLLIN;
  event.data.u64 = udp.token;
  epoll_ctl(epoll_, EPOLL_CTL_MOD, udp.fd, &event);
}

}  // namespace nekit
