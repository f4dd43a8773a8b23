// Jobs of Swift tasks that have no executor of their own: in a world they are its scheduler's, so that one seed decides of them
// too. The runtime has variables for this; what they point to is called instead of its own function.
#include "world.h"

#include <time.h>

#define SWIFT_CALL __attribute__((swiftcall))

typedef SWIFT_CALL void (*sim_enqueue)(void *job);
typedef SWIFT_CALL void (*sim_enqueue_delayed)(unsigned long long delay, void *job);
typedef SWIFT_CALL void (*sim_enqueue_at)(long long seconds, long long nanoseconds, long long tolerance_seconds,
                                          long long tolerance_nanoseconds, int clock, void *job);

extern SWIFT_CALL void (*_Nullable swift_task_enqueueGlobal_hook)(void *job, sim_enqueue original);
extern SWIFT_CALL void (*_Nullable swift_task_enqueueGlobalWithDelay_hook)(unsigned long long delay, void *job,
                                                                           sim_enqueue_delayed original);
extern SWIFT_CALL void (*_Nullable swift_task_enqueueGlobalWithDeadline_hook)(
    long long seconds, long long nanoseconds, long long tolerance_seconds, long long tolerance_nanoseconds, int clock, void *job,
    sim_enqueue_at original);

static bool take(void *job, uint64_t delay) {
    if (!sim_here || !sim_here->take_job) return false;
    sim_here->take_job(sim_here->job_context, job, delay);
    return true;
}

static SWIFT_CALL void enqueue(void *job, sim_enqueue original) {
    if (!take(job, 0)) original(job);
}

static SWIFT_CALL void enqueue_delayed(unsigned long long delay, void *job, sim_enqueue_delayed original) {
    if (!take(job, delay)) original(delay, job);
}

// The deadline is one of a real clock, read a moment ago. What is left of it is rounded up to milliseconds, so that the moment
// makes no difference.
static SWIFT_CALL void enqueue_at(long long seconds, long long nanoseconds, long long tolerance_seconds,
                                  long long tolerance_nanoseconds, int clock, void *job, sim_enqueue_at original) {
    if (!sim_here || !sim_here->take_job) {
        original(seconds, nanoseconds, tolerance_seconds, tolerance_nanoseconds, clock, job);
        return;
    }
    struct timespec now;
    // 2: the suspending clock.
    clock_gettime(clock == 2 ? CLOCK_MONOTONIC : CLOCK_BOOTTIME, &now);
    long long left = (seconds - now.tv_sec) * (long long)SIM_SECOND + nanoseconds - now.tv_nsec;
    uint64_t delay = left <= 0 ? 0 : ((uint64_t)left + SIM_MILLI - 1) / SIM_MILLI * SIM_MILLI;
    take(job, delay);
}

void sim_jobs_hook(void) {
    swift_task_enqueueGlobal_hook = enqueue;
    swift_task_enqueueGlobalWithDelay_hook = enqueue_delayed;
    swift_task_enqueueGlobalWithDeadline_hook = enqueue_at;
}

void sim_world_take_jobs(sim_world *world, sim_job_taker taker, void *context) {
    world->take_job = taker;
    world->job_context = context;
}
