#include "load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int number(const char *text, int least, int most)
{
    char *end = NULL;
    long value = strtol(text, &end, 10);
    if (*text == '\0' || *end != '\0' || value < least || value > most) {
        fprintf(stderr, "load: %s is no number from %d to %d\n", text, least, most);
        exit(2);
    }
    return (int)value;
}

route route_of(const char *proxy, const char *target)
{
    static const char socks[] = "socks:", http[] = "http:";
    route way = { .protocol = SOCKS5, .target = number(target, 1, 65535) };
    if (strncmp(proxy, http, sizeof http - 1) == 0) {
        way.protocol = HTTP;
        proxy += sizeof http - 1;
    } else if (strncmp(proxy, socks, sizeof socks - 1) == 0) proxy += sizeof socks - 1;
    way.proxy = number(proxy, 0, 65535);
    if (way.proxy == 0) way.protocol = DIRECT;
    return way;
}
