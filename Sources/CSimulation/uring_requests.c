// What the requests of a ring do: accept, receive, send, connect, poll, cancel.
#include "uring.h"

#define SIM_RECEIVES_PER_RUN 32u

// ------------------------------------------------------------------------------------------------------------- the lists

void sim_request_list(sim_request *request) {
    if (request->listed) return;
    sim_ring *ring = request->ring;
    request->listed = true;
    request->next_of_work = NULL;
    if (ring->work_tail) ring->work_tail->next_of_work = request;
    else ring->work_head = request;
    ring->work_tail = request;
}

sim_request *sim_request_take(sim_ring *ring) {
    sim_request *request = ring->work_head;
    if (!request) return NULL;
    ring->work_head = request->next_of_work;
    if (!ring->work_head) ring->work_tail = NULL;
    request->listed = false;
    return request;
}

static void unlist(sim_request *request) {
    if (!request->listed) return;
    sim_ring *ring = request->ring;
    sim_request *before = NULL;
    for (sim_request *at = ring->work_head; at != request; at = at->next_of_work) before = at;
    if (before) before->next_of_work = request->next_of_work;
    else ring->work_head = request->next_of_work;
    if (ring->work_tail == request) ring->work_tail = before;
    request->listed = false;
}

void sim_request_drop(sim_world *world, sim_request *request) {
    unlist(request);
    if (request->previous) request->previous->next = request->next;
    else request->ring->requests = request->next;
    if (request->next) request->next->previous = request->previous;
    sim_request **place = &request->file->requests;
    while (*place != request) place = &(*place)->next_of_file;
    *place = request->next_of_file;
    sim_file_release(world, request->file);
    sim_lent_end(&request->lent);
    sim_free(request->vectors);
    sim_free(request);
}

static void finish(sim_world *world, sim_request *request, int32_t result, uint32_t flags) {
    sim_ring *ring = request->ring;
    uint64_t user_data = request->entry.user_data;
    sim_request_drop(world, request);
    sim_ring_complete(world, ring, user_data, result, flags);
}

static sim_operation operation_of(const sim_request *request) {
    switch (request->entry.opcode) {
    case IORING_OP_POLL_ADD: return SIM_ON_URING_POLL;
    case IORING_OP_ACCEPT: return SIM_ON_URING_ACCEPT;
    case IORING_OP_RECV: return SIM_ON_URING_RECV;
    case IORING_OP_CONNECT: return SIM_ON_URING_CONNECT;
    case IORING_OP_SEND_ZC:
    case IORING_OP_SENDMSG_ZC: return SIM_ON_URING_SEND_ZC;
    default: return SIM_ON_URING_SEND;
    }
}

// `result` as a negative errno, or what it was told as.
static void told(sim_world *world, const sim_request *request, int32_t result, int outcome) {
    sim_told_result(world, operation_of(request), result, outcome);
}

static sim_socket *socket_of(const sim_request *request) { return (sim_socket *)request->file; }

// ---------------------------------------------------------------------------------------------------------- what they do

static void run_poll(sim_world *world, sim_request *request) {
    uint32_t bits = request->wants;
    if (request->file->kind == SIM_SOCKET) bits &= sim_file_readiness(world, request->file);
    if (bits == 0) return;
    bool more = !sim_chance(world, world->faults.multishot_ends);
    told(world, request, 0, more ? SIM_MORE : SIM_LAST);
    if (more) sim_ring_complete(world, request->ring, request->entry.user_data, (int32_t)bits, IORING_CQE_F_MORE);
    else finish(world, request, (int32_t)bits, 0);
}

static void run_accept(sim_world *world, sim_request *request) {
    while (true) {
        int result = sim_socket_accept(world, socket_of(request), SIM_ON_URING_ACCEPT);
        if (result == -EAGAIN) return;
        bool more = result >= 0 && !sim_chance(world, world->faults.multishot_ends);
        if (result >= 0) told(world, request, 0, more ? SIM_MORE : SIM_LAST);
        if (!more) {
            finish(world, request, result, 0);
            return;
        }
        sim_ring_complete(world, request->ring, request->entry.user_data, result, IORING_CQE_F_MORE);
    }
}

static bool is_at_end(const sim_socket *socket) {
    return socket->input_over || socket->input_shut || socket->error || socket->state == SIM_DEAD;
}

static struct io_uring_buf *next_buffer(sim_ring *ring) {
    if (!ring->buffers) return NULL;
    uint16_t tail = __atomic_load_n(&ring->buffers->tail, __ATOMIC_ACQUIRE);
    return tail == ring->buffer_head ? NULL : &ring->buffers->bufs[ring->buffer_head & ring->buffer_mask];
}

// `length` bytes of the first buffer are used. The flags of the completion that tells of it.
static uint32_t use_buffer(sim_world *world, sim_ring *ring, struct io_uring_buf *buffer, uint32_t length) {
    uint32_t flags = IORING_CQE_F_BUFFER | (uint32_t)buffer->bid << IORING_CQE_BUFFER_SHIFT;
    bool incremental = ring->incremental && length < buffer->len;
    sim_told(world, SIM_ON_URING_BUFFER, incremental ? SIM_MORE : length == buffer->len ? SIM_FULL
                                                                                        : SIM_PART);
    if (incremental) {
        buffer->addr += length;
        buffer->len -= length;
        sim_ring_poison_buffer(buffer);
        return flags | 1u << 4;     // IORING_CQE_F_BUF_MORE
    }
    ring->buffer_head++;
    return flags;
}

// True when there may be more for this request.
static bool receive_once(sim_world *world, sim_request *request) {
    sim_socket *socket = socket_of(request);
    if (socket->unread == 0 && !is_at_end(socket)) return false;
    struct io_uring_buf *buffer = next_buffer(request->ring);
    if (!buffer || sim_chance(world, world->faults.no_buffers)) {
        told(world, request, 0, buffer ? SIM_NOT_YET : ENOBUFS);
        finish(world, request, -ENOBUFS, 0);
        return false;
    }
    uint32_t capacity = buffer->len;
    uint32_t there = capacity < socket->unread ? capacity : socket->unread;
    bool is_short = there > 1 && sim_chance(world, world->faults.short_receive);
    if (is_short) capacity = 1 + sim_random_below(&world->random, there - 1);
    sim_ring_check_buffer(world, buffer, capacity < there ? capacity : there, request->entry.user_data);
    int64_t result = sim_socket_receive(world, socket, (void *)(uintptr_t)buffer->addr, capacity);
    if (result <= 0) {
        told(world, request, (int32_t)result, SIM_END);
        finish(world, request, (int32_t)result, 0);
        return false;
    }
    if (is_short) told(world, request, 0, SIM_SHORT);
    uint32_t flags = use_buffer(world, request->ring, buffer, (uint32_t)result);
    if (socket->unread > 0) flags |= IORING_CQE_F_SOCK_NONEMPTY;
    bool more = request->multishot && !sim_chance(world, world->faults.multishot_ends);
    told(world, request, 0, more ? SIM_MORE : SIM_LAST);
    if (!more) {
        finish(world, request, (int32_t)result, flags);
        return false;
    }
    sim_ring_complete(world, request->ring, request->entry.user_data, (int32_t)result, flags | IORING_CQE_F_MORE);
    if (socket->unread > 0) return true;
    // Behind all bytes there may be the end; whether that is seen now depends on when it came, and on the kernel.
    return is_at_end(socket) && world->traits.sees_ends && !request->armed_behind_the_end;
}

static void run_receive(sim_world *world, sim_request *request) {
    for (uint32_t i = 0; i < SIM_RECEIVES_PER_RUN; i++)
        if (!receive_once(world, request)) return;
    sim_request_list(request);
}

static bool is_zero_copy(const sim_request *request) {
    return request->entry.opcode == IORING_OP_SEND_ZC || request->entry.opcode == IORING_OP_SENDMSG_ZC;
}

// True when it was the last of the request.
static bool run_send(sim_world *world, sim_request *request) {
    sim_socket *socket = socket_of(request);
    sim_notification *notification = NULL;
    bool copies = false;
    sim_lent_check(world, &request->lent, request->entry.user_data);
    uint16_t chance = is_zero_copy(request) ? world->faults.lock_fails : world->faults.send_fails;
    int error = sim_fails(world, operation_of(request), chance);
    // Without a notification, when there was no memory for it.
    if (error && (error == ENOMEM || !is_zero_copy(request))) {
        finish(world, request, -error, 0);
        return true;
    }
    if (is_zero_copy(request)) {
        notification = sim_calloc(1, sizeof *notification);
        if (!notification) abort();
        socket->was_lent_memory = true;
        copies = sim_chance(world, world->faults.copies);
        *notification = (sim_notification){
            .references = 1,
            .ring = &request->ring->file,
            .socket = socket->self,
            .user_data = request->entry.user_data,
            .copied = copies,
        };
    }
    int64_t result = -error;
    if (!error) result = sim_socket_send(world, socket, request->vectors, request->vector_count, copies ? NULL : notification);
    if (result == -EAGAIN) {
        sim_free(notification);
        if (!request->lent.vectors) sim_lent_begin(&request->lent, request->vectors, request->vector_count, UINT64_MAX);
        return false;
    }
    if (!error)
        told(world, request, result < 0 ? (int32_t)result : 0,
             sim_is_all(result, request->vectors, request->vector_count) ? SIM_DONE : SIM_SHORT);
    uint32_t flags = 0;
    if (notification) {
        if (result > 0 && !copies) sim_lent_begin(&notification->lent, request->vectors, request->vector_count, (uint64_t)result);
        flags = IORING_CQE_F_MORE;
        sim_file_retain(&request->ring->file);
    }
    finish(world, request, (int32_t)result, flags);
    if (notification) sim_notification_release(world, notification);
    return true;
}

static void run_connect(sim_world *world, sim_request *request) {
    sim_socket *socket = socket_of(request);
    if (socket->state == SIM_CONNECTING) return;
    int error = sim_socket_take_error(socket);
    if (socket->state != SIM_CONNECTED && error == 0) error = ECONNABORTED;
    told(world, request, -error, SIM_DONE);
    finish(world, request, -error, 0);
}

static void run_once(sim_world *world, sim_request *request) {
    switch (request->entry.opcode) {
    case IORING_OP_POLL_ADD: run_poll(world, request); break;
    case IORING_OP_ACCEPT: run_accept(world, request); break;
    case IORING_OP_RECV: run_receive(world, request); break;
    case IORING_OP_CONNECT: run_connect(world, request); break;
    default: run_send(world, request);
    }
}

static void end_cancelled(sim_world *world, sim_request *request, int error) {
    told(world, request, -error, 0);
    finish(world, request, -error, 0);
}

void sim_request_run(sim_world *world, sim_request *request) {
    bool cancelled = request->cancelled;
    sim_ring *ring = request->ring;
    run_once(world, request);
    if (!cancelled) return;
    sim_request *left = ring->requests;
    while (left && left != request) left = left->next;
    if (left) end_cancelled(world, left, left->interrupted ? EINTR : ECANCELED);
}

// ------------------------------------------------------------------------------------------------------------- beginning

static uint32_t wanted_bits(const sim_file *file, const struct io_uring_sqe *entry) {
    switch (entry->opcode) {
    // Of sockets also what nobody asked for, as io_uring polls.
    case IORING_OP_POLL_ADD: return file->kind == SIM_SOCKET ? entry->poll32_events | EPOLLERR | EPOLLHUP | EPOLLRDHUP : EPOLLIN;
    case IORING_OP_ACCEPT: return EPOLLIN;
    case IORING_OP_RECV: return EPOLLIN | EPOLLRDHUP;
    default: return EPOLLOUT;
    }
}

static void copy_vectors(sim_request *request) {
    const struct io_uring_sqe *entry = &request->entry;
    struct iovec one = {.iov_base = (void *)(uintptr_t)entry->addr, .iov_len = entry->len};
    const struct iovec *vectors = &one;
    request->vector_count = 1;
    if (entry->opcode == IORING_OP_SENDMSG || entry->opcode == IORING_OP_SENDMSG_ZC) {
        const struct msghdr *message = (const struct msghdr *)(uintptr_t)entry->addr;
        vectors = message->msg_iov;
        request->vector_count = (uint32_t)message->msg_iovlen;
    }
    request->vectors = sim_malloc(request->vector_count * sizeof *vectors);
    if (!request->vectors) abort();
    memcpy(request->vectors, vectors, request->vector_count * sizeof *vectors);
}

static void cancel(sim_world *world, sim_ring *ring, const struct io_uring_sqe *entry) {
    sim_request *request = ring->requests;
    while (request && request->entry.user_data != entry->addr) request = request->next;
    // One for which something has happened may do that first.
    bool running = request && request->listed && sim_random_below(&world->random, 2) == 0;
    // One that a worker thread has is interrupted, which takes a while.
    bool late = request && request->entry.opcode != IORING_OP_CONNECT && sim_chance(world, world->faults.cancel_late);
    if (late) {
        request->interrupted = true;
        sim_request_list(request);
    }
    if (running || late) request->cancelled = true;
    else if (request) end_cancelled(world, request, ECANCELED);
    int32_t result = late ? -EALREADY : request ? 0
                                                : -ENOENT;
    sim_told_result(world, SIM_ON_URING_CANCEL, result, SIM_DONE);
    if (result != 0 || !(entry->flags & IOSQE_CQE_SKIP_SUCCESS)) sim_ring_complete(world, ring, entry->user_data, result, 0);
}

static void attach(sim_ring *ring, sim_request *request) {
    sim_file_retain(request->file);
    request->next = ring->requests;
    if (request->next) request->next->previous = request;
    ring->requests = request;
    request->next_of_file = request->file->requests;
    request->file->requests = request;
}

// Pieces that lie beside each other in memory are one, and where they lie is not the seed's.
static uint8_t traced_opcode(uint8_t opcode) {
    switch (opcode) {
    case IORING_OP_SENDMSG: return IORING_OP_SEND;
    case IORING_OP_SENDMSG_ZC: return IORING_OP_SEND_ZC;
    default: return opcode;
    }
}

void sim_request_begin(sim_world *world, sim_ring *ring, const struct io_uring_sqe *entry) {
    uint64_t token = entry->opcode == IORING_OP_ASYNC_CANCEL ? entry->addr : entry->user_data;
    sim_trace(world, SIM_T_REQUEST, sim_token_number(token), traced_opcode(entry->opcode));
    if (entry->opcode == IORING_OP_ASYNC_CANCEL) {
        cancel(world, ring, entry);
        return;
    }
    sim_file *file = sim_file_of(world, entry->fd);
    int error = file && entry->opcode == IORING_OP_RECV ? sim_fails(world, SIM_ON_URING_RECV, world->faults.receive_fails) : 0;
    if (error) {
        sim_ring_complete(world, ring, entry->user_data, -error, 0);
        return;
    }
    if (!file) {
        sim_ring_complete(world, ring, entry->user_data, -EBADF, 0);
        return;
    }
    sim_request *request = sim_calloc(1, sizeof *request);
    if (!request) abort();
    *request = (sim_request){.ring = ring, .file = file, .entry = *entry, .wants = wanted_bits(file, entry)};
    attach(ring, request);
    // Not of zero-copy sends: their sockets live on in the program for a while.
    if (file->kind == SIM_SOCKET && entry->opcode == IORING_OP_RECV) {
        ((sim_socket *)file)->last_ring = ring;
        ((sim_socket *)file)->last_token = entry->user_data;
    }
    switch (entry->opcode) {
    case IORING_OP_POLL_ADD:
        if (sim_file_readiness(world, file) & request->wants) sim_request_list(request);
        break;
    case IORING_OP_ACCEPT: run_accept(world, request); break;
    case IORING_OP_RECV:
        request->multishot = entry->ioprio & IORING_RECV_MULTISHOT;
        request->armed_behind_the_end = is_at_end(socket_of(request));
        if (sim_file_readiness(world, file) & (EPOLLIN | EPOLLRDHUP | EPOLLHUP)) sim_request_list(request);
        break;
    case IORING_OP_CONNECT: {
        int result = sim_socket_connect(world, socket_of(request), (const struct sockaddr *)(uintptr_t)entry->addr,
                                        (socklen_t)entry->off, SIM_ON_URING_CONNECT);
        if (result != -EINPROGRESS) finish(world, request, result, 0);
        break;
    }
    default:
        copy_vectors(request);
        run_send(world, request);
    }
}
