// Memory that a program has lent to its kernel is the kernel's until it is given back. What a send reads may not change meanwhile,
// and what a receive will fill nobody else may write to: sums and a pattern tell.
#include "uring.h"

#include <stdio.h>

#define SIM_POISON 0xA5
// What comes first of each buffer: to touch all of it would cost more than the rest of the kernel.
#define SIM_POISONED 1024u

static _Noreturn void is_broken(const sim_world *world, const char *what, uint64_t user_data) {
    fprintf(stderr, "SwiftTransport: broken invariant: %s, request %u, %llu ns after the beginning\n", what,
            sim_token_number(user_data), (unsigned long long)(world->now - SIM_SECOND));
    abort();
}

// -------------------------------------------------------------------------------------------------------- what is sent

static uint64_t mixed(uint64_t sum, uint64_t word) {
    sum = (sum ^ word) * 0x9E3779B97F4A7C15ull;
    return sum ^ sum >> 32;
}

static uint64_t sum_of(uint64_t sum, const uint8_t *bytes, uint64_t length) {
    uint64_t word = 0;
    for (; length >= sizeof word; bytes += sizeof word, length -= sizeof word) {
        memcpy(&word, bytes, sizeof word);
        sum = mixed(sum, word);
    }
    word = 0;
    memcpy(&word, bytes, length);
    return mixed(sum, word);
}

static uint64_t sum_of_vectors(const struct iovec *vectors, uint32_t count, uint64_t length) {
    uint64_t sum = 0;
    for (uint32_t i = 0; i < count && length > 0; i++) {
        uint64_t part = vectors[i].iov_len < length ? vectors[i].iov_len : length;
        sum = sum_of(sum, vectors[i].iov_base, part);
        length -= part;
    }
    return sum;
}

void sim_lent_begin(sim_lent *lent, const struct iovec *vectors, uint32_t count, uint64_t length) {
    *lent = (sim_lent){.vectors = sim_malloc(count * sizeof *vectors), .count = count, .length = length};
    if (!lent->vectors) abort();
    memcpy(lent->vectors, vectors, count * sizeof *vectors);
    lent->sum = sum_of_vectors(vectors, count, length);
}

void sim_lent_check(const sim_world *world, const sim_lent *lent, uint64_t user_data) {
    if (lent->vectors && sum_of_vectors(lent->vectors, lent->count, lent->length) != lent->sum)
        is_broken(world, "what a send reads was changed before the kernel gave it back", user_data);
}

void sim_lent_end(sim_lent *lent) {
    sim_free(lent->vectors);
    *lent = (sim_lent){0};
}

// ------------------------------------------------------------------------------------------------------ what is received

static bool is_poisoned(const uint8_t *bytes, uint64_t length) {
    return length == 0 || (bytes[0] == SIM_POISON && memcmp(bytes, bytes + 1, length - 1) == 0);
}

static uint32_t poisoned_length(const struct io_uring_buf *buffer) {
    return buffer->len < SIM_POISONED ? buffer->len : SIM_POISONED;
}

void sim_ring_poison_buffer(const struct io_uring_buf *buffer) {
    memset((void *)(uintptr_t)buffer->addr, SIM_POISON, poisoned_length(buffer));
}

static struct io_uring_buf *buffer_at(sim_ring *ring, uint16_t index) { return &ring->buffers->bufs[index & ring->buffer_mask]; }

// What has been provided since the last time.
void sim_ring_poison_buffers(sim_ring *ring) {
    if (!ring->buffers) return;
    uint16_t tail = __atomic_load_n(&ring->buffers->tail, __ATOMIC_ACQUIRE);
    for (; ring->buffers_poisoned != tail; ring->buffers_poisoned++)
        sim_ring_poison_buffer(buffer_at(ring, ring->buffers_poisoned));
}

void sim_ring_check_buffer(const sim_world *world, const struct io_uring_buf *buffer, uint64_t length, uint64_t user_data) {
    uint64_t poisoned = poisoned_length(buffer);
    if (!is_poisoned((const uint8_t *)(uintptr_t)buffer->addr, length < poisoned ? length : poisoned))
        is_broken(world, "somebody wrote into memory that a receive was to fill", user_data);
}
