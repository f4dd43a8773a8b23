// The epoll engine: what a slot wants is done at once where the kernel lets it, and noted where it does not.
#include "epoll.h"

#define CT_EDGES (EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLPRI | EPOLLET)

// A short read means that nothing is left, except where a read ends at what the sender passed along, such as
// descriptors: there the next read may find more without any new edge.
static bool reads_end_early(int fd) {
    int family = AF_UNSPEC;
    socklen_t length = sizeof family;
    sys_getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &length);
    return family != AF_INET && family != AF_INET6;
}

// Once per descriptor. What is ready already comes as the first edge.
static int epoll_register(ct_loop *loop, ct_slot *slot) {
    if (ct_likely(slot->epoll.readiness & CT_REGISTERED)) return 0;
    struct epoll_event event = {.events = CT_EDGES, .data.u64 = ct_token(CT_OP_RECEIVE, slot)};
    if (sys_epoll_ctl(epoll_of(loop)->fd, EPOLL_CTL_ADD, slot->fd, &event) < 0) return -errno;
    // Writable until the kernel says otherwise, so that the first send does not wait for an edge.
    slot->epoll.readiness = CT_REGISTERED | CT_WRITABLE | (reads_end_early(slot->fd) ? CT_PIECEWISE : 0);
    return 0;
}

// accept(2) and connect(2) have no MSG_DONTWAIT. Everything else stays as the caller made it.
static int make_nonblocking(int fd) {
    int on = 1;
    return sys_ioctl(fd, FIONBIO, &on) == 0 ? 0 : -errno;
}

int ct_epoll_accept(ct_loop *loop, ct_slot *slot) {
    int result = slot->epoll.readiness & CT_REGISTERED ? 0 : make_nonblocking(slot->fd);
    if (result == 0) result = epoll_register(loop, slot);
    if (result < 0) return result;
    ct_assert(slot->accepts_in_flight == 0);
    slot->accepts_in_flight++;
    // After EMFILE the connection is still in the backlog, and no edge will say so again.
    if (ct_epoll_ready_wanted(slot)) ct_epoll_ready_append(loop, slot);
    return 0;
}

int ct_epoll_receive(ct_loop *loop, ct_slot *slot) {
    if (slot->receive_armed || slot->starved) return 0;
    int result = epoll_register(loop, slot);
    if (result < 0) return result;
    slot->receive_armed = true;
    if (ct_epoll_ready_wanted(slot)) ct_epoll_ready_append(loop, slot);
    return 0;
}

// If the slot is listed, serving it finds nothing to do.
void ct_epoll_receive_stop(ct_loop *loop, ct_slot *slot) {
    (void)loop;
    slot->receive_armed = false;
}

// Zero-copy is io_uring's: here the kernel copies, and the SEND event without CT_EVENT_MORE says so.
int ct_epoll_send(ct_loop *loop, ct_slot *slot, const struct iovec *vectors, uint32_t count, bool zero_copy) {
    (void)zero_copy;
    ct_assert(count > 0 && count <= 1024);
    int result = epoll_register(loop, slot);
    if (result < 0) return result;
    ct_assert(!(slot->epoll.readiness & CT_SENT));
    slot->sends_in_flight++;
    if (ct_unlikely(!(slot->epoll.readiness & CT_WRITABLE))) return 0;
    int sent = ct_socket_send(slot->fd, vectors, count);
    if (ct_unlikely(sent == -EAGAIN)) {
        // The edge that ends it posts -EAGAIN; the caller has the bytes, so the engine keeps no vectors.
        slot->epoll.readiness &= (uint8_t)~CT_WRITABLE;
        return 0;
    }
    ct_epoll_send_ended(loop, slot, sent == -EINTR ? -EAGAIN : sent);
    return 0;
}

int ct_epoll_send_now(ct_loop *loop, ct_slot *slot, const struct iovec *vectors, uint32_t count) {
    int result = epoll_register(loop, slot);
    if (result < 0) return result;
    if (!(slot->epoll.readiness & CT_WRITABLE)) return -EAGAIN;
    int sent = ct_socket_send(slot->fd, vectors, count);
    if (sent == -EAGAIN) slot->epoll.readiness &= (uint8_t)~CT_WRITABLE;
    return sent;
}

// A Unix listener whose backlog is full says EAGAIN, and that is the result: no edge will tell when there is room.
int ct_epoll_connect(ct_loop *loop, ct_slot *slot, const struct sockaddr *address, socklen_t length) {
    int result = make_nonblocking(slot->fd);
    if (result == 0) result = epoll_register(loop, slot);
    if (result < 0) return result;
    slot->connects_in_flight++;
    slot->epoll.readiness &= (uint8_t)~CT_WRITABLE;
    if (sys_connect(slot->fd, address, length) == 0) {
        slot->epoll.readiness |= CT_WRITABLE;
        ct_epoll_connect_ended(loop, slot, 0);
    } else if (errno != EINPROGRESS && errno != EINTR) {
        ct_epoll_connect_ended(loop, slot, errno);
    }
    return 0;
}

// Everything in flight ends in the next turn, a receive with the end of stream that shutdown(2) makes.
void ct_epoll_interrupt(ct_loop *loop, ct_slot *slot) {
    ct_assert(slot->state == CT_SLOT_CLOSING);
    // With bytes unread the input stays open while they are read away (slot.c): see ct_socket_has_input().
    bool unread = !slot->reset && !slot->listener && ct_socket_has_input(slot->fd);
    if (slot->reset || unread) slot->receive_armed = false;
    // A reset must not be preceded by a FIN.
    if (!slot->reset && !slot->listener) sys_shutdown(slot->fd, unread ? SHUT_WR : SHUT_RDWR);
    if (slot->connects_in_flight && !(slot->epoll.readiness & CT_CONNECTED)) ct_epoll_connect_ended(loop, slot, ECANCELED);
    if (slot->sends_in_flight) {
        bool taken = (slot->epoll.readiness & CT_SENT) && slot->epoll.send_result != -EAGAIN;
        if (!taken) ct_epoll_send_ended(loop, slot, slot->reset ? -ECANCELED : -EPIPE);
    }
    slot->epoll.readiness |= CT_READABLE | CT_HANGUP;
    if (ct_epoll_ready_wanted(slot)) ct_epoll_ready_append(loop, slot);
}

// A slot is stopped and closed in one turn while it is listed. All of those go in one pass: a pass for each of ten
// thousand connections would be a stall.
static void ready_drop_closed(ct_loop *loop) {
    ct_epoll *e = epoll_of(loop);
    uint32_t last = e->ready_tail;
    for (bool more = true; more;) {
        more = e->ready_head != last;
        ct_slot *listed = ct_epoll_ready_take(loop);
        if (listed->state != CT_SLOT_TO_CLOSE) ct_epoll_ready_append(loop, listed);
    }
}

void ct_epoll_forget(ct_loop *loop, ct_slot *slot) {
    ct_assert(slot->state == CT_SLOT_TO_CLOSE);
    if (ct_unlikely(slot->epoll.readiness & CT_LISTED)) ready_drop_closed(loop);
    ct_assert(!(slot->epoll.readiness & CT_LISTED));
    // close(2) alone ends a registration only when it closes the last copy of the descriptor, and a process being
    // forked holds one.
    if (slot->epoll.readiness & CT_REGISTERED) sys_epoll_ctl(epoll_of(loop)->fd, EPOLL_CTL_DEL, slot->fd, NULL);
}
