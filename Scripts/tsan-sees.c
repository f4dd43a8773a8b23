// Tells ThreadSanitizer what it cannot see, because it happens in libraries that are not instrumented. To be preloaded:
// see the target tsan of the Makefile. Whatever is told here need not be suppressed, so nothing real is hidden.
//
// - A Mutex that is contended: only the first attempt at its lock is inlined into our code, the rest is futex calls.
// - A continuation that was resumed before it was awaited: the Swift runtime itself tells ThreadSanitizer of jobs, tasks
//   and resumptions, but not that the await goes on behind the resumption.
// - The memory of a ring: liburing maps and unmaps it by bare system calls, and the ring of a new loop lies where that of
//   an ended one lay.
//
// The names and calling conventions are those of Swift 6. Where another Swift has others, races are reported that are none,
// in Mutex.withLock or behind an await.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <liburing.h>
#include <stdbool.h>
#include <stdint.h>

#define SWIFT __attribute__((swiftcall))
#define SWIFT_ASYNC __attribute__((swiftasynccall))
#define SELF __attribute__((swift_context))

// Weak: other programs than the tests get this library too, `swift test` for one.
__attribute__((weak)) void __tsan_acquire(void *address);
__attribute__((weak)) void __tsan_release(void *address);

static void acquire(void *address) {
    if (__tsan_acquire && address) __tsan_acquire(address);
}
static void release(void *address) {
    if (__tsan_release) __tsan_release(address);
}

#define NEXT(function, name)                                                \
    static __typeof__(&function) next;                                      \
    __typeof__(&function) found = __atomic_load_n(&next, __ATOMIC_RELAXED); \
    if (!found) {                                                           \
        found = (__typeof__(&function))dlsym(RTLD_NEXT, name);              \
        __atomic_store_n(&next, found, __ATOMIC_RELAXED);                   \
    }

// ----------------------------------------------------------------------------------------------------------- Mutex

#define LOCK_SLOW "$s15Synchronization12_MutexHandleV9_lockSlowyys6UInt32VF"
#define TRY_LOCK_SLOW "$s15Synchronization12_MutexHandleV12_tryLockSlowSbyF"
#define UNLOCK_SLOW "$s15Synchronization12_MutexHandleV11_unlockSlowyyF"

SWIFT void lock_slow(uint32_t thread, SELF void *handle) __asm__(LOCK_SLOW);
SWIFT bool try_lock_slow(SELF void *handle) __asm__(TRY_LOCK_SLOW);
SWIFT void unlock_slow(SELF void *handle) __asm__(UNLOCK_SLOW);

SWIFT void lock_slow(uint32_t thread, SELF void *handle) {
    NEXT(lock_slow, LOCK_SLOW)
    found(thread, handle);
    acquire(handle);
}

SWIFT bool try_lock_slow(SELF void *handle) {
    NEXT(try_lock_slow, TRY_LOCK_SLOW)
    bool locked = found(handle);
    if (locked) acquire(handle);
    return locked;
}

SWIFT void unlock_slow(SELF void *handle) {
    NEXT(unlock_slow, UNLOCK_SLOW)
    release(handle);
    found(handle);
}

// --------------------------------------------------------------------------------------------------- continuations

__attribute__((weak)) SWIFT void *swift_task_getCurrent(void);

static void acquire_current_task(void) {
    if (swift_task_getCurrent) acquire(swift_task_getCurrent());
}

// Resumed before this: the task goes on at once.
SWIFT_ASYNC void swift_continuation_await(void *context) {
    NEXT(swift_continuation_await, "swift_continuation_await")
    acquire_current_task();
    __attribute__((musttail)) return found(context);
}

// Resumed while the task was about to be suspended: it goes on as well, and calls this first.
SWIFT void swift_task_enterThreadLocalContext(char *storage) {
    NEXT(swift_task_enterThreadLocalContext, "swift_task_enterThreadLocalContext")
    found(storage);
    acquire_current_task();
}

// ----------------------------------------------------------------------------------------------------------- rings

#define PAGE 4096

static void each_page(void (*tell)(void *), void *memory, size_t size) {
    for (size_t offset = 0; offset < size; offset += PAGE) tell((char *)memory + offset);
}

// Page by page, so that a ring is ordered behind those only that lay where it lies.
static void each_ring_page(void (*tell)(void *), const struct io_uring *ring) {
    each_page(tell, ring->sq.ring_ptr, ring->sq.ring_sz);
    if (ring->cq.ring_ptr != ring->sq.ring_ptr) each_page(tell, ring->cq.ring_ptr, ring->cq.ring_sz);
    each_page(tell, ring->sq.sqes, ring->sq.ring_entries * sizeof *ring->sq.sqes);
}

int io_uring_queue_init_params(unsigned entries, struct io_uring *ring, struct io_uring_params *parameters) {
    NEXT(io_uring_queue_init_params, "io_uring_queue_init_params")
    int result = found(entries, ring, parameters);
    if (result >= 0) each_ring_page(acquire, ring);
    return result;
}

void io_uring_queue_exit(struct io_uring *ring) {
    NEXT(io_uring_queue_exit, "io_uring_queue_exit")
    each_ring_page(release, ring);
    found(ring);
}
