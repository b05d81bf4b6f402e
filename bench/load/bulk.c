#define _GNU_SOURCE
#include "load.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

/* A session, and what flowed through it. `s` comes first: epoll hands out either. */
typedef struct {
    session s;
    uint64_t count;      /* pattern bytes sent; or received, with the server's count behind them */
    size_t tail_length;  /* the last bytes received: the server's count */
    unsigned char tail[8];
    int flag_due;        /* up: a block is complete */
    int finished;        /* the end is told to the server */
    int done;
} stream;

static unsigned char buffer[BUFFER_SIZE];

static void failed(const char *what)
{
    errno = 0;
    die(what);
}

/* Opens all streams before the clock starts. */
static void open_all(stream *streams, int count, int epoll, const route *way)
{
    for (int i = 0; i < count; i++) {
        session *s = &streams[i].s;
        session_start(s, epoll, way);
        double limit = now() + STALL_SECONDS;
        while (s->phase != OPEN) {
            struct epoll_event event;
            if (s->phase == FAILED) failed(s->failure);
            if (now() > limit) failed("no answer from the proxy");
            if (epoll_wait(epoll, &event, 1, 1000) == 1) session_step(event.data.ptr, epoll, 0);
        }
    }
}

static void keep_tail(stream *one, const unsigned char *bytes, size_t length)
{
    unsigned char joined[16];
    size_t part = length < 8 ? length : 8;
    memcpy(joined, one->tail, one->tail_length);
    memcpy(joined + one->tail_length, bytes + length - part, part);
    size_t total = one->tail_length + part;
    one->tail_length = total < 8 ? total : 8;
    memcpy(one->tail, joined + total - one->tail_length, one->tail_length);
}

/* The server's count is there. */
static void ended(stream *one, int up)
{
    uint64_t mine = up ? one->count : one->count - 8;
    if (one->tail_length != 8) failed("the stream ended without the server's count");
    if (get_u64(one->tail) != mine) {
        fprintf(stderr, "load: %llu bytes here, %llu at the server\n", (unsigned long long)mine, (unsigned long long)get_u64(one->tail));
        exit(1);
    }
    one->done = 1;
    session_end(&one->s);
}

static void receive(stream *one, int up)
{
    for (int turn = 0; turn < 4; turn++) {
        ssize_t n = recv(one->s.fd, buffer, sizeof buffer, 0);
        if (n == -1 && errno == EAGAIN) return;
        if (n == -1) die("recv");
        if (n == 0) {
            if (up || !one->finished) failed("the proxy ended the stream");
            ended(one, up);
            return;
        }
        if (!up) {
            /* After our word the count may be among the last bytes, so only what came before is compared. */
            if (!one->finished && pattern_check(buffer, (size_t)n, one->count) != 0) failed("data differs from the pattern");
            one->count += (uint64_t)n;
        }
        keep_tail(one, buffer, (size_t)n);
        if (up && one->finished && one->tail_length == 8) {
            ended(one, up);
            return;
        }
    }
}

static void transmit(stream *one, int epoll, int finishing)
{
    for (int turn = 0; turn < 4; turn++) {
        if (one->flag_due) {
            if (send(one->s.fd, finishing ? "Z" : "M", 1, MSG_NOSIGNAL | (finishing ? 0 : MSG_MORE)) == -1) {
                if (errno == EAGAIN) return;
                die("send");
            }
            one->flag_due = 0;
            one->finished = finishing;
            if (finishing) watch(epoll, EPOLL_CTL_MOD, one->s.fd, EPOLLIN, one);
            if (finishing) return;
        }
        size_t room = (size_t)(BLOCK_SIZE - one->count % BLOCK_SIZE);
        size_t part = room < BUFFER_SIZE ? room : BUFFER_SIZE;
        ssize_t n = send(one->s.fd, pattern_at(one->count), part, MSG_NOSIGNAL);
        if (n == -1 && errno == EAGAIN) return;
        if (n == -1) die("send");
        one->count += (uint64_t)n;
        one->flag_due = (size_t)n == room;
    }
}

static void ask_for_the_end(stream *one)
{
    if (send(one->s.fd, "S", 1, MSG_NOSIGNAL) != 1) die("send");
    one->finished = 1;
}

static uint64_t total(const stream *streams, int count)
{
    uint64_t sum = 0;
    for (int i = 0; i < count; i++) sum += streams[i].count;
    return sum;
}

static int all_done(const stream *streams, int count)
{
    for (int i = 0; i < count; i++) {
        if (!streams[i].done) return 0;
    }
    return 1;
}

int bulk(const route *way, int count, int up, double seconds)
{
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    stream *streams = calloc((size_t)count, sizeof *streams);
    if (epoll == -1 || streams == NULL) die("set-up");
    open_all(streams, count, epoll, way);
    for (int i = 0; i < count; i++) {
        if (send(streams[i].s.fd, up ? "U" : "D", 1, MSG_NOSIGNAL) != 1) die("send");
        watch(epoll, EPOLL_CTL_MOD, streams[i].s.fd, up ? EPOLLIN | EPOLLOUT : EPOLLIN, &streams[i]);
    }
    double start = now(), deadline = start + seconds, counted_seconds = 0, moved = start;
    uint64_t counted = 0;
    int finishing = 0;
    while (!all_done(streams, count)) {
        struct epoll_event events[64];
        int ready = epoll_wait(epoll, events, 64, finishing ? 1000 : 10);
        if (ready == -1 && errno != EINTR) die("epoll_wait");
        double time = now();
        if (ready > 0) moved = time;
        if (time - moved > STALL_SECONDS) failed("the transfer stands still");
        if (!finishing && time >= deadline) {
            /* Downwards what has arrived by now counts; upwards blocks are completed, and the clock runs until the server has counted them. */
            finishing = 1;
            counted = total(streams, count);
            counted_seconds = time - start;
            for (int i = 0; i < count && !up; i++) ask_for_the_end(&streams[i]);
            continue;
        }
        for (int i = 0; i < ready; i++) {
            stream *one = events[i].data.ptr;
            if (one->done) continue;
            if (!one->finished && up && (events[i].events & EPOLLOUT)) transmit(one, epoll, finishing);
            if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) receive(one, up);
        }
    }
    if (up) {
        counted = total(streams, count);
        counted_seconds = now() - start;
    }
    uint64_t bytes = total(streams, count) - (up ? 0 : (uint64_t)count * 8);
    printf("{\"bytes\":%llu,\"seconds\":%.3f,\"gbits\":%.4f,\"totalSeconds\":%.3f}\n", (unsigned long long)bytes, counted_seconds,
           (double)counted * 8 / 1e9 / counted_seconds, now() - start);
    return 0;
}
