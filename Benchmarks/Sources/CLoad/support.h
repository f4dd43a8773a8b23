// What the two kinds of load share: errors, the clock, the byte pattern, connecting.
#pragma once
#include <stddef.h>
#include <stdint.h>

typedef struct failure {
    char *text;
    size_t capacity;
} failure;

/// Writes the message and returns -1.
int failed(failure to, const char *format, ...) __attribute__((format(printf, 2, 3)));

uint64_t now_ns(void);

enum {
    // Not a power of two: a stream that slips by any usual block size does not match itself.
    PATTERN_BYTES = (1 << 20) + 7,
    CONNECT_TIMEOUT_MS = 5000,
    STALL_TIMEOUT_MS = 10000,
};

/// Pseudo-random bytes, PATTERN_BYTES of them twice over: from any start below PATTERN_BYTES, PATTERN_BYTES can be read.
const char *pattern(void);

/// Where the stream of a connection begins in the pattern.
uint32_t pattern_start(uint32_t connection);

/// A connected, non-blocking socket with TCP_NODELAY, or -1.
int connect_to(const char *host, uint16_t port, uint32_t number, failure error);
