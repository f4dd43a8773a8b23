// io_uring: the rings a program shares with its kernel. Entries are taken, and completions appear, only inside enter, as with
// DEFER_TASKRUN. What a request does is uring_requests.c's.
#include "uring.h"

#define SIM_DEFERRED_CAP 20u

sim_ring *sim_ring_of(sim_world *world, const struct io_uring *io) {
    sim_file *file = sim_file_of(world, io->ring_fd);
    if (!file || file->kind != SIM_RING) abort();
    return (sim_ring *)file;
}

// ------------------------------------------------------------------------------------------------------- set-up and end

static unsigned power_of_two(unsigned least) {
    unsigned power = 1;
    while (power < least) power *= 2;
    return power;
}

static int call_setup(unsigned entries, struct io_uring *io, struct io_uring_params *parameters) {
    sim_world *world = sim_here;
    int error = sim_fails(world, SIM_ON_URING_SETUP, world->faults.set_up_fails);
    if (error) return -error;
    sim_ring *ring = sim_calloc(1, sizeof *ring);
    if (!ring) return -ENOMEM;
    unsigned submissions = power_of_two(entries);
    unsigned completions = power_of_two(parameters->cq_entries > 2 * submissions ? parameters->cq_entries : 2 * submissions);
    ring->sqes = sim_calloc(submissions, sizeof *ring->sqes);
    ring->cqes = sim_calloc(completions, sizeof *ring->cqes);
    errno = ENOMEM;
    if (!ring->sqes || !ring->cqes || sim_file_open(world, &ring->file, SIM_RING) < 0) {
        sim_free(ring->sqes);
        sim_free(ring->cqes);
        sim_free(ring);
        sim_told(world, SIM_ON_URING_SETUP, errno);
        return -errno;
    }
    sim_told(world, SIM_ON_URING_SETUP, SIM_DONE);
    ring->sq_mask = submissions - 1;
    ring->cq_mask = completions - 1;
    *io = (struct io_uring){.ring_fd = ring->file.fd, .enter_ring_fd = ring->file.fd, .flags = parameters->flags};
    io->sq.khead = &ring->sq_head;
    io->sq.ktail = &ring->sq_tail;
    io->sq.kring_mask = &ring->sq_mask;
    io->sq.kring_entries = &ring->sq_entries;
    io->sq.kflags = &ring->sq_flags;
    io->sq.kdropped = &ring->sq_dropped;
    io->sq.sqes = ring->sqes;
    io->sq.ring_mask = ring->sq_mask;
    io->sq.ring_entries = ring->sq_entries = submissions;
    io->cq.khead = &ring->cq_head;
    io->cq.ktail = &ring->cq_tail;
    io->cq.kring_mask = &ring->cq_mask;
    io->cq.kring_entries = &ring->cq_entries;
    io->cq.koverflow = &ring->cq_overflow;
    io->cq.cqes = ring->cqes;
    io->cq.ring_mask = ring->cq_mask;
    io->cq.ring_entries = ring->cq_entries = completions;
    parameters->features = IORING_FEAT_NODROP | IORING_FEAT_EXT_ARG | IORING_FEAT_FAST_POLL | IORING_FEAT_SUBMIT_STABLE;
    if (world->loop) world->loop->waiter = &ring->file;
    return 0;
}

static int call_enable(struct io_uring *io) {
    (void)io;
    int error = sim_fails(sim_here, SIM_ON_URING_ENABLE, 0);
    if (!error) sim_told(sim_here, SIM_ON_URING_ENABLE, SIM_DONE);
    return -error;
}

static void call_exit(struct io_uring *io) {
    sim_world *world = sim_here;
    sim_ring *ring = sim_ring_of(world, io);
    while (ring->requests) sim_request_drop(world, ring->requests);
    ring->work_head = ring->work_tail = NULL;
    ring->closed = true;
    world->kernel.close(io->ring_fd);
}

void sim_ring_free(sim_world *world, sim_file *file) {
    sim_ring *ring = (sim_ring *)file;
    for (sim_completion *later; (later = ring->later_head);) {
        ring->later_head = later->next;
        sim_free(later);
    }
    if (world->loop && world->loop->waiter == file) world->loop->waiter = NULL;
    sim_free(ring->sqes);
    sim_free(ring->cqes);
    sim_free(ring);
}

static int call_register_buffers(struct io_uring *io, const struct io_uring_buf_reg *registration) {
    sim_ring *ring = sim_ring_of(sim_here, io);
    int error = sim_fails(sim_here, SIM_ON_REGISTER_BUFFERS, sim_here->faults.set_up_fails);
    if (error) return -error;
    sim_told(sim_here, SIM_ON_REGISTER_BUFFERS, SIM_DONE);
    uint16_t flags;
    memcpy(&flags, (const char *)registration + offsetof(struct io_uring_buf_reg, bgid) + sizeof registration->bgid, 2);
    ring->buffers = (struct io_uring_buf_ring *)(uintptr_t)registration->ring_addr;
    ring->buffer_mask = registration->ring_entries - 1;
    ring->buffer_head = ring->buffers_poisoned = 0;
    ring->incremental = flags != 0;
    return 0;
}

static int call_unregister_buffers(struct io_uring *io, int group) {
    (void)group;
    sim_ring_of(sim_here, io)->buffers = NULL;
    sim_told(sim_here, SIM_ON_UNREGISTER_BUFFERS, SIM_DONE);
    return 0;
}

// ----------------------------------------------------------------------------------------------------------- completions

static bool place(sim_ring *ring, const struct io_uring_cqe *cqe) {
    if (ring->cq_tail - __atomic_load_n(&ring->cq_head, __ATOMIC_ACQUIRE) > ring->cq_mask) return false;
    ring->cqes[ring->cq_tail & ring->cq_mask] = *cqe;
    __atomic_store_n(&ring->cq_tail, ring->cq_tail + 1, __ATOMIC_RELEASE);
    return true;
}

static void keep(sim_ring *ring, const struct io_uring_cqe *cqe) {
    sim_completion *later = sim_malloc(sizeof *later);
    if (!later) abort();
    *later = (sim_completion){.cqe = *cqe};
    if (ring->later_tail) ring->later_tail->next = later;
    else ring->later_head = later;
    ring->later_tail = later;
}

void sim_ring_complete(sim_world *world, sim_ring *ring, uint64_t user_data, int32_t result, uint32_t flags) {
    struct io_uring_cqe cqe = {.user_data = user_data, .res = result, .flags = flags};
    sim_trace(world, SIM_T_COMPLETION, sim_token_number(user_data), result);
    if (sim_chance(world, world->faults.completions_dropped)) {
        ring->dropped = true;
        sim_told(world, SIM_ON_COMPLETION, SIM_DROPPED);
        // Whoever was accepted belongs to nobody.
        if (user_data >> 56 == 5 && result >= SIM_FD_FIRST) world->kernel.close(result);
        return;
    }
    bool fits = !sim_chance(world, world->faults.completions_kept);
    if (fits && !ring->later_head && place(ring, &cqe)) {
        sim_told(world, SIM_ON_COMPLETION, SIM_DONE);
        return;
    }
    keep(ring, &cqe);
    sim_told(world, SIM_ON_COMPLETION, SIM_KEPT);
    ring->sq_flags |= IORING_SQ_CQ_OVERFLOW;
}

// From outside of an enter: it appears in the next one.
static void complete_later(sim_ring *ring, const struct io_uring_cqe *cqe) { keep(ring, cqe); }

static void place_what_was_kept(sim_ring *ring) {
    while (ring->later_head && place(ring, &ring->later_head->cqe)) {
        sim_completion *later = ring->later_head;
        ring->later_head = later->next;
        if (!ring->later_head) ring->later_tail = NULL;
        sim_free(later);
    }
    if (!ring->later_head) ring->sq_flags &= ~IORING_SQ_CQ_OVERFLOW;
}

typedef struct sim_notice {     // a zero-copy notification on its way
    sim_event event;
    sim_ring *ring;
    uint64_t user_data;
    sim_handle socket;
    bool copied, late;
    sim_lent lent;
} sim_notice;

static void notice_arrives(sim_world *world, sim_event *event) {
    sim_notice *notice = (sim_notice *)event;
    sim_ring *ring = notice->ring;
    struct io_uring_cqe cqe = {
        .user_data = notice->user_data,
        .res = notice->copied ? (int32_t)(1u << 31) : 0,
        .flags = IORING_CQE_F_NOTIF,
    };
    if (!ring->closed) {
        sim_lent_check(world, &notice->lent, notice->user_data);
        complete_later(ring, &cqe);
        sim_told(world, SIM_ON_URING_NOTIFICATION, notice->late ? SIM_LATE : SIM_DONE);
        const sim_socket *socket = sim_socket_at(world, notice->socket);
        if (!socket || socket->file.fd < 0) sim_told(world, SIM_ON_URING_NOTIFICATION, SIM_BEHIND);
        if (notice->copied) sim_told(world, SIM_ON_URING_NOTIFICATION, SIM_COPIED);
    }
    sim_lent_end(&notice->lent);
    sim_free(notice);
    sim_file_release(world, &ring->file);
}

// Takes over the reference to the ring, and what was lent.
void sim_ring_notified(sim_world *world, const sim_notification *notification) {
    sim_notice *notice = sim_calloc(1, sizeof *notice);
    if (!notice) abort();
    *notice = (sim_notice){
        .ring = (sim_ring *)notification->ring,
        .user_data = notification->user_data,
        .socket = notification->socket,
        .copied = notification->copied,
        .lent = notification->lent,
    };
    notice->event.happens = notice_arrives;
    bool late = notice->late = sim_chance(world, world->faults.late_notification);
    uint64_t delay = late ? sim_random_below(&world->random, 1000) * SIM_MILLI : sim_random_below(&world->random, 50) * SIM_MICRO;
    sim_schedule(world, &notice->event, world->now + delay);
}

// Of a world that ends.
void sim_event_free(sim_event *event) {
    if (event->happens == notice_arrives) sim_lent_end(&((sim_notice *)event)->lent);
    sim_free(event);
}

static void stale_arrives(sim_world *world, sim_event *event) {
    sim_notice *notice = (sim_notice *)event;
    struct io_uring_cqe cqe = {.user_data = notice->user_data, .res = -ECANCELED};
    if (!notice->ring->closed) {
        complete_later(notice->ring, &cqe);
        sim_told(world, SIM_ON_COMPLETION, SIM_STALE);
    }
    sim_file_release(world, &notice->ring->file);
    sim_free(notice);
}

// No kernel does this. A program that knows whose completion it has is none the worse for it, unless it still waits for others
// of the same socket.
void sim_ring_maybe_stale(sim_world *world, sim_socket *socket) {
    if (!socket->last_ring || socket->last_ring->closed || socket->was_lent_memory) return;
    if (!sim_chance(world, world->faults.stale_completions)) return;
    sim_notice *notice = sim_calloc(1, sizeof *notice);
    if (!notice) abort();
    *notice = (sim_notice){.ring = socket->last_ring, .user_data = socket->last_token};
    sim_file_retain(&notice->ring->file);
    notice->event.happens = stale_arrives;
    sim_schedule(world, &notice->event, world->now + sim_random_below(&world->random, 5000) * SIM_MICRO);
}

// ----------------------------------------------------------------------------------------------------------------- enter

void sim_ring_wake(sim_world *world, sim_file *file, uint32_t bits) {
    (void)world;
    for (sim_request *request = file->requests; request; request = request->next_of_file)
        if (request->wants & bits || bits & (EPOLLERR | EPOLLHUP)) sim_request_list(request);
}

bool sim_ring_has_work(const sim_file *file) {
    const sim_ring *ring = (const sim_ring *)file;
    return ring->work_head || ring->later_head || ring->cq_head != ring->cq_tail || ring->dropped;
}

static void run_work(sim_world *world, sim_ring *ring, uint32_t cap) {
    for (uint32_t items = 0; items < cap && ring->work_head; items++) {
        sim_request *request = sim_request_take(ring);
        // Connections have no order among each other.
        if (ring->work_head && sim_random_below(&world->random, 8) == 0) {
            sim_request_list(request);
            request = sim_request_take(ring);
        }
        sim_request_run(world, request);
    }
}

static int take_entries(sim_world *world, sim_ring *ring, uint32_t submit) {
    if (submit > 1 && sim_chance(world, world->faults.enter_takes_part)) submit = sim_random_below(&world->random, submit);
    uint32_t head = ring->sq_head;
    for (uint32_t i = 0; i < submit && head != ring->sq_tail; i++, head++)
        sim_request_begin(world, ring, &ring->sqes[head & ring->sq_mask]);
    int taken = (int)(head - ring->sq_head);
    __atomic_store_n(&ring->sq_head, head, __ATOMIC_RELEASE);
    return taken;
}

// Whether the program goes to sleep here.
static bool suspends(sim_world *world, sim_ring *ring, uint32_t wait, uint64_t timeout) {
    if (wait == 0 || timeout == 0 || ring->cq_head != ring->cq_tail) return false;
    if (sim_chance(world, world->faults.wakes_for_nothing)) {
        sim_told(world, SIM_ON_ENTER, SIM_EARLY);
        return false;
    }
    sim_loop *loop = world->loop;
    if (!loop || (loop->suspended && world->now >= loop->deadline)) return false;
    loop->deadline = timeout < SIM_FOREVER - world->now ? world->now + timeout : SIM_FOREVER;
    return true;
}

static int enter(struct io_uring *io, uint32_t submit, uint32_t wait, uint32_t flags, uint64_t timeout) {
    sim_world *world = sim_here;
    sim_ring *ring = sim_ring_of(world, io);
    world->statistics.calls++;
    world->suspended = false;
    sim_ring_poison_buffers(ring);
    place_what_was_kept(ring);
    int error = submit > 0 ? sim_fails(world, SIM_ON_ENTER, world->faults.enter_refuses) : 0;
    if (error) return -error;
    if (sim_chance(world, world->faults.enter_interrupted)) {
        sim_told(world, SIM_ON_ENTER, EINTR);
        return -EINTR;
    }
    int taken = take_entries(world, ring, submit);
    if (submit > 0) sim_told(world, SIM_ON_ENTER, taken < (int)submit ? SIM_PART : SIM_DONE);
    if (submit > 0 && taken < (int)submit && taken > 0) return taken;
    if (!(flags & IORING_ENTER_GETEVENTS)) return taken;
    run_work(world, ring, wait > SIM_DEFERRED_CAP ? wait : SIM_DEFERRED_CAP);
    place_what_was_kept(ring);
    if (ring->dropped) {
        ring->dropped = false;
        sim_told(world, SIM_ON_ENTER, EBADR);
        return -EBADR;
    }
    world->suspended = suspends(world, ring, wait, timeout);
    if (taken > 0 || ring->cq_head != ring->cq_tail) return taken;
    if (!world->suspended) sim_told(world, SIM_ON_ENTER, ETIME);
    return -ETIME;
}

static int call_enter(struct io_uring *io, uint32_t submit, uint32_t wait, uint32_t flags, uint64_t timeout) {
    sim_world *world = sim_here;
    world->busy = true;
    int result = enter(io, submit, wait, flags, timeout);
    world->busy = false;
    return result;
}

void sim_fill_in_uring(ct_kernel *kernel) {
    kernel->uring_setup = call_setup;
    kernel->uring_exit = call_exit;
    kernel->uring_enable = call_enable;
    kernel->uring_enter = call_enter;
    kernel->uring_register_buffers = call_register_buffers;
    kernel->uring_unregister_buffers = call_unregister_buffers;
}
