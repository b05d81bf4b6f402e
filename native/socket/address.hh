// Socket addresses: IPv4, IPv6 (with a zone) and Unix paths, between their text and the kernel's form.
#pragma once

#include <sys/socket.h>
#include <sys/un.h>
#include <netinet/in.h>

#include <cstdint>
#include <optional>
#include <string>

namespace nekit {

struct Address {
  sockaddr_storage storage{};
  socklen_t length = 0;

  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
  sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
  int family() const { return storage.ss_family; }
  uint16_t port() const;
  void setPort(uint16_t port);

  // `host` is a dotted IPv4 or an IPv6 with or without a zone (`fe80::1%eth0`); nothing if it is neither.
  static std::optional<Address> ofIp(const std::string& host, uint16_t port);
  // A path, or a name of the abstract namespace if it starts with NUL; nothing if it is too long.
  static std::optional<Address> ofPath(const std::string& path);
};

// For JavaScript: 24 bytes, octets 0-15 the address (IPv4 in the first four), 16-17 the port, 18 the family (4, 6, 0: none),
// 20-23 the scope id; numbers in the machine's order.
constexpr int kPackedAddress = 24;
void pack(const Address& address, uint8_t* out);

}  // namespace nekit
