// The state of the epoll engine, and what its files do for each other: epoll.c is a turn of it, epoll_operations.c what a slot
// wants, epoll_serve.c what is done for those who are ready.
#ifndef CT_EPOLL_H
#define CT_EPOLL_H

#include "system.h"

#pragma clang assume_nonnull begin

#define CT_EPOLL_EVENTS 512u

// ct_slot.epoll.readiness
enum : uint8_t {
    CT_READABLE = 1u << 0,      // until a receive or an accept says EAGAIN
    CT_WRITABLE = 1u << 1,      // until a send says EAGAIN
    CT_HANGUP = 1u << 2,        // end of stream, error or urgent data: a short read is not the last one
    CT_PIECEWISE = 1u << 3,     // the same, for a socket of a family that ends a read at the sender's boundaries
    CT_REGISTERED = 1u << 4,
    CT_LISTED = 1u << 5,        // on the ready list
    CT_SENT = 1u << 6,          // the send in flight has ended: its result waits in the slot
    CT_CONNECTED = 1u << 7,     // so has the connect, with or without success
};

typedef struct ct_epoll {
    int fd;
    bool precise_wait;                  // epoll_pwait2(), Linux 5.11
    bool entered;                       // the last turn asked the kernel
    uint32_t ready_head, ready_tail;    // index + 1; 0 is empty
    ct_chunk *_Nullable chunk;          // being filled, by whichever slot reads next
    struct epoll_event edges[CT_EPOLL_EVENTS];
} ct_epoll;

static inline ct_epoll *epoll_of(ct_loop *loop) { return loop->engine_state; }

// ------------------------------------------------------------------------------------------------------- ready list

// The list has a link of its own: a listed slot may at the same time wait for memory or be about to close.
static inline void ct_epoll_ready_append(ct_loop *loop, ct_slot *slot) {
    ct_epoll *e = epoll_of(loop);
    if (slot->epoll.readiness & CT_LISTED) return;
    ct_assert(slot->state == CT_SLOT_OPEN || slot->state == CT_SLOT_CLOSING);
    slot->epoll.readiness |= CT_LISTED;
    slot->epoll.ready_next = 0;
    if (e->ready_tail) ct_slot_at(&loop->slots, e->ready_tail - 1)->epoll.ready_next = slot->index + 1;
    else e->ready_head = slot->index + 1;
    e->ready_tail = slot->index + 1;
}

static inline ct_slot *ct_epoll_ready_take(ct_loop *loop) {
    ct_epoll *e = epoll_of(loop);
    ct_assert(e->ready_head != 0);
    ct_slot *slot = ct_slot_at(&loop->slots, e->ready_head - 1);
    ct_assert(slot->epoll.readiness & CT_LISTED);
    e->ready_head = slot->epoll.ready_next;
    if (e->ready_head == 0) e->ready_tail = 0;
    slot->epoll.readiness &= (uint8_t)~CT_LISTED;
    return slot;
}

static inline bool ct_epoll_ready_wanted(const ct_slot *slot) {
    if (slot->epoll.readiness & (CT_SENT | CT_CONNECTED)) return true;
    return (slot->epoll.readiness & CT_READABLE) && (slot->receive_armed || slot->accepts_in_flight);
}

// --------------------------------------------------------------------------------------------- results of operations

static inline void ct_epoll_send_ended(ct_loop *loop, ct_slot *slot, int32_t result) {
    ct_assert(slot->sends_in_flight == 1);
    slot->epoll.send_result = result;
    slot->epoll.readiness |= CT_SENT;
    ct_epoll_ready_append(loop, slot);
}

static inline void ct_epoll_connect_ended(ct_loop *loop, ct_slot *slot, int error) {
    ct_assert(slot->connects_in_flight == 1);
    slot->epoll.connect_error = error;
    slot->epoll.readiness |= CT_CONNECTED;
    ct_epoll_ready_append(loop, slot);
}

// ------------------------------------------------------------------------------------------------------------ files

// epoll_operations.c: see ct_engine
int ct_epoll_accept(ct_loop *loop, ct_slot *slot);
int ct_epoll_receive(ct_loop *loop, ct_slot *slot);
void ct_epoll_receive_stop(ct_loop *loop, ct_slot *slot);
int ct_epoll_send(ct_loop *loop, ct_slot *slot, const struct iovec *vectors, uint32_t count, bool zero_copy);
int ct_epoll_send_now(ct_loop *loop, ct_slot *slot, const struct iovec *vectors, uint32_t count);
int ct_epoll_connect(ct_loop *loop, ct_slot *slot, const struct sockaddr *address, socklen_t length);
void ct_epoll_interrupt(ct_loop *loop, ct_slot *slot);
void ct_epoll_forget(ct_loop *loop, ct_slot *slot);

// epoll_serve.c
//
// Everyone who is listed now, once, as far as there is room.
uint32_t ct_epoll_serve(ct_loop *loop, ct_event *events, uint32_t capacity);
bool ct_epoll_has_memory(ct_loop *loop);
ct_chunk *_Nullable ct_epoll_take_back(ct_loop *loop);

#pragma clang assume_nonnull end
#endif
