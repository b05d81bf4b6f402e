/*
 * A load generator for relays of TCP and UDP and HTTP proxies, and the servers it talks to. One process, one epoll loop each.
 *
 *   load serve [ADDRESS]                              sink, source and echo on one port; prints "port N"
 *   load origin                                       an HTTP server with small answers; prints "port N"
 *   load serve-udp                                    sends every datagram back; prints "port N"
 *   load bulk PROXY TARGET STREAMS up|down SECONDS    throughput, every byte counted at the other end
 *   load connections PROXY TARGET PARALLEL SECONDS    connect, handshake, 64-byte ping echoed, close
 *   load idle PROXY TARGET COUNT                      opens COUNT relayed connections, prints "ready", holds them until a
 *                                                     line (or the end) of stdin, pings them all again
 *   load http PROXY TARGET PARALLEL SECONDS           requests to an origin, one after the other on each of PARALLEL connections
 *   load udp PROXY TARGET SIZE WINDOW SECONDS         datagrams of SIZE bytes to an echo, WINDOW of them on their way at any time
 *   load names SERVER DOMAIN NAMES PORT PARALLEL SECONDS
 *                                                     asks the name server at that address for h0.DOMAIN, h1.DOMAIN … (NAMES of them, in
 *                                                     turns), connects to PORT of the address, has 1 KiB echoed, closes; PORT 0: only asks
 *
 * TARGET is a port of 127.0.0.1, and so is PROXY: N or socks:N is a SOCKS5 proxy (for `load udp` asked with UDP ASSOCIATE), http:N an
 * HTTP proxy (asked with CONNECT, or for `load http` with absolute-form requests), 0 none at all. A result is one line of JSON on
 * stdout; anything that went wrong is on stderr with exit code 1. LOAD_CONGESTION names a congestion control for our own sockets; LOAD_HOST,
 * an IPv4 address instead of 127.0.0.1 where there is no proxy, and for servers where they listen.
 *
 * The first byte of a connection tells the server what it is. Not every proxy keeps a half-closed connection, so nothing here
 * needs one: ends are told in the stream.
 *
 *   'U'  sink:   blocks of BLOCK_SIZE bytes of the pattern, each followed by 'M' (more) or 'Z' (the last one); then the server
 *                answers with the number of pattern bytes (8 bytes, big-endian), and the client closes
 *   'D'  source: the server sends the pattern until any byte comes, then the number of pattern bytes, then its FIN
 *   'E'  echo:   sends back everything, this byte included
 *
 * The origin answers GET /NAME with a body of HTTP_BODY bytes that starts with /NAME, so that an answer to another request shows.
 */
#ifndef LOAD_H
#define LOAD_H

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define PING_SIZE 64
#define BUFFER_SIZE (256 * 1024)
#define BLOCK_SIZE (1024 * 1024)
/* The most that the answer to a handshake may take. */
#define ANSWER_SIZE 256
#define HTTP_BODY 128
/* The most that the head of an HTTP message may take, with the body behind it. */
#define HTTP_ROOM 2048
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
/* A port of LOAD_HOST. */
struct sockaddr_in place_of(int port);
/* A non-blocking socket that is connecting to a port of LOAD_HOST, or -1. */
int start_connect(int port);
/* On an address of this machine; NULL: 127.0.0.1. */
int listen_any(const char *host, int *port);
int accept_next(int listener);
void watch(int epoll, int operation, int fd, uint32_t events, void *owner);

/* tally.c: times and failures of many small things, and their report */

typedef struct {
    float *times; /* milliseconds */
    size_t done, room, failed;
} tally;

void tally_start(tally *t);
void tally_time(tally *t, double started, double ended);
/* Counts it under `why`, a constant text. Ends the process when nothing but failures comes. */
void tally_failure(tally *t, const char *why);
/* Prints {"<name>":N,"failed":N,"seconds":S,"rate":R,"p50":..,"p99":..,"max":..,"failures":{..}; the caller closes the object. */
void tally_report(tally *t, const char *name, double took);

/* route.c: the way to a target */

typedef enum { DIRECT, SOCKS5, HTTP } protocol;

typedef struct {
    protocol protocol;
    int proxy;
    int target;
} route;

/* From PROXY and TARGET of the command line; ends the process when they are none. */
route route_of(const char *proxy, const char *target);
/* A number of the command line. */
int number(const char *text, int least, int most);

/* session.c: one connection up to the echoed ping, as a state machine */

typedef enum { CONNECTING, GREETING, REQUESTING, PINGING, OPEN, FAILED } phase;

typedef struct {
    int fd;
    phase phase;
    const char *failure; /* what went wrong, a constant text */
    double started;
    size_t got;
    const route *way;
    unsigned char in[ANSWER_SIZE];
    unsigned char ping[PING_SIZE];
} session;

/* Starts a connection. */
void session_start(session *s, int epoll, const route *way);
/* Goes on after an event; OPEN after the proxy's answer, or with `with_ping` after the echo. */
void session_step(session *s, int epoll, int with_ping);
/* Sends another ping on an open session. */
void session_ping(session *s);
void session_end(session *s);

/* names.c: names that are looked up and gone to */

typedef struct {
    struct in_addr server;
    const char *domain;
    int names, port;
} names_load;

int names(const names_load *what, int parallel, double seconds);

int serve(const char *host);
int serve_udp(void);
int origin(void);
int bulk(const route *way, int streams, int up, double seconds);
int connections(const route *way, int parallel, double seconds);
int idle(const route *way, int count);
int http(const route *way, int parallel, double seconds);
int udp(const route *way, int size, int window, double seconds);

#endif
