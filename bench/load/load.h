/*
 * A load generator for TCP relays, and the server it talks to. One process, one epoll loop each.
 *
 *   load serve                                        sink, source and echo on one port; prints "port N"
 *   load bulk PROXY TARGET STREAMS up|down SECONDS    throughput, every byte counted at the other end
 *   load connections PROXY TARGET PARALLEL SECONDS    connect, SOCKS5, 64-byte ping echoed, close
 *   load idle PROXY TARGET COUNT                      opens COUNT relayed connections, prints "ready", holds them until a
 *                                                     line (or the end) of stdin, pings them all again
 *
 * PROXY and TARGET are ports of 127.0.0.1; PROXY 0 connects to the target directly. A result is one line of JSON on stdout;
 * anything that went wrong is on stderr with exit code 1. LOAD_CONGESTION names a congestion control for our own sockets.
 *
 * The first byte of a connection tells the server what it is. Not every proxy keeps a half-closed connection, so nothing here
 * needs one: ends are told in the stream.
 *
 *   'U'  sink:   blocks of BLOCK_SIZE bytes of the pattern, each followed by 'M' (more) or 'Z' (the last one); then the server
 *                answers with the number of pattern bytes (8 bytes, big-endian), and the client closes
 *   'D'  source: the server sends the pattern until any byte comes, then the number of pattern bytes, then its FIN
 *   'E'  echo:   sends back everything, this byte included
 */
#ifndef LOAD_H
#define LOAD_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define PING_SIZE 64
#define BUFFER_SIZE (256 * 1024)
#define BLOCK_SIZE (1024 * 1024)
/* How long anything may stand still before the run is given up. */
#define STALL_SECONDS 15

/* bytes.c: the pattern that bulk data is made of, and counts on the wire */

/* A prime, so that a chunk that is lost, doubled or out of place shifts the pattern whatever its size. */
#define PATTERN_PERIOD 65521
/* Bytes of the stream from `offset` on; BUFFER_SIZE of them lie in a row. */
const unsigned char *pattern_at(uint64_t offset);
/* 0 when what was read at `offset` is the pattern, as far as is compared. At most BUFFER_SIZE bytes. */
int pattern_check(const unsigned char *bytes, size_t length, uint64_t offset);
void put_u64(unsigned char *bytes, uint64_t value);
uint64_t get_u64(const unsigned char *bytes);

/* net.c: sockets and time */

double now(void);
/* Prints the message and errno's, ends the process with 1. */
void die(const char *message) __attribute__((noreturn));
void raise_file_limit(void);
/* A non-blocking socket that is connecting to a port of 127.0.0.1, or -1. */
int start_connect(int port);
int listen_any(int *port);
int accept_next(int listener);
void watch(int epoll, int operation, int fd, uint32_t events, void *owner);

/* session.c: one connection up to the echoed ping, as a state machine */

typedef enum { CONNECTING, GREETING, REQUESTING, PINGING, OPEN, FAILED } phase;

typedef struct {
    int fd;
    phase phase;
    const char *failure; /* what went wrong, a constant text */
    double started;
    size_t got;
    unsigned char in[PING_SIZE];
    unsigned char ping[PING_SIZE];
} session;

/* Starts a connection, through the proxy unless that is 0. */
void session_start(session *s, int epoll, int proxy, int target);
/* Goes on after an event; OPEN after the SOCKS5 reply, or with `with_ping` after the echo. `target` 0 = no proxy between. */
void session_step(session *s, int epoll, int target, int with_ping);
/* Sends another ping on an open session. */
void session_ping(session *s);
void session_end(session *s);

int serve(void);
int bulk(int proxy, int target, int streams, int up, double seconds);
int connections(int proxy, int target, int parallel, double seconds);
int idle(int proxy, int target, int count);

#endif
