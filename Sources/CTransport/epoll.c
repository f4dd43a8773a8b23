// The epoll engine: completions made from readiness, for places where io_uring is forbidden or too old.
//
// A descriptor is registered once, edge-triggered, for everything; the last edges are remembered in the slot's readiness
// and nothing is ever modified: one epoll_ctl() when it is first used, one when it is closed. A slot for which there is
// something to do is on the ready list. A turn waits only when that list is empty, then serves every listed slot once,
// within its budget, and puts it back at the end if it has more.
//
// A send runs when it is asked for, and its result is an event of the next turn: callers see the same order as with
// io_uring, where nothing completes before the next enter.
#include "internal.h"

#include <limits.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CT_EPOLL_EVENTS 512u
#define CT_EDGES (EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLPRI | EPOLLET)
// What one slot may do before the others have their turn.
#define CT_READS_PER_TURN 16u
#define CT_READ_BYTES_PER_TURN (64u * 1024)
#define CT_ACCEPTS_PER_TURN 64u
// A batch of more than this is handed out before anybody else is served: answering what is still in the cache is worth
// more than a wider batch.
#define CT_BATCH_BYTES_MAX (128u * 1024)
// A chunk with less than this part of it left is not worth a system call any more.
#define CT_CHUNK_REST_DIVISOR 8u

#ifndef SYS_epoll_pwait2
#define SYS_epoll_pwait2 441
#endif

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

// ---------------------------------------------------------------------------------------------------- open, destroy

static int epoll_open(ct_loop *loop, const ct_loop_options *options, ct_failure *failure) {
    (void)options;
    ct_epoll *e = ct_memory_allocate(sizeof *e);
    int fd = e ? epoll_create1(EPOLL_CLOEXEC) : -1;
    if (fd < 0) {
        ct_fail(failure, CT_CALL_EPOLL_CREATE, e ? errno : ENOMEM);
        ct_memory_free(e, sizeof *e);
        return -failure->error;
    }
    // Every write to the eventfd is an edge, read or not: waking costs no system call to drain it.
    struct epoll_event wake = {.events = EPOLLIN | EPOLLET, .data.u64 = (uint64_t)CT_OP_WAKE << 56};
    if (epoll_ctl(fd, EPOLL_CTL_ADD, ct_mailbox_eventfd(loop->mailbox), &wake) < 0) {
        ct_fail(failure, CT_CALL_EPOLL_CTL, errno);
        close(fd);
        ct_memory_free(e, sizeof *e);
        return -failure->error;
    }
    e->fd = fd;
    e->precise_wait = true;
    e->entered = false;
    e->ready_head = e->ready_tail = 0;
    e->chunk = NULL;
    loop->engine_state = e;
    return 0;
}

static int epoll_start(ct_loop *loop, ct_failure *failure) {
    (void)loop, (void)failure;
    return 0;
}

static void epoll_destroy(ct_loop *loop) {
    ct_epoll *e = epoll_of(loop);
    if (!e) return;
    ct_assert(e->ready_head == 0);
    if (e->chunk) ct_chunk_release((ct_chunk *)e->chunk);
    close(e->fd);
    ct_memory_free(e, sizeof *e);
    loop->engine_state = NULL;
}

// ------------------------------------------------------------------------------------------------------- ready list

// The list has a link of its own: a listed slot may at the same time wait for memory or be about to close.
static void ready_append(ct_loop *loop, ct_slot *slot) {
    ct_epoll *e = epoll_of(loop);
    if (slot->epoll.readiness & CT_LISTED) return;
    ct_assert(slot->state == CT_SLOT_OPEN || slot->state == CT_SLOT_CLOSING);
    slot->epoll.readiness |= CT_LISTED;
    slot->epoll.ready_next = 0;
    if (e->ready_tail) ct_slot_at(&loop->slots, e->ready_tail - 1)->epoll.ready_next = slot->index + 1;
    else e->ready_head = slot->index + 1;
    e->ready_tail = slot->index + 1;
}

static ct_slot *ready_take(ct_loop *loop) {
    ct_epoll *e = epoll_of(loop);
    ct_assert(e->ready_head != 0);
    ct_slot *slot = ct_slot_at(&loop->slots, e->ready_head - 1);
    ct_assert(slot->epoll.readiness & CT_LISTED);
    e->ready_head = slot->epoll.ready_next;
    if (e->ready_head == 0) e->ready_tail = 0;
    slot->epoll.readiness &= (uint8_t)~CT_LISTED;
    return slot;
}

static bool ready_wanted(const ct_slot *slot) {
    if (slot->epoll.readiness & (CT_SENT | CT_CONNECTED)) return true;
    return (slot->epoll.readiness & CT_READABLE) && (slot->receive_armed || slot->accepts_in_flight);
}

// A slot is stopped and closed in one turn while it is listed. All of those go in one pass: a pass for each of ten
// thousand connections would be a stall.
static void ready_drop_closed(ct_loop *loop) {
    ct_epoll *e = epoll_of(loop);
    uint32_t last = e->ready_tail;
    for (bool more = true; more;) {
        more = e->ready_head != last;
        ct_slot *listed = ready_take(loop);
        if (listed->state != CT_SLOT_TO_CLOSE) ready_append(loop, listed);
    }
}

static void epoll_forget(ct_loop *loop, ct_slot *slot) {
    ct_assert(slot->state == CT_SLOT_TO_CLOSE);
    if (ct_unlikely(slot->epoll.readiness & CT_LISTED)) ready_drop_closed(loop);
    ct_assert(!(slot->epoll.readiness & CT_LISTED));
    // close(2) alone ends a registration only when it closes the last copy of the descriptor, and a process being
    // forked holds one.
    if (slot->epoll.readiness & CT_REGISTERED) epoll_ctl(epoll_of(loop)->fd, EPOLL_CTL_DEL, slot->fd, NULL);
}

// -------------------------------------------------------------------------------------------------------- operations

// A short read means that nothing is left, except where a read ends at what the sender passed along, such as
// descriptors: there the next read may find more without any new edge.
static bool reads_end_early(int fd) {
    int family = AF_UNSPEC;
    socklen_t length = sizeof family;
    getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &length);
    return family != AF_INET && family != AF_INET6;
}

// Once per descriptor. What is ready already comes as the first edge.
static int epoll_register(ct_loop *loop, ct_slot *slot) {
    if (ct_likely(slot->epoll.readiness & CT_REGISTERED)) return 0;
    struct epoll_event event = {.events = CT_EDGES, .data.u64 = ct_token(CT_OP_RECEIVE, slot)};
    if (epoll_ctl(epoll_of(loop)->fd, EPOLL_CTL_ADD, slot->fd, &event) < 0) return -errno;
    // Writable until the kernel says otherwise, so that the first send does not wait for an edge.
    slot->epoll.readiness = CT_REGISTERED | CT_WRITABLE | (reads_end_early(slot->fd) ? CT_PIECEWISE : 0);
    return 0;
}

// accept(2) and connect(2) have no MSG_DONTWAIT. Everything else stays as the caller made it.
static int make_nonblocking(int fd) {
    int on = 1;
    return ioctl(fd, FIONBIO, &on) == 0 ? 0 : -errno;
}

static int epoll_accept(ct_loop *loop, ct_slot *slot) {
    int result = slot->epoll.readiness & CT_REGISTERED ? 0 : make_nonblocking(slot->fd);
    if (result == 0) result = epoll_register(loop, slot);
    if (result < 0) return result;
    ct_assert(slot->accepts_in_flight == 0);
    slot->accepts_in_flight++;
    // After EMFILE the connection is still in the backlog, and no edge will say so again.
    if (ready_wanted(slot)) ready_append(loop, slot);
    return 0;
}

static int epoll_receive(ct_loop *loop, ct_slot *slot) {
    if (slot->receive_armed || slot->starved) return 0;
    int result = epoll_register(loop, slot);
    if (result < 0) return result;
    slot->receive_armed = true;
    if (ready_wanted(slot)) ready_append(loop, slot);
    return 0;
}

// If the slot is listed, serving it finds nothing to do.
static void epoll_receive_stop(ct_loop *loop, ct_slot *slot) {
    (void)loop;
    slot->receive_armed = false;
}

static void send_ended(ct_loop *loop, ct_slot *slot, int32_t result) {
    ct_assert(slot->sends_in_flight == 1);
    slot->epoll.send_result = result;
    slot->epoll.readiness |= CT_SENT;
    ready_append(loop, slot);
}

// Zero-copy is io_uring's: here the kernel copies, and the SEND event without CT_EVENT_MORE says so.
static int epoll_send(ct_loop *loop, ct_slot *slot, const struct iovec *vectors, uint32_t count, bool zero_copy) {
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
    send_ended(loop, slot, sent == -EINTR ? -EAGAIN : sent);
    return 0;
}

static int epoll_send_now(ct_loop *loop, ct_slot *slot, const struct iovec *vectors, uint32_t count) {
    int result = epoll_register(loop, slot);
    if (result < 0) return result;
    if (!(slot->epoll.readiness & CT_WRITABLE)) return -EAGAIN;
    int sent = ct_socket_send(slot->fd, vectors, count);
    if (sent == -EAGAIN) slot->epoll.readiness &= (uint8_t)~CT_WRITABLE;
    return sent;
}

static void connect_ended(ct_loop *loop, ct_slot *slot, int error) {
    ct_assert(slot->connects_in_flight == 1);
    slot->epoll.connect_error = error;
    slot->epoll.readiness |= CT_CONNECTED;
    ready_append(loop, slot);
}

// A Unix listener whose backlog is full says EAGAIN, and that is the result: no edge will tell when there is room.
static int epoll_connect(ct_loop *loop, ct_slot *slot, const struct sockaddr *address, socklen_t length) {
    int result = make_nonblocking(slot->fd);
    if (result == 0) result = epoll_register(loop, slot);
    if (result < 0) return result;
    slot->connects_in_flight++;
    slot->epoll.readiness &= (uint8_t)~CT_WRITABLE;
    if (connect(slot->fd, address, length) == 0) {
        slot->epoll.readiness |= CT_WRITABLE;
        connect_ended(loop, slot, 0);
    } else if (errno != EINPROGRESS && errno != EINTR) {
        connect_ended(loop, slot, errno);
    }
    return 0;
}

// Everything in flight ends in the next turn, a receive with the end of stream that shutdown(2) makes.
static void epoll_interrupt(ct_loop *loop, ct_slot *slot) {
    ct_assert(slot->state == CT_SLOT_CLOSING);
    // With bytes unread the input stays open while they are read away (slot.c): see ct_socket_has_input().
    bool unread = !slot->reset && !slot->listener && ct_socket_has_input(slot->fd);
    if (slot->reset || unread) slot->receive_armed = false;
    // A reset must not be preceded by a FIN.
    if (!slot->reset && !slot->listener) shutdown(slot->fd, unread ? SHUT_WR : SHUT_RDWR);
    if (slot->connects_in_flight && !(slot->epoll.readiness & CT_CONNECTED)) connect_ended(loop, slot, ECANCELED);
    if (slot->sends_in_flight) {
        bool taken = (slot->epoll.readiness & CT_SENT) && slot->epoll.send_result != -EAGAIN;
        if (!taken) send_ended(loop, slot, slot->reset ? -ECANCELED : -EPIPE);
    }
    slot->epoll.readiness |= CT_READABLE | CT_HANGUP;
    if (ready_wanted(slot)) ready_append(loop, slot);
}

// -------------------------------------------------------------------------------------------------- receive memory

static ct_chunk *_Nullable epoll_take_back(ct_loop *loop) {
    ct_epoll *e = epoll_of(loop);
    ct_chunk *chunk = e->chunk;
    e->chunk = NULL;
    loop->statistics.chunks_lent = 0;
    return chunk;
}

static bool epoll_has_memory(ct_loop *loop) {
    ct_epoll *e = epoll_of(loop);
    if (ct_unlikely(!e->chunk)) {
        e->chunk = ct_chunk_take(loop->pool);
        loop->statistics.chunks_lent = e->chunk != NULL;
    }
    return e->chunk != NULL;
}

static void epoll_place_bytes(ct_loop *loop, ct_event *event, uint32_t length) {
    ct_epoll *e = epoll_of(loop);
    ct_chunk *chunk = e->chunk;
    ct_assert(chunk->offset + length <= chunk->size);
    event->chunk = chunk;
    event->data = chunk->base + chunk->offset;
    chunk->offset += length;
    if (ct_likely(chunk->size - chunk->offset >= chunk->size / CT_CHUNK_REST_DIVISOR)) return;
    event->flags |= CT_EVENT_CHUNK_DONE;
    e->chunk = NULL;
    loop->statistics.chunks_lent = 0;
}

// ---------------------------------------------------------------------------------------------------------- serving

static void receive_ended(ct_loop *loop, ct_slot *slot) {
    slot->receive_armed = false;
    ct_slot_operation_ended(loop, slot);
}

// What a failed or empty read means. True when it is an event.
static bool epoll_receive_failed(ct_loop *loop, ct_slot *slot, int error, ct_event *event) {
    if (error == EAGAIN) {
        slot->epoll.readiness &= (uint8_t)~(CT_READABLE | CT_HANGUP);
        // shutdown(2) did not reach this socket: nothing more will come, and nobody waits for it.
        if (slot->state == CT_SLOT_CLOSING) receive_ended(loop, slot);
        return false;
    }
    // The readiness stays: a receive that is started again meets the same end.
    if (error == 0) error = slot->lost;
    slot->receive_wanted = false;
    slot->input_ended = error == 0;
    receive_ended(loop, slot);
    *event = (ct_event){.kind = CT_EVENT_RECEIVE, .context = slot->context, .result = -error};
    return true;
}

static void epoll_exhausted(ct_loop *loop, ct_slot *slot) {
    loop->statistics.receive_exhausted++;
    slot->receive_armed = false;
    if (slot->state == CT_SLOT_OPEN) ct_loop_starve(loop, slot);
    else ct_slot_operation_ended(loop, slot);
}

static uint32_t epoll_serve_receive(ct_loop *loop, ct_slot *slot, ct_event *events, uint32_t capacity) {
    uint32_t count = 0;
    uint32_t total = 0;
    for (uint32_t reads = 0; reads < CT_READS_PER_TURN && total < CT_READ_BYTES_PER_TURN && count < capacity; reads++) {
        if (ct_unlikely(!epoll_has_memory(loop))) {
            epoll_exhausted(loop, slot);
            break;
        }
        ct_chunk *chunk = epoll_of(loop)->chunk;
        uint32_t space = chunk->size - chunk->offset;
        ssize_t length = recv(slot->fd, chunk->base + chunk->offset, space, MSG_DONTWAIT);
        if (ct_unlikely(length <= 0)) {
            if (length < 0 && errno == EINTR) continue;
            if (epoll_receive_failed(loop, slot, length < 0 ? errno : 0, &events[count])) count++;
            break;
        }
        ct_event *event = &events[count++];
        *event = (ct_event){
            .kind = CT_EVENT_RECEIVE, .context = slot->context, .result = (int32_t)length, .flags = CT_EVENT_MORE,
        };
        epoll_place_bytes(loop, event, (uint32_t)length);
        loop->statistics.receives++;
        total += (uint32_t)length;
        if (ct_likely((uint32_t)length < space && !(slot->epoll.readiness & (CT_HANGUP | CT_PIECEWISE)))) {
            slot->epoll.readiness &= (uint8_t)~CT_READABLE;
            break;
        }
    }
    loop->statistics.received_bytes += total;
    return count;
}

static uint32_t epoll_serve_accept(ct_loop *loop, ct_slot *slot, ct_event *events, uint32_t capacity) {
    uint32_t count = 0;
    for (uint32_t tries = 0; tries < CT_ACCEPTS_PER_TURN && count < capacity; tries++) {
        bool open = slot->state == CT_SLOT_OPEN;
        int fd = open ? accept4(slot->fd, NULL, NULL, SOCK_CLOEXEC) : -1;
        int error = fd >= 0 ? 0 : open ? errno : ECANCELED;
        if (error == EINTR) continue;
        if (error == EAGAIN) {
            slot->epoll.readiness &= (uint8_t)~(CT_READABLE | CT_HANGUP);
            break;
        }
        events[count++] = (ct_event){
            .kind = CT_EVENT_ACCEPT, .context = slot->context, .result = error ? -error : fd,
            .flags = error ? 0 : CT_EVENT_MORE,
        };
        if (error) {
            ct_assert(slot->accepts_in_flight == 1);
            slot->accepts_in_flight--;
            ct_slot_operation_ended(loop, slot);
            break;
        }
        loop->statistics.accepts++;
    }
    return count;
}

static ct_event epoll_connect_event(ct_loop *loop, ct_slot *slot) {
    ct_assert(slot->connects_in_flight == 1);
    slot->epoll.readiness &= (uint8_t)~CT_CONNECTED;
    slot->connects_in_flight--;
    ct_slot_operation_ended(loop, slot);
    return (ct_event){
        .kind = CT_EVENT_CONNECT, .context = slot->context, .result = -slot->epoll.connect_error,
    };
}

static ct_event epoll_send_event(ct_loop *loop, ct_slot *slot) {
    ct_assert(slot->sends_in_flight == 1);
    int32_t result = slot->epoll.send_result;
    slot->epoll.readiness &= (uint8_t)~CT_SENT;
    slot->sends_in_flight--;
    loop->statistics.sends++;
    if (result > 0) loop->statistics.sent_bytes += (uint64_t)result;
    ct_slot_operation_ended(loop, slot);
    return (ct_event){.kind = CT_EVENT_SEND, .context = slot->context, .token = slot->send_tag, .result = result};
}

static uint32_t epoll_serve_slot(ct_loop *loop, ct_slot *slot, ct_event *events, uint32_t capacity) {
    uint32_t count = 0;
    if (slot->epoll.readiness & CT_CONNECTED) events[count++] = epoll_connect_event(loop, slot);
    if ((slot->epoll.readiness & CT_SENT) && count < capacity) events[count++] = epoll_send_event(loop, slot);
    if (!(slot->epoll.readiness & CT_READABLE) || count == capacity) return count;
    if (slot->accepts_in_flight) count += epoll_serve_accept(loop, slot, events + count, capacity - count);
    else if (slot->receive_armed) count += epoll_serve_receive(loop, slot, events + count, capacity - count);
    return count;
}

// Everyone who is listed now, once. Who comes back stands behind those who have not been served for want of room.
static uint32_t epoll_serve(ct_loop *loop, ct_event *events, uint32_t capacity) {
    ct_epoll *e = epoll_of(loop);
    uint32_t last = e->ready_tail;
    uint32_t count = 0;
    uint64_t enough = loop->statistics.received_bytes + CT_BATCH_BYTES_MAX;
    bool more = last != 0;
    while (more && count < capacity && loop->statistics.received_bytes < enough) {
        more = e->ready_head != last;
        ct_slot *slot = ready_take(loop);
        count += epoll_serve_slot(loop, slot, events + count, capacity - count);
        if (ready_wanted(slot)) ready_append(loop, slot);
    }
    ct_assert(count <= capacity);
    return count;
}

// ---------------------------------------------------------------------------------------------------------- waiting

static int epoll_enter(ct_epoll *e, uint64_t timeout) {
    if (timeout > 0 && timeout != CT_FOREVER && e->precise_wait) {
        struct timespec time = {
            .tv_sec = (time_t)(timeout / 1000000000ull), .tv_nsec = (long)(timeout % 1000000000ull),
        };
        int count = (int)syscall(SYS_epoll_pwait2, e->fd, e->edges, CT_EPOLL_EVENTS, &time, NULL, 0);
        // EPERM: a seccomp profile older than the call.
        if (count >= 0 || (errno != ENOSYS && errno != EPERM)) return count;
        e->precise_wait = false;
    }
    // Rounded up: a wait that is too short would spin until the deadline.
    uint64_t millis = timeout / CT_NANOS_PER_MILLI + (timeout % CT_NANOS_PER_MILLI != 0);
    int wait = timeout == CT_FOREVER ? -1 : millis < INT_MAX ? (int)millis : INT_MAX;
    return epoll_wait(e->fd, e->edges, CT_EPOLL_EVENTS, wait);
}

static int socket_error(int fd) {
    int error = 0;
    socklen_t length = sizeof error;
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) == 0 ? error : errno;
}

static void epoll_note(ct_loop *loop, const struct epoll_event *edge) {
    uint64_t token = edge->data.u64;
    if (ct_token_operation(token) == CT_OP_WAKE) {
        loop->statistics.wakes++;
        return;
    }
    ct_slot *slot = ct_slot_at(&loop->slots, ct_token_index(token));
    if (ct_unlikely(!slot || (slot->generation & 0xFFFFFF) != ct_token_generation(token))) {
        // epoll_forget() forbids this.
        loop->statistics.stale_completions++;
        return;
    }
    ct_assert(slot->epoll.readiness & CT_REGISTERED);
    const uint32_t over = EPOLLHUP | EPOLLERR;
    if (edge->events & (EPOLLIN | EPOLLRDHUP | EPOLLPRI | over)) slot->epoll.readiness |= CT_READABLE;
    if (edge->events & (EPOLLRDHUP | EPOLLPRI | over)) slot->epoll.readiness |= CT_HANGUP;
    if (edge->events & (EPOLLOUT | over)) {
        slot->epoll.readiness |= CT_WRITABLE;
        if (slot->connects_in_flight && !(slot->epoll.readiness & CT_CONNECTED))
            connect_ended(loop, slot, socket_error(slot->fd));
        if (slot->sends_in_flight && !(slot->epoll.readiness & CT_SENT)) send_ended(loop, slot, -EAGAIN);
    }
    if (ready_wanted(slot)) ready_append(loop, slot);
}

static uint32_t epoll_poll(ct_loop *loop, ct_event *events, uint32_t capacity, uint64_t timeout) {
    ct_epoll *e = epoll_of(loop);
    ct_assert(capacity > 0);
    // Results of sends that already ran need no system call of their own. But never two turns without one: whoever
    // became ready in the meantime waits at most a turn.
    bool enter = e->ready_head == 0 || !e->entered;
    e->entered = enter;
    if (enter) {
        loop->statistics.enters++;
        int count = epoll_enter(e, e->ready_head == 0 ? timeout : 0);
        ct_assert(count >= 0 || errno == EINTR);
        for (int i = 0; i < count; i++) epoll_note(loop, &e->edges[i]);
    }
    return epoll_serve(loop, events, capacity);
}

const ct_engine ct_engine_epoll = {
    .kind = CT_ENGINE_EPOLL,
    .name = "epoll",
    .open = epoll_open,
    .start = epoll_start,
    .destroy = epoll_destroy,
    .accept = epoll_accept,
    .receive = epoll_receive,
    .receive_stop = epoll_receive_stop,
    .send = epoll_send,
    .send_now = epoll_send_now,
    .connect = epoll_connect,
    .interrupt = epoll_interrupt,
    .forget = epoll_forget,
    .take_back = epoll_take_back,
    .has_memory = epoll_has_memory,
    .poll = epoll_poll,
};
