#include "load.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
    const char *mode = argc > 1 ? argv[1] : "";
    errno = 0;
    signal(SIGPIPE, SIG_IGN);
    raise_file_limit();
    if (strcmp(mode, "serve") == 0 && argc == 2) return serve();
    if (strcmp(mode, "serve-udp") == 0 && argc == 2) return serve_udp();
    if (strcmp(mode, "origin") == 0 && argc == 2) return origin();
    if (argc > 4) {
        route way = route_of(argv[2], argv[3]);
        int up = argc == 7 && strcmp(argv[5], "up") == 0;
        if (strcmp(mode, "bulk") == 0 && argc == 7 && (up || strcmp(argv[5], "down") == 0)) return bulk(&way, number(argv[4], 1, 1000), up, number(argv[6], 1, 3600));
        if (strcmp(mode, "connections") == 0 && argc == 6) return connections(&way, number(argv[4], 1, 10000), number(argv[5], 1, 3600));
        if (strcmp(mode, "http") == 0 && argc == 6) return http(&way, number(argv[4], 1, 10000), number(argv[5], 1, 3600));
        if (strcmp(mode, "udp") == 0 && argc == 7) return udp(&way, number(argv[4], 16, 1900), number(argv[5], 1, 1000), number(argv[6], 1, 3600));
        if (strcmp(mode, "idle") == 0 && argc == 5) return idle(&way, number(argv[4], 1, 100000));
    }
    fprintf(stderr, "usage: load serve | serve-udp | origin | bulk PROXY TARGET STREAMS up|down SECONDS | connections PROXY TARGET PARALLEL SECONDS |\n"
                    "       idle PROXY TARGET COUNT | http PROXY TARGET PARALLEL SECONDS | udp PROXY TARGET SIZE WINDOW SECONDS\n");
    return 2;
}
