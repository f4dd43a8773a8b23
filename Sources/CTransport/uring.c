// The io_uring engine: what a slot wants becomes a request, what completes becomes an event.
//
// Receive: one multishot request per connection that takes its memory from the loop's buffer ring, POLL_FIRST so that
// an idle connection holds none and survives a shortage. Send: one in flight per connection, run inline by the enter
// that also waits. Accept: multishot. Close: see slot.c.
#include "uring.h"

#include <poll.h>

// Since 6.13 one enter runs at most max(20, wait_nr) deferred items: after a full batch, ask for more without waiting.
#define CT_DEFERRED_ITEMS_CAP 20u
// ... unless the batch was heavy: answering what is still in the cache is worth more than a wider batch (measured with
// 16 KiB messages: 6 % of CPU).
#define CT_DRAIN_BYTES_MAX (128u * 1024)

// ----------------------------------------------------------------------------------------------------- open, start

int ct_uring_open_ring(ct_uring *u, ct_failure *failure) {
    uint32_t entries = 1;
    while (entries < u->messages_capacity && entries < CT_RING_ENTRIES_MAX) entries *= 2;
    int result = ct_ring_setup(&u->ring, entries, ct_ring_completions_bound(entries), failure);
    if (result < 0) return result;
    ct_assert(u->ring.io.sq.ring_entries == entries);
    ct_assert(u->ring.io.cq.ring_entries >= ct_ring_completions_bound(entries));
    u->buffers = (ct_buffer_ring){0};
    u->drain = u->behind = u->refused = u->wake_armed = false;
    u->lent = 0;
    u->vectors_used = u->messages_used = u->addresses_used = 0;
    u->free_ids = CT_BUFFER_ENTRIES;
    for (uint32_t i = 0; i < CT_BUFFER_ENTRIES; i++) {
        u->free_id[i] = (uint16_t)(CT_BUFFER_ENTRIES - 1 - i);
        u->chunk_of[i] = NULL;
    }
    return 0;
}

static int uring_open(ct_loop *loop, const ct_loop_options *options, ct_failure *failure) {
    ct_uring *u = ct_memory_allocate(sizeof *u);
    uint32_t entries = options->submission_entries;
    struct msghdr *messages = u ? ct_memory_allocate(entries * sizeof *messages) : NULL;
    if (!messages) {
        ct_memory_free(u, sizeof *u);
        ct_fail(failure, CT_CALL_IO_URING_SETUP, ENOMEM);
        return -ENOMEM;
    }
    u->messages = messages;
    u->messages_capacity = entries;
    u->incremental = ct_probe()->incremental_buffers && !options->classic_buffers;
    u->sees_ends = ct_probe()->sees_ends;
    u->lent_target = options->chunks_lent < CT_BUFFER_ENTRIES ? options->chunks_lent : CT_BUFFER_ENTRIES;
    u->later_head = u->later_tail = 0;
    u->spoiled = NULL;
    int result = ct_uring_open_ring(u, failure);
    if (result < 0) {
        ct_memory_free(messages, entries * sizeof *messages);
        ct_memory_free(u, sizeof *u);
        return result;
    }
    loop->engine_state = u;
    return 0;
}

static struct io_uring_sqe *_Nullable uring_request(ct_loop *loop);

void ct_uring_arm_wake(ct_loop *loop) {
    ct_uring *u = uring_of(loop);
    struct io_uring_sqe *sqe = uring_request(loop);
    u->wake_armed = sqe != NULL;
    if (ct_unlikely(!sqe)) {
        u->behind = true;
        return;
    }
    io_uring_prep_poll_multishot(sqe, ct_mailbox_eventfd(loop->mailbox), POLLIN);
    io_uring_sqe_set_data64(sqe, (uint64_t)CT_OP_WAKE << 56);
}

int ct_uring_start_ring(ct_loop *loop, ct_failure *failure) {
    ct_uring *u = uring_of(loop);
    int result = ct_ring_enable(&u->ring, failure);
    if (result < 0) return result;
    result = ct_buffer_ring_open(&u->ring, &u->buffers, CT_BUFFER_GROUP, CT_BUFFER_ENTRIES, u->incremental);
    if (result < 0) {
        ct_fail(failure, CT_CALL_IO_URING_REGISTER, result);
        return result;
    }
    ct_uring_arm_wake(loop);
    return 0;
}

static void uring_spoil_chunks(ct_uring *u) {
    for (uint32_t i = 0; i < CT_BUFFER_ENTRIES; i++) {
        if (!u->chunk_of[i]) continue;
        u->chunk_of[i]->next = u->spoiled;
        u->spoiled = u->chunk_of[i];
        u->chunk_of[i] = NULL;
    }
}

void ct_uring_close_ring(ct_uring *u) {
    ct_buffer_ring_close(&u->ring, &u->buffers);
    ct_ring_close(&u->ring);
    uring_spoil_chunks(u);
}

static void uring_destroy(ct_loop *loop) {
    ct_uring *u = uring_of(loop);
    if (!u) return;
    ct_assert(u->later_head == 0);
    ct_uring_close_ring(u);
    while (u->spoiled) {
        ct_chunk *chunk = u->spoiled;
        u->spoiled = chunk->next;
        ct_chunk_release(chunk);
    }
    ct_memory_free(u->messages, u->messages_capacity * sizeof *u->messages);
    ct_memory_free(u, sizeof *u);
    loop->engine_state = NULL;
}

// ------------------------------------------------------------------------------------------------------ submission

static void uring_scratch_reset(ct_uring *u) {
    ct_assert(u->vectors_used <= CT_VECTORS && u->messages_used <= u->messages_capacity);
    if (ct_ring_pending(&u->ring) == 0) u->vectors_used = u->messages_used = u->addresses_used = 0;
}

static CT_COLD void uring_submit(ct_loop *loop) {
    ct_uring *u = uring_of(loop);
    if (u->refused || !ct_ring_may_submit(&u->ring)) return;
    loop->statistics.enters_queue_full++;
    ct_ring_submit(&u->ring);
    uring_scratch_reset(u);
    u->refused = ct_ring_pending(&u->ring) > 0;
    u->behind = u->behind || u->refused;
    loop->statistics.completion_overflows += ct_ring_overflows(&u->ring);
}

// NULL when the kernel has no memory for requests, or so many have ended in this turn that there is no room for more
// completions. What needs one then comes again later; scratch must be there before, because an entry goes out as it is.
static struct io_uring_sqe *_Nullable uring_request(ct_loop *loop) {
    ct_uring *u = uring_of(loop);
    struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring.io);
    if (ct_unlikely(!sqe)) {
        uring_submit(loop);
        sqe = io_uring_get_sqe(&u->ring.io);
    }
    return sqe;
}

static int uring_accept(ct_loop *loop, ct_slot *slot) {
    ct_assert(slot->accepts_in_flight == 0);
    struct io_uring_sqe *sqe = uring_request(loop);
    if (!sqe) return -ENOBUFS;
    io_uring_prep_multishot_accept(sqe, slot->fd, NULL, NULL, SOCK_CLOEXEC);
    io_uring_sqe_set_data64(sqe, ct_token(CT_OP_ACCEPT, slot));
    slot->accepts_in_flight++;
    return 0;
}

// ct_slot.uring.socket
enum : uint8_t {
    CT_SOCKET_KNOWN = 1u << 0,      // its family was asked for
    CT_SOCKET_ONE_SHOT = 1u << 1,   // of a family without multishot receives
    CT_SOCKET_UNCHECKED = 1u << 2,  // see uring_check_end()
};

// Multishot only for TCP. Since 6.17 a Unix socket tells how many bytes it has left but not that the end is behind
// them. Until liburing#1549 was fixed a multishot receive that took the last bytes then waits for an edge that is over,
// and the end of stream never comes. A receive armed anew looks again.
static bool uring_one_shot(ct_slot *slot) {
    if (ct_unlikely(slot->uring.socket == 0)) {
        int family = AF_UNSPEC;
        socklen_t length = sizeof family;
        getsockopt(slot->fd, SOL_SOCKET, SO_DOMAIN, &family, &length);
        bool multishot = family == AF_INET || family == AF_INET6;
        slot->uring.socket = multishot ? CT_SOCKET_KNOWN : CT_SOCKET_KNOWN | CT_SOCKET_ONE_SHOT;
    }
    return slot->uring.socket & CT_SOCKET_ONE_SHOT;
}

int ct_uring_receive(ct_loop *loop, ct_slot *slot) {
    if (slot->receive_armed || slot->starved) return 0;
    struct io_uring_sqe *sqe = uring_request(loop);
    if (ct_unlikely(!sqe)) {
        ct_uring_later(loop, slot, CT_LATER_RECEIVE);
        return 0;
    }
    if (ct_unlikely(uring_one_shot(slot))) io_uring_prep_recv(sqe, slot->fd, NULL, 0, 0);
    else io_uring_prep_recv_multishot(sqe, slot->fd, NULL, 0, 0);
    sqe->ioprio |= CT_IORING_RECVSEND_POLL_FIRST;
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = CT_BUFFER_GROUP;
    io_uring_sqe_set_data64(sqe, ct_token(CT_OP_RECEIVE, slot));
    slot->receive_armed = true;
    slot->uring.receive_cancelling = false;
    slot->uring.socket |= CT_SOCKET_UNCHECKED;
    return 0;
}

// The cancel's own completion says nothing that the cancelled request's does not.
void ct_uring_cancel(ct_loop *loop, ct_slot *slot, enum ct_operation operation) {
    struct io_uring_sqe *sqe = uring_request(loop);
    if (ct_unlikely(!sqe)) {
        ct_uring_later(loop, slot, ct_later_cancel(operation));
        return;
    }
    bool tagged = operation == CT_OP_SEND_ZERO_COPY;
    io_uring_prep_cancel64(sqe, tagged ? ct_token_tagged(operation, slot) : ct_token(operation, slot), 0);
    sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
    io_uring_sqe_set_data64(sqe, (uint64_t)CT_OP_CANCEL << 56);
}

static void uring_receive_stop(ct_loop *loop, ct_slot *slot) {
    if (!slot->receive_armed || slot->uring.receive_cancelling) return;
    slot->uring.receive_cancelling = true;
    ct_uring_cancel(loop, slot, CT_OP_RECEIVE);
}

static bool uring_has_vectors(const ct_uring *u, uint32_t count) {
    return u->vectors_used + count <= CT_VECTORS && u->messages_used < u->messages_capacity;
}

static int uring_send(ct_loop *loop, ct_slot *slot, const struct iovec *vectors, uint32_t count, bool zero_copy) {
    ct_uring *u = uring_of(loop);
    ct_assert(count > 0 && count <= 1024);
    if (count > 1 && ct_unlikely(!uring_has_vectors(u, count))) uring_submit(loop);
    bool ready = count == 1 || ct_likely(uring_has_vectors(u, count));
    struct io_uring_sqe *sqe = ready ? uring_request(loop) : NULL;
    slot->sends_in_flight++;
    if (ct_unlikely(!sqe)) {
        ct_uring_later(loop, slot, CT_LATER_SEND);
        return 0;
    }
    if (count == 1) {
        if (zero_copy) io_uring_prep_send_zc(sqe, slot->fd, vectors->iov_base, vectors->iov_len, MSG_NOSIGNAL, 0);
        else io_uring_prep_send(sqe, slot->fd, vectors->iov_base, vectors->iov_len, MSG_NOSIGNAL);
    } else {
        struct iovec *copy = &u->vectors[u->vectors_used];
        __builtin_memcpy(copy, vectors, count * sizeof *copy);
        u->vectors_used += count;
        struct msghdr *message = &u->messages[u->messages_used++];
        *message = (struct msghdr){.msg_iov = copy, .msg_iovlen = count};
        if (zero_copy) io_uring_prep_sendmsg_zc(sqe, slot->fd, message, MSG_NOSIGNAL);
        else io_uring_prep_sendmsg(sqe, slot->fd, message, MSG_NOSIGNAL);
    }
    if (zero_copy) sqe->ioprio |= CT_IORING_SEND_ZC_REPORT_USAGE;
    io_uring_sqe_set_data64(sqe, zero_copy ? ct_token_tagged(CT_OP_SEND_ZERO_COPY, slot) : ct_token(CT_OP_SEND, slot));
    return 0;
}

static int uring_send_now(ct_loop *loop, ct_slot *slot, const struct iovec *vectors, uint32_t count) {
    (void)loop;
    return ct_socket_send(slot->fd, vectors, count);
}

static int uring_connect(ct_loop *loop, ct_slot *slot, const struct sockaddr *address, socklen_t length) {
    ct_uring *u = uring_of(loop);
    if (length > sizeof *u->addresses) return -EINVAL;
    if (u->addresses_used == CT_ADDRESSES) uring_submit(loop);
    struct io_uring_sqe *sqe = u->addresses_used < CT_ADDRESSES ? uring_request(loop) : NULL;
    if (!sqe) return -ENOBUFS;
    struct sockaddr_storage *copy = &u->addresses[u->addresses_used++];
    __builtin_memcpy(copy, address, length);
    io_uring_prep_connect(sqe, slot->fd, (struct sockaddr *)copy, length);
    io_uring_sqe_set_data64(sqe, ct_token(CT_OP_CONNECT, slot));
    slot->connects_in_flight++;
    return 0;
}

static void uring_interrupt(ct_loop *loop, ct_slot *slot) {
    if (slot->accepts_in_flight) ct_uring_cancel(loop, slot, CT_OP_ACCEPT);
    if (slot->connects_in_flight) ct_uring_cancel(loop, slot, CT_OP_CONNECT);
    if (slot->listener) return;
    // shutdown(2) is flat in cost and sends the FIN; a cancel walks a list. It fails when the peer has reset already.
    // A reset must not be preceded by a FIN. With bytes unread the input stays open while they are read away (slot.c).
    bool unread = !slot->reset && ct_socket_has_input(slot->fd);
    if (!slot->reset && shutdown(slot->fd, unread ? SHUT_WR : SHUT_RDWR) == 0 && !unread) return;
    uring_receive_stop(loop, slot);
    if (slot->sends_in_flight) {
        ct_uring_cancel(loop, slot, CT_OP_SEND);
        ct_uring_cancel(loop, slot, CT_OP_SEND_ZERO_COPY);
    }
}

static void uring_forget(ct_loop *loop, ct_slot *slot) {
    ct_assert(slot->state == CT_SLOT_TO_CLOSE);
    if (ct_unlikely(slot->uring.later)) ct_uring_later_forget(loop);
}

// -------------------------------------------------------------------------------------------------- receive memory

static void uring_lend(ct_loop *loop) {
    ct_uring *u = uring_of(loop);
    if (ct_likely(u->lent >= u->lent_target)) return;
    bool added = false;
    while (u->lent < u->lent_target && u->free_ids > 0) {
        ct_chunk *chunk = ct_chunk_take(loop->pool);
        if (!chunk) break;
        uint16_t id = u->free_id[--u->free_ids];
        ct_assert(u->chunk_of[id] == NULL);
        chunk->buffer_id = id;
        u->chunk_of[id] = chunk;
        u->lent++;
        ct_buffer_ring_add(&u->buffers, chunk->base, chunk->size, id);
        added = true;
    }
    ct_assert(u->lent + u->free_ids == CT_BUFFER_ENTRIES);
    if (added) ct_buffer_ring_publish(&u->buffers);
    loop->statistics.chunks_lent = u->lent;
}

// Without connections nobody receives into what the kernel still knows of. The numbers of the ring's entries are not used again.
static ct_chunk *_Nullable uring_take_back(ct_loop *loop) {
    ct_uring *u = uring_of(loop);
    if (u->lent > 0) uring_spoil_chunks(u);
    u->lent = 0;
    loop->statistics.chunks_lent = 0;
    ct_chunk *chunk = u->spoiled;
    if (chunk) u->spoiled = chunk->next;
    return chunk;
}

static bool uring_has_memory(ct_loop *loop) {
    uring_lend(loop);
    return uring_of(loop)->lent > 0;
}

static void uring_exhausted(ct_loop *loop, ct_slot *slot) {
    loop->statistics.receive_exhausted++;
    if (uring_has_memory(loop)) {
        loop->statistics.receive_rearms++;
        ct_uring_receive(loop, slot);
    } else {
        ct_loop_starve(loop, slot);
    }
}

// ----------------------------------------------------------------------------------------------------- completions

static void uring_place_bytes(ct_loop *loop, const struct io_uring_cqe *cqe, ct_event *event) {
    ct_uring *u = uring_of(loop);
    uint32_t id = cqe->flags >> IORING_CQE_BUFFER_SHIFT;
    ct_assert(id < CT_BUFFER_ENTRIES && u->chunk_of[id]);
    ct_chunk *chunk = u->chunk_of[id];
    uint32_t length = cqe->res > 0 ? (uint32_t)cqe->res : 0;
    ct_assert(chunk->buffer_id == id && chunk->offset + length <= chunk->size);
    event->chunk = chunk;
    event->data = chunk->base + chunk->offset;
    chunk->offset += length;
    if (u->incremental && (cqe->flags & CT_IORING_CQE_F_BUF_MORE)) return;
    event->flags |= CT_EVENT_CHUNK_DONE;
    u->chunk_of[id] = NULL;
    ct_assert(u->lent > 0 && u->free_ids < CT_BUFFER_ENTRIES);
    u->free_id[u->free_ids++] = (uint16_t)id;
    u->lent--;
}

// What was before a multishot receive was armed makes no edge for it: it takes the bytes that are there and waits,
// though a reset, or our own shutdown(2), is behind them. So a look, once for each time it was armed, and behind all bytes
// where the kernel loses the edge of what came with them too (liburing#1549); its cancellation arms a new one, or ends
// that of a closing slot.
static void uring_check_end(ct_loop *loop, ct_slot *slot) {
    if (ct_likely(uring_of(loop)->sees_ends)) slot->uring.socket &= (uint8_t)~CT_SOCKET_UNCHECKED;
    struct pollfd look = {.fd = slot->fd, .events = POLLRDHUP};
    if (poll(&look, 1, 0) > 0) uring_receive_stop(loop, slot);
}

static bool uring_received(ct_loop *loop, ct_slot *slot, const struct io_uring_cqe *cqe, ct_event *event) {
    bool more = cqe->flags & IORING_CQE_F_MORE;
    int32_t result = cqe->res;
    ct_assert(slot->receive_armed);
    if (ct_unlikely(result == 0)) result = -(int32_t)slot->lost;
    if (!more) slot->receive_armed = slot->uring.receive_cancelling = false;
    if (cqe->flags & IORING_CQE_F_BUFFER) uring_place_bytes(loop, cqe, event);
    bool open = slot->state == CT_SLOT_OPEN && slot->receive_wanted;
    bool again = !more && open;
    bool retry = result == -ENOBUFS || result == -ECANCELED || result == -EINTR || result == -EAGAIN;
    if (ct_likely(result > 0)) {
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
        if (cqe->flags & IORING_CQE_F_BUFFER) uring_place_bytes(loop, cqe, &nobodys);
        if (nobodys.flags & CT_EVENT_CHUNK_DONE) ct_chunk_release((ct_chunk *)nobodys.chunk);
        return false;
    }
    *event = (ct_event){.context = slot->context};
    switch (operation) {
    case CT_OP_RECEIVE: return uring_received(loop, slot, cqe, event);
    case CT_OP_SEND: uring_sent(loop, slot, cqe, event); return true;
    case CT_OP_SEND_ZERO_COPY:
        if (!(cqe->flags & IORING_CQE_F_NOTIF)) {
            uring_sent(loop, slot, cqe, event);
            return true;
        }
        ct_assert(slot->notifications_in_flight > 0);
        slot->notifications_in_flight--;
        event->kind = CT_EVENT_NOTIFICATION;
        event->token = ct_token_tag(cqe->user_data);
        if ((uint32_t)cqe->res & CT_IORING_NOTIF_USAGE_ZC_COPIED) event->flags |= CT_EVENT_COPIED;
        ct_slot_operation_ended(loop, slot);
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

static uint32_t uring_drain_completions(ct_loop *loop, ct_event *events, uint32_t capacity) {
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

static void uring_enter(ct_loop *loop, uint32_t wait, uint64_t timeout) {
    ct_uring *u = uring_of(loop);
    loop->statistics.enters++;
    int result = ct_ring_enter(&u->ring, wait, timeout);
    u->refused = false;
    if (ct_unlikely(result < 0 || ct_ring_pending(&u->ring) > 0)) ct_uring_entered_badly(loop, result, wait, timeout);
    uring_scratch_reset(u);
    loop->statistics.completion_overflows += ct_ring_overflows(&u->ring);
}

static uint32_t uring_poll(ct_loop *loop, ct_event *events, uint32_t capacity, uint64_t timeout) {
    ct_uring *u = uring_of(loop);
    struct io_uring_cq *cq = &u->ring.io.cq;
    uint32_t count = 0;
    uring_lend(loop);
    // Completions left over from a full batch come first: the queue is empty whenever we enter.
    if (ct_likely(*cq->khead == __atomic_load_n(cq->ktail, __ATOMIC_ACQUIRE))) {
        if (ct_unlikely(u->behind)) timeout = ct_uring_catch_up(loop, events, capacity, timeout, &count);
        uint32_t wait = timeout > 0;
        if (u->drain) {
            wait = CT_WAIT_MAX;
            timeout = 0;
            loop->statistics.drains++;
        }
        u->drain = false;
        uring_enter(loop, wait, timeout);
    }
    return count + uring_drain_completions(loop, events + count, capacity - count);
}

const ct_engine ct_engine_uring = {
    .kind = CT_ENGINE_URING,
    .name = "io_uring",
    .open = uring_open,
    .start = ct_uring_start_ring,
    .destroy = uring_destroy,
    .accept = uring_accept,
    .receive = ct_uring_receive,
    .receive_stop = uring_receive_stop,
    .send = uring_send,
    .send_now = uring_send_now,
    .connect = uring_connect,
    .interrupt = uring_interrupt,
    .forget = uring_forget,
    .take_back = uring_take_back,
    .has_memory = uring_has_memory,
    .poll = uring_poll,
};
