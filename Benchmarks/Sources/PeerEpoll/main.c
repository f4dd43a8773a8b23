// A TCP echo server over epoll, as plain and as fast as one thread of C can make it.
//
// Edge triggered, each descriptor is registered once and never modified: one recv and one send per readiness.
// A connection whose peer reads too slowly keeps the unsent rest and is not read from until that rest is gone,
// so that no byte is lost or overtaken and the memory held is at most one scratch buffer per connection.

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    SCRATCH_BYTES = 64 * 1024,
    EVENTS_PER_WAIT = 256,
    LISTEN_BACKLOG = 4096,
    // A sender that keeps its socket full is left after this many reads, so that the others get their turn.
    READS_PER_TURN = 16,
};

static const uint32_t CONNECTION_EVENTS = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;

typedef struct connection {
    int fd;
    size_t unsent_offset;
    size_t unsent_length;
    char *unsent;  // Null unless the peer is slower than we are.
} connection;

static int epoll_fd;
static int listen_fd;
static bool accept_paused;
static char scratch[SCRATCH_BYTES];
// Registered as event data for the listener, whose events must be told from a connection's.
static connection listener;

static void fail(const char *call) {
    fprintf(stderr, "peer-c-epoll: %s: %s\n", call, strerror(errno));
    exit(1);
}

static void listener_register(void) {
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = &listener};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listen_fd, &event) < 0) fail("epoll_ctl(listener)");
    accept_paused = false;
}

static void connection_close(connection *c) {
    close(c->fd);
    free(c->unsent);
    free(c);
    if (accept_paused) listener_register();
}

static void accept_all(void) {
    for (;;) {
        int fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno == EINTR || errno == ECONNABORTED) continue;
            if (errno == EAGAIN) return;
            // Out of descriptors or memory: the level-triggered listener would spin. Wait for a connection to end.
            epoll_ctl(epoll_fd, EPOLL_CTL_DEL, listen_fd, NULL);
            accept_paused = true;
            return;
        }
        connection *c = calloc(1, sizeof *c);
        if (c == NULL) {
            close(fd);
            continue;
        }
        c->fd = fd;
        struct epoll_event event = {.events = CONNECTION_EVENTS, .data.ptr = c};
        if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0) connection_close(c);
    }
}

/// Sends `length` bytes; keeps what the socket does not take. Returns false when the connection is dead.
static bool send_or_keep(connection *c, const char *bytes, size_t length) {
    size_t sent = 0;
    while (sent < length) {
        ssize_t n = send(c->fd, bytes + sent, length - sent, MSG_NOSIGNAL);
        if (n >= 0) {
            sent += (size_t)n;
        } else if (errno == EAGAIN) {
            break;
        } else if (errno != EINTR) {
            return false;
        }
    }
    if (sent == length) return true;
    c->unsent = malloc(length - sent);
    if (c->unsent == NULL) return false;
    memcpy(c->unsent, bytes + sent, length - sent);
    c->unsent_offset = 0;
    c->unsent_length = length - sent;
    return true;
}

/// Sends what was kept. Returns false when the connection is dead.
static bool flush_unsent(connection *c) {
    while (c->unsent_offset < c->unsent_length) {
        ssize_t n = send(c->fd, c->unsent + c->unsent_offset, c->unsent_length - c->unsent_offset, MSG_NOSIGNAL);
        if (n >= 0) {
            c->unsent_offset += (size_t)n;
        } else if (errno == EAGAIN) {
            return true;
        } else if (errno != EINTR) {
            return false;
        }
    }
    free(c->unsent);
    c->unsent = NULL;
    return true;
}

/// Reads and echoes until the socket is empty, its send side is full, or its turn is over. Returns false when it is dead.
static bool echo(connection *c, uint32_t events) {
    for (int reads = 0; reads < READS_PER_TURN; reads++) {
        ssize_t n = recv(c->fd, scratch, sizeof scratch, 0);
        if (n == 0) return false;
        if (n < 0) {
            if (errno == EINTR) continue;
            return errno == EAGAIN;
        }
        if (!send_or_keep(c, scratch, (size_t)n)) return false;
        if (c->unsent != NULL) return true;  // EPOLLOUT resumes reading.
        // A short read emptied the socket: what arrives later makes a new edge. Only a FIN reported by this very
        // event could be behind the bytes without an edge of its own.
        if (n < (ssize_t)sizeof scratch && (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) == 0) return true;
    }
    // Modifying raises the edge again if bytes are left.
    struct epoll_event event = {.events = CONNECTION_EVENTS, .data.ptr = c};
    return epoll_ctl(epoll_fd, EPOLL_CTL_MOD, c->fd, &event) == 0;
}

static void connection_ready(connection *c, uint32_t events) {
    if (c->unsent != NULL) {
        if (!flush_unsent(c)) {
            connection_close(c);
            return;
        }
        if (c->unsent != NULL) return;
        // Whatever came while we did not read has had its edge already, a FIN included: read until empty.
        events |= EPOLLIN | EPOLLRDHUP;
    }
    // The first event of a connection says only that it can be written.
    if ((events & ~(uint32_t)EPOLLOUT) == 0) return;
    if (!echo(c, events)) connection_close(c);
}

static int listen_on(const char *host, const char *port) {
    struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
    struct addrinfo *address;
    int error = getaddrinfo(host, port, &hints, &address);
    if (error != 0) {
        fprintf(stderr, "peer-c-epoll: %s:%s: %s\n", host, port, gai_strerror(error));
        exit(1);
    }
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) fail("socket");
    int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    // Accepted sockets inherit it: no system call per connection.
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (bind(fd, address->ai_addr, address->ai_addrlen) < 0) fail("bind");
    if (listen(fd, LISTEN_BACKLOG) < 0) fail("listen");
    freeaddrinfo(address);
    return fd;
}

static int bound_port(int fd) {
    struct sockaddr_storage address;
    socklen_t length = sizeof address;
    if (getsockname(fd, (struct sockaddr *)&address, &length) < 0) fail("getsockname");
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
        fprintf(stderr, "usage: peer-c-epoll --port P [--host H]\n");
        return 64;
    }
    signal(SIGTERM, stop);
    signal(SIGINT, stop);

    listen_fd = listen_on(host, port);
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_fd < 0) fail("epoll_create1");
    listener_register();
    printf("ready port=%d pid=%d engine=epoll\n", bound_port(listen_fd), getpid());
    fflush(stdout);

    struct epoll_event events[EVENTS_PER_WAIT];
    for (;;) {
        int count = epoll_wait(epoll_fd, events, EVENTS_PER_WAIT, -1);
        if (count < 0 && errno != EINTR) fail("epoll_wait");
        for (int i = 0; i < count; i++) {
            connection *c = events[i].data.ptr;
            if (c == &listener) {
                accept_all();
            } else {
                connection_ready(c, events[i].events);
            }
        }
    }
}
