#ifndef CALLOCATIONCOUNT_H
#define CALLOCATIONCOUNT_H

#include <stdint.h>

/// Heap allocations of the calling thread so far. Found with dlsym where the library was preloaded.
uint64_t allocation_count_of_thread(void);

#endif
