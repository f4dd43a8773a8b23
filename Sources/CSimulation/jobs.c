// Jobs of Swift tasks that have no executor of their own: in a world they are its scheduler's, so that one seed decides of them
// too. The runtime has a variable for this; what it points to is called instead of its own function. Its variables for sleeps are
// left alone: since 6.3 the runtime asks them no more, and a sleep is to mean the same with every version.
#include "world.h"

#define SWIFT_CALL __attribute__((swiftcall))

typedef SWIFT_CALL void (*sim_enqueue)(void *job);
extern SWIFT_CALL void (*_Nullable swift_task_enqueueGlobal_hook)(void *job, sim_enqueue original);

static SWIFT_CALL void enqueue(void *job, sim_enqueue original) {
    if (sim_here && sim_here->take_job) sim_here->take_job(sim_here->job_context, job);
    else original(job);
}

void sim_jobs_hook(void) { swift_task_enqueueGlobal_hook = enqueue; }

void sim_world_take_jobs(sim_world *world, sim_job_taker taker, void *context) {
    world->take_job = taker;
    world->job_context = context;
}
