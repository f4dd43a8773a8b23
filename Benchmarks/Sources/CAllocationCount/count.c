// Preloaded into a process (LD_PRELOAD), it counts the heap allocations of each thread, whoever serves them: glibc or
// jemalloc. The programs that are measured are not built any differently for it.
#define _GNU_SOURCE
#include "CAllocationCount.h"

#include <dlfcn.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>

// The allocator itself must not be needed to find the thread's counter.
static _Thread_local uint64_t allocations __attribute__((tls_model("initial-exec")));

uint64_t allocation_count_of_thread(void) { return allocations; }

static void *(*next_malloc)(size_t);
static void *(*next_calloc)(size_t, size_t);
static void *(*next_realloc)(void *, size_t);
static void (*next_free)(void *);
static int (*next_posix_memalign)(void **, size_t, size_t);
static void *(*next_aligned_alloc)(size_t, size_t);
static void *(*next_mallocx)(size_t, int);

// dlsym may allocate while the allocator is being looked up: that little comes from here and is never given back.
static _Alignas(16) char first_aid[8192];
static size_t first_aid_used;

static void *take_first_aid(size_t size) {
    size_t start = first_aid_used;
    size_t end = start + ((size + 15) & ~(size_t)15);
    if (end < start || end > sizeof first_aid) return NULL;
    first_aid_used = end;
    return first_aid + start;
}

static int is_first_aid(const void *memory) {
    return (const char *)memory >= first_aid && (const char *)memory < first_aid + sizeof first_aid;
}

// True when the next allocator is known. The first call comes before there is a second thread.
static int ready(void) {
    static int state;
    if (state == 2) return 1;
    if (state == 1) return 0;
    state = 1;
    next_malloc = (void *(*)(size_t))dlsym(RTLD_NEXT, "malloc");
    next_calloc = (void *(*)(size_t, size_t))dlsym(RTLD_NEXT, "calloc");
    next_realloc = (void *(*)(void *, size_t))dlsym(RTLD_NEXT, "realloc");
    next_free = (void (*)(void *))dlsym(RTLD_NEXT, "free");
    next_posix_memalign = (int (*)(void **, size_t, size_t))dlsym(RTLD_NEXT, "posix_memalign");
    next_aligned_alloc = (void *(*)(size_t, size_t))dlsym(RTLD_NEXT, "aligned_alloc");
    next_mallocx = (void *(*)(size_t, int))dlsym(RTLD_NEXT, "mallocx");  // jemalloc only
    state = 2;
    return 1;
}

void *malloc(size_t size) {
    if (!ready()) return take_first_aid(size);
    allocations++;
    return next_malloc(size);
}

void *calloc(size_t count, size_t size) {
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes)) return NULL;
    if (!ready()) return take_first_aid(bytes);
    allocations++;
    return next_calloc(count, size);
}

void *realloc(void *memory, size_t size) {
    if (!memory) return malloc(size);
    if (!ready() || is_first_aid(memory)) {
        void *fresh = malloc(size);
        size_t available = (size_t)(first_aid + sizeof first_aid - (char *)memory);
        if (fresh) memmove(fresh, memory, size < available ? size : available);
        return fresh;
    }
    allocations++;
    return next_realloc(memory, size);
}

void free(void *memory) {
    if (!memory || is_first_aid(memory) || !ready()) return;
    next_free(memory);
}

int posix_memalign(void **memory, size_t alignment, size_t size) {
    if (!ready()) return ENOMEM;
    allocations++;
    return next_posix_memalign(memory, alignment, size);
}

void *aligned_alloc(size_t alignment, size_t size) {
    if (!ready()) return NULL;
    allocations++;
    return next_aligned_alloc(alignment, size);
}

// What the library calls for its receive and send memory.
void *mallocx(size_t size, int flags) {
    if (!ready() || !next_mallocx) return NULL;
    allocations++;
    return next_mallocx(size, flags);
}
