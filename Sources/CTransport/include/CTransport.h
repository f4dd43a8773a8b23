// The whole interface of the C core. No third-party header is included here, and nothing here calls back into Swift:
// a loop turn is one call to ct_loop_run_once(), which fills an array of plain events for the caller to walk.
//
// Conventions: results are 0 or a count, or -errno. Unless a comment says "any thread", a function belongs to the
// loop's own thread, the one that called ct_loop_start(), and stops the program on another. Times are nanoseconds of
// CLOCK_MONOTONIC.
#ifndef CTRANSPORT_H
#define CTRANSPORT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/uio.h>

#pragma clang assume_nonnull begin

typedef struct ct_loop ct_loop;
typedef struct ct_mailbox ct_mailbox;
typedef struct ct_chunk_pool ct_chunk_pool;

// What gives loops their turns instead of threads of their own, where the kernel of this thread is a simulated one (ct_kernel.h);
// NULL: Linux, and threads.
void *_Nullable ct_kernel_driver(void);
// A loop that does not own its thread: these two stand around everything that is done on it. Between them the loop has no thread,
// and its functions stop the program as they do on a foreign one.
void ct_loop_enter(ct_loop *loop, void *_Nullable context);
void ct_loop_leave(ct_loop *loop);

// ------------------------------------------------------------------------------------------------------ failures

// The call that failed, so that an error can name it. Closed, so that Swift's SystemCall cannot leave one out.
enum __attribute__((enum_extensibility(closed))) ct_call : uint32_t {
    CT_CALL_NONE = 0,
    CT_CALL_SOCKET,
    CT_CALL_BIND,
    CT_CALL_LISTEN,
    CT_CALL_ACCEPT,
    CT_CALL_CONNECT,
    CT_CALL_RECEIVE,
    CT_CALL_SEND,
    CT_CALL_SHUTDOWN,
    CT_CALL_SETSOCKOPT,
    CT_CALL_GETSOCKOPT,
    CT_CALL_GETSOCKNAME,
    CT_CALL_GETADDRINFO,
    CT_CALL_EVENTFD,
    CT_CALL_IO_URING_SETUP,
    CT_CALL_IO_URING_REGISTER,
    CT_CALL_IO_URING_ENTER,
    CT_CALL_IO_URING_SELF_TEST,
    CT_CALL_EPOLL_CREATE,
    CT_CALL_EPOLL_CTL,
    CT_CALL_PTHREAD_CREATE,
    CT_CALL_MMAP,
};

typedef struct ct_failure {
    int32_t error;      // errno, positive; 0 when nothing failed
    enum ct_call call;
} ct_failure;

// ---------------------------------------------------------------------------------------------------------- slots

// The life of a slot. Only slot.c writes it, by way of one function that allows what ct_slot_may_become() does.
enum ct_slot_state : uint8_t {
    CT_SLOT_FREE = 0,
    CT_SLOT_OPEN,
    CT_SLOT_CLOSING,    // what is in flight was told to end; waits for the last completion that uses the descriptor
    CT_SLOT_TO_CLOSE,   // none is left; the descriptor is closed when a turn begins and nothing is unread
    CT_SLOT_NOTIFYING,  // the descriptor is closed by a reset; the kernel still reads the memory of zero-copy sends
    CT_SLOT_CLOSED,     // so no more; the CLOSED event comes when the next turn begins
};
enum { CT_SLOT_STATES = CT_SLOT_CLOSED + 1 };
// Whether a slot may go from one state directly to the other. Any thread.
bool ct_slot_may_become(enum ct_slot_state from, enum ct_slot_state to);

// What a connection or listener is to the core. 64 bytes, at a stable address for the life of the loop; reused only
// when every counter is zero, and then under a new generation.
typedef struct ct_slot {
    void *_Nullable context;    // the caller's; comes back in every event
    int32_t fd;
    uint32_t index;
    uint32_t generation;        // 24 bits are used
    uint32_t next;              // link of the one list the slot is on (free, to_finish, starved): index + 1
    enum ct_slot_state state;
    bool listener;
    bool receive_wanted;        // what the user asks for; a completion never writes it, except end of stream
    bool receive_armed;         // what the kernel has
    bool starved;               // waiting for receive memory
    bool reset;                 // close with a reset instead of a FIN
    bool input_ended;           // the end of the stream was received: nothing can be unread
    uint8_t discards;           // turns spent on reading away what nobody will read
    uint8_t sends_in_flight;    // 0 or 1
    uint8_t accepts_in_flight;  // 0 or 1
    uint8_t connects_in_flight; // 0 or 1
    bool watches_loss;          // what is received is not bytes any more, but the loss of the connection: see ct_loss_watch()
    uint16_t notifications_in_flight; // zero-copy sends whose memory the kernel still reads
    uint16_t send_tag;          // of the zero-copy send in flight
    uint16_t lost;              // the error by which ct_send_now() learnt of a lost connection: the kernel tells it once
    // The engine's own. Zero when the slot is opened; nothing in it is allocated, so what has begun cannot fail for want of memory.
    union {
        uint64_t engine[2];             // all of it: the first member is the one that an initialiser makes zero
        struct {
            uint32_t later_next;        // the list of those who wait for a submission entry: index + 1
            uint8_t later;              // what for: CT_LATER_*; 0: not on the list
            uint8_t socket;             // CT_SOCKET_*: what is known of it
            bool receive_cancelling;    // a cancel of the armed receive is on its way
        } uring;
        struct {
            uint32_t ready_next;        // the list of those for whom there is something to do: index + 1
            int32_t send_result;        // while CT_SENT
            int32_t connect_error;      // while CT_CONNECTED
            uint8_t readiness;          // what the last edges said, and what is to be done: CT_READABLE and the like
        } epoll;
    };
} ct_slot;
_Static_assert(sizeof(ct_slot) == 64, "a slot is one cache line");

// --------------------------------------------------------------------------------------------------------- events

enum ct_event_kind : uint16_t {
    CT_EVENT_ACCEPT = 1,    // result: the new descriptor, or -errno
    CT_EVENT_RECEIVE,       // result: bytes at `data`, 0 at end of stream, or -errno
    CT_EVENT_SEND,          // result: bytes the kernel took, -EAGAIN for "none, try again", or -errno
    CT_EVENT_NOTIFICATION,  // the kernel no longer reads the memory of the zero-copy send with the tag `token`
    CT_EVENT_CONNECT,       // result: 0 or -errno; -EAGAIN with MORE: the kernel had no room for the request, try again
    CT_EVENT_CLOSED,        // the slot is free again; `context` is handed back for the last time
    CT_EVENT_TIMER,         // token: the timer; take it with ct_timer_take() before acting on it
};

enum {
    CT_EVENT_MORE = 1u << 0,        // the operation stays armed
    CT_EVENT_CHUNK_DONE = 1u << 1,  // the kernel is done with `chunk`: the event carries the reference, release it
    CT_EVENT_COPIED = 1u << 2,      // notification only: the kernel copied after all
};

typedef struct ct_chunk ct_chunk;

typedef struct ct_event {
    void *_Nullable context;
    union {
        uint8_t *_Nullable data;    // RECEIVE
        uint64_t token;             // TIMER: the timer; SEND and NOTIFICATION: the tag of a zero-copy send
    };
    ct_chunk *_Nullable chunk;      // RECEIVE: where `data` lies
    int32_t result;
    enum ct_event_kind kind;
    uint16_t flags;
} ct_event;
_Static_assert(sizeof(ct_event) == 32, "two events a cache line");

// --------------------------------------------------------------------------------------------------------- chunks

// Receive memory. The kernel appends to a chunk while it has it; readers hold references to slices.
// References may be dropped on any thread; the memory goes back to the loop's pool or to the allocator.
struct ct_chunk {
    uint8_t *base;
    uint32_t size;
    uint32_t offset;            // where the kernel's next byte lands
    uint32_t references;        // atomic
    uint16_t buffer_id;         // the engine's number for it while the kernel has it
    bool unbudgeted;            // counts no more: see ct_chunk_write_off()
    ct_chunk_pool *pool;
    void *_Nullable owner;      // the caller's shared owner of slices, created lazily; the loop's thread only
    ct_chunk *_Nullable next;
};

// Any thread that has a reference. Relaxed: the reference there is keeps the chunk alive, and nothing is read because of it.
static inline void ct_chunk_retain(ct_chunk *chunk) {
    __atomic_fetch_add(&chunk->references, 1, __ATOMIC_RELAXED);
}

// Any thread.
void ct_chunk_release(ct_chunk *chunk);
// Takes back any chunk that the kernel was lent, as an event with CT_EVENT_CHUNK_DONE hands it over, for a loop that ends
// and has no connection any more; NULL when none is left. The loop's thread.
ct_chunk *_Nullable ct_chunk_take_back(ct_loop *loop);

// False for slices that should be copied instead of kept: below the loop's threshold all, and every one while half of the
// budget is out. Any thread.
bool ct_chunk_is_worth_sharing(const ct_chunk *chunk, uint64_t bytes);

// ---------------------------------------------------------------------------------------------------------- loops

enum ct_engine_kind : uint32_t {
    CT_ENGINE_AUTOMATIC = 0,
    CT_ENGINE_URING,
    CT_ENGINE_EPOLL,
};

typedef struct ct_loop_options {
    enum ct_engine_kind engine;
    uint32_t submission_entries;    // 0: 1024
    uint32_t chunk_size;            // bytes; 0: 64 KiB
    uint32_t chunks_lent;           // how many chunks the kernel holds; 0: 32, or 128 classic ones
    uint64_t receive_budget;        // bytes of receive memory for this loop; 0: 64 MiB
    uint64_t share_threshold;       // smallest slice worth keeping a chunk for
    bool classic_buffers;           // for tests: do not use incremental buffer consumption
} ct_loop_options;

// Monotonic counts since the loop was made, except where "now" is said. Written by the loop's thread only.
typedef struct ct_loop_statistics {
    uint64_t turns;
    uint64_t enters;                // system calls that submit, wait or both, one at most per turn ...
    uint64_t enters_queue_full;     // ... plus these, made because a submission queue was full or requests were refused
    uint64_t events;
    uint64_t receives;
    uint64_t received_bytes;
    uint64_t sends;
    uint64_t sent_bytes;
    uint64_t accepts;
    uint64_t wakes;                 // times the eventfd woke the loop
    uint64_t messages;              // taken from the mailbox
    uint64_t stale_completions;     // for a slot that had moved on; must stay 0
    uint64_t completion_overflows;  // enters whose completions did not fit the queue; must stay 0 since Linux 6.13
    uint64_t receive_rearms;
    uint64_t receive_exhausted;     // times the kernel ran out of lent chunks
    uint64_t starved;               // times a connection had to wait for the receive budget
    uint64_t chunks_lent;           // now: with the kernel
    uint64_t chunk_bytes;           // now: all receive memory of the loop, wherever it is
    uint64_t slots_open;            // now: open or closing
    uint64_t timers_armed;          // now
    uint64_t drains;                // turns that used the wide wait after a full batch
} ct_loop_statistics;

// Any thread. Makes a loop that ct_loop_start() must enable on the thread that will run it.
ct_loop *_Nullable ct_loop_create(const ct_loop_options *options, ct_failure *failure);
// On the loop's thread, once, before anything else: enables the engine, binds the memory arena, sets the current loop.
int ct_loop_start(ct_loop *loop, void *_Nullable context, ct_failure *failure);
// On the loop's thread after the last slot is gone and the last message was taken, or on any thread for a loop that was never
// started.
void ct_loop_destroy(ct_loop *loop);

// Submits what was queued, waits until `deadline` at the longest (0: does not wait; UINT64_MAX: no limit) or until
// there are messages, and fills `events`. The one call of a turn.
uint32_t ct_loop_run_once(ct_loop *loop, uint64_t deadline, ct_event *events, uint32_t capacity);

// The time of the present turn.
uint64_t ct_loop_now(const ct_loop *loop);
const ct_loop_statistics *ct_loop_statistics_of(ct_loop *loop);
// Any thread, these two: what they tell does not change.
enum ct_engine_kind ct_loop_engine(const ct_loop *loop);
ct_mailbox *ct_loop_mailbox(const ct_loop *loop);

// The context given to ct_loop_start() on this thread, or NULL. Any thread: whoever gave a loop's address as the context asks
// with it whether this is the loop's thread.
extern _Thread_local void *_Nullable ct_thread_context;
static inline void *_Nullable ct_current_context(void) { return ct_thread_context; }

// ------------------------------------------------------------------------------------- operations on a connection

// Takes over `fd`. NULL when memory ran out (the caller still has `fd`).
ct_slot *_Nullable ct_slot_open(ct_loop *loop, int fd, bool listener, void *_Nullable context);

int ct_accept_start(ct_loop *loop, ct_slot *slot);
int ct_receive_start(ct_loop *loop, ct_slot *slot);
// Bytes already on their way may still be delivered; end of stream stays behind them.
void ct_receive_stop(ct_loop *loop, ct_slot *slot);
// Behind the end of the stream: from now on a RECEIVE event tells, once and as an error, that the connection is lost after all,
// which nothing else would tell while nothing is sent.
int ct_loss_watch(ct_loop *loop, ct_slot *slot);
// One at a time per slot. The memory must live until the SEND event; the iovec array only during this call.
int ct_send(ct_loop *loop, ct_slot *slot, const struct iovec *vectors, uint32_t count);
// Zero-copy form: after the SEND event with CT_EVENT_MORE a NOTIFICATION follows, and the memory must live until then. Both
// events carry `tag` (0 to CT_SEND_TAG_MAX), because notifications of later sends may come first.
enum { CT_SEND_TAG_MAX = 1023 };
int ct_send_zero_copy(ct_loop *loop, ct_slot *slot, const struct iovec *vectors, uint32_t count, uint16_t tag);
// Sends what the kernel takes within this call, while no other send is in flight. The bytes taken, perhaps not all;
// -EAGAIN when it takes none now: ct_send() then waits until it does.
int ct_send_now(ct_loop *loop, ct_slot *slot, const struct iovec *vectors, uint32_t count);
int ct_connect(ct_loop *loop, ct_slot *slot, const struct sockaddr *address, socklen_t length);
// Ends everything in flight, waits for the last completion, closes the descriptor, then posts CLOSED. Idempotent.
// What the kernel has accepted is sent, and the end of the stream behind it; what was received and not read is read away,
// because closing with it would be a reset. Zero-copy sends are waited for as long as it takes the peer to read them.
void ct_slot_close(ct_loop *loop, ct_slot *slot);
// The same, but the peer gets a reset (SO_LINGER 0), what the kernel has not sent yet is dropped, and the peer is not waited
// for. A slot that is closing already stops waiting and is reset. Idempotent.
void ct_slot_reset(ct_loop *loop, ct_slot *slot);

// --------------------------------------------------------------------------------------------------------- timers

typedef uint64_t ct_timer;      // generation << 32 | node + 1; 0 is no timer

// 0 when memory ran out. A deadline in the past fires in the next turn. Resolution: 1 ms, never early.
ct_timer ct_timer_arm(ct_loop *loop, uint64_t deadline, void *context);
// Takes the timer away from a TIMER event or from the wheel. Returns its context once, NULL if it is gone already.
void *_Nullable ct_timer_take(ct_loop *loop, ct_timer timer);
// Takes any armed timer, for a loop that ends; NULL when none is left.
void *_Nullable ct_timer_take_any(ct_loop *loop);

// -------------------------------------------------------------------------------------------------------- mailbox

// A message is two words the caller understands. Messages keep their order per sending thread.
typedef struct ct_message {
    uint64_t kind;
    void *_Nullable word;
} ct_message;

// Any thread. Writes to the eventfd only when the loop sleeps. -ENOMEM, or -ECANCELED once the mailbox is closed.
int ct_mailbox_post(ct_mailbox *mailbox, ct_message message);
// The loop's thread: no lock, no atomic.
int ct_mailbox_post_local(ct_loop *loop, ct_message message);
// The loop's thread: up to `capacity` messages, oldest first.
uint32_t ct_mailbox_take(ct_loop *loop, ct_message *messages, uint32_t capacity);
// The loop's thread: from now on posts are refused. Take what is left afterwards.
void ct_mailbox_close(ct_loop *loop);
// What time it is where the loop is, which for one in a simulated network is not the time of who asks. Any thread.
uint64_t ct_mailbox_clock(const ct_mailbox *mailbox);
// A mailbox outlives its loop while somebody may still post. Any thread.
void ct_mailbox_retain(ct_mailbox *mailbox);
void ct_mailbox_release(ct_mailbox *mailbox);

// ---------------------------------------------------------------------------------------------------------- probe

// What this kernel can do, found by trying, once per process. Any thread.
typedef struct ct_probe_report {
    bool uring;                     // everything the engine needs works
    bool incremental_buffers;       // and a buffer ring may be consumed piece by piece
    bool no_iowait;
    bool send_zero_copy;            // and tells whether it copied all the same
    bool sees_ends;                 // a multishot receive sees the end that came together with the last bytes
    ct_failure failure;             // why io_uring is not to be had
    int32_t kernel_major, kernel_minor;
    char line[320];                 // the report in one line
} ct_probe_report;
const ct_probe_report *ct_probe(void);

// -------------------------------------------------------------------------------------------------------- sockets

typedef struct ct_address {
    struct sockaddr_storage storage;
    socklen_t length;
} ct_address;

// All return a descriptor or 0, or -errno; `failure->call` says which call it was.
int ct_socket_open(int family, ct_failure *failure);
int ct_socket_bind(int fd, const ct_address *address, ct_failure *failure);
int ct_socket_listen(int fd, int backlog, ct_failure *failure);
// connect(2) without waiting: -EAGAIN where a Unix listener's backlog is full. Not for TCP, which has to wait.
int ct_socket_connect_at_once(int fd, const struct sockaddr *address, socklen_t length);
int ct_socket_set_int(int fd, int level, int name, int value);
int ct_socket_set_linger(int fd, bool on, int seconds);
int ct_socket_shutdown_output(int fd);
// Only for a socket that no slot has taken over.
void ct_socket_close(int fd);
// Bytes (and the end of stream) that the peer's kernel has not acknowledged, on a Unix socket: that the peer has not read.
int ct_socket_unsent(int fd);
int ct_socket_local_address(int fd, ct_address *address);
int ct_socket_peer_address(int fd, ct_address *address);
// A literal IPv4 or IPv6 address (with %scope); -EINVAL when `host` is not one.
int ct_address_parse(const char *host, uint16_t port, ct_address *address);
// A path of at most 107 bytes without a zero, or an abstract name: at most 108 bytes, the first of them zero. -EINVAL,
// -ENAMETOOLONG.
int ct_address_unix(const char *path, uint32_t length, ct_address *address);
// Blocks. Fills up to `capacity` addresses in the resolver's order; returns their number or the negative EAI_ code,
// with errno in `system_error` for EAI_SYSTEM.
int ct_address_resolve(const char *host, uint16_t port, ct_address *addresses, int capacity, int *system_error);
// "127.0.0.1:80", "[fe80::1%eth0]:80", "unix:/path" or "unix:@abstract". Returns the length written, without the final zero.
int ct_address_describe(const ct_address *address, char *text, uint32_t capacity);
uint16_t ct_address_port(const ct_address *address);

// -------------------------------------------------------------------------------------------------- thread, memory

// Runs `body(context)` on a new thread. cpu < 0: not pinned; else -errno if that CPU cannot be had.
int ct_thread_start(const char *name, int cpu, void (*body)(void *_Nullable), void *_Nullable context);
// The number of CPUs this process may run on. Any thread.
int ct_thread_cores(void);
// Monotonic nanoseconds. Any thread.
uint64_t ct_clock_now(void);

// Takes SIGINT and SIGTERM over, for good: they end the process no more, but can be read from the descriptor returned, an
// eventfd(2) that adds up how many of each came (the two words of its value). -errno when there is none. To be called once.
#define CT_SIGNAL_INTERRUPT ((uint64_t)1)
#define CT_SIGNAL_TERMINATE ((uint64_t)1 << 32)
int ct_signal_catch(void);

// jemalloc when the trait is on, malloc otherwise. Any thread.
void *_Nullable ct_memory_allocate(uint64_t size);
// Stops the program when there is none, as Swift's own allocations do.
void *ct_memory_require(uint64_t size);
void ct_memory_free(void *_Nullable memory, uint64_t size);
const char *ct_memory_name(void);
// Bytes this thread has allocated so far, for counting tests; 0 without jemalloc.
uint64_t ct_memory_thread_allocated(void);
// Bytes of the process that are in use now, for tests that look for leaks; 0 without jemalloc.
uint64_t ct_memory_in_use(void);

#pragma clang assume_nonnull end
#endif
