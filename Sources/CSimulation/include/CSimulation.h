// A network of hosts that is not there: sockets, TCP, io_uring, epoll and a clock, all of it decided by one seed. A loop that
// is made while a world is entered lives in it: its system calls come here instead of to Linux (ct_kernel.h).
//
// Everything belongs to the thread that entered the world. Times are nanoseconds.
#ifndef CSIMULATION_H
#define CSIMULATION_H

#include <CTransport.h>

#pragma clang assume_nonnull begin

typedef struct sim_world sim_world;
typedef struct sim_loop sim_loop;
typedef uint32_t sim_host;      // a number; 0 is the first host

// ---------------------------------------------------------------------------------------------------------- faults

// How often what a kernel may do is done: chances in 65,536 for each time it could be.
typedef struct sim_faults {
    uint16_t short_receive;         // a receive is told of fewer bytes than there are
    uint16_t short_send;            // a send takes fewer bytes than it could
    uint16_t send_says_again;       // a send says EAGAIN although there is room; an edge follows
    uint16_t receive_says_again;    // so does a receive
    uint16_t multishot_ends;        // a multishot request completes without MORE
    uint16_t no_buffers;            // a receive says ENOBUFS although buffers are there
    uint16_t enter_interrupted;     // io_uring_enter or epoll_wait says EINTR
    uint16_t enter_refuses;         // io_uring_enter says EAGAIN, ENOMEM or EBUSY and takes nothing
    uint16_t enter_takes_part;      // it takes some of what was handed over
    uint16_t wakes_for_nothing;     // a wait ends early, with nothing
    uint16_t late_notification;     // a zero-copy notification comes long after the peer has everything
    uint16_t copies;                // a zero-copy send copies, and says so
    uint16_t spurious_edge;         // epoll tells of what is not new
    uint16_t accept_fails;          // EMFILE, ENFILE, ENOBUFS, ENOMEM, ECONNABORTED
    uint16_t socket_fails;          // EMFILE, ENFILE, ENOBUFS, ENOMEM
    uint16_t option_fails;          // setsockopt says ENOBUFS
    uint16_t connect_fails;         // EADDRNOTAVAIL, ENETUNREACH, EHOSTUNREACH and others at once
    uint16_t bind_fails;            // bind and listen
    uint16_t set_up_fails;          // what a loop is made of: eventfd, epoll_create1, io_uring_setup, io_uring_register
    uint16_t watch_fails;           // epoll_ctl says ENOMEM or ENOSPC
    uint16_t send_fails;            // ENOMEM
    uint16_t receive_fails;         // a RECV of io_uring says ENOMEM
    uint16_t lock_fails;            // a zero-copy send says ENOBUFS or ENOMEM
    uint16_t look_up_fails;         // EAI_AGAIN, EAI_FAIL, EAI_MEMORY
    uint16_t cancel_late;           // a request goes on for a while behind its cancel, and is interrupted
    uint16_t tries_end;             // what is sent again is not sent again any more
    uint16_t memory_fails;          // an allocation of the C core says NULL
    uint16_t packet_lost;
    uint16_t packet_late;           // a packet takes up to 16 times as long
    uint16_t connection_reset;      // a packet becomes a reset of its connection, both ways
    uint16_t completions_dropped;   // the kernel had no memory for completions
    uint16_t completions_kept;      // the queue has no room: they come in the next enter
    uint16_t stale_completions;     // a completion comes once more, long after the socket was closed
    uint16_t calls_take_time;       // the network goes on between two calls of a program
} sim_faults;

// What the kernel of this world can do.
typedef struct sim_kernel_traits {
    bool incremental_buffers;
    bool sees_ends;
    bool send_zero_copy;
    bool uring;
} sim_kernel_traits;

typedef struct sim_statistics {
    uint64_t packets, packets_lost, bytes, connections, resets, timeouts, calls, faults;
} sim_statistics;

// ---------------------------------------------------------------------------------------------------------- worlds

sim_world *_Nullable sim_world_create(uint64_t seed, sim_kernel_traits traits);
// With all sockets; no loop of it may be left.
void sim_world_destroy(sim_world *world);
// Comes back from ct_kernel_driver().
void sim_world_set_driver(sim_world *world, void *_Nullable driver);
// From here on everything this thread asks of a kernel is asked of this one, on behalf of `host`.
void sim_world_enter(sim_world *world);
void sim_world_leave(sim_world *world);
// What this thread is about: another world, a loop's turn. Put aside while it enters a world in the middle of that.
typedef struct sim_place {
    sim_world *_Nullable world;
    const void *_Nullable kernel;
    const void *_Nullable stand_in;
    void *_Nullable context;
} sim_place;
sim_place sim_step_aside(void);
void sim_step_back(sim_place place);
void sim_world_set_host(sim_world *world, sim_host host);
sim_host sim_world_current_host(const sim_world *world);

// True once after somebody outside of the world, on another thread, posted to a loop in it. Any thread.
bool sim_world_was_posted_to(sim_world *world);

uint64_t sim_now(const sim_world *world);
// Below `bound`, from the seed.
uint32_t sim_draw(sim_world *world, uint32_t bound);
sim_faults *sim_faults_of(sim_world *world);
const sim_statistics *sim_statistics_of(const sim_world *world);
// What programs in this world have allocated and not freed, on its thread; of the core alone.
int64_t sim_memory_blocks(const sim_world *world);
// Adds to what the run is known by.
void sim_note(sim_world *world, uint64_t value);
uint64_t sim_trace_hash(const sim_world *world);
// The last things that happened, one a line; the number of characters, without the zero.
uint32_t sim_trace_text(const sim_world *world, char *text, uint32_t capacity);
// From now on, a process that a signal ends (a trap, a broken invariant) prints what happened last in the world it was in.
void sim_trace_at_crash(void);

// ------------------------------------------------------------------------------------------------------------- cells

// Operations and what a kernel can say to each of them: the list is in cells.c.
uint32_t sim_cell_count(void);
const char *sim_cell_operation(uint32_t cell);
const char *sim_cell_outcome(uint32_t cell);
// How often each was said; `counts` has room for all.
void sim_cells_reached(const sim_world *world, uint64_t *counts);
// What was said and is on no list, one a line; the number of characters, without the zero.
uint32_t sim_unlisted(const sim_world *world, char *text, uint32_t capacity);

// From here on calls that can fail are counted, and the one with the number `first` does; with `goes_on` all behind it too. 0: none
// does. Waits never do: who waits in vain for ever does nothing wrong.
void sim_fail_calls(sim_world *world, uint32_t first, bool goes_on);
// Those that come later do not, whatever was said; they are counted.
void sim_fail_no_more(sim_world *world);
uint32_t sim_fallible_calls(const sim_world *world);
// The first that was made to fail, and what it said; NULL: none was.
const char *_Nullable sim_failed_operation(const sim_world *world);
int sim_failed_with(const sim_world *world);

// ------------------------------------------------------------------------------------------------------------- tasks

// Swift's runtime gives jobs without an executor of their own to the pool of the process. Those that come from a thread that has
// entered a world are given to `take` instead.
typedef void (*sim_job_taker)(void *_Nullable context, void *job);
void sim_world_take_jobs(sim_world *world, sim_job_taker _Nullable take, void *_Nullable context);
// Once per process, before the first world is entered.
void sim_jobs_hook(void);

// How many bytes the simulated kernels of this process hold. Any thread.
uint64_t sim_memory_held(void);

// ----------------------------------------------------------------------------------------------------------- hosts

// With an address of its own, 10.0.0.1 for the first; `name` is what others look up.
sim_host sim_host_add(sim_world *world, const char *name);
uint32_t sim_host_count(const sim_world *world);
// How many descriptors its programs may have; 0: no limit.
void sim_host_limit_descriptors(sim_world *world, sim_host host, uint32_t limit);
uint32_t sim_host_descriptors(const sim_world *world, sim_host host);
uint32_t sim_host_connections(const sim_world *world, sim_host host);
// A host that is off neither sends nor receives, and forgets its connections.
void sim_host_crash(sim_world *world, sim_host host);
void sim_host_restart(sim_world *world, sim_host host);
// Every connection from or to the host ends with a reset at both sides.
void sim_host_reset_connections(sim_world *world, sim_host host);

// One way, from `from` to `to`.
void sim_link_cut(sim_world *world, sim_host from, sim_host to, bool cut);
void sim_link_set_delay(sim_world *world, sim_host from, sim_host to, uint64_t nanoseconds);
void sim_link_set_loss(sim_world *world, sim_host from, sim_host to, uint16_t chance);

// ------------------------------------------------------------------------------------------------------------ peers

// The other side of a connection, in the hands of a test: a socket that no program of the world has.
typedef struct sim_peer sim_peer;

typedef struct sim_peer_state {
    uint32_t unread;        // bytes that came
    uint64_t unreceived;    // bytes that were sent, and that the program on the other side has not read
    bool is_connected;
    bool is_over;           // the other side has ended: no bytes come any more, behind those that are unread
    int error;              // how it ended, if that was not in peace
} sim_peer_state;

// Takes connections at `port`. `buffer`: how many bytes may wait for a peer that does not read.
bool sim_peer_listen(sim_world *world, sim_host host, uint16_t port, uint32_t buffer);
// The next one; NULL: nobody connected.
sim_peer *_Nullable sim_peer_accept(sim_world *world, sim_host host, uint16_t port);
// Connects to a program's listener; NULL: there is no memory. `buffer` as above.
sim_peer *_Nullable sim_peer_connect(sim_world *world, sim_host from, sim_host to, uint16_t port, uint32_t buffer);
// Does not close it.
void sim_peer_free(sim_peer *peer);
sim_peer_state sim_peer_look(const sim_peer *peer);
// False: the connection is over, or there is no memory.
bool sim_peer_send(sim_peer *peer, const void *bytes, uint64_t length);
uint64_t sim_peer_receive(sim_peer *peer, void *bytes, uint64_t length);
void sim_peer_end_output(sim_peer *peer);
// As a program does that closes its descriptor.
void sim_peer_close(sim_peer *peer);
void sim_peer_reset(sim_peer *peer);

// ----------------------------------------------------------------------------------------------------------- loops

// What is made between begin and end belongs to the new loop.
sim_loop *_Nullable sim_loop_begin(sim_world *world, sim_host host);
void sim_loop_end_of_making(sim_loop *loop);
// The loop is gone.
void sim_loop_forget(sim_loop *loop);
// Before and after each turn.
void sim_loop_enter(sim_loop *loop);
void sim_loop_leave(sim_loop *loop);
// Whether a turn would find something: it has not been to its end, or what it waits for is there, or its time has come.
bool sim_loop_is_ready(const sim_loop *loop);
// Whether its last turn did anything that a kernel can see, or came after some rest.
bool sim_loop_got_on(const sim_loop *loop);
// When it wants its next turn at the latest; UINT64_MAX: never.
uint64_t sim_loop_deadline(const sim_loop *loop);

// The time of the next thing that happens by itself; UINT64_MAX: nothing will.
uint64_t sim_next_event(const sim_world *world);
// Lets everything happen that is due until `time`, which becomes the present.
void sim_advance(sim_world *world, uint64_t time);

#pragma clang assume_nonnull end
#endif
