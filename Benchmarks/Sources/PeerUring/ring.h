// The ring of this process, and the one system call of a turn.
#pragma once
#include <liburing.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdnoreturn.h>

enum {
    // The kernel runs at most this much deferred work per enter unless it is asked to wait for more.
    DEFERRED_WORK_CAP = 20,
    DRAIN_COMPLETIONS = 128,
    // Most pieces one send gathers.
    GATHER_LIMIT = 64,
};

extern struct io_uring ring;

noreturn void fail(const char *call, int error);

void ring_open(void);

/// The next free submission entry; submits what is queued when there is none.
struct io_uring_sqe *ring_sqe(void);

/// A message header with room for GATHER_LIMIT pieces, for the very next ring_sqe().
struct msghdr *ring_message(void);

/// Submits everything and waits for a completion, or, when `drain`, takes what is there already and returns.
void ring_enter(bool drain);
