// The io_uring engine: what completes becomes an event.
#include "uring.h"

// Since 6.13 one enter runs at most max(20, wait_nr) deferred items: after a full batch, ask for more without waiting.
#define CT_DEFERRED_ITEMS_CAP 20u
// ... unless the batch was heavy: answering what is still in the cache is worth more than a wider batch (measured with
// 16 KiB messages: 6 % of CPU).
#define CT_DRAIN_BYTES_MAX (128u * 1024)

// The kernel serves receives in the order in which they were armed. One whose peer floods it takes all that is lent and is the
// first to run dry, the others behind it: armed in that order again, it would be the only one that ever receives. So who was
// fed comes behind those who were not.
static void uring_exhausted(ct_loop *loop, ct_slot *slot) {
    loop->statistics.receive_exhausted++;
    if (slot->uring.socket & CT_SOCKET_FED) {
        ct_uring_later(loop, slot, CT_LATER_RECEIVE);
    } else if (ct_uring_has_memory(loop)) {
        loop->statistics.receive_rearms++;
        ct_uring_receive(loop, slot);
    } else {
        ct_loop_starve(loop, slot);
    }
}

// What was before a multishot receive was armed makes no edge for it: it takes the bytes that are there and waits,
// though a reset, or our own shutdown(2), is behind them. So a look, once for each time it was armed, and behind all bytes
// where the kernel loses the edge of what came with them too (liburing#1549); its cancellation arms a new one, or ends
// that of a closing slot.
static void uring_check_end(ct_loop *loop, ct_slot *slot) {
    if (ct_likely(uring_of(loop)->sees_ends)) slot->uring.socket &= (uint8_t)~CT_SOCKET_UNCHECKED;
    struct pollfd look = {.fd = slot->fd, .events = POLLRDHUP};
    if (sys_poll_now(&look) > 0) ct_uring_receive_stop(loop, slot);
}

// What is in flight of a slot that watches for the loss of its connection is a poll, or a receive that was there before:
// see ct_uring_receive().
static bool uring_polled(ct_loop *loop, ct_slot *slot, const struct io_uring_cqe *cqe, ct_event *event) {
    bool more = cqe->flags & IORING_CQE_F_MORE;
    bool wanted = slot->state == CT_SLOT_OPEN && slot->receive_wanted;
    bool interrupted = cqe->res == -ECANCELED || cqe->res == -EINTR || cqe->res == -EAGAIN || cqe->res == -ENOBUFS;
    int error = cqe->res < 0 && !interrupted ? -cqe->res : 0;
    if (wanted && cqe->res > 0 && (cqe->res & (POLLERR | POLLHUP))) error = ct_socket_take_error(slot->fd);
    if (error == 0) error = slot->lost;
    if (!more) slot->receive_armed = slot->uring.receive_cancelling = false;
    bool lost = wanted && error != 0;
    if (lost) slot->receive_wanted = false;
    if (lost && more) ct_uring_receive_stop(loop, slot);
    if (wanted && !lost && !more) {
        loop->statistics.receive_rearms++;
        ct_uring_receive(loop, slot);
    }
    if (!more) ct_slot_operation_ended(loop, slot);
    event->kind = CT_EVENT_RECEIVE;
    event->result = -error;
    return lost;
}

static bool uring_received(ct_loop *loop, ct_slot *slot, const struct io_uring_cqe *cqe, ct_event *event) {
    bool more = cqe->flags & IORING_CQE_F_MORE;
    int32_t result = cqe->res;
    ct_assert(slot->receive_armed);
    if (ct_unlikely(slot->watches_loss)) return uring_polled(loop, slot, cqe, event);
    if (ct_unlikely(result == 0)) result = -(int32_t)slot->lost;
    if (!more) slot->receive_armed = slot->uring.receive_cancelling = false;
    if (cqe->flags & IORING_CQE_F_BUFFER) ct_uring_place_bytes(loop, cqe, event);
    bool open = slot->state == CT_SLOT_OPEN && slot->receive_wanted;
    bool again = !more && open;
    bool retry = result == -ENOBUFS || result == -ECANCELED || result == -EINTR || result == -EAGAIN;
    if (ct_likely(result > 0)) {
        slot->uring.socket |= CT_SOCKET_FED;
        loop->statistics.receives++;
        loop->statistics.received_bytes += (uint64_t)result;
    } else if (result == -ENOBUFS) {
        if (again) uring_exhausted(loop, slot);
        again = false;
    } else if (!retry) {
        slot->receive_wanted = again = false;
        slot->input_ended = result == 0;
    }
    if (ct_unlikely(again)) {
        loop->statistics.receive_rearms++;
        ct_uring_receive(loop, slot);
    }
    bool drained = more && !(cqe->flags & IORING_CQE_F_SOCK_NONEMPTY);
    if (ct_unlikely(drained && (slot->uring.socket & CT_SOCKET_UNCHECKED))) uring_check_end(loop, slot);
    if (!more) ct_slot_operation_ended(loop, slot);
    // An event without a slot's news but with a chunk must still reach the reader, who drops the chunk.
    if (retry && !event->chunk) return false;
    event->kind = CT_EVENT_RECEIVE;
    event->result = retry ? -EAGAIN : result;
    if (more) event->flags |= CT_EVENT_MORE;
    return true;
}

static void uring_sent(ct_loop *loop, ct_slot *slot, const struct io_uring_cqe *cqe, ct_event *event) {
    ct_assert(slot->sends_in_flight > 0);
    slot->sends_in_flight--;
    loop->statistics.sends++;
    if (cqe->res > 0) loop->statistics.sent_bytes += (uint64_t)cqe->res;
    event->kind = CT_EVENT_SEND;
    event->token = slot->send_tag;
    event->result = cqe->res == -EINTR ? -EAGAIN : cqe->res;
    if (cqe->flags & IORING_CQE_F_MORE) {
        event->flags |= CT_EVENT_MORE;
        slot->notifications_in_flight++;
        ct_assert(slot->notifications_in_flight > 0);
    }
    ct_slot_operation_ended(loop, slot);
}

static void uring_notified(ct_loop *loop, ct_slot *slot, const struct io_uring_cqe *cqe, ct_event *event) {
    ct_assert(slot->notifications_in_flight > 0);
    slot->notifications_in_flight--;
    event->kind = CT_EVENT_NOTIFICATION;
    event->token = ct_token_tag(cqe->user_data);
    if ((uint32_t)cqe->res & CT_IORING_NOTIF_USAGE_ZC_COPIED) event->flags |= CT_EVENT_COPIED;
    ct_slot_operation_ended(loop, slot);
}

// True when the completion is an event for the caller.
static bool uring_translate(ct_loop *loop, const struct io_uring_cqe *cqe, ct_event *event) {
    enum ct_operation operation = ct_token_operation(cqe->user_data);
    if (operation >= CT_OP_WAKE) {
        if (operation == CT_OP_CANCEL) return false;
        loop->statistics.wakes++;
        if (!(cqe->flags & IORING_CQE_F_MORE)) ct_uring_arm_wake(loop);
        return false;
    }
    ct_slot *slot = ct_slot_at(&loop->slots, ct_token_index(cqe->user_data));
    if (ct_unlikely(!slot || slot->generation != ct_token_generation(cqe->user_data))) {
        // Counters forbid this. If it happens all the same, nobody is told of bytes that were never theirs.
        loop->statistics.stale_completions++;
        ct_event nobodys = {0};
        if (cqe->flags & IORING_CQE_F_BUFFER) ct_uring_place_bytes(loop, cqe, &nobodys);
        if (nobodys.flags & CT_EVENT_CHUNK_DONE) ct_chunk_release((ct_chunk *)nobodys.chunk);
        return false;
    }
    *event = (ct_event){.context = slot->context};
    switch (operation) {
    case CT_OP_RECEIVE: return uring_received(loop, slot, cqe, event);
    case CT_OP_SEND:
    case CT_OP_SEND_ZERO_COPY:
        if (ct_unlikely(cqe->flags & IORING_CQE_F_NOTIF)) uring_notified(loop, slot, cqe, event);
        else uring_sent(loop, slot, cqe, event);
        return true;
    case CT_OP_CONNECT:
        ct_assert(slot->connects_in_flight == 1);
        slot->connects_in_flight--;
        event->kind = CT_EVENT_CONNECT;
        event->result = cqe->res;
        ct_slot_operation_ended(loop, slot);
        return true;
    case CT_OP_ACCEPT:
        ct_assert(slot->accepts_in_flight == 1);
        if (cqe->flags & IORING_CQE_F_MORE) event->flags |= CT_EVENT_MORE;
        else slot->accepts_in_flight--;
        loop->statistics.accepts += cqe->res >= 0;
        event->kind = CT_EVENT_ACCEPT;
        event->result = cqe->res;
        ct_slot_operation_ended(loop, slot);
        return true;
    default: ct_assert(false && "a token of ours"); return false;
    }
}

uint32_t ct_uring_drain_completions(ct_loop *loop, ct_event *events, uint32_t capacity) {
    struct io_uring_cq *cq = &uring_of(loop)->ring.io.cq;
    uint32_t head = *cq->khead;
    // Pairs with the kernel's release of the tail: who sees it sees the completions before it.
    uint32_t tail = __atomic_load_n(cq->ktail, __ATOMIC_ACQUIRE);
    ct_assert(tail - head <= cq->ring_entries);
    uint32_t mask = cq->ring_mask;
    uint32_t count = 0;
    uint32_t seen = 0;
    uint64_t received_before = loop->statistics.received_bytes;
    for (; head != tail && count < capacity; head++, seen++)
        if (uring_translate(loop, &cq->cqes[head & mask], &events[count])) count++;
    // Pairs with the kernel's acquire of the head: it may write there again, and we have read.
    __atomic_store_n(cq->khead, head, __ATOMIC_RELEASE);
    uint64_t received = loop->statistics.received_bytes - received_before;
    if (seen >= CT_DEFERRED_ITEMS_CAP && received <= CT_DRAIN_BYTES_MAX) uring_of(loop)->drain = true;
    return count;
}
