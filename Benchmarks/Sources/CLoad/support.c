#define _GNU_SOURCE
#include "support.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

int failed(failure to, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(to.text, to.capacity, format, arguments);
    va_end(arguments);
    return -1;
}

uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

const char *pattern(void) {
    static char bytes[2 * PATTERN_BYTES];
    static int made;
    if (made) return bytes;
    uint64_t state = 0x9E3779B97F4A7C15u;
    for (size_t i = 0; i < PATTERN_BYTES; i++) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes[i] = bytes[i + PATTERN_BYTES] = (char)(state >> 32);
    }
    made = 1;
    return bytes;
}

uint32_t pattern_start(uint32_t connection) {
    return (uint32_t)((uint64_t)connection * 16411u % PATTERN_BYTES);
}

static int finish_connect(int fd) {
    struct pollfd wait = {.fd = fd, .events = POLLOUT};
    int ready = poll(&wait, 1, CONNECT_TIMEOUT_MS);
    if (ready < 0) return errno;
    if (ready == 0) return ETIMEDOUT;
    int error = 0;
    socklen_t length = sizeof error;
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length);
    return error;
}

int connect_to(const char *host, uint16_t port, uint32_t number, failure error) {
    struct addrinfo hints = {.ai_flags = AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
    struct addrinfo *address;
    char service[8];
    snprintf(service, sizeof service, "%u", port);
    int resolved = getaddrinfo(host, service, &hints, &address);
    if (resolved != 0) return failed(error, "%s: %s", host, gai_strerror(resolved));

    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int code = fd < 0 ? errno : 0;
    if (code == 0 && connect(fd, address->ai_addr, address->ai_addrlen) < 0) {
        code = errno == EINPROGRESS ? finish_connect(fd) : errno;
    }
    freeaddrinfo(address);
    if (code != 0) {
        if (fd >= 0) close(fd);
        return failed(error, "connection %u to %s:%u: %s", number, host, port, strerror(code));
    }
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}
