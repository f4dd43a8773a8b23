// Where memory comes from: jemalloc behind the trait "Jemalloc", malloc otherwise (sanitizers exclude jemalloc).
#include "system.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#if CT_JEMALLOC
#if !__has_include(<jemalloc/jemalloc.h>)
#error "SwiftTransport needs jemalloc: apt-get install libjemalloc-dev (or build with --disable-default-traits to use malloc)"
#endif
#include <jemalloc/jemalloc.h>
#endif

#define CT_PAGE 4096u

static void *memory_take(uint64_t size) {
#if CT_JEMALLOC
    return mallocx(size, 0);
#else
    return malloc(size);
#endif
}

// In a simulation, which looks for what is never freed.
static void *memory_counted(void *memory) {
    if (ct_simulated && memory) ct_kernel_here->count_memory(1);
    return memory;
}

void *ct_memory_allocate(uint64_t size) {
    if (ct_simulated && ct_kernel_here->refuses_memory(size)) return NULL;
    return memory_counted(memory_take(size));
}

void *ct_memory_require(uint64_t size) {
    void *memory = memory_take(size);
    if (ct_likely(memory)) return memory_counted(memory);
    fprintf(stderr, "SwiftTransport: out of memory: %llu bytes\n", (unsigned long long)size);
    abort();
}

void *ct_memory_allocate_pages(uint64_t size) {
    ct_assert(size % CT_PAGE == 0);
    if (ct_simulated && ct_kernel_here->refuses_memory(size)) return NULL;
#if CT_JEMALLOC
    return memory_counted(mallocx(size, MALLOCX_ALIGN(CT_PAGE)));
#else
    return memory_counted(aligned_alloc(CT_PAGE, size));
#endif
}

void ct_memory_free(void *memory, uint64_t size) {
    if (!memory) return;
    if (ct_simulated) ct_kernel_here->count_memory(-1);
#if CT_JEMALLOC
    // The aligned sizes are multiples of a page, for which jemalloc's size class does not depend on the alignment.
    sdallocx(memory, size, size % CT_PAGE == 0 && (uintptr_t)memory % CT_PAGE == 0 ? MALLOCX_ALIGN(CT_PAGE) : 0);
#else
    (void)size;
    free(memory);
#endif
}

const char *ct_memory_name(void) {
#if CT_JEMALLOC
    return "jemalloc";
#else
    return "malloc";
#endif
}

#if CT_JEMALLOC

// Arenas are never destroyed, because memory of theirs may outlive their loop. So those of loops that ended are given to
// new ones.
#define CT_ARENAS_MAX 4096u     // jemalloc has no more
static pthread_mutex_t arenas_lock = PTHREAD_MUTEX_INITIALIZER;
static uint32_t arenas_free[CT_ARENAS_MAX];
static uint32_t arenas_free_count;

static bool arena_take(uint32_t *arena) {
    pthread_mutex_lock(&arenas_lock);
    bool found = arenas_free_count > 0;
    if (found) *arena = arenas_free[--arenas_free_count];
    pthread_mutex_unlock(&arenas_lock);
    size_t size = sizeof *arena;
    return found || mallctl("arenas.create", arena, &size, NULL, 0) == 0;
}

static void arena_give_back(uint32_t arena) {
    pthread_mutex_lock(&arenas_lock);
    if (arenas_free_count < CT_ARENAS_MAX) arenas_free[arenas_free_count++] = arena;
    pthread_mutex_unlock(&arenas_lock);
}

void ct_memory_bind_arena(ct_arena *arena) {
    size_t size = sizeof arena->before;
    ct_assert(!arena->bound);
    if (!arena_take(&arena->index)) return;
    if (mallctl("thread.arena", &arena->before, &size, &arena->index, sizeof arena->index) == 0) arena->bound = true;
    else arena_give_back(arena->index);
}

void ct_memory_release_arena(ct_arena *arena) {
    if (!arena->bound) return;
    arena->bound = false;
    uint32_t now = 0;
    size_t size = sizeof now;
    mallctl("thread.tcache.flush", NULL, NULL, NULL, 0);
    if (mallctl("thread.arena", &now, &size, NULL, 0) == 0 && now == arena->index)
        mallctl("thread.arena", NULL, NULL, &arena->before, sizeof arena->before);
    char purge[32];
    snprintf(purge, sizeof purge, "arena.%u.purge", arena->index);
    mallctl(purge, NULL, NULL, NULL, 0);
    arena_give_back(arena->index);
}

#else

void ct_memory_bind_arena(ct_arena *arena) { (void)arena; }
void ct_memory_release_arena(ct_arena *arena) { (void)arena; }

#endif

uint64_t ct_memory_thread_allocated(void) {
#if CT_JEMALLOC
    uint64_t bytes = 0;
    size_t size = sizeof bytes;
    return mallctl("thread.allocated", &bytes, &size, NULL, 0) == 0 ? bytes : 0;
#else
    return 0;
#endif
}

uint64_t ct_memory_in_use(void) {
#if CT_JEMALLOC
    uint64_t epoch = 1, bytes = 0;
    size_t size = sizeof bytes;
    mallctl("epoch", NULL, NULL, &epoch, sizeof epoch);
    return mallctl("stats.allocated", &bytes, &size, NULL, 0) == 0 ? bytes : 0;
#else
    return 0;
#endif
}

void ct_assertion_failed(const char *condition, const char *file, int line) {
    fprintf(stderr, "SwiftTransport: broken invariant: %s (%s:%d)\n", condition, file, line);
    abort();
}
