#define _GNU_SOURCE
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BATCH = 64, MOST = 1024, SERIAL = 8, PREFIX = 10, ROOM = 2048 };
/* An echo that has not come by then counts as lost, and its place in the window is free again. */
#define LOST_SECONDS 0.2

typedef struct {
    uint64_t serial; /* 0: nothing is on its way */
    double sent;
} place;

static unsigned char space[BATCH][ROOM];
static struct iovec parts[BATCH];
static struct mmsghdr batch[BATCH];

static int udp_socket(void)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), room = 4 * 1024 * 1024;
    if (fd == -1) die("socket");
    /* As root past the limit of the machine; what is lost here would look like the proxies' loss. */
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room) != 0) setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
    return fd;
}

static void prepare(void)
{
    for (int i = 0; i < BATCH; i++) {
        parts[i] = (struct iovec){ .iov_base = space[i], .iov_len = ROOM };
        batch[i].msg_hdr.msg_iov = &parts[i];
        batch[i].msg_hdr.msg_iovlen = 1;
    }
}

/* Sends all `count` datagrams of the batch. What the socket does not take is lost, as with UDP it may be. */
static void send_batch(int fd, int count)
{
    for (int from = 0; from < count;) {
        int n = sendmmsg(fd, batch + from, (unsigned)(count - from), MSG_NOSIGNAL);
        if (n == -1 && errno != EAGAIN && errno != ENOBUFS && errno != EINTR) die("sendmmsg");
        from += n > 0 ? n : 1;
    }
}

/* One echo server: every datagram goes back to where it came from. */
int serve_udp(void)
{
    static struct sockaddr_in from[BATCH];
    struct sockaddr_in address = place_of(0);
    socklen_t length = sizeof address;
    int fd = udp_socket();
    if (bind(fd, (struct sockaddr *)&address, length) != 0) die("bind");
    if (getsockname(fd, (struct sockaddr *)&address, &length) != 0) die("getsockname");
    printf("port %d\n", ntohs(address.sin_port));
    fflush(stdout);
    prepare();
    for (int i = 0; i < BATCH; i++) batch[i].msg_hdr.msg_name = &from[i];
    for (;;) {
        for (int i = 0; i < BATCH; i++) {
            parts[i].iov_len = ROOM;
            batch[i].msg_hdr.msg_namelen = sizeof from[i];
        }
        int n = recvmmsg(fd, batch, BATCH, MSG_WAITFORONE, NULL);
        if (n == -1) {
            /* A relay that has gone away answers with an ICMP error. */
            if (errno == EINTR || errno == ECONNREFUSED) continue;
            die("recvmmsg");
        }
        for (int i = 0; i < n; i++) parts[i].iov_len = batch[i].msg_len;
        send_batch(fd, n);
    }
}

static void exactly(int fd, unsigned char *bytes, size_t length, const char *what)
{
    for (size_t got = 0; got < length;) {
        ssize_t n = recv(fd, bytes + got, length - got, 0);
        if (n <= 0) die(what);
        got += (size_t)n;
    }
}

/* RFC 1928: the control connection, open until the end; `relay` is where datagrams go. */
static int associate(int port, struct sockaddr_in *relay)
{
    static const unsigned char greeting[] = { 5, 1, 0 }, request[] = { 5, 3, 0, 1, 0, 0, 0, 0, 0, 0 };
    unsigned char answer[10];
    struct timeval limit = { .tv_sec = STALL_SECONDS };
    struct sockaddr_in proxy = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd == -1 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) != 0) die("socket");
    if (connect(fd, (struct sockaddr *)&proxy, sizeof proxy) != 0) die("connect");
    if (send(fd, greeting, sizeof greeting, MSG_NOSIGNAL) != sizeof greeting) die("send");
    exactly(fd, answer, 2, "greeting");
    if (send(fd, request, sizeof request, MSG_NOSIGNAL) != sizeof request) die("send");
    exactly(fd, answer, sizeof answer, "reply");
    errno = 0;
    if (answer[0] != 5 || answer[1] != 0 || answer[3] != 1) die("the proxy has no UDP");
    *relay = proxy;
    memcpy(&relay->sin_port, answer + 8, 2);
    return fd;
}

/* Serial, then the pattern from a place that depends on it. */
static void fill(unsigned char *payload, int size, uint64_t serial)
{
    put_u64(payload, serial);
    memcpy(payload + SERIAL, pattern_at(serial), (size_t)size - SERIAL);
}

int udp(const route *way, int size, int window, double seconds)
{
    static place places[MOST];
    static const unsigned char none[PREFIX];
    unsigned char prefix[PREFIX] = { 0, 0, 0, 1, 127, 0, 0, 1, (unsigned char)(way->target >> 8), (unsigned char)way->target };
    int before = way->protocol == DIRECT ? 0 : PREFIX, control = -1, fd = udp_socket();
    struct sockaddr_in peer = place_of(way->target);
    if (way->protocol != DIRECT) control = associate(way->proxy, &peer);
    if (connect(fd, (struct sockaddr *)&peer, sizeof peer) != 0) die("connect");
    prepare();
    tally t; /* from sending to the echo */
    tally_start(&t);
    uint64_t serial = 0;
    unsigned long lost = 0, late = 0;
    double start = now(), deadline = start + seconds, moved = start, looked = start;
    int open = 0;
    for (;;) {
        double time = now();
        int due = 0;
        if (time - looked > LOST_SECONDS / 4) {
            looked = time;
            for (int i = 0; i < window; i++) {
                if (places[i].serial == 0 || time - places[i].sent < LOST_SECONDS) continue;
                places[i].serial = 0;
                open--;
                lost++;
            }
        }
        if (time >= deadline && open == 0) break;
        for (int i = 0; i < window && open < window && time < deadline && due < BATCH; i++) {
            if (places[i].serial != 0) continue;
            /* The place can be told from the serial. */
            places[i] = (place){ .serial = (++serial) * MOST + (uint64_t)i, .sent = time };
            open++;
            memcpy(space[due], prefix, (size_t)before);
            fill(space[due] + before, size, places[i].serial);
            parts[due++].iov_len = (size_t)(before + size);
        }
        if (due > 0) send_batch(fd, due);
        struct pollfd waits[] = { { .fd = fd, .events = POLLIN }, { .fd = control, .events = POLLIN } };
        errno = 0;
        if (poll(waits, control == -1 ? 1 : 2, open == 0 ? 0 : 20) == -1 && errno != EINTR) die("poll");
        errno = 0;
        if (waits[1].revents != 0 && control != -1) die("the proxy ended the association");
        if (time - moved > STALL_SECONDS) die("no datagram comes back");
        if (waits[0].revents == 0) continue;
        for (int i = 0; i < BATCH; i++) parts[i].iov_len = ROOM;
        int n = recvmmsg(fd, batch, BATCH, MSG_DONTWAIT, NULL);
        if (n == -1 && errno != EAGAIN && errno != EINTR) die("recvmmsg");
        time = now();
        for (int i = 0; i < n; i++) {
            unsigned char *payload = space[i] + before;
            errno = 0;
            if (batch[i].msg_len != (unsigned)(before + size) || memcmp(space[i], before == 0 ? none : prefix, (size_t)before) != 0) die("a datagram of another form");
            uint64_t named = get_u64(payload);
            if (memcmp(payload + SERIAL, pattern_at(named), (size_t)size - SERIAL) != 0) die("data differs from the pattern");
            place *one = &places[named % MOST];
            if (one->serial != named) {
                late++;
                continue;
            }
            tally_time(&t, one->sent, time);
            one->serial = 0;
            open--;
            moved = time;
        }
    }
    tally_report(&t, "packets", now() - start);
    printf(",\"lost\":%lu,\"late\":%lu}\n", lost, late);
    if (control != -1) close(control);
    return 0;
}
