#define _GNU_SOURCE
#include "load.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

/* RFC 1928: version 5, one method, no authentication; its answer; the fixed part of a reply with an IPv4 address. */
static const unsigned char greeting[] = { 5, 1, 0 };
enum { METHOD_SIZE = 2, REPLY_SIZE = 10 };

static void fail(session *s, const char *why)
{
    s->failure = why;
    session_end(s);
    s->phase = FAILED;
}

/* Handshake messages are far smaller than a socket buffer: what is not taken at once is a failure. */
static int send_all(session *s, const void *bytes, size_t length)
{
    if (send(s->fd, bytes, length, MSG_NOSIGNAL) == (ssize_t)length) return 0;
    fail(s, "send");
    return -1;
}

/* Reads on until `length` bytes of the message are there. 1 = they are, 0 = not yet, -1 = failed. Never reads past the message. */
static int receive(session *s, size_t length, const char *what)
{
    while (s->got < length) {
        ssize_t n = recv(s->fd, s->in + s->got, length - s->got, 0);
        if (n == -1 && errno == EAGAIN) return 0;
        if (n <= 0) {
            fail(s, what);
            return -1;
        }
        s->got += (size_t)n;
    }
    s->got = 0;
    return 1;
}

static void request(session *s)
{
    int target = s->way->target;
    if (s->way->protocol == HTTP) {
        char message[128];
        int length = snprintf(message, sizeof message, "CONNECT 127.0.0.1:%d HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n", target, target);
        if (send_all(s, message, (size_t)length) == 0) s->phase = REQUESTING;
        return;
    }
    unsigned char message[REPLY_SIZE] = { 5, 1, 0, 1, 127, 0, 0, 1, (unsigned char)(target >> 8), (unsigned char)target };
    if (send_all(s, message, sizeof message) == 0) s->phase = REQUESTING;
}

/* The answer to CONNECT: a head of any size. The target speaks only when it is spoken to, so nothing may stand behind it. */
static int receive_head(session *s)
{
    for (;;) {
        ssize_t n = recv(s->fd, s->in + s->got, sizeof s->in - s->got, 0);
        if (n == -1 && errno == EAGAIN) return 0;
        if (n <= 0) {
            fail(s, s->got == sizeof s->in ? "answer too long" : "answer");
            return -1;
        }
        s->got += (size_t)n;
        const unsigned char *end = memmem(s->in, s->got, "\r\n\r\n", 4);
        if (end == NULL) continue;
        if (end + 4 != s->in + s->got || s->got < 12 || memcmp(s->in, "HTTP/1.", 7) != 0 || memcmp(s->in + 8, " 200", 4) != 0) {
            fail(s, "answer");
            return -1;
        }
        return 1;
    }
}

void session_ping(session *s)
{
    static uint32_t serial = 0;
    serial++;
    for (size_t i = 0; i < PING_SIZE; i++) s->ping[i] = (unsigned char)(serial >> 8 * (i % 4)) ^ (unsigned char)i;
    s->ping[0] = 'E';
    s->got = 0;
    if (send_all(s, s->ping, PING_SIZE) == 0) s->phase = PINGING;
}

static void opened(session *s, int with_ping)
{
    if (with_ping) session_ping(s);
    else s->phase = OPEN;
}

void session_start(session *s, int epoll, const route *way)
{
    memset(s, 0, sizeof *s);
    s->way = way;
    s->started = now();
    s->fd = start_connect(way->protocol == DIRECT ? way->target : way->proxy);
    if (s->fd == -1) {
        fail(s, errno == EADDRNOTAVAIL ? "no free port" : "connect");
        return;
    }
    s->phase = CONNECTING;
    watch(epoll, EPOLL_CTL_ADD, s->fd, EPOLLOUT, s);
}

static void connected(session *s, int epoll, int with_ping)
{
    int error = 0;
    socklen_t length = sizeof error;
    if (getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &error, &length) != 0 || error != 0) {
        fail(s, "connect");
        return;
    }
    watch(epoll, EPOLL_CTL_MOD, s->fd, EPOLLIN, s);
    if (s->way->protocol == DIRECT) opened(s, with_ping);
    else if (s->way->protocol == HTTP) request(s);
    else if (send_all(s, greeting, sizeof greeting) == 0) s->phase = GREETING;
}

void session_step(session *s, int epoll, int with_ping)
{
    switch (s->phase) {
    case CONNECTING: connected(s, epoll, with_ping); return;
    case GREETING:
        if (receive(s, METHOD_SIZE, "greeting") != 1) return;
        if (s->in[0] != 5 || s->in[1] != 0) fail(s, "method");
        else request(s);
        return;
    case REQUESTING:
        if (s->way->protocol == HTTP) {
            if (receive_head(s) == 1) opened(s, with_ping);
            return;
        }
        if (receive(s, REPLY_SIZE, "reply") != 1) return;
        if (s->in[0] != 5 || s->in[1] != 0 || s->in[3] != 1) fail(s, "reply");
        else opened(s, with_ping);
        return;
    case PINGING:
        if (receive(s, PING_SIZE, "echo") != 1) return;
        if (memcmp(s->in, s->ping, PING_SIZE) != 0) fail(s, "echo differs");
        else s->phase = OPEN;
        return;
    case OPEN: fail(s, "closed by the proxy"); return;
    case FAILED: return;
    }
}

void session_end(session *s)
{
    if (s->fd != -1) close(s->fd);
    s->fd = -1;
}
