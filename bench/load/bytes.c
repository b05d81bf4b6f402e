#include "load.h"

#include <string.h>

static unsigned char pattern[PATTERN_PERIOD + BUFFER_SIZE];

static void fill(void)
{
    uint32_t state = 2463534242u;
    for (size_t i = 0; i < PATTERN_PERIOD; i++) {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        pattern[i] = (unsigned char)state;
    }
    for (size_t i = PATTERN_PERIOD; i < sizeof pattern; i++) pattern[i] = pattern[i - PATTERN_PERIOD];
}

const unsigned char *pattern_at(uint64_t offset)
{
    static int filled = 0;
    if (!filled) {
        fill();
        filled = 1;
    }
    return pattern + offset % PATTERN_PERIOD;
}

/*
 * Comparing everything would cost as much as the relay that is measured. The ends of a read show what is lost, doubled or out of
 * place for good; every 16th read is compared in full for what is wrong inside.
 */
int pattern_check(const unsigned char *bytes, size_t length, uint64_t offset)
{
    static unsigned reads = 0;
    if (reads++ % 16 == 0) return memcmp(bytes, pattern_at(offset), length) == 0 ? 0 : -1;
    size_t part = length < 32 ? length : 32;
    if (memcmp(bytes, pattern_at(offset), part) != 0) return -1;
    return memcmp(bytes + length - part, pattern_at(offset + length - part), part) == 0 ? 0 : -1;
}

void put_u64(unsigned char *bytes, uint64_t value)
{
    for (int i = 7; i >= 0; i--, value >>= 8) bytes[i] = (unsigned char)value;
}

uint64_t get_u64(const unsigned char *bytes)
{
    uint64_t value = 0;
    for (int i = 0; i < 8; i++) value = value << 8 | bytes[i];
    return value;
}
