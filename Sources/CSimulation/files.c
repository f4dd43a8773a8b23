// Descriptors, and what they refer to. A file lives until its descriptor is closed and no request of a ring uses it.
#include "world.h"

bool sim_grow(void *array, uint32_t *capacity, uint32_t needed, size_t size) {
    if (needed <= *capacity) return true;
    uint32_t more = *capacity ? *capacity * 2 : 64;
    while (more < needed) more *= 2;
    void *grown = sim_realloc(*(void **)array, more * size);
    if (!grown) return false;
    memset((char *)grown + *capacity * size, 0, (more - *capacity) * size);
    *(void **)array = grown;
    *capacity = more;
    return true;
}

sim_file *sim_file_of(sim_world *world, int fd) {
    uint32_t index = (uint32_t)(fd - SIM_FD_FIRST);
    return fd >= SIM_FD_FIRST && index < world->file_count ? world->files[index] : NULL;
}

int sim_file_open(sim_world *world, sim_file *file, enum sim_kind kind) {
    sim_machine *machine = &world->machines[world->host];
    if (machine->descriptor_limit && machine->descriptors >= machine->descriptor_limit) {
        errno = EMFILE;
        return -1;
    }
    uint32_t index = world->file_count;
    // The one closed last: who uses a descriptor that is not its own any more meets its next owner at once.
    if (world->free_file_count > 0) {
        index = world->free_files[--world->free_file_count];
    } else if (sim_grow(&world->files, &world->file_capacity, index + 1, sizeof *world->files)) {
        world->file_count++;
    } else {
        errno = ENFILE;
        return -1;
    }
    machine->descriptors++;
    world->files[index] = file;
    file->kind = kind;
    file->host = world->host;
    file->fd = SIM_FD_FIRST + (int)index;
    file->references = 1;
    return file->fd;
}

void sim_file_retain(sim_file *file) { file->references++; }

void sim_file_release(sim_world *world, sim_file *file) {
    if (--file->references > 0) return;
    switch (file->kind) {
    case SIM_SOCKET: sim_socket_closed(world, (sim_socket *)file); break;
    case SIM_EVENTFD: sim_free(file); break;
    case SIM_EPOLL: sim_epoll_free(world, file); break;
    case SIM_RING: sim_ring_free(world, file); break;
    }
}

static void file_close(sim_world *world, sim_file *file) {
    uint32_t index = (uint32_t)(file->fd - SIM_FD_FIRST);
    world->files[index] = NULL;
    if (sim_grow(&world->free_files, &world->free_file_capacity, world->free_file_count + 1, sizeof *world->free_files))
        world->free_files[world->free_file_count++] = index;
    world->machines[file->host].descriptors--;
    file->fd = -1;
    if (file->kind == SIM_SOCKET) sim_ring_maybe_stale(world, (sim_socket *)file);
    // As Linux does when the last descriptor of a file goes: we have no dup(2).
    sim_epoll_forget(world, file);
    sim_file_release(world, file);
}

uint32_t sim_file_readiness(sim_world *world, const sim_file *file) {
    (void)world;
    switch (file->kind) {
    case SIM_SOCKET: return sim_socket_readiness((const sim_socket *)file);
    case SIM_EVENTFD: return ((const sim_eventfd *)file)->count > 0 ? EPOLLIN | EPOLLOUT : EPOLLOUT;
    default: return 0;
    }
}

void sim_file_wake(sim_world *world, sim_file *file, uint32_t bits) {
    if (file->watches) sim_epoll_wake(world, file);
    if (file->requests) sim_ring_wake(world, file, bits);
}

static int call_close(int fd) {
    sim_world *world = sim_here;
    world->statistics.calls++;
    sim_time_passes(world);
    sim_file *file = sim_file_of(world, fd);
    if (!file) {
        errno = EBADF;
        return -1;
    }
    sim_trace(world, SIM_T_CLOSE, sim_number(fd), 0);
    file_close(world, file);
    return 0;
}

static int call_poll(struct pollfd *one) {
    sim_file *file = sim_file_of(sim_here, one->fd);
    if (!file) {
        one->revents = POLLNVAL;
        return 1;
    }
    uint32_t wanted = (uint32_t)(uint16_t)one->events | EPOLLERR | EPOLLHUP;
    int error = sim_fails(sim_here, SIM_ON_POLL, 0);
    if (error) {
        errno = error;
        return -1;
    }
    one->revents = (short)(sim_file_readiness(sim_here, file) & wanted);
    sim_told(sim_here, SIM_ON_POLL, one->revents ? SIM_DONE : SIM_NOTHING);
    return one->revents != 0;
}

// --------------------------------------------------------------------------------------------------- event descriptors

static int call_eventfd(void) {
    sim_world *world = sim_here;
    errno = sim_fails(world, SIM_ON_EVENTFD, world->faults.set_up_fails);
    if (errno) return -1;
    sim_eventfd *event = sim_calloc(1, sizeof *event);
    int fd = event ? sim_file_open(world, &event->file, SIM_EVENTFD) : -1;
    sim_told(world, SIM_ON_EVENTFD, fd < 0 ? errno : SIM_DONE);
    if (fd < 0) sim_free(event);
    else __atomic_add_fetch(&world->references, 1, __ATOMIC_RELAXED);
    return fd;
}

static sim_world *world_of(const ct_kernel *kernel) { return (sim_world *)(uintptr_t)kernel; }

// A thread outside of the world may still post to a loop in it; the loop looks at its mail whenever it has a turn.
static void call_eventfd_write(const ct_kernel *kernel, int fd) {
    sim_world *world = world_of(kernel);
    if (world != sim_here) {
        __atomic_store_n(&world->outside, true, __ATOMIC_RELEASE);
        return;
    }
    sim_eventfd *event = (sim_eventfd *)sim_file_of(world, fd);
    if (!event || event->file.kind != SIM_EVENTFD) abort();
    event->count++;
    sim_file_wake(world, &event->file, EPOLLIN);
}

static void call_eventfd_close(const ct_kernel *kernel, int fd) {
    sim_world *world = world_of(kernel);
    // From outside, or when the world has ended, it ends with the world.
    if (world == sim_here) call_close(fd);
    if (__atomic_sub_fetch(&world->references, 1, __ATOMIC_ACQ_REL) == 0) sim_free(world);
}

void sim_fill_in_files(ct_kernel *kernel) {
    kernel->close = call_close;
    kernel->poll = call_poll;
    kernel->eventfd = call_eventfd;
    kernel->eventfd_write = call_eventfd_write;
    kernel->eventfd_close = call_eventfd_close;
}
