// Threads and the clock.
#include "system.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>

_Thread_local void *ct_thread_context = NULL;
_Thread_local const void *ct_thread_stand_in = NULL;
_Thread_local const ct_kernel *ct_kernel_here = NULL;

void *ct_kernel_driver(void) { return ct_simulated ? ct_kernel_here->driver : NULL; }

typedef struct ct_thread_start_block {
    void (*body)(void *_Nullable);
    void *_Nullable context;
    char name[16];
} ct_thread_start_block;

static void *thread_main(void *argument) {
    ct_thread_start_block block = *(ct_thread_start_block *)argument;
    ct_memory_free(argument, sizeof block);
    pthread_setname_np(pthread_self(), block.name);
    block.body(block.context);
    return NULL;
}

int ct_thread_start(const char *name, int cpu, void (*body)(void *_Nullable), void *context) {
    ct_thread_start_block *block = ct_memory_allocate(sizeof *block);
    if (!block) return -ENOMEM;
    *block = (ct_thread_start_block){.body = body, .context = context};
    snprintf(block->name, sizeof block->name, "%s", name);

    pthread_attr_t attributes;
    int error = pthread_attr_init(&attributes);
    if (error == 0) {
        pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
        if (cpu >= 0) {
            cpu_set_t set;
            CPU_ZERO(&set);
            if (cpu < CPU_SETSIZE) CPU_SET((unsigned)cpu, &set);
            error = pthread_attr_setaffinity_np(&attributes, sizeof set, &set);
        }
        // Signals belong to the application's threads.
        sigset_t all, before;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        pthread_t thread;
        if (error == 0) error = pthread_create(&thread, &attributes, thread_main, block);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        pthread_attr_destroy(&attributes);
    }
    if (error != 0) ct_memory_free(block, sizeof *block);
    return -error;
}

int ct_thread_cores(void) {
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
}

uint64_t ct_clock_now(void) { return ct_simulated ? ct_kernel_here->now() : ct_clock_of(NULL); }

uint64_t ct_clock_of(const ct_kernel *kernel) {
    if (ct_unlikely(kernel != NULL)) return kernel->clock(kernel);
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000ull + (uint64_t)time.tv_nsec;
}
