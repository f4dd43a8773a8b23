// A TCP echo server over io_uring, as fast as one thread of C can make it: the limit others are measured against.
//
// One system call per turn submits everything and waits. Receives are multishot into a shared ring of buffers, sends
// go straight out of those buffers, and at most one send is in flight per socket so that no byte overtakes another.

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "buffers.h"
#include "connection.h"
#include "ring.h"

enum {
    LISTEN_BACKLOG = 4096,
    // A turn that received more than this is not followed by a drain: what was received should be sent while it is
    // still in the cache (6 % at 64 connections x 16 KiB x depth 4).
    DRAIN_BELOW_BYTES = 128 * 1024,
};

typedef struct turn {
    unsigned completions;
    uint64_t received_bytes;
} turn;

static int listen_fd;
static bool accept_paused;

static void arm_accept(void) {
    struct io_uring_sqe *sqe = ring_sqe();
    io_uring_prep_multishot_accept(sqe, listen_fd, NULL, NULL, SOCK_CLOEXEC);
    sqe->user_data = operation_token(OPERATION_ACCEPT, listen_fd);
    accept_paused = false;
}

static void accepted(int result, uint32_t flags) {
    if (result >= 0) connection_accepted(result);
    if (flags & IORING_CQE_F_MORE) return;
    // Out of descriptors or memory, a new accept would fail at once: wait until a connection has ended.
    bool exhausted = result == -EMFILE || result == -ENFILE || result == -ENOMEM || result == -ENOBUFS;
    if (exhausted) accept_paused = true;
    else arm_accept();
}

static void complete(const struct io_uring_cqe *cqe) {
    int fd = (int)(uint32_t)cqe->user_data;
    switch ((enum operation)(cqe->user_data >> 32)) {
    case OPERATION_ACCEPT: accepted(cqe->res, cqe->flags); break;
    case OPERATION_RECEIVE: connection_received(fd, cqe->res, cqe->flags); break;
    case OPERATION_SEND: connection_sent(fd, cqe->res); break;
    case OPERATION_CANCEL: break;  // The receive it names tells the outcome.
    }
}

static turn complete_all(void) {
    turn done = {0};
    unsigned head;
    struct io_uring_cqe *cqe;
    io_uring_for_each_cqe(&ring, head, cqe) {
        if ((cqe->flags & IORING_CQE_F_BUFFER) && cqe->res > 0) done.received_bytes += (uint64_t)cqe->res;
        complete(cqe);
        done.completions++;
    }
    io_uring_cq_advance(&ring, done.completions);
    return done;
}

static int listen_on(const char *host, const char *port) {
    struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
    struct addrinfo *address;
    int error = getaddrinfo(host, port, &hints, &address);
    if (error != 0) {
        fprintf(stderr, "peer-c-uring: %s:%s: %s\n", host, port, gai_strerror(error));
        exit(1);
    }
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) fail("socket", errno);
    int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    // Accepted sockets inherit it: no system call per connection.
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (bind(fd, address->ai_addr, address->ai_addrlen) < 0) fail("bind", errno);
    if (listen(fd, LISTEN_BACKLOG) < 0) fail("listen", errno);
    freeaddrinfo(address);
    return fd;
}

static int bound_port(int fd) {
    struct sockaddr_storage address;
    socklen_t length = sizeof address;
    if (getsockname(fd, (struct sockaddr *)&address, &length) < 0) fail("getsockname", errno);
    return ntohs(address.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&address)->sin6_port
                                               : ((struct sockaddr_in *)&address)->sin_port);
}

static void stop(int signal) {
    (void)signal;
    _exit(0);
}

int main(int argc, char **argv) {
    const char *host = "127.0.0.1", *port = NULL;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--port") == 0) port = argv[i + 1];
        if (strcmp(argv[i], "--host") == 0) host = argv[i + 1];
    }
    if (port == NULL) {
        fprintf(stderr, "usage: peer-c-uring --port P [--host H]\n");
        return 64;
    }
    signal(SIGTERM, stop);
    signal(SIGINT, stop);

    listen_fd = listen_on(host, port);
    ring_open();
    buffers_open();
    connections_open();
    arm_accept();
    printf("ready port=%d pid=%d engine=uring\n", bound_port(listen_fd), getpid());
    fflush(stdout);

    turn last = {0};
    for (;;) {
        // A full batch means that more is likely to be waiting behind the kernel's cap.
        ring_enter(last.completions >= DEFERRED_WORK_CAP && last.received_bytes <= DRAIN_BELOW_BYTES);
        last = complete_all();
        connections_flush();
        if (connections_freed_descriptors() && accept_paused) arm_accept();
    }
}
