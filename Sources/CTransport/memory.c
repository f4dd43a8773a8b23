// Where memory comes from: jemalloc behind the trait "Jemalloc", malloc otherwise (sanitizers exclude jemalloc).
#include "internal.h"

#include <stdio.h>
#include <stdlib.h>

#if CT_JEMALLOC
#if !__has_include(<jemalloc/jemalloc.h>)
#error "SwiftTransport needs jemalloc: apt-get install libjemalloc-dev (or build with --disable-default-traits to use malloc)"
#endif
#include <jemalloc/jemalloc.h>
#endif

#define CT_PAGE 4096u

void *ct_memory_allocate(uint64_t size) {
#if CT_JEMALLOC
    return mallocx(size, 0);
#else
    return malloc(size);
#endif
}

void *ct_memory_allocate_pages(uint64_t size) {
    ct_assert(size % CT_PAGE == 0);
#if CT_JEMALLOC
    return mallocx(size, MALLOCX_ALIGN(CT_PAGE));
#else
    return aligned_alloc(CT_PAGE, size);
#endif
}

void ct_memory_free(void *memory, uint64_t size) {
    if (!memory) return;
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

// A loop thread gets an arena of its own once, so that the flag-free fast path needs no arena argument per call
// (TCACHE_NONE costs twelve times as much). Failing is harmless: the thread keeps the arena it has.
void ct_memory_bind_arena(void) {
#if CT_JEMALLOC
    unsigned arena = 0;
    size_t size = sizeof arena;
    if (mallctl("arenas.create", &arena, &size, NULL, 0) == 0) mallctl("thread.arena", NULL, NULL, &arena, sizeof arena);
#endif
}

uint64_t ct_memory_thread_allocated(void) {
#if CT_JEMALLOC
    uint64_t bytes = 0;
    size_t size = sizeof bytes;
    return mallctl("thread.allocated", &bytes, &size, NULL, 0) == 0 ? bytes : 0;
#else
    return 0;
#endif
}

void ct_assertion_failed(const char *condition, const char *file, int line) {
    fprintf(stderr, "SwiftTransport: broken invariant: %s (%s:%d)\n", condition, file, line);
    abort();
}
