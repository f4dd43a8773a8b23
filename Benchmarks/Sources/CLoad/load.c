#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "include/CLoad.h"
#include "support.h"

enum {
    SCRATCH_BYTES = 256 * 1024,
    EVENTS_PER_WAIT = 256,
    // Open loop: below this gap the thread looks again instead of sleeping, which it could not end in time.
    SPIN_BELOW_NS = 150 * 1000,
    LATENCIES_FIRST = 1 << 22,
};

typedef struct connection {
    int fd;
    bool blocked;  // The socket is full: EPOLLOUT goes on.
    uint32_t number;
    uint64_t started, due;              // Messages, since the beginning.
    uint64_t finished;
    uint64_t unsent_bytes;              // Of the messages started.
    uint64_t unreceived_bytes;          // Of the message that arrives next; whole messages when none has begun.
    uint32_t send_cursor, receive_cursor;  // Positions in the pattern.
    uint64_t *start_times;              // Of the messages in flight, by number modulo depth.
} connection;

enum phase {
    WARM_UP,
    MEASURE,
    DRAIN,
};

typedef struct load {
    const cload_config *config;
    cload_result *result;
    failure error;
    const char *bytes;
    connection *connections;
    uint64_t *start_times;
    int epoll_fd;
    enum phase phase;
    uint64_t started_at;    // When the open loop's clock began.
    uint64_t window_from;
    uint64_t scheduled;     // Open loop: messages due so far, over all connections.
    uint64_t in_flight;
    uint64_t progress_at;
    size_t latency_capacity;
    char scratch[SCRATCH_BYTES];
} load;

static uint32_t advance(uint32_t cursor, uint32_t by) {
    cursor += by;
    return cursor >= PATTERN_BYTES ? cursor - PATTERN_BYTES : cursor;
}

static int watch(load *l, connection *c, int operation) {
    struct epoll_event event = {.events = EPOLLIN | (c->blocked ? EPOLLOUT : 0), .data.ptr = c};
    if (epoll_ctl(l->epoll_fd, operation, c->fd, &event) == 0) return 0;
    return failed(l->error, "epoll_ctl: %s", strerror(errno));
}

static int record(load *l, uint64_t latency) {
    cload_result *r = l->result;
    if (r->latency_count == l->latency_capacity) {
        size_t capacity = l->latency_capacity == 0 ? LATENCIES_FIRST : l->latency_capacity * 2;
        uint64_t *grown = realloc(r->latencies_ns, capacity * sizeof *grown);
        if (grown == NULL) return failed(l->error, "no memory for %zu latencies", capacity);
        r->latencies_ns = grown;
        l->latency_capacity = capacity;
    }
    r->latencies_ns[r->latency_count++] = latency;
    return 0;
}

// MARK: - One connection

static int send_unsent(load *l, connection *c) {
    bool blocked = false;
    while (c->unsent_bytes > 0 && !blocked) {
        size_t length = c->unsent_bytes < PATTERN_BYTES ? c->unsent_bytes : PATTERN_BYTES;
        ssize_t n = send(c->fd, l->bytes + c->send_cursor, length, MSG_NOSIGNAL);
        if (n >= 0) {
            c->unsent_bytes -= (uint64_t)n;
            c->send_cursor = advance(c->send_cursor, (uint32_t)n);
        } else if (errno == EAGAIN) {
            blocked = true;
        } else if (errno != EINTR) {
            return failed(l->error, "connection %u, send: %s", c->number, strerror(errno));
        }
    }
    if (blocked == c->blocked) return 0;
    c->blocked = blocked;
    return watch(l, c, EPOLL_CTL_MOD);
}

/// Starts the messages that are due and fit the depth.
static int start_messages(load *l, connection *c, uint64_t now) {
    const cload_config *config = l->config;
    if (l->phase == DRAIN) return 0;
    uint64_t before = c->started;
    while (c->started - c->finished < config->depth && (config->rate <= 0 || c->started < c->due)) {
        uint64_t start = now;
        if (config->rate > 0) {
            // The moment it should have gone out: time spent waiting for its turn is part of its latency.
            double number = (double)c->started * config->connections + c->number;
            start = l->started_at + (uint64_t)(number * 1e9 / config->rate);
        }
        c->start_times[c->started % config->depth] = start;
        c->started++;
        c->unsent_bytes += config->message_bytes;
    }
    if (l->in_flight == 0) l->progress_at = now;
    l->in_flight += c->started - before;
    return c->started == before ? 0 : send_unsent(l, c);
}

static int finish_message(load *l, connection *c, uint64_t now) {
    uint64_t start = c->start_times[c->finished % l->config->depth];
    c->finished++;
    l->in_flight--;
    if (l->phase != MEASURE) return 0;
    l->result->messages++;
    return start >= l->window_from ? record(l, now - start) : 0;
}

/// Compares what was received and finishes the messages it completes.
static int verify(load *l, connection *c, uint32_t length, uint64_t now) {
    uint64_t expected = (c->started - c->finished) * l->config->message_bytes;
    uint64_t begun = l->config->message_bytes - c->unreceived_bytes;
    if (length > expected - begun) return failed(l->error, "connection %u: more bytes came back than were sent", c->number);
    if (memcmp(l->scratch, l->bytes + c->receive_cursor, length) != 0) {
        return failed(l->error, "connection %u: wrong bytes came back in message %llu", c->number,
                      (unsigned long long)c->finished);
    }
    c->receive_cursor = advance(c->receive_cursor, length);
    while (length >= c->unreceived_bytes) {
        length -= (uint32_t)c->unreceived_bytes;
        c->unreceived_bytes = l->config->message_bytes;
        if (finish_message(l, c, now) < 0) return -1;
    }
    c->unreceived_bytes -= length;
    return 0;
}

static int connection_ready(load *l, connection *c, uint32_t events) {
    if ((events & EPOLLOUT) && send_unsent(l, c) < 0) return -1;
    if ((events & ~(uint32_t)EPOLLOUT) == 0) return 0;
    ssize_t n = recv(c->fd, l->scratch, SCRATCH_BYTES, 0);
    if (n == 0) return failed(l->error, "connection %u: closed by the server", c->number);
    if (n < 0) {
        if (errno == EAGAIN || errno == EINTR) return 0;
        return failed(l->error, "connection %u, recv: %s", c->number, strerror(errno));
    }
    uint64_t now = now_ns();
    l->progress_at = now;
    if (verify(l, c, (uint32_t)n, now) < 0) return -1;
    return start_messages(l, c, now);
}

// MARK: - The run

static int open_all(load *l) {
    const cload_config *config = l->config;
    for (uint32_t i = 0; i < config->connections; i++) {
        connection *c = &l->connections[i];
        c->fd = connect_to(config->host, config->port, i, l->error);
        if (c->fd < 0) return -1;
        c->number = i;
        c->send_cursor = c->receive_cursor = pattern_start(i);
        c->unreceived_bytes = config->message_bytes;
        c->start_times = l->start_times + (size_t)i * config->depth;
        if (watch(l, c, EPOLL_CTL_ADD) < 0) return -1;
    }
    return 0;
}

/// Open loop: hands out what has become due. Returns the nanoseconds until more is.
static int64_t schedule(load *l, uint64_t now, int *status) {
    const cload_config *config = l->config;
    for (;;) {
        uint64_t due = l->started_at + (uint64_t)((double)l->scheduled * 1e9 / config->rate);
        if (due > now) return (int64_t)(due - now);
        connection *c = &l->connections[l->scheduled % config->connections];
        l->scheduled++;
        c->due++;
        *status = start_messages(l, c, now);
        if (*status < 0) return 0;
    }
}

static int wait_and_handle(load *l, int64_t timeout_ns) {
    struct epoll_event events[EVENTS_PER_WAIT];
    if (timeout_ns < 0) timeout_ns = 0;
    struct timespec timeout = {timeout_ns / 1000000000, timeout_ns % 1000000000};
    int count = epoll_pwait2(l->epoll_fd, events, EVENTS_PER_WAIT, &timeout, NULL);
    if (count < 0 && errno != EINTR) return failed(l->error, "epoll_pwait2: %s", strerror(errno));
    for (int i = 0; i < count; i++) {
        if (connection_ready(l, events[i].data.ptr, events[i].events) < 0) return -1;
    }
    return 0;
}

static void announce(load *l, bool begins) {
    if (l->config->window != NULL) l->config->window(l->config->window_context, begins);
}

static int run_until(load *l, uint64_t end) {
    for (;;) {
        uint64_t now = now_ns();
        if (now >= end) return 0;
        int64_t timeout = (int64_t)(end - now);
        if (l->config->rate > 0 && l->phase != DRAIN) {
            int status = 0;
            int64_t gap = schedule(l, now, &status);
            if (status < 0) return -1;
            if (gap < timeout) timeout = gap < SPIN_BELOW_NS ? 0 : gap - SPIN_BELOW_NS / 2;
        }
        if (l->phase == DRAIN && l->in_flight == 0) return 0;
        // A closed loop always has something in flight; an open one may be idle by intent.
        if (l->in_flight > 0 && now > l->progress_at + STALL_TIMEOUT_MS * 1000000ull) {
            return failed(l->error, "no answer for %d ms with %llu messages in flight", STALL_TIMEOUT_MS,
                          (unsigned long long)l->in_flight);
        }
        if (l->in_flight > 0 && timeout > 1000000000) timeout = 1000000000;
        if (wait_and_handle(l, timeout) < 0) return -1;
    }
}

static int run(load *l) {
    const cload_config *config = l->config;
    if (open_all(l) < 0) return -1;
    l->started_at = l->progress_at = now_ns();
    l->phase = WARM_UP;
    if (config->rate <= 0) {
        for (uint32_t i = 0; i < config->connections; i++) {
            if (start_messages(l, &l->connections[i], l->started_at) < 0) return -1;
        }
    }
    if (run_until(l, l->started_at + config->warm_up_ns) < 0) return -1;

    announce(l, true);
    l->phase = MEASURE;
    l->window_from = now_ns();
    if (run_until(l, l->window_from + config->duration_ns) < 0) return -1;
    l->result->window_ns = now_ns() - l->window_from;
    l->phase = DRAIN;
    announce(l, false);

    l->progress_at = now_ns();
    if (run_until(l, l->progress_at + 2 * STALL_TIMEOUT_MS * 1000000ull) < 0) return -1;
    if (l->in_flight > 0) return failed(l->error, "%llu messages never came back", (unsigned long long)l->in_flight);
    return 0;
}

int cload_run(const cload_config *config, cload_result *result, char *error, size_t error_capacity) {
    memset(result, 0, sizeof *result);
    failure to = {error, error_capacity};
    if (config->connections == 0 || config->message_bytes == 0 || config->depth == 0) {
        return failed(to, "connections, message size and depth must be at least 1");
    }
    // Timers of an open loop are otherwise late by up to 50 us.
    prctl(PR_SET_TIMERSLACK, 1);

    load *l = calloc(1, sizeof *l);
    connection *connections = calloc(config->connections, sizeof *connections);
    uint64_t *start_times = calloc((size_t)config->connections * config->depth, sizeof *start_times);
    int status = -1;
    if (l == NULL || connections == NULL || start_times == NULL) {
        failed(to, "no memory for %u connections", config->connections);
    } else {
        for (uint32_t i = 0; i < config->connections; i++) connections[i].fd = -1;
        l->config = config;
        l->result = result;
        l->error = to;
        l->bytes = pattern();
        l->connections = connections;
        l->start_times = start_times;
        l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
        status = l->epoll_fd < 0 ? failed(to, "epoll_create1: %s", strerror(errno)) : run(l);
        for (uint32_t i = 0; i < config->connections; i++) {
            if (connections[i].fd >= 0) close(connections[i].fd);
        }
        if (l->epoll_fd >= 0) close(l->epoll_fd);
    }
    free(start_times);
    free(connections);
    free(l);
    if (status < 0) cload_result_free(result);
    return status;
}

void cload_result_free(cload_result *result) {
    free(result->latencies_ns);
    result->latencies_ns = NULL;
    result->latency_count = 0;
}
