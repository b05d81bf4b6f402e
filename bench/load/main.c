#include "load.h"

#include <arpa/inet.h>
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
    if (strcmp(mode, "serve") == 0 && (argc == 2 || argc == 3)) return serve(argv[2]);
    if (strcmp(mode, "serve-udp") == 0 && argc == 2) return serve_udp();
    if (strcmp(mode, "origin") == 0 && argc == 2) return origin();
    if (strcmp(mode, "names") == 0 && argc == 8) {
        names_load what = { .domain = argv[3], .names = number(argv[4], 1, 1000000), .port = number(argv[5], 0, 65535) };
        if (inet_pton(AF_INET, argv[2], &what.server) != 1 || strlen(argv[3]) > 200) die("names SERVER DOMAIN");
        return names(&what, number(argv[6], 1, 10000), number(argv[7], 1, 3600));
    }
    if (argc > 4) {
        route way = route_of(argv[2], argv[3]);
        int up = argc == 7 && strcmp(argv[5], "up") == 0;
        if (strcmp(mode, "bulk") == 0 && argc == 7 && (up || strcmp(argv[5], "down") == 0)) return bulk(&way, number(argv[4], 1, 1000), up, number(argv[6], 1, 3600));
        if (strcmp(mode, "connections") == 0 && argc == 6) return connections(&way, number(argv[4], 1, 10000), number(argv[5], 1, 3600));
        if (strcmp(mode, "http") == 0 && argc == 6) return http(&way, number(argv[4], 1, 10000), number(argv[5], 1, 3600));
        if (strcmp(mode, "udp") == 0 && argc == 7) return udp(&way, number(argv[4], 16, 1900), number(argv[5], 1, 1000), number(argv[6], 1, 3600));
        if (strcmp(mode, "idle") == 0 && argc == 5) return idle(&way, number(argv[4], 1, 100000));
    }
    fprintf(stderr, "usage: load serve [ADDRESS] | serve-udp | origin | bulk PROXY TARGET STREAMS up|down SECONDS | connections PROXY TARGET PARALLEL SECONDS |\n"
                    "       idle PROXY TARGET COUNT | http PROXY TARGET PARALLEL SECONDS | udp PROXY TARGET SIZE WINDOW SECONDS |\n"
                    "       names SERVER DOMAIN NAMES PORT PARALLEL SECONDS\n");
    return 2;
}
