// The memory of the simulated kernels, counted: what is left of a process's is that of the programs in them.
#include "world.h"

#include <malloc.h>

static uint64_t held;   // atomic: worlds of several threads

static void *counted(void *memory) {
    __atomic_add_fetch(&held, malloc_usable_size(memory), __ATOMIC_RELAXED);
    return memory;
}

void *sim_malloc(size_t size) { return counted(malloc(size)); }
void *sim_calloc(size_t count, size_t size) { return counted(calloc(count, size)); }

void *sim_realloc(void *memory, size_t size) {
    size_t before = malloc_usable_size(memory);
    void *grown = realloc(memory, size);
    if (grown) __atomic_sub_fetch(&held, before, __ATOMIC_RELAXED);
    return grown ? counted(grown) : NULL;
}

void sim_free(void *memory) {
    __atomic_sub_fetch(&held, malloc_usable_size(memory), __ATOMIC_RELAXED);
    free(memory);
}

uint64_t sim_memory_held(void) { return __atomic_load_n(&held, __ATOMIC_RELAXED); }
