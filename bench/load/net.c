#define _GNU_SOURCE
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

void die(const char *message)
{
    if (errno != 0) fprintf(stderr, "load: %s: %s\n", message, strerror(errno));
    else fprintf(stderr, "load: %s\n", message);
    exit(1);
}

void raise_file_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) die("getrlimit");
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0) die("setrlimit");
}

static void tune(int fd)
{
    int on = 1;
    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0) die("TCP_NODELAY");
    const char *name = getenv("LOAD_CONGESTION");
    if (name != NULL && setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, (socklen_t)strlen(name)) != 0) die("TCP_CONGESTION");
}

struct sockaddr_in place_of(int port)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    const char *host = getenv("LOAD_HOST");
    if (host != NULL && inet_pton(AF_INET, host, &address.sin_addr) != 1) die("LOAD_HOST");
    return address;
}

int start_connect(int port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd == -1) die("socket");
    tune(fd);
    struct sockaddr_in address = place_of(port);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0 || errno == EINPROGRESS) return fd;
    close(fd);
    return -1;
}

int listen_any(const char *host, int *port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd == -1) die("socket");
    struct sockaddr_in address = place_of(0);
    socklen_t length = sizeof address;
    if (host != NULL && inet_pton(AF_INET, host, &address.sin_addr) != 1) die("no address to listen on");
    if (bind(fd, (struct sockaddr *)&address, length) != 0 || listen(fd, 4096) != 0) die("listen");
    if (getsockname(fd, (struct sockaddr *)&address, &length) != 0) die("getsockname");
    *port = ntohs(address.sin_port);
    return fd;
}

/* The next waiting connection, or -1. */
int accept_next(int listener)
{
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd == -1) {
        if (errno == EMFILE || errno == ENFILE) die("accept");
        return -1;
    }
    tune(fd);
    return fd;
}

void watch(int epoll, int operation, int fd, uint32_t events, void *owner)
{
    struct epoll_event event = { .events = events, .data.ptr = owner };
    if (epoll_ctl(epoll, operation, fd, &event) != 0) die("epoll_ctl");
}
