// What the io_uring engine does when the kernel has no memory, or no room. Nothing an operation needs is lost by it, and
// the process goes on:
//
//   the kernel takes no requests       what was queued stays queued and goes with the next enter; completions are looked
//                                      at all the same, and the wait is short
//   no submission entry is free        the slot goes on a list and is served in a later turn: a cancel is made then, a
//                                      receive armed, and the owner of a send or a connect asked to come again
//   completions were dropped           every connection that had something in flight ends with an error, and the engine
//                                      goes on with a new ring
#include "uring.h"

#include <stdio.h>
#include <string.h>

// How long a loop waits at most while the kernel owes it something.
#define CT_SHORT_WAIT (1 * CT_NANOS_PER_MILLI)
// Events of one slot at most: a receive, a send, a connect, an accept.
#define CT_EVENTS_PER_SLOT 4u

// ------------------------------------------------------------------------------------------------ the list of waiters

void ct_uring_later(ct_loop *loop, ct_slot *slot, uint8_t what) {
    ct_uring *u = uring_of(loop);
    u->behind = true;
    bool listed = slot->uring.later != 0;
    slot->uring.later |= what;
    if (listed) return;
    slot->uring.later_next = 0;
    if (u->later_tail) ct_slot_at(&loop->slots, u->later_tail - 1)->uring.later_next = slot->index + 1;
    else u->later_head = slot->index + 1;
    u->later_tail = slot->index + 1;
}

static ct_slot *later_take(ct_loop *loop, uint8_t *what) {
    ct_uring *u = uring_of(loop);
    ct_assert(u->later_head != 0);
    ct_slot *slot = ct_slot_at(&loop->slots, u->later_head - 1);
    ct_assert(slot->uring.later != 0);
    u->later_head = slot->uring.later_next;
    if (u->later_head == 0) u->later_tail = 0;
    *what = slot->uring.later;
    slot->uring.later = 0;
    return slot;
}

// All whose descriptors are about to be closed go in one pass. Zero-copy memory may still have to be told of as lost.
void ct_uring_later_forget(ct_loop *loop) {
    uint32_t last = uring_of(loop)->later_tail;
    for (bool more = last != 0; more;) {
        more = uring_of(loop)->later_head != last;
        uint8_t what;
        ct_slot *slot = later_take(loop, &what);
        if (slot->state == CT_SLOT_TO_CLOSE) what &= CT_LATER_LOST;
        if (what) ct_uring_later(loop, slot, what);
    }
}

// ------------------------------------------------------------------------------------------------------- catching up

static ct_event later_event(const ct_slot *slot, enum ct_event_kind kind, int32_t result) {
    return (ct_event){.kind = kind, .context = slot->context, .result = result};
}

// The operations in flight have ended, nobody knows how.
static uint32_t later_lost(ct_loop *loop, ct_slot *slot, ct_event *events) {
    uint32_t count = 0;
    // Also who began to wait for bytes meanwhile: the connection is gone.
    bool receives = slot->receive_armed || (slot->receive_wanted && !slot->listener);
    if (receives) events[count++] = later_event(slot, CT_EVENT_RECEIVE, -ENOMEM);
    if (slot->sends_in_flight) events[count++] = later_event(slot, CT_EVENT_SEND, -ENOMEM);
    if (slot->connects_in_flight) events[count++] = later_event(slot, CT_EVENT_CONNECT, -ENOMEM);
    if (slot->accepts_in_flight) events[count++] = later_event(slot, CT_EVENT_ACCEPT, -ENOMEM);
    if (receives) slot->receive_wanted = false;
    slot->receive_armed = slot->uring.receive_cancelling = false;
    slot->sends_in_flight = slot->connects_in_flight = slot->accepts_in_flight = 0;
    slot->notifications_in_flight = 0;
    ct_slot_operation_ended(loop, slot);
    return count;
}

static uint32_t later_serve(ct_loop *loop, ct_slot *slot, uint8_t what, ct_event *events) {
    if (what & CT_LATER_LOST) return later_lost(loop, slot, events);
    for (enum ct_operation operation = CT_OP_RECEIVE; operation <= CT_OP_ACCEPT; operation++) {
        // A receive that ended meanwhile may have been armed anew.
        bool over = operation == CT_OP_RECEIVE && !slot->uring.receive_cancelling;
        if ((what & ct_later_cancel(operation)) && !over) ct_uring_cancel(loop, slot, operation);
    }
    if ((what & CT_LATER_RECEIVE) && slot->state == CT_SLOT_OPEN && slot->receive_wanted) ct_uring_receive(loop, slot);
    if (!(what & CT_LATER_AGAIN)) return 0;
    // Nobody sends what is not connected yet.
    bool connects = slot->connects_in_flight > 0;
    if (connects) slot->connects_in_flight--;
    else slot->sends_in_flight--;
    *events = later_event(slot, connects ? CT_EVENT_CONNECT : CT_EVENT_SEND, -EAGAIN);
    if (connects) events->flags = CT_EVENT_MORE;
    else events->token = slot->send_tag;
    ct_slot_operation_ended(loop, slot);
    return 1;
}

uint64_t ct_uring_catch_up(ct_loop *loop, ct_event *events, uint32_t capacity, uint64_t timeout, uint32_t *count) {
    ct_uring *u = uring_of(loop);
    uint64_t short_wait = timeout < CT_SHORT_WAIT ? timeout : CT_SHORT_WAIT;
    // While the kernel takes nothing, asking for more would only be refused again.
    if (u->refused) return short_wait;
    if (!u->wake_armed) ct_uring_arm_wake(loop);
    uint32_t last = u->later_tail;
    for (bool more = last != 0; more && capacity - *count >= CT_EVENTS_PER_SLOT;) {
        more = u->later_head != last;
        uint8_t what;
        ct_slot *slot = later_take(loop, &what);
        *count += later_serve(loop, slot, what, events + *count);
    }
    u->behind = u->later_head != 0 || !u->wake_armed || u->refused;
    if (*count > 0) return 0;
    return u->behind ? short_wait : timeout;
}

// -------------------------------------------------------------------------------------------------- dropped completions

// Requests hold the file, so that closing it would not end the connection.
static void lose_connection(const ct_slot *slot) {
    ct_socket_disconnect(slot->fd);
    sys_shutdown(slot->fd, SHUT_RDWR);
}

// Connections that were accepted belong to nobody any more.
static void lose_completions(ct_uring *u) {
    struct io_uring_cq *cq = &u->ring.io.cq;
    uint32_t tail = __atomic_load_n(cq->ktail, __ATOMIC_ACQUIRE);
    for (uint32_t head = *cq->khead; head != tail; head++) {
        const struct io_uring_cqe *cqe = &cq->cqes[head & cq->ring_mask];
        if (ct_token_operation(cqe->user_data) == CT_OP_ACCEPT && cqe->res >= 0) sys_close(cqe->res);
    }
}

// The completion queue overflowed, against all expectation, and the kernel had no memory to keep what did not fit. Whose
// completions they were nobody knows, nor how far the receive buffers were filled: every connection with something in
// flight may have lost bytes, and the next bytes could be delivered to the wrong one. So all of those end, the others
// stay, and the engine begins anew. The old ring ends in its own time: its sockets are reset by then, and the receive
// memory it was lent is not used again.
static void shortage_restart(ct_loop *loop) {
    ct_uring *u = uring_of(loop);
    ct_slot_table *table = &loop->slots;
    for (uint32_t i = 0; i < table->block_count * CT_SLOTS_PER_BLOCK; i++) {
        ct_slot *slot = ct_slot_at(table, i);
        if (slot->state == CT_SLOT_FREE || ct_slot_is_quiet(slot)) continue;
        if (slot->fd >= 0 && !slot->listener) lose_connection(slot);
        ct_uring_later(loop, slot, CT_LATER_LOST);
    }
    lose_completions(u);
    ct_uring_close_ring(u);
    // A loop that lost completions often would otherwise have no memory left to receive into.
    for (ct_chunk *chunk = u->spoiled; chunk && !chunk->unbudgeted; chunk = chunk->next) ct_chunk_write_off(chunk);
    loop->statistics.completion_overflows++;
    ct_failure failure;
    bool again = ct_uring_open_ring(u, &failure) == 0 && ct_uring_start_ring(loop, &failure) == 0;
    ct_assert(again && "completions were lost, and there is no memory for a new ring");
    u->behind = true;
}

// ------------------------------------------------------------------------------------------------------ failed enters

// What an enter says that is no mistake of ours. EINTR: a signal came. EAGAIN, ENOMEM: no memory for requests. EBUSY: no
// room for completions. All of these left what was not taken where it was.
static bool shortage_passes(int result) {
    return result == 0 || result == -EINTR || result == -EAGAIN || result == -ENOMEM || result == -EBUSY;
}

static void shortage_fail(int result) {
    char text[96];
    snprintf(text, sizeof text, "io_uring_enter fails for good: %s", strerror(-result));
    ct_assertion_failed(text, __FILE__, __LINE__);
}

void ct_uring_entered_badly(ct_loop *loop, int result, uint32_t wait, uint64_t timeout) {
    ct_uring *u = uring_of(loop);
    u->refused = ct_ring_pending(&u->ring) > 0;
    if (u->refused && shortage_passes(result)) {
        // An enter whose requests are refused does not look at completions, and they may be what frees memory.
        u->behind = true;
        loop->statistics.enters_queue_full++;
        result = ct_ring_wait(&u->ring, wait, timeout < CT_SHORT_WAIT ? timeout : CT_SHORT_WAIT);
    }
    if (result == -EBADR) shortage_restart(loop);
    else if (!shortage_passes(result)) shortage_fail(result);
}
