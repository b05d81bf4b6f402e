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
    size_t got;
    char in[HTTP_ROOM + 1];
} visitor;

static void leave(visitor *v)
{
    close(v->fd);
    free(v);
}

/* Answers are far smaller than a socket buffer, and one is on its way at most: what is not taken at once is a failure. */
static int answer(visitor *v, const char *status, const char *name, size_t name_length, int close_after)
{
    char message[HTTP_ROOM], body[HTTP_BODY];
    memset(body, '.', sizeof body);
    memcpy(body, name, name_length < sizeof body ? name_length : sizeof body);
    int head = snprintf(message, sizeof message - HTTP_BODY, "HTTP/1.1 %s\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n%s\r\n", status, HTTP_BODY,
                        close_after ? "Connection: close\r\n" : "");
    memcpy(message + head, body, sizeof body);
    size_t length = (size_t)head + sizeof body;
    return send(v->fd, message, length, MSG_NOSIGNAL) == (ssize_t)length && !close_after ? 0 : -1;
}

/* The request in v->in, `length` bytes with the empty line. -1 = the connection is to be closed. */
static int serve_request(visitor *v, size_t length)
{
    char saved = v->in[length];
    v->in[length] = '\0';
    const char *line_end = strstr(v->in, "\r\n");
    const char *name = v->in + 4, *name_end = memchr(name, ' ', (size_t)(line_end - v->in) > 4 ? (size_t)(line_end - name) : 0);
    /* Only a server's own form: that a proxy rewrites what it was sent is part of what is checked. */
    int good = strncmp(v->in, "GET /", 5) == 0 && name_end != NULL && strcasestr(line_end, "\r\nHost:") != NULL;
    int old = name_end == NULL || strncmp(name_end, " HTTP/1.1", 9) != 0;
    int close_after = !good || (old ? strcasestr(line_end, "\r\nConnection: keep-alive") == NULL : strcasestr(line_end, "\r\nConnection: close") != NULL);
    int left = answer(v, good ? "200 OK" : "400 Bad Request", good ? name : "", good ? (size_t)(name_end - name) : 0, close_after);
    v->in[length] = saved;
    return left;
}

static void readable(visitor *v)
{
    ssize_t n = recv(v->fd, v->in + v->got, HTTP_ROOM - v->got, 0);
    if (n == -1 && errno == EAGAIN) return;
    if (n <= 0) {
        leave(v);
        return;
    }
    v->got += (size_t)n;
    for (;;) {
        const char *end = memmem(v->in, v->got, "\r\n\r\n", 4);
        if (end == NULL) return;
        size_t length = (size_t)(end - v->in) + 4;
        if (serve_request(v, length) != 0) {
            leave(v);
            return;
        }
        memmove(v->in, v->in + length, v->got - length);
        v->got -= length;
    }
}

int origin(void)
{
    int port = 0;
    int listener = listen_any(NULL, &port);
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
            visitor *v = events[i].data.ptr;
            if (v != NULL) {
                readable(v);
                continue;
            }
            for (int fd = accept_next(listener); fd != -1; fd = accept_next(listener)) {
                visitor *fresh = calloc(1, sizeof *fresh);
                if (fresh == NULL) die("calloc");
                fresh->fd = fd;
                watch(epoll, EPOLL_CTL_ADD, fd, EPOLLIN, fresh);
            }
        }
    }
}
