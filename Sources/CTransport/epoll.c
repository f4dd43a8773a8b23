// The epoll engine: completions made from readiness, for places where io_uring is forbidden or too old.
//
// A descriptor is registered once, edge-triggered, for everything; the last edges are remembered in the slot's readiness
// and nothing is ever modified: one epoll_ctl() when it is first used, one when it is closed. A slot for which there is
// something to do is on the ready list. A turn waits only when that list is empty, then serves every listed slot once,
// within its budget, and puts it back at the end if it has more.
//
// A send runs when it is asked for, and its result is an event of the next turn: callers see the same order as with
// io_uring, where nothing completes before the next enter.
#include "epoll.h"

#include <limits.h>

#ifndef SYS_epoll_pwait2
#define SYS_epoll_pwait2 441
#endif

// ---------------------------------------------------------------------------------------------------- open, destroy

static int epoll_open(ct_loop *loop, const ct_loop_options *options, ct_failure *failure) {
    (void)options;
    ct_epoll *e = ct_memory_allocate(sizeof *e);
    int fd = e ? sys_epoll_create() : -1;
    if (fd < 0) {
        ct_fail(failure, CT_CALL_EPOLL_CREATE, e ? errno : ENOMEM);
        ct_memory_free(e, sizeof *e);
        return -failure->error;
    }
    // Every write to the eventfd is an edge, read or not: waking costs no system call to drain it.
    struct epoll_event wake = {.events = EPOLLIN | EPOLLET, .data.u64 = (uint64_t)CT_OP_WAKE << 56};
    if (sys_epoll_ctl(fd, EPOLL_CTL_ADD, ct_mailbox_eventfd(loop->mailbox), &wake) < 0) {
        ct_fail(failure, CT_CALL_EPOLL_CTL, errno);
        sys_close(fd);
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
    if (!loop->engine_state) return;
    ct_epoll *e = epoll_of(loop);
    ct_assert(e->ready_head == 0);
    if (e->chunk) ct_chunk_release((ct_chunk *)e->chunk);
    sys_close(e->fd);
    ct_memory_free(e, sizeof *e);
    loop->engine_state = NULL;
}

// ---------------------------------------------------------------------------------------------------------- waiting

static int epoll_enter(ct_epoll *e, uint64_t timeout) {
    if (ct_simulated) return ct_kernel_here->epoll_wait(e->fd, e->edges, CT_EPOLL_EVENTS, timeout);
    if (timeout > 0 && timeout != CT_FOREVER && e->precise_wait) {
        struct timespec time = {
            .tv_sec = (time_t)(timeout / 1000000000ull),
            .tv_nsec = (long)(timeout % 1000000000ull),
        };
        int count = (int)syscall(SYS_epoll_pwait2, e->fd, e->edges, CT_EPOLL_EVENTS, &time, NULL, 0);
        // EPERM: a seccomp profile older than the call.
        if (count >= 0 || (errno != ENOSYS && errno != EPERM)) return count;
        e->precise_wait = false;
    }
    // Rounded up: a wait that is too short would spin until the deadline.
    uint64_t millis = timeout / CT_NANOS_PER_MILLI + (timeout % CT_NANOS_PER_MILLI != 0);
    if (millis > INT_MAX) millis = INT_MAX;
    return epoll_wait(e->fd, e->edges, CT_EPOLL_EVENTS, timeout == CT_FOREVER ? -1 : (int)millis);
}

static void epoll_note(ct_loop *loop, const struct epoll_event *edge) {
    uint64_t token = edge->data.u64;
    if (ct_token_operation(token) == CT_OP_WAKE) {
        loop->statistics.wakes++;
        return;
    }
    ct_slot *slot = ct_slot_at(&loop->slots, ct_token_index(token));
    if (ct_unlikely(!slot || (slot->generation & 0xFFFFFF) != ct_token_generation(token))) {
        // ct_epoll_forget() forbids this.
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
            ct_epoll_connect_ended(loop, slot, ct_socket_take_error(slot->fd));
        if (slot->sends_in_flight && !(slot->epoll.readiness & CT_SENT)) ct_epoll_send_ended(loop, slot, -EAGAIN);
    }
    if (ct_epoll_ready_wanted(slot)) ct_epoll_ready_append(loop, slot);
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
    return ct_epoll_serve(loop, events, capacity);
}

const ct_engine ct_engine_epoll = {
    .kind = CT_ENGINE_EPOLL,
    .open = epoll_open,
    .start = epoll_start,
    .destroy = epoll_destroy,
    .accept = ct_epoll_accept,
    .receive = ct_epoll_receive,
    .receive_stop = ct_epoll_receive_stop,
    .send = ct_epoll_send,
    .send_now = ct_epoll_send_now,
    .connect = ct_epoll_connect,
    .interrupt = ct_epoll_interrupt,
    .forget = ct_epoll_forget,
    .take_back = ct_epoll_take_back,
    .has_memory = ct_epoll_has_memory,
    .poll = epoll_poll,
};
