#include "socket/address.hh"

#include <arpa/inet.h>
#include <net/if.h>

#include <cstddef>
#include <cstring>

namespace nekit {

uint16_t Address::port() const {
  if (family() == AF_INET) return ntohs(reinterpret_cast<const sockaddr_in*>(&storage)->sin_port);
  if (family() == AF_INET6) return ntohs(reinterpret_cast<const sockaddr_in6*>(&storage)->sin6_port);
  return 0;
}

void Address::setPort(uint16_t port) {
  if (family() == AF_INET) reinterpret_cast<sockaddr_in*>(&storage)->sin_port = htons(port);
  if (family() == AF_INET6) reinterpret_cast<sockaddr_in6*>(&storage)->sin6_port = htons(port);
}

std::optional<Address> Address::ofIp(const std::string& host, uint16_t port) {
  Address address;
  auto* four = reinterpret_cast<sockaddr_in*>(&address.storage);
  if (inet_pton(AF_INET, host.c_str(), &four->sin_addr) == 1) {
    four->sin_family = AF_INET;
    four->sin_port = htons(port);
    address.length = sizeof(sockaddr_in);
    return address;
  }
  const auto percent = host.find('%');
  auto* six = reinterpret_cast<sockaddr_in6*>(&address.storage);
  if (inet_pton(AF_INET6, host.substr(0, percent).c_str(), &six->sin6_addr) != 1) return std::nullopt;
  six->sin6_family = AF_INET6;
  six->sin6_port = htons(port);
  if (percent != std::string::npos) {
    const std::string zone = host.substr(percent + 1);
    six->sin6_scope_id = if_nametoindex(zone.c_str());
    if (six->sin6_scope_id == 0) {
      if (zone.empty() || zone.size() > 9 || zone.find_first_not_of("0123456789") != std::string::npos) return std::nullopt;
      six->sin6_scope_id = static_cast<uint32_t>(std::stoul(zone));
    }
  }
  address.length = sizeof(sockaddr_in6);
  return address;
}

std::optional<Address> Address::ofPath(const std::string& path) {
  Address address;
  auto* local = reinterpret_cast<sockaddr_un*>(&address.storage);
  if (path.empty() || path.size() >= sizeof(local->sun_path)) return std::nullopt;
  local->sun_family = AF_UNIX;
  std::memcpy(local->sun_path, path.data(), path.size());
  const bool abstract = path[0] == '\0';
  address.length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size() + (abstract ? 0 : 1));
  return address;
}

void pack(const Address& address, uint8_t* out) {
  std::memset(out, 0, kPackedAddress);
  const uint16_t port = address.port();
  std::memcpy(out + 16, &port, 2);
  if (address.family() == AF_INET) {
    std::memcpy(out, &reinterpret_cast<const sockaddr_in*>(&address.storage)->sin_addr, 4);
    out[18] = 4;
  } else if (address.family() == AF_INET6) {
    const auto* six = reinterpret_cast<const sockaddr_in6*>(&address.storage);
    std::memcpy(out, &six->sin6_addr, 16);
    std::memcpy(out + 20, &six->sin6_scope_id, 4);
    out[18] = 6;
  }
}

}  // namespace nekit
