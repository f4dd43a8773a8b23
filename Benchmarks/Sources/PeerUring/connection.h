// One accepted socket: what was received and waits to be sent back, and which operations the kernel holds.
//
// A connection is named by its descriptor. That is safe because the descriptor is closed only when no operation
// is in flight on it, so no completion can meet a descriptor that was given out again.
#pragma once
#include <stdbool.h>
#include <stdint.h>

enum operation {
    OPERATION_ACCEPT,
    OPERATION_RECEIVE,
    OPERATION_SEND,
    OPERATION_CANCEL,
};

static inline uint64_t operation_token(enum operation operation, int fd) {
    return (uint64_t)operation << 32 | (uint32_t)fd;
}

void connections_open(void);

void connection_accepted(int fd);
void connection_received(int fd, int result, uint32_t flags);
void connection_sent(int fd, int result);

/// Prepares one send for every connection that got bytes, and receives for those that had to wait for buffers.
void connections_flush(void);

/// Whether a connection has been closed since this was asked last: a listener that ran out of descriptors can go on.
bool connections_freed_descriptors(void);
