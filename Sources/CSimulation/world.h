// What the files of the simulation share.
#ifndef SIM_WORLD_H
#define SIM_WORLD_H

#include "CSimulation.h"
#include "cells.h"
#include "ct_kernel.h"

#include <errno.h>
#include <liburing.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#pragma clang assume_nonnull begin

#define SIM_FOREVER UINT64_MAX
#define SIM_MICRO 1000ull
#define SIM_MILLI 1000000ull
#define SIM_SECOND 1000000000ull
// Far from the numbers of real descriptors, so that one that leaks out is refused by Linux.
#define SIM_FD_FIRST (1 << 26)

// ----------------------------------------------------------------------------------------------------------- memory

void *_Nullable sim_malloc(size_t size);
void *_Nullable sim_calloc(size_t count, size_t size);
void *_Nullable sim_realloc(void *_Nullable memory, size_t size);
void sim_free(void *_Nullable memory);

// ------------------------------------------------------------------------------------------------------- randomness

typedef struct sim_random {
    uint64_t state[4];
} sim_random;
void sim_random_seed(sim_random *random, uint64_t seed);
uint64_t sim_random_next(sim_random *random);
static inline uint32_t sim_random_below(sim_random *random, uint32_t bound) {
    return bound == 0 ? 0 : (uint32_t)((sim_random_next(random) >> 32) * bound >> 32);
}

// ------------------------------------------------------------------------------------------------------------ events

typedef struct sim_event sim_event;
struct sim_event {
    uint64_t time, order;
    void (*happens)(sim_world *world, sim_event *event);    // frees it
    uint32_t position;      // in the heap, + 1; 0: not in it
};

typedef struct sim_heap {
    sim_event *_Nullable *_Nullable items;
    uint32_t count, capacity;
    uint64_t order;
} sim_heap;
void sim_schedule(sim_world *world, sim_event *event, uint64_t time);
void sim_unschedule(sim_world *world, sim_event *event);
void sim_event_free(sim_event *event);

// ------------------------------------------------------------------------------------------------------------- files

enum sim_kind : uint8_t { SIM_SOCKET = 1,
                          SIM_EVENTFD,
                          SIM_EPOLL,
                          SIM_RING };

typedef struct sim_watch sim_watch;
typedef struct sim_request sim_request;

// What a descriptor, or a request of a ring, refers to.
typedef struct sim_file {
    enum sim_kind kind;
    sim_host host;
    int fd;                             // -1 once it is closed
    uint32_t references;
    sim_watch *_Nullable watches;       // epolls that look at it
    sim_request *_Nullable requests;    // of rings that wait for it
} sim_file;

typedef struct sim_eventfd {
    sim_file file;
    uint64_t count;
} sim_eventfd;

// For traces.
static inline uint32_t sim_token_number(uint64_t user_data) {
    return (uint32_t)(user_data >> 56) * 1000 + (uint32_t)(user_data & 0x3FFFFF);
}
static inline uint32_t sim_number(int fd) { return fd < 0 ? 0 : (uint32_t)(fd - SIM_FD_FIRST); }
sim_file *_Nullable sim_file_of(sim_world *world, int fd);
// The new descriptor, or -1 and errno; `file` has one reference then.
int sim_file_open(sim_world *world, sim_file *file, enum sim_kind kind);
void sim_file_retain(sim_file *file);
void sim_file_release(sim_world *world, sim_file *file);
// The EPOLL bits that are true now.
uint32_t sim_file_readiness(sim_world *world, const sim_file *file);
// Something of `bits` became true.
void sim_file_wake(sim_world *world, sim_file *file, uint32_t bits);

// ----------------------------------------------------------------------------------------------------------- sockets

typedef struct sim_handle {     // names a socket that may be gone
    uint32_t index, generation;
} sim_handle;

typedef struct sim_piece {      // bytes on their way to a reader
    struct sim_piece *_Nullable next;
    uint32_t length, offset;
    uint8_t bytes[];
} sim_piece;

typedef struct sim_lent {       // memory that a send reads, and the sum of its bytes; nothing: no vectors
    struct iovec *_Nullable vectors;
    uint32_t count;
    uint64_t length, sum;
} sim_lent;
// The first `length` bytes of the vectors are the kernel's from here on.
void sim_lent_begin(sim_lent *lent, const struct iovec *vectors, uint32_t count, uint64_t length);
// Ends the process when they are not what they were.
void sim_lent_check(const sim_world *world, const sim_lent *lent, uint64_t user_data);
void sim_lent_end(sim_lent *lent);

typedef struct sim_notification {   // of a zero-copy send: told when nothing refers to it
    uint32_t references;
    sim_file *_Nullable ring;
    sim_handle socket;
    uint64_t user_data;
    bool copied;
    sim_lent lent;
} sim_notification;

typedef struct sim_segment {    // bytes that the peer has not acknowledged
    struct sim_segment *_Nullable next;
    uint64_t from;              // of the stream
    uint32_t length;
    const uint8_t *bytes;       // behind the segment, or the sender's own
    sim_notification *_Nullable notification;
} sim_segment;

enum sim_state : uint8_t {
    SIM_NEW,            // neither connected nor listening
    SIM_LISTENING,
    SIM_CONNECTING,     // a SYN is on its way
    SIM_HALF_OPEN,      // a SYN was received
    SIM_CONNECTED,
    SIM_DEAD,           // reset, timed out, or over on both sides
};

typedef struct sim_socket sim_socket;
struct sim_socket {
    sim_file file;
    sim_handle self, peer, listener;
    struct sim_socket *_Nullable next_queued;   // behind a listener
    struct sockaddr_storage local, remote;
    sim_host remote_host;
    uint16_t port;                              // of `local`
    enum sim_state state;
    bool reuse_port, no_linger, is_bound;
    bool input_over;        // the peer's FIN is here, behind all its bytes
    bool input_shut;        // shutdown(2)
    bool output_shut;       // so too: a FIN goes out behind all bytes
    bool fin_sent, fin_acknowledged;
    bool is_orphan;         // no program has it any more
    bool wants_room;        // a send met a full buffer
    struct sim_ring *_Nullable last_ring;   // where its last request was, and which one
    uint64_t last_token;
    bool was_lent_memory;   // of zero-copy sends, whose notifications may come long after it was closed
    int error;              // told once
    int options[8];         // values by number, see sockets.c
    // A listener's.
    uint32_t backlog, queued;
    sim_socket *_Nullable queue_head;
    sim_socket *_Nullable queue_tail;
    sim_socket *_Nullable half_open;
    // What is sent: [acknowledged, sent) is on its way, [sent, written) waits.
    uint64_t acknowledged, sent, written;
    uint64_t right_edge;    // of the peer's window
    sim_segment *_Nullable segments;
    sim_segment *_Nullable last_segment;
    uint32_t send_buffer, receive_buffer;
    // What was received.
    uint64_t received;      // bytes in order
    uint64_t edge_told;     // the right edge that the peer knows
    sim_piece *_Nullable pieces;
    sim_piece *_Nullable last_piece;
    uint32_t unread;
    // The timer: a retransmission, a probe, or the end of an orphan.
    sim_event *_Nullable timer;
    uint64_t silent_since;  // nothing was acknowledged since, while something was outstanding or waited
    uint64_t user_timeout;  // how long that may be; 0: as long as there are tries
    uint32_t tries, duplicates;
    uint64_t last_arrival;  // of what was sent to the peer: packets of a connection keep their order
};

sim_socket *_Nullable sim_socket_at(sim_world *world, sim_handle handle);
sim_socket *_Nullable sim_socket_create(sim_world *world, sim_host host);
void sim_socket_free(sim_world *world, sim_socket *socket);     // when nothing refers to it any more
uint32_t sim_socket_readiness(const sim_socket *socket);
uint32_t sim_socket_room(const sim_socket *socket);
// As the calls: bytes, or -errno; -EAGAIN when it would wait.
int64_t sim_socket_receive(sim_world *world, sim_socket *socket, void *_Nullable memory, size_t length);
int64_t sim_socket_send(sim_world *world, sim_socket *socket, const struct iovec *vectors, size_t count,
                        sim_notification *_Nullable notification);
// These two tell their errors as those of `operation`, except -EAGAIN and -EINPROGRESS.
int sim_socket_connect(sim_world *world, sim_socket *socket, const struct sockaddr *address, socklen_t length,
                       sim_operation operation);
int sim_socket_accept(sim_world *world, sim_socket *socket, sim_operation operation);
// Whether so many are all bytes of the vectors.
bool sim_is_all(int64_t taken, const struct iovec *vectors, size_t count);
int sim_socket_take_error(sim_socket *socket);
void sim_socket_closed(sim_world *world, sim_socket *socket);   // the last descriptor and request are gone

// tcp.c
void sim_tcp_reset_both(sim_world *world, sim_socket *socket);
void sim_tcp_forget(sim_world *world, sim_socket *socket);      // its host has lost power
void sim_tcp_connect(sim_world *world, sim_socket *socket);
void sim_tcp_push(sim_world *world, sim_socket *socket);
void sim_tcp_read(sim_world *world, sim_socket *socket);        // something was read: the window may have opened
void sim_tcp_reset(sim_world *world, sim_socket *socket);       // ours, told to the peer
void sim_tcp_die(sim_world *world, sim_socket *socket, int error);
void sim_tcp_lost(sim_world *world, sim_socket *socket, int error);     // the peer's reset
void sim_tcp_stop_timer(sim_world *world, sim_socket *socket);
void sim_segments_free(sim_world *world, sim_socket *socket);
void sim_notification_release(sim_world *world, sim_notification *notification);

// ---------------------------------------------------------------------------------------------------- epoll, io_uring

struct sim_watch {
    sim_watch *_Nullable next;          // of the same file
    sim_watch *_Nullable next_ready;
    struct sim_epoll *epoll;
    sim_file *_Nullable file;
    uint32_t events;
    epoll_data_t data;
    bool ready;
};
void sim_epoll_wake(sim_world *world, sim_file *file);
void sim_epoll_forget(sim_world *world, sim_file *file);
bool sim_epoll_has_news(const sim_file *epoll);
void sim_ring_wake(sim_world *world, sim_file *file, uint32_t bits);
bool sim_ring_has_work(const sim_file *ring);
// Nothing refers to the memory any more. Takes over the reference to the ring, and what was lent.
void sim_ring_notified(sim_world *world, const sim_notification *notification);
void sim_ring_maybe_stale(sim_world *world, sim_socket *socket);
void sim_epoll_free(sim_world *world, sim_file *file);
void sim_ring_free(sim_world *world, sim_file *file);
void sim_fill_in_files(ct_kernel *kernel);
void sim_fill_in_sockets(ct_kernel *kernel);
void sim_fill_in_epoll(ct_kernel *kernel);
void sim_fill_in_uring(ct_kernel *kernel);

// ------------------------------------------------------------------------------------------------------------- world

typedef struct sim_link {
    uint64_t delay;
    uint16_t loss;
    bool cut;
} sim_link;

typedef struct sim_machine {
    char name[64];
    bool is_off;
    uint16_t next_port;
    uint32_t descriptors, descriptor_limit, connections;
    sim_socket *_Nullable *_Nullable listeners;
    uint32_t listener_count, listener_capacity;
} sim_machine;

typedef struct sim_trace_entry {
    uint64_t time;
    int64_t value;
    uint32_t what, whose;
    sim_host host;
} sim_trace_entry;
#define SIM_TRACE_ENTRIES 4096u

struct sim_loop {
    sim_world *world;
    sim_host host;
    sim_file *_Nullable waiter;         // its ring or epoll
    uint64_t deadline;
    bool suspended;                     // its last wait would go on
    bool rested;                        // it slept before its last turn
    bool got_on;                        // so, or a call did something in it, or a fault was in its way
    uint64_t done_before, left;
};

struct sim_world {
    ct_kernel kernel;
    uint32_t references;                // atomic: the world, and every event descriptor of a mailbox
    uint64_t now;                       // atomic: whoever asks a loop in the world for the time
    sim_random random;
    sim_faults faults;
    sim_kernel_traits traits;
    ct_probe_report report;
    sim_statistics statistics;
    sim_heap heap;
    sim_file *_Nullable *_Nullable files;
    uint32_t file_count, file_capacity;
    uint32_t *_Nullable free_files;
    uint32_t free_file_count, free_file_capacity;
    sim_socket *_Nullable *_Nullable sockets;
    uint32_t *_Nullable generations;
    uint32_t socket_count, socket_capacity;
    uint32_t *_Nullable free_sockets;
    uint32_t free_socket_count, free_socket_capacity;
    sim_machine *_Nullable machines;
    uint32_t machine_count;
    sim_link *_Nullable links;          // [from * machine_count + to]
    sim_job_taker _Nullable take_job;
    void *_Nullable job_context;
    sim_host host;                      // on whose behalf calls are made
    sim_loop *_Nullable loop;           // whose turn it is
    bool suspended;
    bool busy;                          // the kernel is at work, and calls itself
    bool outside;                       // atomic: somebody outside of the world posted to a loop in it
    uint64_t hash;
    int64_t memory_blocks;              // of the programs, and not freed
    // How often each outcome was given, see cells.h.
    uint32_t told[SIM_OPERATIONS][SIM_OUTCOMES];
    // sim_fail_calls()
    uint32_t fallible_calls, failing_from;
    bool failing_goes_on;
    const char *_Nullable failed_operation;
    int failed_with;
    sim_trace_entry trace[SIM_TRACE_ENTRIES];
    uint64_t traced;
    uint64_t done;                      // calls that did something
};

extern _Thread_local sim_world *_Nullable sim_here;

static inline bool sim_chance(sim_world *world, uint16_t chance) {
    if (chance == 0) return false;
    bool strikes = sim_random_below(&world->random, 65536) < chance;
    world->statistics.faults += strikes;
    return strikes;
}
// `outcome` was given.
static inline void sim_told(sim_world *world, sim_operation operation, int outcome) { world->told[operation][outcome]++; }
// -errno, or whatever else it was.
static inline void sim_told_result(sim_world *world, sim_operation operation, int64_t result, int outcome) {
    sim_told(world, operation, result < 0 ? (int)-result : outcome);
}
// The error with which the operation fails here, which is told with this; 0: it does not. `chance`: of the faults that strike of
// themselves.
int sim_fails(sim_world *world, sim_operation operation, uint16_t chance);
// At the beginning of a call: the network goes on while programs run, and what it brings may come between any two calls.
static inline void sim_time_passes(sim_world *world) {
    // The kernel's own calls are in the middle of something.
    if (!world->busy && world->faults.calls_take_time > 0 &&
        sim_random_below(&world->random, 65536) < world->faults.calls_take_time)
        sim_advance(world, world->now + 100 + sim_random_below(&world->random, 20 * SIM_MICRO));
}
// `whose`: a descriptor, or the number of a socket.
void sim_trace(sim_world *world, uint32_t what, uint32_t whose, int64_t value);
bool sim_grow(void *array, uint32_t *capacity, uint32_t needed, size_t size);

// What a trace is made of. The numbers are in nobody's file: they may change.
enum {
    SIM_T_SOCKET = 1,
    SIM_T_BIND,
    SIM_T_LISTEN,
    SIM_T_ACCEPT,
    SIM_T_CONNECT,
    SIM_T_RECEIVE,
    SIM_T_SEND,
    SIM_T_SHUTDOWN,
    SIM_T_CLOSE,    // up to here: calls that did something
    SIM_T_COMPLETION,
    SIM_T_EDGE,
    SIM_T_PACKET,
    SIM_T_LOST,
    SIM_T_RESET,
    SIM_T_TIMEOUT,
    SIM_T_TURN,
    SIM_T_FAULT,
    SIM_T_USER,
    SIM_T_REQUEST,
};

#pragma clang assume_nonnull end
#endif
