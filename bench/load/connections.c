#define _GNU_SOURCE
#include "load.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

/* `parallel` connections at a time: as soon as one has ended, the next begins. */
int connections(const route *way, int parallel, double seconds)
{
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    session *slots = calloc((size_t)parallel, sizeof *slots);
    if (epoll == -1 || slots == NULL) die("set-up");
    tally t; /* from connect to the echoed ping */
    tally_start(&t);
    double start = now(), deadline = start + seconds, moved = start;
    int open = 0;
    for (int i = 0; i < parallel; i++) {
        session_start(&slots[i], epoll, way);
        if (slots[i].phase == FAILED) die("connect");
        open++;
    }
    while (open > 0) {
        struct epoll_event events[128];
        int ready = epoll_wait(epoll, events, 128, 1000);
        if (ready == -1 && errno != EINTR) die("epoll_wait");
        if (ready > 0) moved = now();
        if (now() - moved > STALL_SECONDS) {
            errno = 0;
            die("connections stand still");
        }
        for (int i = 0; i < ready; i++) {
            session *s = events[i].data.ptr;
            session_step(s, epoll, 1);
            if (s->phase != OPEN && s->phase != FAILED) continue;
            double time = now();
            if (s->phase == FAILED) tally_failure(&t, s->failure);
            else {
                tally_time(&t, s->started, time);
                session_end(s);
            }
            if (time >= deadline) {
                open--;
                continue;
            }
            session_start(s, epoll, way);
            if (s->phase == FAILED) die(s->failure);
        }
    }
    tally_report(&t, "connections", now() - start);
    printf("}\n");
    return 0;
}

/* Goes on until no session is on its way any more. */
static void settle(session *all, int count, int epoll, int limit)
{
    double moved = now();
    for (;;) {
        int busy = 0;
        for (int i = 0; i < count; i++) {
            if (all[i].phase == FAILED) {
                errno = 0;
                die(all[i].failure);
            }
            if (all[i].phase != OPEN) busy++;
        }
        if (busy <= limit) return;
        struct epoll_event events[256];
        int ready = epoll_wait(epoll, events, 256, 1000);
        if (ready == -1 && errno != EINTR) die("epoll_wait");
        if (ready > 0) moved = now();
        if (now() - moved > STALL_SECONDS) {
            errno = 0;
            die("connections stand still");
        }
        for (int i = 0; i < ready; i++) session_step(events[i].data.ptr, epoll, 1);
    }
}

int idle(const route *way, int count)
{
    enum { AT_A_TIME = 64 };
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    session *all = calloc((size_t)count, sizeof *all);
    if (epoll == -1 || all == NULL) die("set-up");
    for (int i = 0; i < count; i += AT_A_TIME) {
        int upto = i + AT_A_TIME < count ? i + AT_A_TIME : count;
        for (int k = i; k < upto; k++) session_start(&all[k], epoll, way);
        settle(all + i, upto - i, epoll, 0);
    }
    printf("ready\n");
    fflush(stdout);
    char line[16];
    if (read(STDIN_FILENO, line, sizeof line) == -1) die("stdin");
    for (int i = 0; i < count; i += AT_A_TIME) {
        int upto = i + AT_A_TIME < count ? i + AT_A_TIME : count;
        for (int k = i; k < upto; k++) session_ping(&all[k]);
        settle(all + i, upto - i, epoll, 0);
    }
    for (int i = 0; i < count; i++) session_end(&all[i]);
    printf("{\"connections\":%d}\n", count);
    return 0;
}
