// The loop: create, start, one turn, destroy. Knows the engines and nothing of what the events mean.
#include "system.h"

#include <string.h>

#define CT_DEFAULT_SUBMISSION_ENTRIES 1024u
#define CT_DEFAULT_CHUNK_SIZE (64u * 1024)
#define CT_DEFAULT_CLASSIC_CHUNK_SIZE (16u * 1024)
#define CT_DEFAULT_CHUNKS_LENT 32u
#define CT_DEFAULT_RECEIVE_BUDGET (64ull * 1024 * 1024)
#define CT_PAGE 4096u
// A starved connection is fed per lent chunk this many at a time: more would only run dry again.
#define CT_FED_PER_TURN 64u

static const ct_engine *loop_choose_engine(const ct_loop_options *options, ct_failure *failure) {
    const ct_probe_report *report = ct_probe();
    if (options->engine == CT_ENGINE_EPOLL) return &ct_engine_epoll;
    if (report->uring) return &ct_engine_uring;
    if (options->engine == CT_ENGINE_AUTOMATIC) return &ct_engine_epoll;
    *failure = report->failure;
    return NULL;
}

static ct_loop_options loop_with_defaults(const ct_loop_options *given, const ct_engine *engine) {
    ct_loop_options options = *given;
    bool incremental = engine->kind == CT_ENGINE_EPOLL || ct_probe()->incremental_buffers;
    bool whole = options.classic_buffers || !incremental;
    if (!options.submission_entries) options.submission_entries = CT_DEFAULT_SUBMISSION_ENTRIES;
    if (!options.chunk_size) options.chunk_size = whole ? CT_DEFAULT_CLASSIC_CHUNK_SIZE : CT_DEFAULT_CHUNK_SIZE;
    if (!options.chunks_lent) options.chunks_lent = CT_DEFAULT_CHUNKS_LENT * (whole ? 4 : 1);
    if (!options.receive_budget) options.receive_budget = CT_DEFAULT_RECEIVE_BUDGET;
    options.chunk_size = (options.chunk_size + CT_PAGE - 1) / CT_PAGE * CT_PAGE;
    // One chunk at least, or nothing is ever received.
    if (options.receive_budget < options.chunk_size) options.receive_budget = options.chunk_size;
    return options;
}

ct_loop *ct_loop_create(const ct_loop_options *given, ct_failure *failure) {
    *failure = (ct_failure){0};
    const ct_engine *engine = loop_choose_engine(given, failure);
    if (!engine) return NULL;
    ct_loop_options options = loop_with_defaults(given, engine);
    ct_loop *loop = ct_memory_allocate(sizeof *loop);
    if (!loop) {
        ct_fail(failure, CT_CALL_MMAP, ENOMEM);
        return NULL;
    }
    memset(loop, 0, sizeof *loop);
    loop->engine = engine;
    loop->now = ct_clock_now();
    ct_wheel_init(&loop->wheel, loop->now);
    ct_mailbox *mailbox = ct_mailbox_create(failure);
    ct_chunk_pool *pool = mailbox ? ct_chunk_pool_create(&options, mailbox) : NULL;
    if (mailbox) loop->mailbox = mailbox;
    if (pool) loop->pool = pool;
    if (!pool || ct_slot_table_init(&loop->slots) < 0) {
        if (!failure->error) ct_fail(failure, CT_CALL_MMAP, ENOMEM);
        ct_loop_destroy(loop);
        return NULL;
    }
    if (engine->open(loop, &options, failure) < 0) {
        ct_loop_destroy(loop);
        return NULL;
    }
    return loop;
}

int ct_loop_start(ct_loop *loop, void *context, ct_failure *failure) {
    ct_assert(!loop->owner);
    *failure = (ct_failure){0};
    // A thread that several loops share keeps its own.
    if (!ct_simulated) ct_memory_bind_arena(&loop->arena);
    int result = loop->engine->start(loop, failure);
    if (result < 0) {
        ct_memory_release_arena(&loop->arena);
        return result;
    }
    loop->owner = ct_thread_self();
    ct_chunk_pool_start(loop->pool);
    ct_thread_context = context;
    return 0;
}

ct_chunk *ct_chunk_take_back(ct_loop *loop) {
    ct_assert_on_loop(loop);
    ct_assert(loop->slots.open == 0);
    return loop->engine->take_back(loop);
}

void ct_loop_destroy(ct_loop *loop) {
    bool started = loop->owner != NULL;
    if (started) ct_assert_on_loop(loop);
    // Whoever posted them would wait for ever.
    ct_assert(loop->local_count == 0);
    loop->engine->destroy(loop);
    ct_slot_table_destroy(&loop->slots);
    ct_wheel_destroy(&loop->wheel);
    ct_memory_free(loop->local, loop->local_capacity * sizeof *loop->local);
    if (loop->pool) ct_chunk_pool_close(loop->pool);
    if (loop->mailbox) ct_mailbox_release(loop->mailbox);
    if (started) {
        ct_thread_context = NULL;
        ct_thread_stand_in = NULL;
    }
    ct_arena arena = loop->arena;
    ct_memory_free(loop, sizeof *loop);
    ct_memory_release_arena(&arena);
}

void ct_loop_enter(ct_loop *loop, void *context) {
    ct_assert(!ct_thread_stand_in && !ct_thread_context);
    ct_thread_stand_in = loop;
    ct_thread_context = context;
}

void ct_loop_leave(ct_loop *loop) {
    ct_assert(ct_thread_stand_in == loop);
    ct_thread_stand_in = NULL;
    ct_thread_context = NULL;
}

// ----------------------------------------------------------------------------------------------------------- turn

void ct_loop_starve(ct_loop *loop, ct_slot *slot) {
    if (slot->starved) return;
    ct_assert(slot->state == CT_SLOT_OPEN && !slot->receive_armed);
    slot->starved = true;
    loop->statistics.starved++;
    ct_slot_list_append(&loop->slots, &loop->slots.starved, slot);
}

// A close must not wait for memory that its connection will never use. The others keep their order.
static void loop_drop_closing(ct_loop *loop) {
    ct_slot_table *table = &loop->slots;
    if (ct_likely(table->starved_closing == 0)) return;
    table->starved_closing = 0;
    uint32_t last = table->starved.tail;
    for (bool more = true; more;) {
        more = table->starved.head != last;
        ct_slot *slot = ct_slot_list_take(table, &table->starved);
        if (slot->state == CT_SLOT_OPEN) {
            ct_slot_list_append(table, &table->starved, slot);
        } else {
            slot->starved = false;
            ct_slot_operation_ended(loop, slot);
        }
    }
}

// True when there may be memory for more than were fed.
static bool loop_feed_starved(ct_loop *loop) {
    if (ct_likely(loop->slots.starved.head == 0)) return false;
    loop_drop_closing(loop);
    // The wish first, then the look: a release between the two is either seen here or wakes the loop.
    ct_chunk_pool_want_memory(loop->pool);
    uint32_t fed = 0;
    for (; fed < CT_FED_PER_TURN && loop->engine->has_memory(loop); fed++) {
        ct_slot *slot = ct_slot_list_take(&loop->slots, &loop->slots.starved);
        if (!slot) break;
        slot->starved = false;
        if (slot->state == CT_SLOT_OPEN && slot->receive_wanted) {
            loop->statistics.receive_rearms++;
            if (loop->engine->receive(loop, slot) < 0) ct_loop_starve(loop, slot);
        }
        ct_slot_operation_ended(loop, slot);
    }
    return fed == CT_FED_PER_TURN && loop->slots.starved.head != 0;
}

// A release that came behind the look in loop_feed_starved() but before the loop was asleep woke nobody.
static bool loop_memory_came(const ct_loop *loop) {
    return ct_unlikely(loop->slots.starved.head != 0) && !ct_chunk_pool_wants_memory(loop->pool);
}

static uint64_t loop_timeout(ct_loop *loop, uint64_t deadline) {
    uint64_t next = ct_wheel_next(&loop->wheel);
    if (next < deadline) deadline = next;
    if (deadline == CT_FOREVER || deadline == 0) return deadline;
    uint64_t now = ct_clock_now();
    return deadline > now ? deadline - now : 0;
}

uint32_t ct_loop_run_once(ct_loop *loop, uint64_t deadline, ct_event *events, uint32_t capacity) {
    ct_assert_on_loop(loop);
    ct_assert(capacity >= 64);
    loop->statistics.turns++;
    // The wait that the last turn was in is over.
    if (ct_simulated) ct_mailbox_end_sleep(loop->mailbox);
    bool hungry = loop_feed_starved(loop);
    // Timers and closes keep their part of the array, however much traffic there is.
    uint32_t reserved = capacity / 8;
    uint32_t count = ct_slots_finish(loop, events, reserved);
    bool busy = hungry || count > 0 || loop->local_count > 0 || loop->slots.to_finish.head != 0;
    uint64_t timeout = busy ? 0 : loop_timeout(loop, deadline);
    bool sleeps = timeout > 0;
    if (sleeps && (ct_mailbox_prepare_sleep(loop->mailbox) || loop_memory_came(loop))) timeout = 0;
    count += loop->engine->poll(loop, events + count, capacity - count - reserved, timeout);
    if (sleeps && !sys_is_suspended()) ct_mailbox_end_sleep(loop->mailbox);

    loop->now = ct_clock_now();
    ct_wheel_advance(&loop->wheel, loop->now);
    count += ct_wheel_expire(&loop->wheel, events + count, capacity - count);
    ct_assert(count <= capacity);
    loop->statistics.events += count;
    return count;
}

uint64_t ct_loop_now(const ct_loop *loop) {
    ct_assert_on_loop(loop);
    return loop->now;
}
enum ct_engine_kind ct_loop_engine(const ct_loop *loop) { return loop->engine->kind; }
ct_mailbox *ct_loop_mailbox(const ct_loop *loop) { return loop->mailbox; }

const ct_loop_statistics *ct_loop_statistics_of(ct_loop *loop) {
    ct_assert_on_loop(loop);
    loop->statistics.chunk_bytes = ct_chunk_pool_bytes(loop->pool);
    loop->statistics.slots_open = loop->slots.open;
    loop->statistics.timers_armed = loop->wheel.armed;
    return &loop->statistics;
}

// ------------------------------------------------------------------------------------------ operations on a slot

int ct_accept_start(ct_loop *loop, ct_slot *slot) {
    ct_assert_on_loop(loop);
    ct_assert(slot->state == CT_SLOT_OPEN && slot->listener);
    return slot->accepts_in_flight ? 0 : loop->engine->accept(loop, slot);
}

int ct_receive_start(ct_loop *loop, ct_slot *slot) {
    ct_assert_on_loop(loop);
    if (slot->state != CT_SLOT_OPEN) return -ENOTCONN;
    slot->receive_wanted = true;
    return loop->engine->receive(loop, slot);
}

void ct_receive_stop(ct_loop *loop, ct_slot *slot) {
    ct_assert_on_loop(loop);
    if (!slot->receive_wanted) return;
    slot->receive_wanted = false;
    loop->engine->receive_stop(loop, slot);
}

int ct_loss_watch(ct_loop *loop, ct_slot *slot) {
    ct_assert_on_loop(loop);
    if (slot->state != CT_SLOT_OPEN) return -ENOTCONN;
    // Who was handed the end may have started a receive again meanwhile: that one meets the end again, and then watches.
    slot->watches_loss = slot->receive_wanted = true;
    return loop->engine->receive(loop, slot);
}

static int loop_send(
    ct_loop *loop, ct_slot *slot, const struct iovec *vectors, uint32_t count, bool zero_copy, uint16_t tag) {
    ct_assert_on_loop(loop);
    ct_assert(slot->sends_in_flight == 0);
    if (slot->state != CT_SLOT_OPEN) return -EPIPE;
    slot->send_tag = tag;
    return loop->engine->send(loop, slot, vectors, count, zero_copy);
}

int ct_send(ct_loop *loop, ct_slot *slot, const struct iovec *vectors, uint32_t count) {
    return loop_send(loop, slot, vectors, count, false, 0);
}

int ct_send_zero_copy(ct_loop *loop, ct_slot *slot, const struct iovec *vectors, uint32_t count, uint16_t tag) {
    ct_assert(tag <= CT_SEND_TAG_MAX);
    return loop_send(loop, slot, vectors, count, ct_probe()->send_zero_copy, tag);
}

// A reset is told to whoever asks first, and to a receive behind it the socket then looks like one whose peer ended its stream.
// EPIPE says nothing new: the peer's end of stream came before the reset, or somebody was told of it.
static void remember_loss(ct_slot *slot, int error) {
    switch (error) {
    case ECONNRESET:
    case ETIMEDOUT:
    case EHOSTUNREACH:
    case ENETUNREACH:
    case EHOSTDOWN:
    case ENETDOWN:
        slot->lost = (uint16_t)error;
    }
}

int ct_send_now(ct_loop *loop, ct_slot *slot, const struct iovec *vectors, uint32_t count) {
    ct_assert_on_loop(loop);
    ct_assert(slot->sends_in_flight == 0);
    if (slot->state != CT_SLOT_OPEN) return -EPIPE;
    int sent = loop->engine->send_now(loop, slot, vectors, count);
    loop->statistics.sends++;
    if (sent > 0) loop->statistics.sent_bytes += (uint64_t)sent;
    else remember_loss(slot, -sent);
    return sent == -EINTR ? -EAGAIN : sent;
}

int ct_connect(ct_loop *loop, ct_slot *slot, const struct sockaddr *address, socklen_t length) {
    ct_assert_on_loop(loop);
    ct_assert(slot->connects_in_flight == 0);
    return slot->state == CT_SLOT_OPEN ? loop->engine->connect(loop, slot, address, length) : -ECANCELED;
}
