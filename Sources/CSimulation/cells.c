// The list of cells, what was reached of it, and the errors that are brought about.
#include "world.h"

#include <stdio.h>

#define SIM_OUTCOMES_MAX 24u    // with the zero behind them
#define SIM_FAULTS_MAX 8u

// How a connection ends that somebody waits for.
#define SIM_LOSSES ECONNRESET, ETIMEDOUT, EHOSTUNREACH, ENETUNREACH
// Why there is no descriptor.
#define SIM_NO_FILE EMFILE, ENFILE, ENOMEM

// `outcomes`: what a real kernel says there to what this library asks. Not what only a mistake of the caller brings about (EBADF,
// EINVAL, EFAULT), nor what needs a socket that is not TCP's. EINTR is said by none of the calls that do not wait, and only those
// that wait and the requests that a worker thread of io_uring had are interrupted.
// `faults`: those of them that strike of themselves, memory and limits and rules of the machine's owner.
// `refusal`: what sim_fail_calls() makes the call say, for those that can fail at all.
static const struct {
    const char *name;
    uint8_t outcomes[SIM_OUTCOMES_MAX];
    uint8_t faults[SIM_FAULTS_MAX];
    uint8_t refusal;
} operations[SIM_OPERATIONS] = {
    // EAFNOSUPPORT: a host without IPv6.
    [SIM_ON_SOCKET] = {"socket", {SIM_DONE, EAFNOSUPPORT, SIM_NO_FILE, ENOBUFS}, {SIM_NO_FILE, ENOBUFS}, EMFILE},
    // The port is somebody else's, the address is gone, the port is not for everybody.
    [SIM_ON_BIND] = {"bind", {SIM_DONE, EADDRINUSE, EADDRNOTAVAIL, EACCES}, {EADDRINUSE, EADDRNOTAVAIL, EACCES}, EADDRINUSE},
    [SIM_ON_LISTEN] = {"listen", {SIM_DONE, EADDRINUSE, ENOMEM}, {EADDRINUSE, ENOMEM}, ENOMEM},
    // EPERM: a firewall's rule.
    [SIM_ON_ACCEPT] = {"accept4",
                       {SIM_DONE, EAGAIN, SIM_NO_FILE, ENOBUFS, ECONNABORTED, EPERM},
                       {SIM_NO_FILE, ENOBUFS, ECONNABORTED, EPERM},
                       EMFILE},
    // EACCES, EINVAL: routes that are forbidden, and black holes. EPERM: a rule of the cgroup's.
    [SIM_ON_CONNECT] = {"connect",
                        {EINPROGRESS, EADDRNOTAVAIL, ENETUNREACH, EHOSTUNREACH, ENOBUFS, EACCES, EPERM, EINVAL},
                        {EADDRNOTAVAIL, ENETUNREACH, EHOSTUNREACH, ENOBUFS, EACCES, EPERM, EINVAL},
                        ENETUNREACH},
    [SIM_ON_DISCONNECT] = {"connect to nowhere", {SIM_DONE}},
    [SIM_ON_RECV] = {"recv", {SIM_DONE, SIM_FULL, SIM_SHORT, SIM_END, EAGAIN, SIM_NOT_YET, SIM_LOSSES}, .refusal = ECONNRESET},
    // ENOTCONN: it never was connected.
    [SIM_ON_DISCARD] = {"recv of what nobody reads", {SIM_DONE, SIM_FULL, SIM_END, EAGAIN, SIM_NOT_YET, ENOTCONN, SIM_LOSSES}},
    [SIM_ON_SEND] = {"sendmsg",
                     {SIM_DONE, SIM_SHORT, EAGAIN, SIM_NOT_YET, EPIPE, SIM_LOSSES, ENOMEM},
                     {ENOMEM},
                     ENOMEM},
    [SIM_ON_SHUTDOWN] = {"shutdown", {SIM_DONE, ENOTCONN}, .refusal = ENOTCONN},
    [SIM_ON_CLOSE] = {"close", {SIM_DONE, SIM_RESET, SIM_UNREAD, ENOTCONN}},
    // ENOPROTOOPT: an option of TCP that this kernel has not got.
    [SIM_ON_SETSOCKOPT] = {"setsockopt", {SIM_DONE, ENOBUFS, ENOMEM, ENOPROTOOPT}, {ENOBUFS, ENOMEM}, ENOBUFS},
    [SIM_ON_SO_ERROR] = {"getsockopt SO_ERROR", {SIM_DONE, ECONNREFUSED, EPIPE, SIM_LOSSES}, .refusal = ENOBUFS},
    [SIM_ON_GETSOCKOPT] = {"getsockopt", {SIM_DONE}, .refusal = ENOBUFS},
    [SIM_ON_GETSOCKNAME] = {"getsockname", {SIM_DONE}, .refusal = ENOBUFS},
    [SIM_ON_GETPEERNAME] = {"getpeername", {SIM_DONE, ENOTCONN}, .refusal = ENOBUFS},
    [SIM_ON_FIONBIO] = {"ioctl FIONBIO", {SIM_DONE}, .refusal = EPERM},
    [SIM_ON_FIONREAD] = {"ioctl FIONREAD", {SIM_DONE, SIM_NOTHING}, .refusal = EPERM},
    [SIM_ON_SIOCOUTQ] = {"ioctl SIOCOUTQ", {SIM_DONE, SIM_NOTHING}, .refusal = EPERM},
    [SIM_ON_POLL] = {"poll", {SIM_DONE, SIM_NOTHING}, .refusal = ENOMEM},
    [SIM_ON_EVENTFD] = {"eventfd", {SIM_DONE, SIM_NO_FILE}, {SIM_NO_FILE}, EMFILE},
    [SIM_ON_EPOLL_CREATE] = {"epoll_create1", {SIM_DONE, SIM_NO_FILE}, {SIM_NO_FILE}, EMFILE},
    // ENOSPC: fs.epoll.max_user_watches.
    [SIM_ON_EPOLL_ADD] = {"epoll_ctl ADD", {SIM_DONE, ENOMEM, ENOSPC}, {ENOMEM, ENOSPC}, ENOSPC},
    [SIM_ON_EPOLL_DELETE] = {"epoll_ctl DEL", {SIM_DONE}},
    [SIM_ON_EPOLL_WAIT] = {"epoll_wait", {SIM_DONE, SIM_NOTHING, SIM_EARLY, EINTR}, {EINTR}},
    [SIM_ON_EDGE] = {"edge", {SIM_IN, SIM_OUT, SIM_RDHUP, SIM_HUP, SIM_ERR, SIM_AGAIN}},
    // EPERM: kernel.io_uring_disabled was set meanwhile.
    [SIM_ON_URING_SETUP] = {"io_uring_setup", {SIM_DONE, SIM_NO_FILE, EPERM}, {SIM_NO_FILE, EPERM}, ENOMEM},
    [SIM_ON_URING_ENABLE] = {"io_uring_register ENABLE_RINGS", {SIM_DONE}, .refusal = EPERM},
    [SIM_ON_REGISTER_BUFFERS] = {"io_uring_register PBUF_RING", {SIM_DONE, ENOMEM}, {ENOMEM}, ENOMEM},
    [SIM_ON_UNREGISTER_BUFFERS] = {"io_uring_unregister PBUF_RING", {SIM_DONE}},
    [SIM_ON_ENTER] = {"io_uring_enter",
                      {SIM_DONE, SIM_PART, ETIME, SIM_EARLY, EINTR, EAGAIN, ENOMEM, EBUSY, EBADR},
                      {EAGAIN, ENOMEM, EBUSY}},
    [SIM_ON_COMPLETION] = {"completion", {SIM_DONE, SIM_KEPT, SIM_DROPPED, SIM_STALE}},
    [SIM_ON_URING_POLL] = {"POLL_ADD", {SIM_MORE, SIM_LAST, ECANCELED, EINTR}},
    [SIM_ON_URING_ACCEPT] = {"ACCEPT",
                             {SIM_MORE, SIM_LAST, SIM_NO_FILE, ENOBUFS, ECONNABORTED, EPERM, ECANCELED, EINTR},
                             {SIM_NO_FILE, ENOBUFS, ECONNABORTED, EPERM},
                             EMFILE},
    // ECONNABORTED: it was shut down meanwhile.
    [SIM_ON_URING_CONNECT] = {"CONNECT",
                              {SIM_DONE, EADDRNOTAVAIL, ENOBUFS, EACCES, EPERM, EINVAL, ECONNREFUSED, ECONNABORTED, EPIPE,
                               ECANCELED, SIM_LOSSES},
                              {EADDRNOTAVAIL, ENETUNREACH, EHOSTUNREACH, ENOBUFS, EACCES, EPERM, EINVAL},
                              ENETUNREACH},
    [SIM_ON_URING_RECV] = {"RECV",
                           {SIM_MORE, SIM_LAST, SIM_SHORT, SIM_END, ENOBUFS, SIM_NOT_YET, ECANCELED, EINTR,
                            SIM_LOSSES, ENOMEM},
                           {ENOMEM},
                           ENOMEM},
    [SIM_ON_URING_BUFFER] = {"buffer of a RECV", {SIM_FULL, SIM_PART, SIM_MORE}},
    [SIM_ON_URING_SEND] = {"SEND", {SIM_DONE, SIM_SHORT, EPIPE, SIM_LOSSES, ECANCELED, EINTR, ENOMEM}, {ENOMEM}, ENOMEM},
    // ENOMEM: without a notification. ENOBUFS: no more memory may be locked, and with one.
    [SIM_ON_URING_SEND_ZC] = {"SEND_ZC",
                              {SIM_DONE, SIM_SHORT, EPIPE, SIM_LOSSES, ECANCELED, EINTR, ENOMEM, ENOBUFS},
                              {ENOMEM, ENOBUFS},
                              ENOBUFS},
    [SIM_ON_URING_NOTIFICATION] = {"notification", {SIM_DONE, SIM_COPIED, SIM_LATE, SIM_BEHIND}},
    [SIM_ON_URING_CANCEL] = {"ASYNC_CANCEL", {SIM_DONE, ENOENT, EALREADY}},
    [SIM_ON_RESOLVE] = {"getaddrinfo",
                        {SIM_DONE, SIM_NO_NAME, SIM_TRY_AGAIN, SIM_NO_ANSWER, SIM_NO_MEMORY},
                        {SIM_TRY_AGAIN, SIM_NO_ANSWER, SIM_NO_MEMORY},
                        SIM_TRY_AGAIN},
    [SIM_ON_MEMORY] = {"allocation", {SIM_DONE, ENOMEM}, {ENOMEM}, ENOMEM},
};

static const char *const names[SIM_OUTCOMES] = {
    [SIM_DONE] = "done",
    [SIM_NOTHING] = "nothing",
    [SIM_SHORT] = "short",
    [SIM_FULL] = "full",
    [SIM_END] = "end",
    [SIM_NOT_YET] = "not yet",
    [SIM_EARLY] = "early",
    [SIM_PART] = "part",
    [SIM_MORE] = "more",
    [SIM_LAST] = "last",
    [SIM_RESET] = "reset",
    [SIM_UNREAD] = "unread",
    [SIM_KEPT] = "kept",
    [SIM_DROPPED] = "dropped",
    [SIM_STALE] = "stale",
    [SIM_COPIED] = "copied",
    [SIM_LATE] = "late",
    [SIM_BEHIND] = "behind the close",
    [SIM_IN] = "EPOLLIN",
    [SIM_OUT] = "EPOLLOUT",
    [SIM_RDHUP] = "EPOLLRDHUP",
    [SIM_HUP] = "EPOLLHUP",
    [SIM_ERR] = "EPOLLERR",
    [SIM_AGAIN] = "again",
    [SIM_NO_NAME] = "EAI_NONAME",
    [SIM_TRY_AGAIN] = "EAI_AGAIN",
    [SIM_NO_ANSWER] = "EAI_FAIL",
    [SIM_NO_MEMORY] = "EAI_MEMORY",
};

static const char *outcome_name(uint8_t outcome) {
    return outcome < SIM_DONE ? strerrorname_np(outcome) : outcome < SIM_OUTCOMES ? names[outcome]
                                                                                  : NULL;
}

static uint32_t listed(const uint8_t *list, uint32_t capacity) {
    uint32_t count = 0;
    while (count < capacity && list[count] != 0) count++;
    return count;
}

static uint32_t outcomes_of(uint32_t operation) { return listed(operations[operation].outcomes, SIM_OUTCOMES_MAX); }

// ------------------------------------------------------------------------------------------------------------- the list

uint32_t sim_cell_count(void) {
    uint32_t count = 0;
    for (uint32_t operation = 0; operation < SIM_OPERATIONS; operation++) count += outcomes_of(operation);
    return count;
}

static uint8_t outcome_at(uint32_t cell, uint32_t *operation) {
    for (*operation = 0; cell >= outcomes_of(*operation); ++*operation) cell -= outcomes_of(*operation);
    return operations[*operation].outcomes[cell];
}

const char *sim_cell_operation(uint32_t cell) {
    uint32_t operation;
    outcome_at(cell, &operation);
    return operations[operation].name;
}

const char *sim_cell_outcome(uint32_t cell) {
    uint32_t operation;
    return outcome_name(outcome_at(cell, &operation));
}

void sim_cells_reached(const sim_world *world, uint64_t *counts) {
    for (uint32_t operation = 0; operation < SIM_OPERATIONS; operation++)
        for (const uint8_t *outcome = operations[operation].outcomes; *outcome != 0; outcome++)
            *counts++ = world->told[operation][*outcome];
}

uint32_t sim_unlisted(const sim_world *world, char *text, uint32_t capacity) {
    uint32_t used = 0;
    if (capacity > 0) *text = 0;
    for (uint32_t operation = 0; operation < SIM_OPERATIONS; operation++)
        for (uint32_t outcome = 0; outcome < SIM_OUTCOMES && used < capacity; outcome++) {
            if (world->told[operation][outcome] == 0) continue;
            if (memchr(operations[operation].outcomes, (int)outcome, outcomes_of(operation))) continue;
            const char *name = outcome_name((uint8_t)outcome);
            used += (uint32_t)snprintf(text + used, capacity - used, "%s %s\n", operations[operation].name, name ? name : "?");
        }
    return used < capacity ? used : capacity > 0 ? capacity - 1
                                                 : 0;
}

// ----------------------------------------------------------------------------------------------------------- failing

void sim_fail_calls(sim_world *world, uint32_t first, bool goes_on) {
    world->fallible_calls = 0;
    world->failing_from = first;
    world->failing_goes_on = goes_on;
    world->failed_operation = NULL;
    world->failed_with = 0;
}

void sim_fail_no_more(sim_world *world) { world->failing_from = 0; }
uint32_t sim_fallible_calls(const sim_world *world) { return world->fallible_calls; }
const char *sim_failed_operation(const sim_world *world) { return world->failed_operation; }
int sim_failed_with(const sim_world *world) { return world->failed_with; }

// What sim_fail_calls() has in mind for this call.
static int planned_failure(sim_world *world, sim_operation operation) {
    uint32_t number = ++world->fallible_calls;
    uint32_t first = world->failing_from;
    if (first == 0 || number < first || (number > first && !world->failing_goes_on)) return 0;
    int error = operations[operation].refusal;
    if (!world->failed_operation) {
        world->failed_operation = operations[operation].name;
        world->failed_with = error;
    }
    return error;
}

int sim_fails(sim_world *world, sim_operation operation, uint16_t chance) {
    int error = operations[operation].refusal ? planned_failure(world, operation) : 0;
    if (error == 0 && sim_chance(world, chance)) {
        const uint8_t *faults = operations[operation].faults;
        error = faults[sim_random_below(&world->random, listed(faults, SIM_FAULTS_MAX))];
    }
    if (error == 0) return 0;
    sim_trace(world, SIM_T_FAULT, operation, error);
    sim_told(world, operation, error);
    return error;
}
