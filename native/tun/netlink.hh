// Read first: rtnetlink(7). One request and its answers, now: messages are made and read by JavaScript.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace nekit {

/**
 * Sends `request` (one whole message, with NLM_F_ACK or NLM_F_DUMP) to the kernel and collects what it answers, up to the acknowledgment or the end of the dump.
 * 0 or an errno: ENOBUFS where the answer has more than 1 MiB, ETIMEDOUT after a second. What the kernel refused stands in the answer.
 */
int netlinkRequest(const uint8_t* request, size_t length, std::vector<uint8_t>& answer);

}  // namespace nekit
