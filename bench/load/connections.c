#define _GNU_SOURCE
#include "load.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

static int by_value(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static double percentile(const float *sorted, size_t count, double share)
{
    if (count == 0) return 0;
    size_t index = (size_t)(share * (double)count);
    return sorted[index < count ? index : count - 1];
}

typedef struct {
    const char *why;
    unsigned long times;
} failure;

enum { FAILURE_KINDS = 16 };
static failure failures[FAILURE_KINDS];

static void count_failure(const char *why)
{
    for (int i = 0; i < FAILURE_KINDS; i++) {
        if (failures[i].why == NULL) failures[i].why = why;
        if (strcmp(failures[i].why, why) == 0) {
            failures[i].times++;
            return;
        }
    }
}

/* `parallel` connections at a time: as soon as one has ended, the next begins. */
int connections(int proxy, int target, int parallel, double seconds)
{
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    session *slots = calloc((size_t)parallel, sizeof *slots);
    size_t done = 0, failed = 0, room = 1 << 16;
    float *times = malloc(room * sizeof *times); /* milliseconds from connect to the echoed ping */
    if (epoll == -1 || slots == NULL || times == NULL) die("set-up");
    int ask = proxy == 0 ? 0 : target;
    double start = now(), deadline = start + seconds, moved = start;
    int open = 0;
    for (int i = 0; i < parallel; i++) {
        session_start(&slots[i], epoll, proxy, target);
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
            session_step(s, epoll, ask, 1);
            if (s->phase != OPEN && s->phase != FAILED) continue;
            double time = now();
            if (s->phase == FAILED) {
                failed++;
                count_failure(s->failure);
                if (failed > 1000 && failed > done) {
                    errno = 0;
                    die(s->failure);
                }
            } else {
                if (done == room) {
                    room *= 2;
                    times = realloc(times, room * sizeof *times);
                    if (times == NULL) die("realloc");
                }
                times[done++] = (float)((time - s->started) * 1000);
                session_end(s);
            }
            if (time >= deadline) {
                open--;
                continue;
            }
            session_start(s, epoll, proxy, target);
            if (s->phase == FAILED) die(s->failure);
        }
    }
    double took = now() - start;
    qsort(times, done, sizeof *times, by_value);
    printf("{\"connections\":%zu,\"failed\":%zu,\"seconds\":%.3f,\"rate\":%.1f,\"p50\":%.3f,\"p99\":%.3f,\"max\":%.3f,\"failures\":{", done, failed, took,
           (double)done / took, percentile(times, done, 0.5), percentile(times, done, 0.99), percentile(times, done, 1));
    for (int i = 0; i < FAILURE_KINDS && failures[i].why != NULL; i++) printf("%s\"%s\":%lu", i == 0 ? "" : ",", failures[i].why, failures[i].times);
    printf("}}\n");
    return 0;
}

/* Goes on until no session is on its way any more. */
static void settle(session *all, int count, int epoll, int ask, int limit)
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
        for (int i = 0; i < ready; i++) session_step(events[i].data.ptr, epoll, ask, 1);
    }
}

int idle(int proxy, int target, int count)
{
    enum { AT_A_TIME = 64 };
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    session *all = calloc((size_t)count, sizeof *all);
    if (epoll == -1 || all == NULL) die("set-up");
    int ask = proxy == 0 ? 0 : target;
    for (int i = 0; i < count; i += AT_A_TIME) {
        int upto = i + AT_A_TIME < count ? i + AT_A_TIME : count;
        for (int k = i; k < upto; k++) session_start(&all[k], epoll, proxy, target);
        settle(all + i, upto - i, epoll, ask, 0);
    }
    printf("ready\n");
    fflush(stdout);
    char line[16];
    if (read(STDIN_FILENO, line, sizeof line) == -1) die("stdin");
    for (int i = 0; i < count; i += AT_A_TIME) {
        int upto = i + AT_A_TIME < count ? i + AT_A_TIME : count;
        for (int k = i; k < upto; k++) session_ping(&all[k]);
        settle(all + i, upto - i, epoll, ask, 0);
    }
    for (int i = 0; i < count; i++) session_end(&all[i]);
    printf("{\"connections\":%d}\n", count);
    return 0;
}
