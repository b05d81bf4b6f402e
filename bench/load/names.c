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
#include <sys/socket.h>
#include <unistd.h>

enum { ECHO_SIZE = 1024, MESSAGE_SIZE = 512, HEADER = 12, PORT_OF_DNS = 53 };
/* What has not come so far by then has failed. */
#define LATE_SECONDS 3

typedef enum { ASKING, REACHING, TALKING, DONE, LOST } step;

typedef struct {
    int fd;
    step step;
    const char *failure;
    double started, answered;
    uint32_t serial;
    size_t got;
    int asked; /* bytes of the question's message */
    unsigned char message[MESSAGE_SIZE];
    unsigned char sent[ECHO_SIZE], back[ECHO_SIZE];
} visit;

static void lose(visit *v, const char *why)
{
    v->failure = why;
    v->step = LOST;
    if (v->fd != -1) close(v->fd);
    v->fd = -1;
}

static int socket_of(int type)
{
    int fd = socket(AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
    if (fd == -1) die("socket");
    if (type == SOCK_STREAM && setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0) die("TCP_NODELAY");
    return fd;
}

/* RFC 1035: the address of h<serial % names>.<domain>, asked from a port of its own, as resolvers do. */
static void ask(visit *v, int epoll, const names_load *what, uint32_t serial)
{
    memset(v, 0, offsetof(visit, message));
    v->serial = serial;
    v->started = now();
    v->fd = socket_of(SOCK_DGRAM);
    struct sockaddr_in server = { .sin_family = AF_INET, .sin_port = htons(PORT_OF_DNS), .sin_addr = what->server };
    unsigned char *m = v->message;
    memset(m, 0, HEADER);
    m[0] = (unsigned char)(serial >> 8);
    m[1] = (unsigned char)serial;
    m[2] = 1; /* recursion desired */
    m[5] = 1; /* one question */
    char name[256];
    int length = snprintf(name, sizeof name, "h%u.%s", serial % (uint32_t)what->names, what->domain), at = HEADER;
    for (int from = 0; from < length;) {
        int label = (int)strcspn(name + from, ".");
        m[at++] = (unsigned char)label;
        memcpy(m + at, name + from, (size_t)label);
        at += label;
        from += label + 1;
    }
    memcpy(m + at, "\0\0\1\0\1", 5); /* the root, type A, class IN */
    v->asked = at + 5;
    if (connect(v->fd, (struct sockaddr *)&server, sizeof server) != 0 || send(v->fd, m, (size_t)v->asked, 0) != v->asked) {
        lose(v, "question");
        return;
    }
    watch(epoll, EPOLL_CTL_ADD, v->fd, EPOLLIN, v);
}

/* The address in the first record of the answer; 0 = there is none. */
static uint32_t address_in(const unsigned char *m, ssize_t length, const visit *v)
{
    if (length < v->asked || m[0] != v->message[0] || m[1] != v->message[1] || (m[3] & 15) != 0 || m[7] == 0) return 0;
    /* Its name is spelled out, or a pointer. */
    ssize_t at = v->asked;
    while (at < length && m[at] != 0 && m[at] < 64) at += m[at] + 1;
    at += at < length && m[at] >= 64 ? 2 : 1;
    if (at + 14 > length || m[at + 1] != 1 || m[at + 9] != 4) return 0;
    uint32_t address;
    memcpy(&address, m + at + 10, sizeof address);
    return address;
}

static void heard(visit *v, int epoll, const names_load *what)
{
    unsigned char m[MESSAGE_SIZE];
    ssize_t length = recv(v->fd, m, sizeof m, 0);
    if (length == -1 && errno == EAGAIN) return;
    uint32_t address = length == -1 ? 0 : address_in(m, length, v);
    if (address == 0) {
        lose(v, "answer");
        return;
    }
    v->answered = now();
    close(v->fd);
    v->fd = -1;
    if (what->port == 0) {
        v->step = DONE;
        return;
    }
    v->fd = socket_of(SOCK_STREAM);
    struct sockaddr_in target = { .sin_family = AF_INET, .sin_port = htons((uint16_t)what->port), .sin_addr.s_addr = address };
    if (connect(v->fd, (struct sockaddr *)&target, sizeof target) != 0 && errno != EINPROGRESS) {
        lose(v, "connect");
        return;
    }
    v->step = REACHING;
    watch(epoll, EPOLL_CTL_ADD, v->fd, EPOLLOUT, v);
}

static void reached(visit *v, int epoll)
{
    int error = 0;
    socklen_t size = sizeof error;
    if (getsockopt(v->fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0 || error != 0) {
        lose(v, "connect");
        return;
    }
    memcpy(v->sent, pattern_at(v->serial), ECHO_SIZE);
    v->sent[0] = 'E';
    if (send(v->fd, v->sent, ECHO_SIZE, MSG_NOSIGNAL) != ECHO_SIZE) {
        lose(v, "send");
        return;
    }
    v->step = TALKING;
    watch(epoll, EPOLL_CTL_MOD, v->fd, EPOLLIN, v);
}

static void talked(visit *v)
{
    ssize_t n = recv(v->fd, v->back + v->got, ECHO_SIZE - v->got, 0);
    if (n == -1 && errno == EAGAIN) return;
    if (n <= 0) {
        lose(v, "echo");
        return;
    }
    v->got += (size_t)n;
    if (v->got < ECHO_SIZE) return;
    if (memcmp(v->sent, v->back, ECHO_SIZE) != 0) {
        lose(v, "echo differs");
        return;
    }
    close(v->fd);
    v->fd = -1;
    v->step = DONE;
}

int names(const names_load *what, int parallel, double seconds)
{
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    visit *slots = calloc((size_t)parallel, sizeof *slots);
    if (epoll == -1 || slots == NULL) die("set-up");
    tally t; /* from the question to the echo, or to the answer where there is no target */
    tally_start(&t);
    uint32_t serial = 0;
    double start = now(), deadline = start + seconds, looked = start;
    int open = 0;
    for (int i = 0; i < parallel; i++, open++) ask(&slots[i], epoll, what, serial++);
    while (open > 0) {
        struct epoll_event events[128];
        int ready = epoll_wait(epoll, events, 128, 100);
        if (ready == -1 && errno != EINTR) die("epoll_wait");
        for (int i = 0; i < ready; i++) {
            visit *v = events[i].data.ptr;
            if (v->step == ASKING) heard(v, epoll, what);
            else if (v->step == REACHING) reached(v, epoll);
            else if (v->step == TALKING) talked(v);
        }
        double time = now();
        int look = time - looked > 0.1;
        if (look) looked = time;
        /* Few of them, or a tenth of a second later: those that something has happened to, and those that are late. */
        for (int i = 0; i < (look ? parallel : ready); i++) {
            visit *v = look ? &slots[i] : events[i].data.ptr;
            if (v->fd != -1 && look && time - v->started > LATE_SECONDS) lose(v, v->step == ASKING ? "no answer" : v->step == REACHING ? "no connection" : "no echo");
            if (v->fd != -1 || (v->step != DONE && v->step != LOST)) continue;
            if (v->step == DONE) tally_time(&t, v->started, time);
            else tally_failure(&t, v->failure);
            if (time < deadline) ask(v, epoll, what, serial++);
            else {
                v->step = TALKING; /* counted */
                open--;
            }
        }
    }
    tally_report(&t, "names", now() - start);
    printf("}\n");
    return 0;
}
