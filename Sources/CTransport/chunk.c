// Receive memory: chunks lent to the kernel, lent on to readers, taken back. Every byte of it is under the loop's budget.
//
// The pool outlives its loop while any chunk is still held somewhere: a reader on another thread may drop the last
// reference long after the loop is gone.
#include "internal.h"

#define CT_SPARE_CHUNKS_MAX 32u

// A loop whose connections starve waits for memory that other threads release, and must be woken:
//
//     who frees a chunk                        the loop
//     F1  bytes -= size                        W1  memory_wanted = 1
//     F2  was memory_wanted? (now 0: wake)     W2  bytes below the budget?   (ct_chunk_take)
//
// Each writes one word and then reads the other's. All four are sequentially consistent, so either F2 sees the wish or W2 the
// memory. The wake itself must not be lost between W2 and the sleep: the loop calls itself asleep (mailbox.c), looks whether
// its wish was taken away meanwhile, and does not sleep then.
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
    const void *_Nullable owner;   // atomic: the loop's thread while the pool is open; read by whoever drops a last reference
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

void ct_chunk_pool_start(ct_chunk_pool *pool) {
    ct_assert(!pool->closed);
    __atomic_store_n(&pool->owner, ct_thread_self(), __ATOMIC_RELAXED);
}

// Pairs with itself: what every owner did to the pool has happened before the last one frees it.
static void pool_release(ct_chunk_pool *pool) {
    uint32_t left = __atomic_sub_fetch(&pool->references, 1, __ATOMIC_ACQ_REL);
    ct_assert(left != UINT32_MAX);
    if (left != 0) return;
    ct_assert(pool->closed && !pool->spare && __atomic_load_n(&pool->bytes, __ATOMIC_RELAXED) == 0);
    ct_mailbox_release(pool->mailbox);
    ct_memory_free(pool, sizeof *pool);
}

static void chunk_free(ct_chunk *chunk) {
    ct_chunk_pool *pool = chunk->pool;
    uint32_t size = chunk->unbudgeted ? 0 : chunk->size;
    ct_assert(!chunk->owner && chunk->offset <= chunk->size);
    ct_memory_free(chunk->base, chunk->size);
    ct_memory_free(chunk, sizeof *chunk);
    uint64_t before = __atomic_fetch_sub(&pool->bytes, size, __ATOMIC_SEQ_CST);     // F1
    ct_assert(before >= size);
    // F2
    if (__atomic_exchange_n(&pool->memory_wanted, 0, __ATOMIC_SEQ_CST)) ct_mailbox_wake(pool->mailbox);
    pool_release(pool);
}

void ct_chunk_write_off(ct_chunk *chunk) {
    ct_assert(!chunk->unbudgeted);
    chunk->unbudgeted = true;
    __atomic_fetch_sub(&chunk->pool->bytes, chunk->size, __ATOMIC_SEQ_CST);
}

void ct_chunk_pool_close(ct_chunk_pool *pool) {
    ct_assert(!pool->closed);
    pool->closed = true;
    __atomic_store_n(&pool->owner, NULL, __ATOMIC_RELAXED);
    for (; pool->spare; pool->spare_count--) {
        ct_chunk *chunk = pool->spare;
        pool->spare = chunk->next;
        chunk_free(chunk);
    }
    ct_assert(pool->spare_count == 0);
    pool_release(pool);
}

ct_chunk *ct_chunk_take(ct_chunk_pool *pool) {
    ct_assert(ct_thread_is(__atomic_load_n(&pool->owner, __ATOMIC_RELAXED)));
    ct_chunk *chunk = pool->spare;
    if (chunk) {
        pool->spare = chunk->next;
        pool->spare_count--;
    } else {
        // W2. Only this thread adds, so the sum cannot have grown when it does.
        if (__atomic_load_n(&pool->bytes, __ATOMIC_SEQ_CST) + pool->chunk_size > pool->budget) return NULL;
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
    // Relaxed, as all that makes a chunk known to other threads has an order of its own.
    __atomic_store_n(&chunk->references, 1, __ATOMIC_RELAXED);
    return chunk;
}

// The count pairs with itself: whoever drops the last reference sees all that others read from the chunk as done, and may let the
// kernel write there again.
void ct_chunk_release(ct_chunk *chunk) {
    uint32_t left = __atomic_sub_fetch(&chunk->references, 1, __ATOMIC_ACQ_REL);
    ct_assert(left != UINT32_MAX);
    if (left != 0) return;
    ct_chunk_pool *pool = chunk->pool;
    // Relaxed, because only the loop's own thread can find its own name here, and that wrote it itself: the plain fields behind
    // it are its own too. Others find another name or none, and it does not matter which.
    bool own = ct_thread_is(__atomic_load_n(&pool->owner, __ATOMIC_RELAXED)) && !chunk->unbudgeted;
    if (own && pool->spare_count < CT_SPARE_CHUNKS_MAX) {
        chunk->next = pool->spare;
        pool->spare = chunk;
        pool->spare_count++;
    } else {
        chunk_free(chunk);
    }
}

// Relaxed: a hint, and one that is a moment old is as good.
bool ct_chunk_is_worth_sharing(const ct_chunk *chunk, uint64_t bytes) {
    const ct_chunk_pool *pool = chunk->pool;
    return bytes >= pool->share_threshold && __atomic_load_n(&pool->bytes, __ATOMIC_RELAXED) <= pool->budget / 2;
}

void ct_chunk_pool_want_memory(ct_chunk_pool *pool) {
    __atomic_store_n(&pool->memory_wanted, 1, __ATOMIC_SEQ_CST);    // W1
}

bool ct_chunk_pool_wants_memory(const ct_chunk_pool *pool) {
    return __atomic_load_n(&pool->memory_wanted, __ATOMIC_SEQ_CST);
}

uint64_t ct_chunk_pool_bytes(const ct_chunk_pool *pool) {
    return __atomic_load_n(&pool->bytes, __ATOMIC_RELAXED);
}
