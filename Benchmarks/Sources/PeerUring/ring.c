#define _GNU_SOURCE
#include "ring.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Newer than liburing 2.3.
#define ENTER_NO_IOWAIT (1U << 7)
#define FEATURE_NO_IOWAIT (1U << 17)

enum {
    SUBMISSION_ENTRIES = 1024,
    COMPLETION_ENTRIES = 16384,
    MESSAGES = 256,
};

struct io_uring ring;

static unsigned enter_flags = IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG;
// The kernel copies headers and vectors when it takes an entry, so one set serves all connections of a turn.
static struct msghdr messages[MESSAGES];
static struct iovec pieces[MESSAGES][GATHER_LIMIT];
static unsigned messages_used;

noreturn void fail(const char *call, int error) {
    fprintf(stderr, "peer-c-uring: %s: %s\n", call, strerror(error));
    exit(1);
}

void ring_open(void) {
    // Never NO_SQARRAY: liburing 2.3 corrupts such a ring.
    struct io_uring_params parameters = {
        .flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_COOP_TASKRUN |
                 IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP,
        .cq_entries = COMPLETION_ENTRIES,
    };
    int result = io_uring_queue_init_params(SUBMISSION_ENTRIES, &ring, &parameters);
    if (result < 0) fail("io_uring_setup", -result);
    if (io_uring_register_ring_fd(&ring) == 1) enter_flags |= IORING_ENTER_REGISTERED_RING;
    if (ring.features & FEATURE_NO_IOWAIT) enter_flags |= ENTER_NO_IOWAIT;
}

static unsigned publish_submissions(void) {
    struct io_uring_sq *sq = &ring.sq;
    sq->sqe_head = sq->sqe_tail;
    __atomic_store_n(sq->ktail, sq->sqe_tail, __ATOMIC_RELEASE);
    return sq->sqe_tail - __atomic_load_n(sq->khead, __ATOMIC_ACQUIRE);
}

static void enter(unsigned wait, unsigned flags, const struct __kernel_timespec *timeout) {
    struct io_uring_getevents_arg argument = {.ts = (uint64_t)(uintptr_t)timeout};
    unsigned queued = publish_submissions();
    int result = io_uring_enter2((unsigned)ring.enter_ring_fd, queued, wait, flags, (void *)&argument, sizeof argument);
    switch (result) {
    case -EINTR:
    case -ETIME:
    case -EAGAIN:
    case -EBUSY: break;
    default:
        if (result < 0) fail("io_uring_enter", -result);
    }
    if (*ring.sq.khead == ring.sq.sqe_tail) messages_used = 0;
}

static void submit(void) {
    enter(0, enter_flags & ~(unsigned)IORING_ENTER_GETEVENTS, NULL);
}

struct io_uring_sqe *ring_sqe(void) {
    struct io_uring_sqe *sqe;
    while ((sqe = io_uring_get_sqe(&ring)) == NULL) submit();
    return sqe;
}

struct msghdr *ring_message(void) {
    // Room for the entry as well: submitting between the two would take the message for sent.
    while (messages_used == MESSAGES || io_uring_sq_space_left(&ring) == 0) submit();
    struct msghdr *message = &messages[messages_used];
    *message = (struct msghdr){.msg_iov = pieces[messages_used]};
    messages_used++;
    return message;
}

void ring_enter(bool drain) {
    static const struct __kernel_timespec at_once = {0, 0};
    if (drain) {
        enter(DRAIN_COMPLETIONS, enter_flags, &at_once);
    } else {
        enter(1, enter_flags, NULL);
    }
}
