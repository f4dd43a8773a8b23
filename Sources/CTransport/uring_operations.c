// The io_uring engine: what a slot wants becomes a request. Requests are only prepared here; the next turn's enter hands all of
// them to the kernel together.
#include "uring.h"

// ------------------------------------------------------------------------------------------------- submission entries

static CT_COLD void uring_submit(ct_loop *loop) {
    ct_uring *u = uring_of(loop);
    if (u->refused || !ct_ring_may_submit(&u->ring)) return;
    loop->statistics.enters_queue_full++;
    ct_ring_submit(&u->ring);
    ct_uring_scratch_reset(u);
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

// ------------------------------------------------------------------------------------------------------- operations

// What was in flight is lost, and its end is about to be told: nothing new may begin before, or it would be ended with it.
static bool uring_is_lost(const ct_slot *slot) { return ct_unlikely(slot->uring.later & CT_LATER_LOST); }

int ct_uring_accept(ct_loop *loop, ct_slot *slot) {
    ct_assert(slot->accepts_in_flight == 0);
    if (uring_is_lost(slot)) return -ENOBUFS;
    struct io_uring_sqe *sqe = uring_request(loop);
    if (!sqe) return -ENOBUFS;
    io_uring_prep_multishot_accept(sqe, slot->fd, NULL, NULL, SOCK_CLOEXEC);
    io_uring_sqe_set_data64(sqe, ct_token(CT_OP_ACCEPT, slot));
    slot->accepts_in_flight++;
    return 0;
}

// Multishot only for TCP. Since 6.17 a Unix socket tells how many bytes it has left but not that the end is behind
// them. Until liburing#1549 was fixed a multishot receive that took the last bytes then waits for an edge that is over,
// and the end of stream never comes. A receive armed anew looks again.
static bool uring_one_shot(ct_slot *slot) {
    if (ct_unlikely(slot->uring.socket == 0)) {
        int family = AF_UNSPEC;
        socklen_t length = sizeof family;
        sys_getsockopt(slot->fd, SOL_SOCKET, SO_DOMAIN, &family, &length);
        bool multishot = family == AF_INET || family == AF_INET6;
        slot->uring.socket = multishot ? CT_SOCKET_KNOWN : CT_SOCKET_KNOWN | CT_SOCKET_ONE_SHOT;
    }
    return slot->uring.socket & CT_SOCKET_ONE_SHOT;
}

int ct_uring_receive(ct_loop *loop, ct_slot *slot) {
    if (slot->receive_armed || slot->starved || uring_is_lost(slot)) return 0;
    struct io_uring_sqe *sqe = uring_request(loop);
    if (ct_unlikely(!sqe)) {
        ct_uring_later(loop, slot, CT_LATER_RECEIVE);
        return 0;
    }
    if (ct_unlikely(slot->watches_loss)) {
        // A receive would tell of the end of the stream again, and only of that. Errors are always polled for; so is that end,
        // which is told at once and then no more, because a multishot poll tells of changes.
        io_uring_prep_poll_multishot(sqe, slot->fd, 0);
        io_uring_sqe_set_data64(sqe, ct_token(CT_OP_RECEIVE, slot));
        slot->receive_armed = true;
        slot->uring.receive_cancelling = false;
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
    slot->uring.socket = (uint8_t)((slot->uring.socket | CT_SOCKET_UNCHECKED) & ~CT_SOCKET_FED);
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

void ct_uring_receive_stop(ct_loop *loop, ct_slot *slot) {
    if (!slot->receive_armed || slot->uring.receive_cancelling) return;
    slot->uring.receive_cancelling = true;
    ct_uring_cancel(loop, slot, CT_OP_RECEIVE);
}

static bool uring_has_vectors(const ct_uring *u, uint32_t count) {
    return u->vectors_used + count <= CT_VECTORS && u->messages_used < u->messages_capacity;
}

int ct_uring_send(ct_loop *loop, ct_slot *slot, const struct iovec *vectors, uint32_t count, bool zero_copy) {
    ct_uring *u = uring_of(loop);
    ct_assert(count > 0 && count <= 1024);
    if (uring_is_lost(slot)) return -ENOMEM;
    if (count > 1 && ct_unlikely(!uring_has_vectors(u, count))) uring_submit(loop);
    bool ready = count == 1 || ct_likely(uring_has_vectors(u, count));
    struct io_uring_sqe *sqe = ready ? uring_request(loop) : NULL;
    slot->sends_in_flight++;
    if (ct_unlikely(!sqe)) {
        ct_uring_later(loop, slot, CT_LATER_AGAIN);
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

int ct_uring_send_now(ct_loop *loop, ct_slot *slot, const struct iovec *vectors, uint32_t count) {
    (void)loop;
    return ct_socket_send(slot->fd, vectors, count);
}

int ct_uring_connect(ct_loop *loop, ct_slot *slot, const struct sockaddr *address, socklen_t length) {
    ct_uring *u = uring_of(loop);
    if (length > sizeof *u->addresses) return -EINVAL;
    if (uring_is_lost(slot)) return -ENOMEM;
    if (u->addresses_used == CT_ADDRESSES) uring_submit(loop);
    struct io_uring_sqe *sqe = u->addresses_used < CT_ADDRESSES ? uring_request(loop) : NULL;
    slot->connects_in_flight++;
    if (!sqe) {
        ct_uring_later(loop, slot, CT_LATER_AGAIN);
        return 0;
    }
    struct sockaddr_storage *copy = &u->addresses[u->addresses_used++];
    __builtin_memcpy(copy, address, length);
    io_uring_prep_connect(sqe, slot->fd, (struct sockaddr *)copy, length);
    io_uring_sqe_set_data64(sqe, ct_token(CT_OP_CONNECT, slot));
    return 0;
}

void ct_uring_interrupt(ct_loop *loop, ct_slot *slot) {
    if (slot->accepts_in_flight) ct_uring_cancel(loop, slot, CT_OP_ACCEPT);
    if (slot->connects_in_flight) ct_uring_cancel(loop, slot, CT_OP_CONNECT);
    if (slot->listener) return;
    // A poll goes on whatever it sees.
    if (slot->watches_loss) ct_uring_receive_stop(loop, slot);
    // shutdown(2) is flat in cost and sends the FIN; a cancel walks a list. It fails when the peer has reset already.
    // A reset must not be preceded by a FIN. With bytes unread the input stays open while they are read away (slot.c).
    bool unread = !slot->reset && ct_socket_has_input(slot->fd);
    if (!slot->reset && sys_shutdown(slot->fd, unread ? SHUT_WR : SHUT_RDWR) == 0 && !unread) return;
    ct_uring_receive_stop(loop, slot);
    if (slot->sends_in_flight) {
        ct_uring_cancel(loop, slot, CT_OP_SEND);
        ct_uring_cancel(loop, slot, CT_OP_SEND_ZERO_COPY);
    }
}

void ct_uring_forget(ct_loop *loop, ct_slot *slot) {
    ct_assert(slot->state == CT_SLOT_TO_CLOSE);
    if (ct_unlikely(slot->uring.later)) ct_uring_later_forget(loop);
}
