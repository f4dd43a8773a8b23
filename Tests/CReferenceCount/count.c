// Counts what a program has the Swift runtime do to references, on each thread for itself.
//
// Functions with the names of the runtime's: the linker takes those of the program first, so that everything compiled into
// it, and every library but the runtime's own, calls these. What the standard library does out of line is not seen.
//
// The runtime exports pointers to its functions for the same end (_swift_retain and so on), but in Swift 6.3 their way to
// them takes the tag off a short string and follows the rest as an address.
#define _GNU_SOURCE
#include "CReferenceCount.h"

#include <dlfcn.h>

static _Thread_local reference_counts counts;

reference_counts reference_counts_of_thread(void) { return counts; }

#if defined(__x86_64__)

bool reference_counts_are_kept(void) { return true; }

// Each ends in a jump: the runtime sees its caller, and nothing is done behind it.
#define COUNTED(counter, result, name, parameters, arguments)          \
    result name parameters;                                            \
    result name parameters {                                           \
        typedef result function parameters;                            \
        static function *original;                                     \
        function *next = __atomic_load_n(&original, __ATOMIC_RELAXED); \
        if (__builtin_expect(!next, 0)) {                              \
            next = (function *)dlsym(RTLD_NEXT, #name);                \
            __atomic_store_n(&original, next, __ATOMIC_RELAXED);       \
        }                                                              \
        counts.counter++;                                              \
        __attribute__((musttail)) return next arguments;               \
    }

COUNTED(retains, void *, swift_retain, (void *object), (object))
COUNTED(retains, void *, swift_retain_n, (void *object, uint32_t n), (object, n))
COUNTED(retains, void *, swift_bridgeObjectRetain, (void *object), (object))
COUNTED(retains, void *, swift_bridgeObjectRetain_n, (void *object, uint32_t n), (object, n))
COUNTED(retains, void *, swift_unownedRetain, (void *object), (object))
COUNTED(retains, void *, swift_unownedRetainStrong, (void *object), (object))
COUNTED(retains, void *, swift_weakLoadStrong, (void *reference), (reference))

COUNTED(releases, void, swift_release, (void *object), (object))
COUNTED(releases, void, swift_release_n, (void *object, uint32_t n), (object, n))
COUNTED(releases, void, swift_bridgeObjectRelease, (void *object), (object))
COUNTED(releases, void, swift_bridgeObjectRelease_n, (void *object, uint32_t n), (object, n))
COUNTED(releases, void, swift_unownedRelease, (void *object), (object))

COUNTED(
    accesses, void, swift_beginAccess, (void *value, void *buffer, uintptr_t flags, void *pc),
    (value, buffer, flags, pc))

#else

// Elsewhere compiled code may rely on these functions to preserve registers that functions in C do not.
bool reference_counts_are_kept(void) { return false; }

#endif
