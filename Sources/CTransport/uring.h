// The state of the io_uring engine: what uring.c, which serves, and uring_shortage.c, for a kernel without memory, share.
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
    uint32_t later_head, later_tail;   // slots that found no submission entry: index + 1
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

// ct_slot.uring.later: what waits for a submission entry.
enum {
    CT_LATER_SEND = 1u << 0,        // the caller is asked to send again
    CT_LATER_RECEIVE = 1u << 6,
    CT_LATER_LOST = 1u << 7,        // not an entry: the ends of operations that will never complete
};
// 1 << 1 to 1 << 5: the cancel of an operation.
static inline uint8_t ct_later_cancel(enum ct_operation operation) { return (uint8_t)(1u << operation); }
_Static_assert(CT_OP_RECEIVE == 1 && CT_OP_ACCEPT == 5, "the cancels fit between the other bits");

// uring.c
void ct_uring_arm_wake(ct_loop *loop);
int ct_uring_receive(ct_loop *loop, ct_slot *slot);
void ct_uring_cancel(ct_loop *loop, ct_slot *slot, enum ct_operation operation);
int ct_uring_open_ring(ct_uring *u, ct_failure *failure);                // any thread
int ct_uring_start_ring(ct_loop *loop, ct_failure *failure);             // the loop's thread
void ct_uring_close_ring(ct_uring *u);                                   // what was lent becomes `spoiled`

// uring_shortage.c
//
// The slot is served when there are entries again.
void ct_uring_later(ct_loop *loop, ct_slot *slot, uint8_t what);
// The slot is about to be freed.
void ct_uring_later_forget(ct_loop *loop);
// Serves whoever waits; `count` becomes the number of events. Returns how long the loop may wait.
uint64_t ct_uring_catch_up(ct_loop *loop, ct_event *events, uint32_t capacity, uint64_t timeout, uint32_t *count);
// An enter failed, or the kernel did not take everything.
void ct_uring_entered_badly(ct_loop *loop, int result, uint32_t wait, uint64_t timeout);

#pragma clang assume_nonnull end
#endif
