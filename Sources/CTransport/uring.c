// The io_uring engine: its ring from the first to the last day, and a turn of it. What a slot wants becomes a request
// (uring_operations.c), what completes becomes an event (uring_completions.c).
//
// Receive: one multishot request per connection that takes its memory from the loop's buffer ring, POLL_FIRST so that
// an idle connection holds none and survives a shortage. Send: one in flight per connection, run inline by the enter
// that also waits. Accept: multishot. Close: see slot.c.
#include "uring.h"

int ct_uring_open_ring(ct_uring *u, ct_failure *failure) {
    uint32_t entries = 1;
    while (entries < u->messages_capacity && entries < CT_RING_ENTRIES_MAX) entries *= 2;
    int result = ct_ring_setup(&u->ring, entries, ct_ring_completions_bound(entries), failure);
    if (result < 0) return result;
    ct_assert(u->ring.io.sq.ring_entries == entries);
    ct_assert(u->ring.io.cq.ring_entries >= ct_ring_completions_bound(entries));
    u->buffers = (ct_buffer_ring){0};
    u->drain = u->behind = u->refused = u->wake_armed = false;
    u->lent = 0;
    u->vectors_used = u->messages_used = u->addresses_used = 0;
    u->free_ids = CT_BUFFER_ENTRIES;
    for (uint32_t i = 0; i < CT_BUFFER_ENTRIES; i++) {
        u->free_id[i] = (uint16_t)(CT_BUFFER_ENTRIES - 1 - i);
        u->chunk_of[i] = NULL;
    }
    return 0;
}

static int uring_open(ct_loop *loop, const ct_loop_options *options, ct_failure *failure) {
    ct_uring *u = ct_memory_allocate(sizeof *u);
    uint32_t entries = options->submission_entries;
    struct msghdr *messages = u ? ct_memory_allocate(entries * sizeof *messages) : NULL;
    if (!messages) {
        ct_memory_free(u, sizeof *u);
        ct_fail(failure, CT_CALL_IO_URING_SETUP, ENOMEM);
        return -ENOMEM;
    }
    u->messages = messages;
    u->messages_capacity = entries;
    u->incremental = ct_probe()->incremental_buffers && !options->classic_buffers;
    u->sees_ends = ct_probe()->sees_ends;
    u->lent_target = options->chunks_lent < CT_BUFFER_ENTRIES ? options->chunks_lent : CT_BUFFER_ENTRIES;
    u->later_head = u->later_tail = 0;
    u->spoiled = NULL;
    int result = ct_uring_open_ring(u, failure);
    if (result < 0) {
        ct_memory_free(messages, entries * sizeof *messages);
        ct_memory_free(u, sizeof *u);
        return result;
    }
    loop->engine_state = u;
    return 0;
}

int ct_uring_start_ring(ct_loop *loop, ct_failure *failure) {
    ct_uring *u = uring_of(loop);
    int result = ct_ring_enable(&u->ring, failure);
    if (result < 0) return result;
    result = ct_buffer_ring_open(&u->ring, &u->buffers, CT_BUFFER_GROUP, CT_BUFFER_ENTRIES, u->incremental);
    if (result < 0) {
        ct_fail(failure, CT_CALL_IO_URING_REGISTER, result);
        return result;
    }
    ct_uring_arm_wake(loop);
    return 0;
}

void ct_uring_close_ring(ct_uring *u) {
    ct_buffer_ring_close(&u->ring, &u->buffers);
    ct_ring_close(&u->ring);
    ct_uring_spoil_chunks(u);
}

static void uring_destroy(ct_loop *loop) {
    if (!loop->engine_state) return;
    ct_uring *u = uring_of(loop);
    ct_assert(u->later_head == 0);
    ct_uring_close_ring(u);
    while (u->spoiled) {
        ct_chunk *chunk = u->spoiled;
        u->spoiled = chunk->next;
        ct_chunk_release(chunk);
    }
    ct_memory_free(u->messages, u->messages_capacity * sizeof *u->messages);
    ct_memory_free(u, sizeof *u);
    loop->engine_state = NULL;
}

// ------------------------------------------------------------------------------------------------------------ a turn

static void uring_enter(ct_loop *loop, uint32_t wait, uint64_t timeout) {
    ct_uring *u = uring_of(loop);
    loop->statistics.enters++;
    int result = ct_ring_enter(&u->ring, wait, timeout);
    u->refused = false;
    if (ct_unlikely(result < 0 || ct_ring_pending(&u->ring) > 0)) ct_uring_entered_badly(loop, result, wait, timeout);
    ct_uring_scratch_reset(u);
    loop->statistics.completion_overflows += ct_ring_overflows(&u->ring);
}

static uint32_t uring_poll(ct_loop *loop, ct_event *events, uint32_t capacity, uint64_t timeout) {
    ct_uring *u = uring_of(loop);
    struct io_uring_cq *cq = &u->ring.io.cq;
    uint32_t count = 0;
    ct_uring_lend(loop);
    // Completions left over from a full batch come first: the queue is empty whenever we enter.
    if (ct_likely(*cq->khead == __atomic_load_n(cq->ktail, __ATOMIC_ACQUIRE))) {
        if (ct_unlikely(u->behind)) timeout = ct_uring_catch_up(loop, events, capacity, timeout, &count);
        uint32_t wait = timeout > 0;
        if (u->drain) {
            wait = CT_WAIT_MAX;
            timeout = 0;
            loop->statistics.drains++;
        }
        u->drain = false;
        uring_enter(loop, wait, timeout);
    }
    return count + ct_uring_drain_completions(loop, events + count, capacity - count);
}

const ct_engine ct_engine_uring = {
    .kind = CT_ENGINE_URING,
    .open = uring_open,
    .start = ct_uring_start_ring,
    .destroy = uring_destroy,
    .accept = ct_uring_accept,
    .receive = ct_uring_receive,
    .receive_stop = ct_uring_receive_stop,
    .send = ct_uring_send,
    .send_now = ct_uring_send_now,
    .connect = ct_uring_connect,
    .interrupt = ct_uring_interrupt,
    .forget = ct_uring_forget,
    .take_back = ct_uring_take_back,
    .has_memory = ct_uring_has_memory,
    .poll = uring_poll,
};
