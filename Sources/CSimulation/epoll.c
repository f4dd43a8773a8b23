// epoll(7), edge-triggered: what became ready is told once.
#include "world.h"

typedef struct sim_epoll {
    sim_file file;
    sim_watch *_Nullable ready_head;
    sim_watch *_Nullable ready_tail;
} sim_epoll;

static void list_ready(sim_watch *watch) {
    if (watch->ready) return;
    sim_epoll *epoll = watch->epoll;
    watch->ready = true;
    watch->next_ready = NULL;
    if (epoll->ready_tail) epoll->ready_tail->next_ready = watch;
    else epoll->ready_head = watch;
    epoll->ready_tail = watch;
}

static void unlist(sim_watch *watch) {
    if (!watch->ready) return;
    sim_epoll *epoll = watch->epoll;
    sim_watch *before = NULL;
    for (sim_watch *at = epoll->ready_head; at != watch; at = at->next_ready) before = at;
    if (before) before->next_ready = watch->next_ready;
    else epoll->ready_head = watch->next_ready;
    if (epoll->ready_tail == watch) epoll->ready_tail = before;
    watch->ready = false;
}

void sim_epoll_wake(sim_world *world, sim_file *file) {
    (void)world;
    for (sim_watch *watch = file->watches; watch; watch = watch->next) list_ready(watch);
}

void sim_epoll_forget(sim_world *world, sim_file *file) {
    (void)world;
    while (file->watches) {
        sim_watch *watch = file->watches;
        file->watches = watch->next;
        unlist(watch);
        sim_free(watch);
    }
}

bool sim_epoll_has_news(const sim_file *file) { return ((const sim_epoll *)file)->ready_head != NULL; }

void sim_epoll_free(sim_world *world, sim_file *file) {
    sim_epoll *epoll = (sim_epoll *)file;
    // What it still looks at outlives it.
    for (uint32_t i = 0; i < world->file_count; i++) {
        sim_file *other = world->files[i];
        for (sim_watch **place = other ? &other->watches : NULL; place && *place;) {
            sim_watch *watch = *place;
            if (watch->epoll != epoll) {
                place = &watch->next;
                continue;
            }
            *place = watch->next;
            sim_free(watch);
        }
    }
    if (world->loop && world->loop->waiter == file) world->loop->waiter = NULL;
    sim_free(epoll);
}

static int call_create(void) {
    sim_world *world = sim_here;
    errno = sim_fails(world, SIM_ON_EPOLL_CREATE, world->faults.set_up_fails);
    if (errno) return -1;
    sim_epoll *epoll = sim_calloc(1, sizeof *epoll);
    int fd = epoll ? sim_file_open(world, &epoll->file, SIM_EPOLL) : -1;
    sim_told(world, SIM_ON_EPOLL_CREATE, fd < 0 ? errno : SIM_DONE);
    if (fd < 0) sim_free(epoll);
    else if (world->loop) world->loop->waiter = &epoll->file;
    return fd;
}

static int call_control(int fd, int operation, int other, struct epoll_event *event) {
    sim_world *world = sim_here;
    world->statistics.calls++;
    sim_epoll *epoll = (sim_epoll *)sim_file_of(world, fd);
    sim_file *file = sim_file_of(world, other);
    if (!epoll || epoll->file.kind != SIM_EPOLL || !file) {
        errno = EBADF;
        return -1;
    }
    sim_watch **place = &file->watches;
    while (*place && (*place)->epoll != epoll) place = &(*place)->next;
    if ((operation == EPOLL_CTL_ADD) == (*place != NULL)) {
        errno = *place ? EEXIST : ENOENT;
        return -1;
    }
    if (operation == EPOLL_CTL_DEL) {
        sim_watch *watch = *place;
        *place = watch->next;
        unlist(watch);
        sim_free(watch);
        sim_told(world, SIM_ON_EPOLL_DELETE, SIM_DONE);
        return 0;
    }
    errno = sim_fails(world, SIM_ON_EPOLL_ADD, world->faults.watch_fails);
    if (errno) return -1;
    sim_told(world, SIM_ON_EPOLL_ADD, SIM_DONE);
    sim_watch *watch = sim_calloc(1, sizeof *watch);
    if (!watch) {
        errno = ENOMEM;
        return -1;
    }
    *watch = (sim_watch){.next = file->watches, .epoll = epoll, .file = file, .events = event->events, .data = event->data};
    file->watches = watch;
    if (sim_file_readiness(world, file) & (watch->events | EPOLLERR | EPOLLHUP)) list_ready(watch);
    return 0;
}

static void told_edge(sim_world *world, uint32_t bits) {
    if (bits & EPOLLIN) sim_told(world, SIM_ON_EDGE, SIM_IN);
    if (bits & EPOLLOUT) sim_told(world, SIM_ON_EDGE, SIM_OUT);
    if (bits & EPOLLRDHUP) sim_told(world, SIM_ON_EDGE, SIM_RDHUP);
    if (bits & EPOLLHUP) sim_told(world, SIM_ON_EDGE, SIM_HUP);
    if (bits & EPOLLERR) sim_told(world, SIM_ON_EDGE, SIM_ERR);
}

static int call_wait(int fd, struct epoll_event *events, int capacity, uint64_t timeout) {
    sim_world *world = sim_here;
    world->statistics.calls++;
    world->suspended = false;
    sim_epoll *epoll = (sim_epoll *)sim_file_of(world, fd);
    errno = sim_fails(world, SIM_ON_EPOLL_WAIT, world->faults.enter_interrupted);
    if (errno) return -1;
    int count = 0;
    sim_watch *last = epoll->ready_tail;
    for (bool more = last != NULL; more && count < capacity;) {
        sim_watch *watch = epoll->ready_head;
        more = watch != last;
        unlist(watch);
        uint32_t bits = sim_file_readiness(world, watch->file) & (watch->events | EPOLLERR | EPOLLHUP);
        if (bits == 0) continue;
        sim_trace(world, SIM_T_EDGE, sim_number(watch->file->fd), bits);
        events[count++] = (struct epoll_event){.events = bits, .data = watch->data};
        told_edge(world, bits);
        // The same again, though nothing happened in between.
        if (sim_chance(world, world->faults.spurious_edge)) {
            list_ready(watch);
            sim_told(world, SIM_ON_EDGE, SIM_AGAIN);
        }
    }
    if (count > 0) {
        sim_told(world, SIM_ON_EPOLL_WAIT, SIM_DONE);
        return count;
    }
    bool is_early = timeout > 0 && sim_chance(world, world->faults.wakes_for_nothing);
    sim_loop *loop = world->loop;
    if (!is_early && timeout > 0 && loop && !(loop->suspended && world->now >= loop->deadline)) {
        loop->deadline = timeout < SIM_FOREVER - world->now ? world->now + timeout : SIM_FOREVER;
        world->suspended = true;
        return 0;
    }
    sim_told(world, SIM_ON_EPOLL_WAIT, is_early ? SIM_EARLY : SIM_NOTHING);
    return 0;
}

void sim_fill_in_epoll(ct_kernel *kernel) {
    kernel->epoll_create = call_create;
    kernel->epoll_ctl = call_control;
    kernel->epoll_wait = call_wait;
}
