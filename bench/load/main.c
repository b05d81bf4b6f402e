#include "load.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int number(const char *text, int least, int most)
{
    char *end = NULL;
    long value = strtol(text, &end, 10);
    if (*text == '\0' || *end != '\0' || value < least || value > most) {
        fprintf(stderr, "load: %s is no number from %d to %d\n", text, least, most);
        exit(2);
    }
    return (int)value;
}

static int port(const char *text, int least)
{
    return number(text, least, 65535);
}

int main(int argc, char **argv)
{
    const char *mode = argc > 1 ? argv[1] : "";
    errno = 0;
    signal(SIGPIPE, SIG_IGN);
    raise_file_limit();
    if (strcmp(mode, "serve") == 0 && argc == 2) return serve();
    if (strcmp(mode, "bulk") == 0 && argc == 7) {
        int up = strcmp(argv[5], "up") == 0;
        if (up || strcmp(argv[5], "down") == 0) return bulk(port(argv[2], 0), port(argv[3], 1), number(argv[4], 1, 1000), up, number(argv[6], 1, 3600));
    }
    if (strcmp(mode, "connections") == 0 && argc == 6) return connections(port(argv[2], 0), port(argv[3], 1), number(argv[4], 1, 10000), number(argv[5], 1, 3600));
    if (strcmp(mode, "idle") == 0 && argc == 5) return idle(port(argv[2], 0), port(argv[3], 1), number(argv[4], 1, 100000));
    fprintf(stderr, "usage: load serve | bulk PROXY TARGET STREAMS up|down SECONDS | connections PROXY TARGET PARALLEL SECONDS | idle PROXY TARGET COUNT\n");
    return 2;
}
