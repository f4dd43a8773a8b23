// Receive memory: chunks lent to the kernel, lent on to readers, taken back. Every byte of it is under the loop's budget.
//
// The pool outlives its loop while any chunk is still held somewhere: a reader on another thread may drop the last
// reference long after the loop is gone.
#include "internal.h"

#define CT_SPARE_CHUNKS_MAX 32u

struct ct_chunk_pool {
    uint32_t chunk_size;
    uint32_t references;           // atomic: the loop, and every chunk
    uint64_t budget;
    uint64_t share_threshold;
    uint64_t bytes;                // atomic: of all chunks, spare ones too
    uint32_t memory_wanted;        // atomic: connections starve; wake the loop when memory comes back
    uint32_t spare_count;          // the loop's thread only, as are the next two
    ct_chunk *_Nullable spare;
    bool closed;
    const void *_Nullable owner_thread;    // atomic: read by whoever drops the last reference
    ct_mailbox *mailbox;
};

ct_chunk_pool *ct_chunk_pool_create(const ct_loop_options *options, ct_mailbox *mailbox) {
    ct_assert(options->chunk_size % 4096 == 0);
    ct_chunk_pool *pool = ct_memory_allocate(sizeof *pool);
    if (!pool) return NULL;
    ct_mailbox_retain(mailbox);
    *pool = (ct_chunk_pool){.chunk_size = options->chunk_size,
                            .references = 1,
                            .budget = options->receive_budget,
                            .share_threshold = options->share_threshold,
                            .mailbox = mailbox};
    return pool;
}

static void pool_release(ct_chunk_pool *pool) {
    if (__atomic_sub_fetch(&pool->references, 1, __ATOMIC_ACQ_REL) != 0) return;
    ct_assert(__atomic_load_n(&pool->bytes, __ATOMIC_RELAXED) == 0);
    ct_mailbox_release(pool->mailbox);
    ct_memory_free(pool, sizeof *pool);
}

static void chunk_free(ct_chunk *chunk) {
    ct_chunk_pool *pool = chunk->pool;
    ct_memory_free(chunk->base, chunk->size);
    __atomic_sub_fetch(&pool->bytes, chunk->size, __ATOMIC_RELAXED);
    ct_memory_free(chunk, sizeof *chunk);
    // Pairs with ct_chunk_pool_want_memory(): either we see the wish, or the loop sees the bytes.
    if (__atomic_exchange_n(&pool->memory_wanted, 0, __ATOMIC_SEQ_CST)) ct_mailbox_wake(pool->mailbox);
    pool_release(pool);
}

void ct_chunk_pool_close(ct_chunk_pool *pool) {
    ct_assert(!pool->closed);
    pool->closed = true;
    __atomic_store_n(&pool->owner_thread, NULL, __ATOMIC_RELAXED);
    while (pool->spare) {
        ct_chunk *chunk = pool->spare;
        pool->spare = chunk->next;
        chunk_free(chunk);
    }
    pool_release(pool);
}

ct_chunk *ct_chunk_take(ct_chunk_pool *pool) {
    __atomic_store_n(&pool->owner_thread, (const void *)&ct_thread_context, __ATOMIC_RELAXED);
    ct_chunk *chunk = pool->spare;
    if (chunk) {
        pool->spare = chunk->next;
        pool->spare_count--;
    } else {
        if (__atomic_load_n(&pool->bytes, __ATOMIC_RELAXED) + pool->chunk_size > pool->budget) return NULL;
        chunk = ct_memory_allocate(sizeof *chunk);
        uint8_t *base = chunk ? ct_memory_allocate_pages(pool->chunk_size) : NULL;
        if (!base) {
            ct_memory_free(chunk, sizeof *chunk);
            return NULL;
        }
        *chunk = (ct_chunk){.base = base, .size = pool->chunk_size, .pool = pool};
        __atomic_add_fetch(&pool->bytes, pool->chunk_size, __ATOMIC_RELAXED);
        __atomic_add_fetch(&pool->references, 1, __ATOMIC_RELAXED);
    }
    ct_assert(chunk->references == 0 && !chunk->owner);
    chunk->offset = 0;
    chunk->next = NULL;
    __atomic_store_n(&chunk->references, 1, __ATOMIC_RELAXED);
    return chunk;
}

void ct_chunk_release(ct_chunk *chunk) {
    if (__atomic_sub_fetch(&chunk->references, 1, __ATOMIC_ACQ_REL) != 0) return;
    ct_chunk_pool *pool = chunk->pool;
    // Only the loop's own thread can find its own address here, so the plain fields behind it are its own too.
    bool own = __atomic_load_n(&pool->owner_thread, __ATOMIC_RELAXED) == (const void *)&ct_thread_context;
    if (own && pool->spare_count < CT_SPARE_CHUNKS_MAX) {
        chunk->next = pool->spare;
        pool->spare = chunk;
        pool->spare_count++;
    } else {
        chunk_free(chunk);
    }
}

bool ct_chunk_is_worth_sharing(const ct_chunk *chunk, uint64_t bytes) {
    const ct_chunk_pool *pool = chunk->pool;
    return bytes >= pool->share_threshold && __atomic_load_n(&pool->bytes, __ATOMIC_RELAXED) <= pool->budget / 2;
}

void ct_chunk_pool_want_memory(ct_chunk_pool *pool, bool wanted) {
    __atomic_store_n(&pool->memory_wanted, wanted, __ATOMIC_SEQ_CST);
}

bool ct_chunk_pool_wants_memory(const ct_chunk_pool *pool) {
    return __atomic_load_n(&pool->memory_wanted, __ATOMIC_SEQ_CST);
}

uint64_t ct_chunk_pool_bytes(const ct_chunk_pool *pool) {
    return __atomic_load_n(&pool->bytes, __ATOMIC_RELAXED);
}
