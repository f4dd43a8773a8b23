// One io_uring: set-up with our flags, our own enter, and a provided-buffer ring. Shared by the engine and the probe.
#ifndef CT_RING_H
#define CT_RING_H

#include "system.h"

#if !__has_include(<liburing.h>)
#error "SwiftTransport needs liburing: apt-get install liburing-dev"
#endif
#include <liburing.h>

// What liburing 2.3 (Debian 12) does not name yet. The values are the kernel's ABI.
#define CT_IOU_PBUF_RING_INC 2u                 // 6.12: a buffer is consumed piece by piece
#define CT_IORING_CQE_F_BUF_MORE (1u << 4)      // 6.12: the kernel keeps the buffer
#define CT_IORING_FEAT_NO_IOWAIT (1u << 17)     // 6.15
#define CT_IORING_ENTER_NO_IOWAIT (1u << 7)     // 6.15: an idle loop is not "waiting for I/O" in the statistics
#define CT_IORING_RECVSEND_POLL_FIRST (1u << 0)
#define CT_IORING_SEND_ZC_REPORT_USAGE (1u << 3)        // 6.2
#define CT_IORING_NOTIF_USAGE_ZC_COPIED (1u << 31)      // 6.2

// Never IORING_SETUP_NO_SQARRAY: liburing 2.3 then overwrites the ring's header, and the process cannot be killed.
#define CT_RING_FLAGS                                                                                                \
    (IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_SUBMIT_ALL | \
     IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP | IORING_SETUP_R_DISABLED)

#pragma clang assume_nonnull begin

typedef struct ct_ring {
    struct io_uring io;
    uint32_t enter_flags;
} ct_ring;

int ct_ring_setup(ct_ring *ring, uint32_t entries, uint32_t completions, ct_failure *failure);
// On the thread that will submit.
int ct_ring_enable(ct_ring *ring, ct_failure *failure);
void ct_ring_close(ct_ring *ring);

// Hands over what was queued and, with `wait` > 0, waits for that many completions but not beyond `timeout`
// nanoseconds (CT_FOREVER: no limit). Runs the kernel's deferred work. 0 or -errno; a timeout is no error.
int ct_ring_enter(ct_ring *ring, uint32_t wait, uint64_t timeout);
// Hands over what was queued and nothing else. Completions of what ends at once appear.
int ct_ring_submit(ct_ring *ring);
// Waits and runs deferred work as ct_ring_enter() does, and hands nothing over.
int ct_ring_wait(ct_ring *ring, uint32_t wait, uint64_t timeout);

// How many completions one enter brings at most; the queue is made that long. With DEFER_TASKRUN they appear only inside
// our own enters, and ct_ring_enter() is called only when the queue is empty.
#define CT_RING_ENTRIES_MAX 32768u              // the kernel's own limit
#define CT_WAIT_MAX 128u                        // the most that ct_ring_enter() is told to wait for
#define CT_RECEIVES_PER_WAKEUP 33u              // MULTISHOT_MAX_RETRY + 1, since 6.8
#define CT_BACKLOG_MAX 4096u
static inline uint32_t ct_ring_completions_bound(uint32_t entries) {
    // Every request may end as it is handed over. Then, since 6.13, an enter twice runs at most as many deferred items as
    // it waits for: receives of connections, and one accept that takes a whole backlog in. Before, it runs all there are,
    // and several listeners may be full: what does not fit is kept by the kernel, and multishot requests end.
    return entries + 2 * CT_WAIT_MAX * CT_RECEIVES_PER_WAKEUP + CT_BACKLOG_MAX;
}
// True when handing over a full queue leaves no completion without room, whatever has not been looked at yet.
static inline bool ct_ring_may_submit(const ct_ring *ring) {
    const struct io_uring_cq *cq = &ring->io.cq;
    uint32_t unseen = __atomic_load_n(cq->ktail, __ATOMIC_ACQUIRE) - *cq->khead;
    ct_assert(unseen <= cq->ring_entries);
    return cq->ring_entries - unseen >= ring->io.sq.ring_entries + CT_BACKLOG_MAX;
}
// Whether completions did not fit all the same. Relaxed: it is written inside our own enters, and read behind them.
static inline bool ct_ring_overflows(const ct_ring *ring) {
    return __atomic_load_n(ring->io.sq.kflags, __ATOMIC_RELAXED) & IORING_SQ_CQ_OVERFLOW;
}

// What was queued and the kernel has not taken. The acquire pairs with the kernel's release of the head: what it has taken it has
// also read, and the entry, with all it points to, may be written again.
static inline uint32_t ct_ring_pending(const ct_ring *ring) {
    return ring->io.sq.sqe_tail - __atomic_load_n(ring->io.sq.khead, __ATOMIC_ACQUIRE);
}

typedef struct ct_buffer_ring {
    struct io_uring_buf_ring *_Nullable ring;
    uint32_t entries;               // a power of two
    uint16_t group, tail;
} ct_buffer_ring;

int ct_buffer_ring_open(ct_ring *ring, ct_buffer_ring *buffers, uint16_t group, uint32_t entries, bool incremental);
void ct_buffer_ring_close(ct_ring *ring, ct_buffer_ring *buffers);
static inline void ct_buffer_ring_add(ct_buffer_ring *buffers, void *base, uint32_t size, uint16_t id) {
    // Entry 0 shares its last two bytes with the ring's tail: write the fields one by one.
    struct io_uring_buf *entry = &buffers->ring->bufs[buffers->tail++ & (buffers->entries - 1)];
    entry->addr = (uint64_t)(uintptr_t)base;
    entry->len = size;
    entry->bid = id;
}
// Pairs with the kernel's acquire of the tail, on whatever CPU it receives: who sees the tail sees the entries before it.
static inline void ct_buffer_ring_publish(ct_buffer_ring *buffers) {
    __atomic_store_n(&buffers->ring->tail, buffers->tail, __ATOMIC_RELEASE);
}

// selftest.c: what the engine relies on, tried on rings and sockets of its own. False also when that cannot be had.
//
// Messages through one armed multishot receive arrive in order and leave it armed, and shutdown(2) ends it. With an
// incremental ring the second message lies right behind the first.
bool ct_self_test_receive(bool incremental);
// One-shot and multishot receives from one incremental ring complete in the order in which they took its memory.
bool ct_self_test_order(void);
// A multishot receive completes for the end that came before it had taken the bytes in front of it.
bool ct_self_test_end(bool incremental);
// A zero-copy send may be asked to tell whether it copied.
bool ct_self_test_zero_copy(void);

#pragma clang assume_nonnull end
#endif
