#define _GNU_SOURCE
#include "load.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

typedef struct {
    int fd;
    char kind;             /* 0 until the first byte came */
    int flag_due;          /* sink: the next byte tells whether there are more blocks */
    int finished;          /* all pattern bytes are through, the count is due */
    uint64_t count;        /* pattern bytes received (sink) or sent (source) */
    size_t trailer_sent;
    unsigned char *unsent; /* echo: what the socket did not take; NULL mostly */
    size_t unsent_from, unsent_to;
} conn;

static unsigned char buffer[BUFFER_SIZE];

static void drop(conn *c)
{
    close(c->fd);
    free(c->unsent);
    free(c);
}

/* A data error must not pass as a slow run: the connection is reset, so that the client sees a wrong count. */
static void corrupt(conn *c)
{
    struct linger hard = { 1, 0 };
    fprintf(stderr, "load: data differs from the pattern after %llu bytes\n", (unsigned long long)c->count);
    setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    drop(c);
}

/* Sends the count; what the client says afterwards is read and forgotten until its FIN. */
static void finish_with_count(conn *c, int epoll)
{
    unsigned char trailer[8];
    put_u64(trailer, c->count);
    ssize_t n = send(c->fd, trailer + c->trailer_sent, sizeof trailer - c->trailer_sent, MSG_NOSIGNAL);
    if (n == -1 && errno != EAGAIN) {
        drop(c);
        return;
    }
    if (n > 0) c->trailer_sent += (size_t)n;
    if (c->trailer_sent < sizeof trailer) return;
    if (c->kind == 'D' && shutdown(c->fd, SHUT_WR) != 0) {
        drop(c);
        return;
    }
    c->kind = 'Z';
    watch(epoll, EPOLL_CTL_MOD, c->fd, EPOLLIN, c);
}

static void source(conn *c, int epoll, uint32_t events)
{
    if (!c->finished && (events & (EPOLLIN | EPOLLHUP | EPOLLERR))) {
        ssize_t n = recv(c->fd, buffer, sizeof buffer, 0);
        if (n == 0 || (n == -1 && errno != EAGAIN)) {
            drop(c);
            return;
        }
        if (n > 0) c->finished = 1;
    }
    if (c->finished) {
        finish_with_count(c, epoll);
        return;
    }
    /* At most 1 MiB a turn, so that streams take turns. */
    for (int turn = 0; turn < 4; turn++) {
        ssize_t n = send(c->fd, pattern_at(c->count), BUFFER_SIZE, MSG_NOSIGNAL);
        if (n == -1) {
            if (errno != EAGAIN) drop(c);
            return;
        }
        c->count += (uint64_t)n;
    }
}

static void sink(conn *c, int epoll, const unsigned char *bytes, size_t length)
{
    while (length > 0) {
        if (c->flag_due) {
            c->flag_due = 0;
            if (*bytes == 'Z' && length == 1) {
                finish_with_count(c, epoll);
                return;
            }
            if (*bytes != 'M') {
                corrupt(c);
                return;
            }
            bytes++;
            length--;
            continue;
        }
        size_t room = (size_t)(BLOCK_SIZE - c->count % BLOCK_SIZE);
        size_t part = length < room ? length : room;
        if (pattern_check(bytes, part, c->count) != 0) {
            corrupt(c);
            return;
        }
        c->count += part;
        c->flag_due = part == room;
        bytes += part;
        length -= part;
    }
}

static void echo(conn *c, int epoll, const unsigned char *bytes, size_t length)
{
    ssize_t n = send(c->fd, bytes, length, MSG_NOSIGNAL);
    if (n == -1 && errno != EAGAIN) {
        drop(c);
        return;
    }
    size_t taken = n > 0 ? (size_t)n : 0;
    if (taken == length) return;
    c->unsent = malloc(length - taken);
    if (c->unsent == NULL) die("malloc");
    memcpy(c->unsent, bytes + taken, length - taken);
    c->unsent_from = 0;
    c->unsent_to = length - taken;
    watch(epoll, EPOLL_CTL_MOD, c->fd, EPOLLOUT, c);
}

static void echo_rest(conn *c, int epoll)
{
    ssize_t n = send(c->fd, c->unsent + c->unsent_from, c->unsent_to - c->unsent_from, MSG_NOSIGNAL);
    if (n == -1 && errno != EAGAIN) {
        drop(c);
        return;
    }
    if (n > 0) c->unsent_from += (size_t)n;
    if (c->unsent_from < c->unsent_to) return;
    free(c->unsent);
    c->unsent = NULL;
    watch(epoll, EPOLL_CTL_MOD, c->fd, EPOLLIN, c);
}

static void readable(conn *c, int epoll)
{
    ssize_t n = recv(c->fd, buffer, sizeof buffer, 0);
    if (n == -1) {
        if (errno != EAGAIN) drop(c);
        return;
    }
    if (n == 0) {
        drop(c);
        return;
    }
    unsigned char *bytes = buffer;
    size_t length = (size_t)n;
    if (c->kind == 0) {
        c->kind = (char)bytes[0];
        if (c->kind == 'D') {
            watch(epoll, EPOLL_CTL_MOD, c->fd, EPOLLIN | EPOLLOUT, c);
            return;
        }
        if (c->kind == 'U') {
            bytes++;
            length--;
            if (length == 0) return;
        } else if (c->kind != 'E') {
            drop(c);
            return;
        }
    }
    if (c->kind == 'U') sink(c, epoll, bytes, length);
    else if (c->kind == 'E') echo(c, epoll, bytes, length);
}

int serve(const char *host)
{
    int port = 0;
    int listener = listen_any(host, &port);
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    if (epoll == -1) die("epoll_create1");
    watch(epoll, EPOLL_CTL_ADD, listener, EPOLLIN, NULL);
    printf("port %d\n", port);
    fflush(stdout);
    for (;;) {
        struct epoll_event events[256];
        int count = epoll_wait(epoll, events, 256, -1);
        if (count == -1 && errno != EINTR) die("epoll_wait");
        for (int i = 0; i < count; i++) {
            conn *c = events[i].data.ptr;
            if (c == NULL) {
                for (int fd = accept_next(listener); fd != -1; fd = accept_next(listener)) {
                    conn *fresh = calloc(1, sizeof *fresh);
                    if (fresh == NULL) die("calloc");
                    fresh->fd = fd;
                    watch(epoll, EPOLL_CTL_ADD, fd, EPOLLIN, fresh);
                }
            } else if (c->kind == 'D') source(c, epoll, events[i].events);
            else if (c->unsent != NULL) echo_rest(c, epoll);
            else readable(c, epoll);
        }
    }
}
