#define _GNU_SOURCE
#include "buffers.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "ring.h"

// Newer than liburing 2.3, whose io_uring_buf_reg calls the flags field pad.
#define BUFFER_RING_INCREMENTAL 2
#define COMPLETION_BUFFER_MORE (1U << 4)

enum {
    RING_ENTRIES = 1024,
    BUFFER_COUNT = 4096,
    INCREMENTAL_BYTES = 64 * 1024,
    CLASSIC_BYTES = 16 * 1024,
    // Few, so that they stay in the cache; grows to all the ring can hold when the kernel runs out.
    INCREMENTAL_LENT_FIRST = 8,
    CLASSIC_LENT_FIRST = 64,
};

static struct io_uring_buf_ring *buffer_ring;
static char *memory;
static unsigned buffer_bytes;
static unsigned lent, lent_target;

static uint32_t counts[BUFFER_COUNT];
static uint32_t offsets[BUFFER_COUNT];
// Last in, first out: the buffer used last is the one still in the cache.
static uint16_t free_stack[BUFFER_COUNT];
static unsigned free_count;

static void *map(size_t bytes) {
    void *address = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (address == MAP_FAILED) fail("mmap", errno);
    return address;
}

static int register_ring(uint16_t flags) {
    struct io_uring_buf_reg registration = {
        .ring_addr = (uint64_t)(uintptr_t)buffer_ring,
        .ring_entries = RING_ENTRIES,
        .bgid = BUFFER_GROUP,
        .pad = flags,
    };
    return io_uring_register_buf_ring(&ring, &registration, 0);
}

void buffers_open(void) {
    buffer_ring = map(RING_ENTRIES * sizeof(struct io_uring_buf));
    if (register_ring(BUFFER_RING_INCREMENTAL) == 0) {
        buffer_bytes = INCREMENTAL_BYTES;
        lent_target = INCREMENTAL_LENT_FIRST;
    } else {
        int result = register_ring(0);
        if (result < 0) fail("io_uring_register(buffer ring)", -result);
        buffer_bytes = CLASSIC_BYTES;
        lent_target = CLASSIC_LENT_FIRST;
    }
    io_uring_buf_ring_init(buffer_ring);
    memory = map((size_t)BUFFER_COUNT * buffer_bytes);
    for (unsigned i = BUFFER_COUNT; i-- > 0;) free_stack[free_count++] = (uint16_t)i;
    buffers_refill();
}

char *buffers_take(uint32_t completion_flags, uint32_t length, uint16_t *buffer) {
    uint16_t id = (uint16_t)(completion_flags >> IORING_CQE_BUFFER_SHIFT);
    assert(counts[id] > 0 && offsets[id] + length <= buffer_bytes);
    char *bytes = memory + (size_t)id * buffer_bytes + offsets[id];
    offsets[id] += length;
    *buffer = id;
    // Without MORE the kernel is done with the buffer, and its count becomes the caller's.
    if (completion_flags & COMPLETION_BUFFER_MORE) {
        counts[id]++;
    } else {
        lent--;
    }
    return bytes;
}

void buffers_release(uint16_t buffer) {
    assert(counts[buffer] > 0);
    if (--counts[buffer] == 0) free_stack[free_count++] = buffer;
}

void buffers_grow(void) {
    if (lent_target < RING_ENTRIES) lent_target *= 2;
}

unsigned buffers_refill(void) {
    int added = 0;
    for (; lent < lent_target && free_count > 0; lent++, added++) {
        uint16_t id = free_stack[--free_count];
        assert(counts[id] == 0);
        counts[id] = 1;
        offsets[id] = 0;
        io_uring_buf_ring_add(buffer_ring, memory + (size_t)id * buffer_bytes, buffer_bytes, id,
                              io_uring_buf_ring_mask(RING_ENTRIES), added);
    }
    if (added > 0) io_uring_buf_ring_advance(buffer_ring, added);
    return lent;
}

unsigned buffers_lent(void) {
    return lent;
}
