#ifndef CREFERENCECOUNT_H
#define CREFERENCECOUNT_H

#include <stdbool.h>
#include <stdint.h>

/// What the program's code on one thread had the Swift runtime do. A call for several references at once counts as one.
typedef struct reference_counts {
    uint64_t retains;
    uint64_t releases;
    /// Checks at run time that an access excludes others.
    uint64_t accesses;
} reference_counts;

/// False on processors where nothing is counted.
bool reference_counts_are_kept(void);

/// The counts of the calling thread so far.
reference_counts reference_counts_of_thread(void);

#endif
