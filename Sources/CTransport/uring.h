// The state of the io_uring engine, and what its files do for each other: uring.c is the ring and a turn of it,
// uring_operations.c what a slot wants, uring_memory.c what is received into, uring_completions.c what comes of it, and
// uring_shortage.c a kernel without memory.
#ifndef CT_URING_H
#define CT_URING_H

#include "ring.h"

#pragma clang assume_nonnull begin

#define CT_BUFFER_GROUP 0
#define CT_BUFFER_ENTRIES 1024u
#define CT_VECTORS 16384u
#define CT_ADDRESSES 64u

typedef struct ct_uring {
    ct_ring ring;
    ct_buffer_ring buffers;
    bool incremental;
    bool sees_ends;                 // see uring_check_end()
    bool drain;                     // the last batch hit the cap
    // Something waits for the kernel to have memory again: see uring_shortage.c.
    bool behind;
    bool wake_armed;
    bool refused;                   // of what was handed over last, the kernel did not take all
    uint32_t later_head, later_tail;   // slots that found no submission entry, or let others go first: index + 1
    uint32_t lent, lent_target;     // lending more than fits the cache makes large messages slower, not faster
    uint32_t free_ids;              // how many of free_id[] are valid
    ct_chunk *_Nullable chunk_of[CT_BUFFER_ENTRIES];
    uint16_t free_id[CT_BUFFER_ENTRIES];
    ct_chunk *_Nullable spoiled;    // was lent to a ring that is gone
    // Scratch the kernel reads while it takes the requests; free again once it has taken all of them.
    struct iovec vectors[CT_VECTORS];
    struct msghdr *_Nullable messages;
    struct sockaddr_storage addresses[CT_ADDRESSES];
    uint32_t vectors_used, messages_used, addresses_used, messages_capacity;
} ct_uring;

static inline ct_uring *uring_of(ct_loop *loop) { return loop->engine_state; }

// What the kernel has taken it has read as well.
static inline void ct_uring_scratch_reset(ct_uring *u) {
    ct_assert(u->vectors_used <= CT_VECTORS && u->messages_used <= u->messages_capacity);
    if (ct_ring_pending(&u->ring) == 0) u->vectors_used = u->messages_used = u->addresses_used = 0;
}

// ct_slot.uring.socket
enum : uint8_t {
    CT_SOCKET_KNOWN = 1u << 0,      // its family was asked for
    CT_SOCKET_ONE_SHOT = 1u << 1,   // of a family without multishot receives
    CT_SOCKET_UNCHECKED = 1u << 2,  // see uring_check_end()
    CT_SOCKET_FED = 1u << 3,        // has received since its receive was armed: see uring_exhausted()
};

// ct_slot.uring.later: what waits for a submission entry.
enum {
    CT_LATER_AGAIN = 1u << 0,       // the caller is asked to send again, or to connect
    CT_LATER_RECEIVE = 1u << 6,
    CT_LATER_LOST = 1u << 7,        // not an entry: the ends of operations that will never complete
};
// 1 << 1 to 1 << 5: the cancel of an operation.
static inline uint8_t ct_later_cancel(enum ct_operation operation) { return (uint8_t)(1u << operation); }
_Static_assert(CT_OP_RECEIVE == 1 && CT_OP_ACCEPT == 5, "the cancels fit between the other bits");

// uring.c
int ct_uring_open_ring(ct_uring *u, ct_failure *failure);                // any thread
int ct_uring_start_ring(ct_loop *loop, ct_failure *failure);             // the loop's thread
void ct_uring_close_ring(ct_uring *u);                                   // what was lent becomes `spoiled`

// uring_operations.c: see ct_engine
void ct_uring_arm_wake(ct_loop *loop);
void ct_uring_cancel(ct_loop *loop, ct_slot *slot, enum ct_operation operation);
int ct_uring_accept(ct_loop *loop, ct_slot *slot);
int ct_uring_receive(ct_loop *loop, ct_slot *slot);
void ct_uring_receive_stop(ct_loop *loop, ct_slot *slot);
int ct_uring_send(ct_loop *loop, ct_slot *slot, const struct iovec *vectors, uint32_t count, bool zero_copy);
int ct_uring_send_now(ct_loop *loop, ct_slot *slot, const struct iovec *vectors, uint32_t count);
int ct_uring_connect(ct_loop *loop, ct_slot *slot, const struct sockaddr *address, socklen_t length);
void ct_uring_interrupt(ct_loop *loop, ct_slot *slot);
void ct_uring_forget(ct_loop *loop, ct_slot *slot);

// uring_memory.c
//
// Lends the kernel what it should have and there is.
void ct_uring_lend(ct_loop *loop);
bool ct_uring_has_memory(ct_loop *loop);
// Where the bytes of a completion lie.
void ct_uring_place_bytes(ct_loop *loop, const struct io_uring_cqe *cqe, ct_event *event);
// Nobody looks at completions that name them any more.
void ct_uring_spoil_chunks(ct_uring *u);
ct_chunk *_Nullable ct_uring_take_back(ct_loop *loop);

// uring_completions.c
uint32_t ct_uring_drain_completions(ct_loop *loop, ct_event *events, uint32_t capacity);

// uring_shortage.c
//
// The slot is served when there are entries again.
void ct_uring_later(ct_loop *loop, ct_slot *slot, uint8_t what);
// The slot's descriptor is about to be closed.
void ct_uring_later_forget(ct_loop *loop);
// Serves whoever waits; `count` becomes the number of events. Returns how long the loop may wait.
uint64_t ct_uring_catch_up(ct_loop *loop, ct_event *events, uint32_t capacity, uint64_t timeout, uint32_t *count);
// An enter failed, or the kernel did not take everything.
void ct_uring_entered_badly(ct_loop *loop, int result, uint32_t wait, uint64_t timeout);

#pragma clang assume_nonnull end
#endif
