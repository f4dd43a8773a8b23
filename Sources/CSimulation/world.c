// A world: its hosts, its links, its loops, what it did.
#include "world.h"

#include <netdb.h>
#include <stdio.h>

#define SIM_LOCAL_DELAY (15 * SIM_MICRO)
#define SIM_LINK_DELAY (200 * SIM_MICRO)
// Who sleeps for so long does not spin.
#define SIM_REST (100 * SIM_MICRO)

_Thread_local sim_world *sim_here = NULL;

// -------------------------------------------------------------------------------------------------------------- kernel

static uint64_t call_now(void) { return sim_here->now; }
static uint64_t call_clock(const ct_kernel *kernel) {
    return __atomic_load_n(&((const sim_world *)(uintptr_t)kernel)->now, __ATOMIC_RELAXED);
}
static bool call_is_suspended(void) { return sim_here->suspended; }
static const ct_probe_report *call_probe(void) { return &sim_here->report; }

static bool call_refuses_memory(uint64_t size) {
    (void)size;
    if (sim_fails(sim_here, SIM_ON_MEMORY, sim_here->faults.memory_fails)) return true;
    sim_told(sim_here, SIM_ON_MEMORY, SIM_DONE);
    return false;
}

static void call_count_memory(int blocks) { sim_here->memory_blocks += blocks; }

static int call_resolve(const char *host, uint16_t port, ct_address *addresses, int capacity) {
    static const int codes[] = {EAI_AGAIN, EAI_FAIL, EAI_MEMORY};
    sim_world *world = sim_here;
    int failure = sim_fails(world, SIM_ON_RESOLVE, world->faults.look_up_fails);
    if (failure) return codes[failure - SIM_TRY_AGAIN];
    for (sim_host i = 0; i < world->machine_count && capacity > 0; i++) {
        if (strcmp(world->machines[i].name, host) != 0) continue;
        struct sockaddr_in *address = (struct sockaddr_in *)&addresses->storage;
        *addresses = (ct_address){.length = sizeof *address};
        address->sin_family = AF_INET;
        address->sin_port = htons(port);
        address->sin_addr.s_addr = htonl(10u << 24 | (i + 1));
        sim_told(world, SIM_ON_RESOLVE, SIM_DONE);
        return 1;
    }
    sim_told(world, SIM_ON_RESOLVE, SIM_NO_NAME);
    return EAI_NONAME;
}

// --------------------------------------------------------------------------------------------------------------- worlds

sim_world *sim_world_create(uint64_t seed, sim_kernel_traits traits) {
    sim_world *world = sim_calloc(1, sizeof *world);
    if (!world) return NULL;
    world->references = 1;
    world->now = SIM_SECOND;
    world->traits = traits;
    world->hash = seed;
    sim_random_seed(&world->random, seed);
    ct_kernel *kernel = &world->kernel;
    sim_fill_in_files(kernel);
    sim_fill_in_sockets(kernel);
    sim_fill_in_epoll(kernel);
    sim_fill_in_uring(kernel);
    kernel->now = call_now;
    kernel->clock = call_clock;
    kernel->resolve = call_resolve;
    kernel->probe = call_probe;
    kernel->refuses_memory = call_refuses_memory;
    kernel->count_memory = call_count_memory;
    kernel->is_suspended = call_is_suspended;
    ct_probe_report *report = &world->report;
    report->uring = traits.uring;
    report->incremental_buffers = traits.incremental_buffers;
    report->sees_ends = traits.sees_ends;
    report->send_zero_copy = traits.send_zero_copy;
    if (!traits.uring) report->failure = (ct_failure){ENOSYS, CT_CALL_IO_URING_SETUP};
    snprintf(report->line, sizeof report->line, "a simulated kernel: %s", traits.uring ? "io_uring" : "epoll");
    return world;
}

void sim_world_destroy(sim_world *world) {
    sim_world *before = sim_here;
    sim_here = world;
    // Orphans and whoever was never accepted: listeners are gone, so nobody else has them.
    for (uint32_t i = 0; i < world->socket_count; i++)
        if (world->sockets[i]) sim_socket_free(world, world->sockets[i]);
    while (world->heap.count > 0) {
        sim_event *event = world->heap.items[0];
        sim_unschedule(world, event);
        sim_event_free(event);
    }
    for (uint32_t i = 0; i < world->file_count; i++) sim_free(world->files[i]);
    for (uint32_t i = 0; i < world->machine_count; i++) sim_free(world->machines[i].listeners);
    sim_free(world->heap.items);
    sim_free(world->files);
    sim_free(world->free_files);
    sim_free(world->sockets);
    sim_free(world->generations);
    sim_free(world->free_sockets);
    sim_free(world->machines);
    sim_free(world->links);
    world->files = NULL;
    world->file_count = 0;
    sim_here = before == world ? NULL : before;
    if (__atomic_sub_fetch(&world->references, 1, __ATOMIC_ACQ_REL) == 0) sim_free(world);
}

void sim_world_set_driver(sim_world *world, void *driver) { world->kernel.driver = driver; }

void sim_world_enter(sim_world *world) {
    sim_here = world;
    ct_kernel_here = &world->kernel;
}

void sim_world_leave(sim_world *world) {
    if (sim_here != world) abort();
    sim_here = NULL;
    ct_kernel_here = NULL;
}

sim_place sim_step_aside(void) {
    sim_place place = {sim_here, ct_kernel_here, ct_thread_stand_in, ct_thread_context};
    sim_here = NULL;
    ct_kernel_here = NULL;
    ct_thread_stand_in = NULL;
    ct_thread_context = NULL;
    return place;
}

void sim_step_back(sim_place place) {
    sim_here = place.world;
    ct_kernel_here = place.kernel;
    ct_thread_stand_in = place.stand_in;
    ct_thread_context = place.context;
}

void sim_world_set_host(sim_world *world, sim_host host) { world->host = host; }
sim_host sim_world_current_host(const sim_world *world) { return world->host; }
uint64_t sim_now(const sim_world *world) { return world->now; }
uint32_t sim_draw(sim_world *world, uint32_t bound) { return sim_random_below(&world->random, bound); }
sim_faults *sim_faults_of(sim_world *world) { return &world->faults; }
int64_t sim_memory_blocks(const sim_world *world) { return world->memory_blocks; }
const sim_statistics *sim_statistics_of(const sim_world *world) { return &world->statistics; }
bool sim_world_was_posted_to(sim_world *world) { return __atomic_exchange_n(&world->outside, false, __ATOMIC_ACQUIRE); }

// ---------------------------------------------------------------------------------------------------------------- trace

void sim_trace(sim_world *world, uint32_t what, uint32_t whose, int64_t value) {
    world->done += what <= SIM_T_CLOSE;
    uint64_t mixed = world->hash ^ ((uint64_t)value + world->now * 0x9E3779B97F4A7C15ull + ((uint64_t)what << 56) + world->host +
                                    ((uint64_t)whose << 24));
    mixed = (mixed ^ mixed >> 32) * 0xD6E8FEB86659FD93ull;
    world->hash = mixed ^ mixed >> 29;
    world->trace[world->traced++ % SIM_TRACE_ENTRIES] =
        (sim_trace_entry){.time = world->now, .value = value, .what = what, .whose = whose, .host = world->host};
}

void sim_note(sim_world *world, uint64_t value) { sim_trace(world, SIM_T_USER, 0, (int64_t)value); }

uint64_t sim_trace_hash(const sim_world *world) { return world->hash; }

static const char *const names[] = {
    [SIM_T_SOCKET] = "socket",
    [SIM_T_BIND] = "bind",
    [SIM_T_LISTEN] = "listen",
    [SIM_T_ACCEPT] = "accept",
    [SIM_T_CONNECT] = "connect",
    [SIM_T_RECEIVE] = "receive",
    [SIM_T_SEND] = "send",
    [SIM_T_SHUTDOWN] = "shutdown",
    [SIM_T_CLOSE] = "close",
    [SIM_T_COMPLETION] = "done",
    [SIM_T_EDGE] = "edge",
    [SIM_T_PACKET] = "packet",
    [SIM_T_LOST] = "packet lost",
    [SIM_T_RESET] = "reset",
    [SIM_T_TIMEOUT] = "retransmit",
    [SIM_T_TURN] = "turn",
    [SIM_T_FAULT] = "fault",
    [SIM_T_USER] = "test",
    [SIM_T_REQUEST] = "request",
};

uint32_t sim_trace_text(const sim_world *world, char *text, uint32_t capacity) {
    uint32_t used = 0;
    if (capacity > 0) *text = 0;
    uint64_t first = world->traced > SIM_TRACE_ENTRIES ? world->traced - SIM_TRACE_ENTRIES : 0;
    for (uint64_t i = first; i < world->traced && used < capacity; i++) {
        const sim_trace_entry *entry = &world->trace[i % SIM_TRACE_ENTRIES];
        const char *name = entry->what < sizeof names / sizeof *names ? names[entry->what] : NULL;
        int length = snprintf(text + used, capacity - used, "%14.6f ms  host %u  %-12s %4u  %lld\n", (double)entry->time / 1e6,
                              entry->host, name ? name : "?", entry->whose, (long long)entry->value);
        used += (uint32_t)length;
    }
    return used < capacity ? used : capacity - 1;
}

// ---------------------------------------------------------------------------------------------------------------- hosts

static sim_link *link_of(sim_world *world, sim_host from, sim_host to) { return &world->links[from * world->machine_count + to]; }

sim_host sim_host_add(sim_world *world, const char *name) {
    uint32_t count = world->machine_count, more = count + 1;
    sim_link *links = sim_calloc((size_t)more * more, sizeof *links);
    sim_machine *machines = sim_realloc(world->machines, more * sizeof *machines);
    if (!links || !machines) abort();
    for (sim_host from = 0; from < more; from++)
        for (sim_host to = 0; to < more; to++)
            links[from * more + to] = from < count && to < count
                                          ? *link_of(world, from, to)
                                          : (sim_link){.delay = from == to ? SIM_LOCAL_DELAY : SIM_LINK_DELAY};
    sim_free(world->links);
    world->links = links;
    world->machines = machines;
    machines[count] = (sim_machine){0};
    snprintf(machines[count].name, sizeof machines[count].name, "%s", name);
    world->machine_count = more;
    return count;
}

uint32_t sim_host_count(const sim_world *world) { return world->machine_count; }
void sim_host_limit_descriptors(sim_world *world, sim_host host, uint32_t limit) { world->machines[host].descriptor_limit = limit; }
uint32_t sim_host_descriptors(const sim_world *world, sim_host host) { return world->machines[host].descriptors; }
uint32_t sim_host_connections(const sim_world *world, sim_host host) { return world->machines[host].connections; }

void sim_host_crash(sim_world *world, sim_host host) {
    world->machines[host].is_off = true;
    for (uint32_t i = 0; i < world->socket_count; i++) {
        sim_socket *socket = world->sockets[i];
        if (socket && socket->file.host == host && socket->state == SIM_CONNECTED) sim_tcp_forget(world, socket);
    }
}

void sim_host_restart(sim_world *world, sim_host host) { world->machines[host].is_off = false; }

void sim_host_reset_connections(sim_world *world, sim_host host) {
    for (uint32_t i = 0; i < world->socket_count; i++) {
        sim_socket *socket = world->sockets[i];
        if (socket && socket->state == SIM_CONNECTED && (socket->file.host == host || socket->remote_host == host))
            sim_tcp_reset_both(world, socket);
    }
}

void sim_link_cut(sim_world *world, sim_host from, sim_host to, bool cut) { link_of(world, from, to)->cut = cut; }
void sim_link_set_delay(sim_world *world, sim_host from, sim_host to, uint64_t delay) { link_of(world, from, to)->delay = delay; }
void sim_link_set_loss(sim_world *world, sim_host from, sim_host to, uint16_t chance) { link_of(world, from, to)->loss = chance; }

// ---------------------------------------------------------------------------------------------------------------- loops

sim_loop *sim_loop_begin(sim_world *world, sim_host host) {
    sim_loop *loop = sim_calloc(1, sizeof *loop);
    if (!loop) return NULL;
    *loop = (sim_loop){.world = world, .host = host, .deadline = SIM_FOREVER};
    world->loop = loop;
    world->host = host;
    return loop;
}

void sim_loop_end_of_making(sim_loop *loop) { loop->world->loop = NULL; }

void sim_loop_forget(sim_loop *loop) {
    if (loop->world->loop == loop) loop->world->loop = NULL;
    sim_free(loop);
}

void sim_loop_enter(sim_loop *loop) {
    sim_world *world = loop->world;
    world->loop = loop;
    world->host = loop->host;
    sim_trace(world, SIM_T_TURN, 0, 0);
    loop->done_before = world->statistics.faults + world->done;
    loop->rested = loop->suspended && world->now - loop->left >= SIM_REST;
}

void sim_loop_leave(sim_loop *loop) {
    const sim_world *world = loop->world;
    loop->got_on = loop->rested || world->statistics.faults + world->done != loop->done_before;
    loop->left = world->now;
    loop->suspended = world->suspended;
    loop->world->suspended = false;
    loop->world->loop = NULL;
}

bool sim_loop_is_ready(const sim_loop *loop) {
    if (!loop->suspended || loop->world->now >= loop->deadline || !loop->waiter) return true;
    return loop->waiter->kind == SIM_EPOLL ? sim_epoll_has_news(loop->waiter) : sim_ring_has_work(loop->waiter);
}

bool sim_loop_got_on(const sim_loop *loop) { return loop->got_on; }

uint64_t sim_loop_deadline(const sim_loop *loop) { return loop->suspended ? loop->deadline : loop->world->now; }
