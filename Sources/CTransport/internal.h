// What the files of the core share. Swift never sees this.
#ifndef CT_INTERNAL_H
#define CT_INTERNAL_H

#include "CTransport.h"

#include <errno.h>
#include <stddef.h>

#pragma clang assume_nonnull begin

#define CT_COLD __attribute__((cold, noinline))
#define ct_likely(x) __builtin_expect(!!(x), 1)
#define ct_unlikely(x) __builtin_expect(!!(x), 0)

// Active in release: a broken invariant must stop here and not in somebody's bytes. Never on anything a peer sent.
CT_COLD _Noreturn void ct_assertion_failed(const char *condition, const char *file, int line);
#define ct_assert(c) (ct_likely(c) ? (void)0 : ct_assertion_failed(#c, __FILE__, __LINE__))

// The calling thread's name while it lives: no two have one address. Several loops may share a thread (ct_loop_enter()); then each
// of them has a name of its own, and it is the thread's while that loop has it.
extern _Thread_local const void *_Nullable ct_thread_stand_in;
static inline const void *ct_thread_self(void) {
    return ct_unlikely(ct_thread_stand_in != NULL) ? ct_thread_stand_in : &ct_thread_context;
}
static inline bool ct_thread_is(const void *_Nullable name) {
    return ct_likely(name == &ct_thread_context) || (name && name == ct_thread_stand_in);
}
// For what only the loop's own thread may do. A load, an address and a branch, so it stays in release.
#define ct_assert_on_loop(loop) ct_assert(ct_thread_is((loop)->owner))

#define CT_NANOS_PER_MILLI 1000000ull
#define CT_FOREVER UINT64_MAX

// ---------------------------------------------------------------------------------------------------------- tokens

// kind:8 | generation:24 | tag:10 | slot:22. No pointer ever comes back from the kernel. Only zero-copy sends have a tag.
#define CT_TOKEN_INDEX_BITS 22u
#define CT_TOKEN_INDEX_MASK ((1u << CT_TOKEN_INDEX_BITS) - 1)
enum ct_operation : uint8_t {
    CT_OP_RECEIVE = 1,
    CT_OP_SEND,
    CT_OP_SEND_ZERO_COPY,
    CT_OP_CONNECT,
    CT_OP_ACCEPT,
    CT_OP_WAKE = 0xFE,
    CT_OP_CANCEL = 0xFF,
};

static inline uint64_t ct_token(enum ct_operation op, const ct_slot *slot) {
    return (uint64_t)op << 56 | (uint64_t)(slot->generation & 0xFFFFFF) << 32 | slot->index;
}
static inline enum ct_operation ct_token_operation(uint64_t token) { return (enum ct_operation)(token >> 56); }
static inline uint32_t ct_token_generation(uint64_t token) { return (uint32_t)(token >> 32) & 0xFFFFFF; }
static inline uint32_t ct_token_index(uint64_t token) { return (uint32_t)token & CT_TOKEN_INDEX_MASK; }
static inline uint16_t ct_token_tag(uint64_t token) { return (uint16_t)((uint32_t)token >> CT_TOKEN_INDEX_BITS); }
static inline uint64_t ct_token_tagged(enum ct_operation op, const ct_slot *slot) {
    return ct_token(op, slot) | (uint64_t)slot->send_tag << CT_TOKEN_INDEX_BITS;
}

// ----------------------------------------------------------------------------------------------------------- slots

#define CT_SLOTS_PER_BLOCK 1024u
#define CT_SLOT_BLOCKS_MAX 4096u   // 4 Mi connections a loop
_Static_assert((CT_SLOTS_PER_BLOCK * CT_SLOT_BLOCKS_MAX) <= 1u << CT_TOKEN_INDEX_BITS, "a slot's index fits a token");
_Static_assert(CT_SEND_TAG_MAX < 1u << (32 - CT_TOKEN_INDEX_BITS), "so does a tag");

typedef struct ct_slot_list {      // FIFO through ct_slot.next
    uint32_t head, tail;           // index + 1; 0 is empty
} ct_slot_list;

typedef struct ct_slot_table {
    ct_slot *_Nullable *_Nullable blocks;
    uint32_t block_count;
    uint32_t free;                 // index + 1, LIFO: a warm slot first
    uint32_t open;
    ct_slot_list to_finish;        // TO_CLOSE and CLOSED: what is left to do is done when the next turn begins
    ct_slot_list starved;
    uint32_t starved_closing;      // how many of the starved are closing
} ct_slot_table;

static inline ct_slot *_Nullable ct_slot_at(const ct_slot_table *table, uint32_t index) {
    uint32_t block = index / CT_SLOTS_PER_BLOCK;
    return ct_likely(block < table->block_count) ? table->blocks[block] + index % CT_SLOTS_PER_BLOCK : NULL;
}

// Nothing in flight uses the descriptor.
static inline bool ct_slot_descriptor_is_quiet(const ct_slot *slot) {
    return !slot->receive_armed && slot->sends_in_flight == 0 && slot->accepts_in_flight == 0 &&
           slot->connects_in_flight == 0;
}

// Nothing at all is in flight: the kernel does not read the memory of a zero-copy send either.
static inline bool ct_slot_is_quiet(const ct_slot *slot) {
    return ct_slot_descriptor_is_quiet(slot) && slot->notifications_in_flight == 0;
}

int ct_slot_table_init(ct_slot_table *table);
void ct_slot_table_destroy(ct_slot_table *table);
void ct_slot_list_append(ct_slot_table *table, ct_slot_list *list, ct_slot *slot);
ct_slot *_Nullable ct_slot_list_take(ct_slot_table *table, ct_slot_list *list);
// Moves a slot that is not open on once nothing is in flight.
void ct_slot_move_on(ct_loop *loop, ct_slot *slot);
// To be called whenever an operation of `slot` ended.
static inline void ct_slot_operation_ended(ct_loop *loop, ct_slot *slot) {
    if (ct_unlikely(slot->state != CT_SLOT_OPEN)) ct_slot_move_on(loop, slot);
}
// Does what is left to do for slots that are TO_CLOSE or CLOSED: closes descriptors and posts CLOSED events.
uint32_t ct_slots_finish(ct_loop *loop, ct_event *events, uint32_t capacity);

// ---------------------------------------------------------------------------------------------------------- chunks

ct_chunk_pool *_Nullable ct_chunk_pool_create(const ct_loop_options *options, ct_mailbox *mailbox);
// The calling thread is the loop's: what it releases is kept for the next.
void ct_chunk_pool_start(ct_chunk_pool *pool);
void ct_chunk_pool_close(ct_chunk_pool *pool);   // the loop's reference
// The loop's thread. With one reference; NULL when the budget is used up or memory ran out.
ct_chunk *_Nullable ct_chunk_take(ct_chunk_pool *pool);
// A chunk that nobody can use any more, and that cannot be given back yet: the budget is for others. The loop's thread.
void ct_chunk_write_off(ct_chunk *chunk);
// A waiting loop asks to be woken by the next release on another thread.
void ct_chunk_pool_want_memory(ct_chunk_pool *pool);
// False once a release has taken the wish away.
bool ct_chunk_pool_wants_memory(const ct_chunk_pool *pool);
uint64_t ct_chunk_pool_bytes(const ct_chunk_pool *pool);

// ----------------------------------------------------------------------------------------------------------- wheel

#define CT_WHEEL_LEVELS 6
#define CT_WHEEL_BITS 6
#define CT_WHEEL_SPOKES (1u << CT_WHEEL_BITS)

typedef struct ct_timer_node {
    uint64_t expiry;               // ticks
    void *_Nullable context;
    uint32_t generation;
    uint32_t next, previous;       // node + 1
    uint16_t place;                // level * spokes + spoke, or one of CT_TIMER_*
} ct_timer_node;
_Static_assert(sizeof(ct_timer_node) == 32, "two timers a cache line");

typedef struct ct_wheel {
    uint64_t tick;                 // all ticks up to and including this one are over
    uint64_t origin;               // nanoseconds of tick 0
    uint64_t occupied[CT_WHEEL_LEVELS];
    uint32_t heads[CT_WHEEL_LEVELS * CT_WHEEL_SPOKES];
    uint32_t due_head, due_tail;   // expired, oldest first, waiting for room in the event array
    ct_timer_node *_Nullable nodes;
    uint32_t capacity, free, armed;
    uint32_t swept;                // the first nodes, as many as this, are free: see ct_timer_take_any()
} ct_wheel;

void ct_wheel_init(ct_wheel *wheel, uint64_t now);
void ct_wheel_destroy(ct_wheel *wheel);
uint64_t ct_wheel_arm(ct_wheel *wheel, uint64_t deadline, void *context);
void *_Nullable ct_wheel_take(ct_wheel *wheel, ct_timer timer);
void ct_wheel_advance(ct_wheel *wheel, uint64_t now);
// The next time something may be due: never late, sometimes early (a cascade). CT_FOREVER when empty.
uint64_t ct_wheel_next(const ct_wheel *wheel);
uint32_t ct_wheel_expire(ct_wheel *wheel, ct_event *events, uint32_t capacity);

// --------------------------------------------------------------------------------------------------------- mailbox

ct_mailbox *_Nullable ct_mailbox_create(ct_failure *failure);
int ct_mailbox_eventfd(const ct_mailbox *mailbox);
// Before and after the wait: true from the first means "messages are there, do not sleep".
bool ct_mailbox_prepare_sleep(ct_mailbox *mailbox);
void ct_mailbox_end_sleep(ct_mailbox *mailbox);
void ct_mailbox_wake(ct_mailbox *mailbox);

// --------------------------------------------------------------------------------------------------------- engines

// What an engine is. It keeps the counters of a slot true: an operation is counted when it is handed over and
// uncounted when its last completion is posted.
typedef struct ct_engine {
    enum ct_engine_kind kind;
    int (*open)(ct_loop *loop, const ct_loop_options *options, ct_failure *failure);   // any thread
    int (*start)(ct_loop *loop, ct_failure *failure);                                  // the loop's thread
    void (*destroy)(ct_loop *loop);
    int (*accept)(ct_loop *loop, ct_slot *slot);
    int (*receive)(ct_loop *loop, ct_slot *slot);
    void (*receive_stop)(ct_loop *loop, ct_slot *slot);
    int (*send)(ct_loop *loop, ct_slot *slot, const struct iovec *vectors, uint32_t count, bool zero_copy);
    // Bytes or -errno, of a system call of its own.
    int (*send_now)(ct_loop *loop, ct_slot *slot, const struct iovec *vectors, uint32_t count);
    int (*connect)(ct_loop *loop, ct_slot *slot, const struct sockaddr *address, socklen_t length);
    // Makes everything in flight complete soon.
    void (*interrupt)(ct_loop *loop, ct_slot *slot);
    // The descriptor is about to be closed.
    void (*forget)(ct_loop *loop, ct_slot *slot);
    // Any chunk that is lent; NULL when there is none.
    ct_chunk *_Nullable (*_Nonnull take_back)(ct_loop *loop);
    // True when the next receive will find memory; lends what it can first.
    bool (*has_memory)(ct_loop *loop);
    // Submits and waits for at most `timeout` nanoseconds (CT_FOREVER: no limit).
    uint32_t (*poll)(ct_loop *loop, ct_event *events, uint32_t capacity, uint64_t timeout);
} ct_engine;

extern const ct_engine ct_engine_uring;
extern const ct_engine ct_engine_epoll;

typedef struct ct_arena {
    bool bound;
    uint32_t index, before;        // `before`: the thread's own
} ct_arena;

struct ct_loop {
    const ct_engine *engine;
    void *_Nullable engine_state;
    ct_mailbox *mailbox;
    ct_chunk_pool *pool;
    uint64_t now;
    const void *_Nullable owner;           // ct_thread_self() of the loop's thread; NULL until it is started
    ct_arena arena;
    struct ct_message *_Nullable local;    // ring of messages the loop posted to itself
    uint32_t local_head, local_count, local_capacity;
    ct_slot_table slots;
    ct_wheel wheel;
    ct_loop_statistics statistics;
};

static inline void ct_fail(ct_failure *failure, enum ct_call call, int error) {
    failure->call = call;
    failure->error = error < 0 ? -error : error;
}

// No receive memory for `slot`: it waits, first come first served, until some comes back (never on a timer).
void ct_loop_starve(ct_loop *loop, ct_slot *slot);

// What the kernel takes without waiting. Bytes or -errno.
int ct_socket_send(int fd, const struct iovec *vectors, uint32_t count);
// Resets a TCP connection at once: its socket is connected to nowhere.
void ct_socket_disconnect(int fd);
// Whether bytes have been received and not read. Then a socket that closes must not have its input shut before they are read
// away: its window would never open again, and a peer that waits for it would hear nothing until the kernel gives up.
bool ct_socket_has_input(int fd);
// The error that the kernel tells once (SO_ERROR); 0 for none.
int ct_socket_take_error(int fd);

// A loop's thread has a jemalloc arena of its own while the loop runs, so that the flag-free fast path needs no arena
// argument per call (TCACHE_NONE costs twelve times as much). Where none is to be had the thread keeps the one it has.
void ct_memory_bind_arena(ct_arena *arena);
// On the same thread: pages that are not in use go back to the kernel, and the arena to the next loop.
void ct_memory_release_arena(ct_arena *arena);
void *_Nullable ct_memory_allocate_pages(uint64_t size);

#pragma clang assume_nonnull end
#endif
