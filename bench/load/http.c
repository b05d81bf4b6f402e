#define _GNU_SOURCE
#include "load.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

/* One of the connections that requests go over, one request at a time. */
typedef struct {
    int fd;          /* -1: it is done */
    int connecting;
    int answered;    /* answers that came over this connection */
    double started;  /* of the request; of the connection where that had to be opened for it */
    unsigned serial; /* names the request */
    size_t got;
    char in[HTTP_ROOM + 1];
} client;

static const route *way;
static int epoll;
static unsigned long opened, retried;

static void hang_up(client *c)
{
    close(c->fd);
    c->fd = -1;
}

static void open_connection(client *c)
{
    c->fd = start_connect(way->protocol == DIRECT ? way->target : way->proxy);
    if (c->fd == -1) die(errno == EADDRNOTAVAIL ? "no free port" : "connect");
    opened++;
    c->connecting = 1;
    c->answered = 0;
    c->got = 0;
    watch(epoll, EPOLL_CTL_ADD, c->fd, EPOLLOUT, c);
}

/* Proxy-Connection is what curl sends to a proxy, and some keep a connection only for that. NULL = sent. */
static const char *send_request(client *c)
{
    char message[256], origin[32];
    snprintf(origin, sizeof origin, "127.0.0.1:%d", way->target);
    int direct = way->protocol == DIRECT;
    int length = snprintf(message, sizeof message, "GET %s%s/%010u HTTP/1.1\r\nHost: %s\r\nUser-Agent: load\r\nAccept: */*\r\n%s\r\n", direct ? "" : "http://",
                          direct ? "" : origin, c->serial, origin, direct ? "" : "Proxy-Connection: Keep-Alive\r\n");
    c->got = 0;
    return send(c->fd, message, (size_t)length, MSG_NOSIGNAL) == length ? NULL : "send";
}

static const char *connected(client *c)
{
    int error = 0;
    socklen_t length = sizeof error;
    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &length) != 0 || error != 0) return "connect";
    c->connecting = 0;
    watch(epoll, EPOLL_CTL_MOD, c->fd, EPOLLIN, c);
    return send_request(c);
}

/* The value of a header in a head that ends with a NUL, or NULL. `name` with the line end before it and its colon. */
static const char *header(const char *head, const char *name)
{
    const char *found = strcasestr(head, name);
    return found == NULL ? NULL : found + strlen(name) + strspn(found + strlen(name), " ");
}

/* Whether the answer is there as a whole (1), not yet (0), or wrong (-1, and *why). */
static int judge(client *c, int *keep, const char **why)
{
    char *end = memmem(c->in, c->got, "\r\n\r\n", 4);
    if (end == NULL) {
        *why = "head too long";
        return c->got < HTTP_ROOM ? 0 : -1;
    }
    char saved = end[2];
    end[2] = '\0'; /* every header line keeps its line end */
    const char *length = header(c->in, "\r\nContent-Length:");
    const char *chunked = header(c->in, "\r\nTransfer-Encoding:");
    const char *connection = header(c->in, "\r\nConnection:");
    if (connection == NULL) connection = header(c->in, "\r\nProxy-Connection:");
    int new = strncmp(c->in, "HTTP/1.1", 8) == 0;
    *keep = connection == NULL ? new : strncasecmp(connection, "close", 5) != 0;
    int good = c->got > 12 && strncmp(c->in, "HTTP/1.", 7) == 0 && strncmp(c->in + 8, " 200", 4) == 0;
    int known = chunked == NULL && length != NULL && strtoul(length, NULL, 10) == HTTP_BODY;
    end[2] = saved;
    if (!good || !known) {
        *why = good ? "body length" : "status";
        return -1;
    }
    const char *body = end + 4;
    size_t there = c->got - (size_t)(body - c->in);
    if (there < HTTP_BODY) return 0;
    char name[16];
    int name_length = snprintf(name, sizeof name, "/%010u", c->serial);
    *why = there > HTTP_BODY ? "more than the answer" : "answer to another request";
    return there == HTTP_BODY && memcmp(body, name, (size_t)name_length) == 0 && body[HTTP_BODY - 1] == '.' ? 1 : -1;
}

/* Reads on. 1 = answered, 0 = not yet, -1 = failed (*why). */
static int receive(client *c, int *keep, const char **why)
{
    ssize_t n = recv(c->fd, c->in + c->got, HTTP_ROOM - c->got, 0);
    if (n == -1 && errno == EAGAIN) return 0;
    if (n <= 0) {
        *why = n == 0 ? "closed without an answer" : "recv";
        /* A connection that was kept may be closed while a request is on its way: then the request is sent once more over a fresh one. */
        if (c->got != 0 || c->answered == 0) return -1;
        retried++;
        hang_up(c);
        open_connection(c);
        return 0;
    }
    c->got += (size_t)n;
    return judge(c, keep, why);
}

int http(const route *to, int parallel, double seconds)
{
    way = to;
    epoll = epoll_create1(EPOLL_CLOEXEC);
    client *clients = calloc((size_t)parallel, sizeof *clients);
    if (epoll == -1 || clients == NULL) die("set-up");
    tally t;
    tally_start(&t);
    unsigned serial = 0;
    double start = now(), deadline = start + seconds, moved = start;
    for (int i = 0; i < parallel; i++) {
        clients[i].started = start;
        clients[i].serial = ++serial;
        open_connection(&clients[i]);
    }
    for (int open = parallel; open > 0;) {
        struct epoll_event events[128];
        int ready = epoll_wait(epoll, events, 128, 1000);
        if (ready == -1 && errno != EINTR) die("epoll_wait");
        if (ready > 0) moved = now();
        if (now() - moved > STALL_SECONDS) {
            errno = 0;
            die("requests stand still");
        }
        for (int i = 0; i < ready; i++) {
            client *c = events[i].data.ptr;
            int keep = 0, state = 0;
            const char *why = NULL;
            if (c->connecting) {
                why = connected(c);
                state = why == NULL ? 0 : -1;
            } else state = receive(c, &keep, &why);
            if (state == 0) continue;
            double time = now();
            if (state == 1) {
                tally_time(&t, c->started, time);
                c->answered++;
            } else tally_failure(&t, why);
            if (state == -1 || !keep || time >= deadline) hang_up(c);
            if (time >= deadline) {
                open--;
                continue;
            }
            c->started = time;
            c->serial = ++serial;
            if (c->fd == -1) open_connection(c);
            else if (send_request(c) != NULL) {
                /* Closed behind the last answer. */
                retried++;
                hang_up(c);
                open_connection(c);
            }
        }
    }
    tally_report(&t, "requests", now() - start);
    printf(",\"opened\":%lu,\"retried\":%lu}\n", opened, retried);
    return 0;
}
