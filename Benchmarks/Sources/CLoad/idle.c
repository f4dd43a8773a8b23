#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "include/CLoad.h"
#include "support.h"

enum {
    ECHOES_AT_ONCE = 64,
    // All of a batch is sent before any of it is read: it must fit the socket buffers in between.
    MESSAGE_BYTES_MAX = 64 * 1024,
};

struct cload_idle {
    char *host;
    uint16_t port;
    uint32_t capacity, count, message_bytes;
    char *scratch;
    int *descriptors;
};

cload_idle *cload_idle_create(const char *host, uint16_t port, uint32_t capacity, uint32_t message_bytes, char *error,
                              size_t error_capacity) {
    failure to = {error, error_capacity};
    if (message_bytes == 0 || message_bytes > MESSAGE_BYTES_MAX) {
        failed(to, "message size must be 1 to %d", MESSAGE_BYTES_MAX);
        return NULL;
    }
    cload_idle *idle = calloc(1, sizeof *idle);
    if (idle == NULL) goto no_memory;
    idle->host = strdup(host);
    idle->port = port;
    idle->capacity = capacity;
    idle->message_bytes = message_bytes;
    idle->scratch = malloc(message_bytes);
    idle->descriptors = calloc(capacity, sizeof *idle->descriptors);
    if (idle->host != NULL && idle->scratch != NULL && idle->descriptors != NULL) return idle;
    cload_idle_destroy(idle);
no_memory:
    failed(to, "no memory for %u connections", capacity);
    return NULL;
}

int cload_idle_open(cload_idle *idle, uint32_t count, char *error, size_t error_capacity) {
    failure to = {error, error_capacity};
    for (uint32_t i = 0; i < count; i++) {
        if (idle->count == idle->capacity) return failed(to, "only %u connections were asked for", idle->capacity);
        int fd = connect_to(idle->host, idle->port, idle->count, to);
        if (fd < 0) return -1;
        idle->descriptors[idle->count++] = fd;
    }
    return 0;
}

static int wait_for(int fd, short events, uint32_t number, failure to) {
    struct pollfd wait = {.fd = fd, .events = events};
    int ready = poll(&wait, 1, STALL_TIMEOUT_MS);
    if (ready > 0 || (ready < 0 && errno == EINTR)) return 0;
    return failed(to, "connection %u: no progress for %d ms", number, STALL_TIMEOUT_MS);
}

static int send_message(cload_idle *idle, uint32_t number, failure to) {
    const char *bytes = pattern() + pattern_start(number);
    for (uint32_t sent = 0; sent < idle->message_bytes;) {
        ssize_t n = send(idle->descriptors[number], bytes + sent, idle->message_bytes - sent, MSG_NOSIGNAL);
        if (n >= 0) {
            sent += (uint32_t)n;
        } else if (errno == EAGAIN) {
            if (wait_for(idle->descriptors[number], POLLOUT, number, to) < 0) return -1;
        } else if (errno != EINTR) {
            return failed(to, "connection %u, send: %s", number, strerror(errno));
        }
    }
    return 0;
}

static int receive_message(cload_idle *idle, uint32_t number, failure to) {
    for (uint32_t received = 0; received < idle->message_bytes;) {
        ssize_t n = recv(idle->descriptors[number], idle->scratch + received, idle->message_bytes - received, 0);
        if (n > 0) {
            received += (uint32_t)n;
        } else if (n == 0) {
            return failed(to, "connection %u: closed by the server", number);
        } else if (errno == EAGAIN) {
            if (wait_for(idle->descriptors[number], POLLIN, number, to) < 0) return -1;
        } else if (errno != EINTR) {
            return failed(to, "connection %u, recv: %s", number, strerror(errno));
        }
    }
    if (memcmp(idle->scratch, pattern() + pattern_start(number), idle->message_bytes) == 0) return 0;
    return failed(to, "connection %u: wrong bytes came back", number);
}

int cload_idle_echo(cload_idle *idle, uint32_t first, char *error, size_t error_capacity) {
    failure to = {error, error_capacity};
    for (uint32_t from = first; from < idle->count; from += ECHOES_AT_ONCE) {
        uint32_t end = idle->count - from < ECHOES_AT_ONCE ? idle->count : from + ECHOES_AT_ONCE;
        for (uint32_t i = from; i < end; i++) {
            if (send_message(idle, i, to) < 0) return -1;
        }
        for (uint32_t i = from; i < end; i++) {
            if (receive_message(idle, i, to) < 0) return -1;
        }
    }
    return 0;
}

void cload_idle_destroy(cload_idle *idle) {
    struct linger reset = {.l_onoff = 1, .l_linger = 0};
    for (uint32_t i = 0; i < idle->count; i++) {
        setsockopt(idle->descriptors[i], SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        close(idle->descriptors[i]);
    }
    free(idle->descriptors);
    free(idle->scratch);
    free(idle->host);
    free(idle);
}
