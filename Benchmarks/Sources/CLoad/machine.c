#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "include/CLoad.h"

uint32_t cload_allowed_processors(uint32_t *numbers, uint32_t capacity) {
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) < 0) return 0;
    uint32_t count = 0;
    for (uint32_t cpu = 0; cpu < CPU_SETSIZE && count < capacity; cpu++) {
        if (CPU_ISSET(cpu, &set)) numbers[count++] = cpu;
    }
    return count;
}

int cload_bind_thread(const uint32_t *numbers, uint32_t count) {
    cpu_set_t set;
    CPU_ZERO(&set);
    for (uint32_t i = 0; i < count; i++) CPU_SET(numbers[i], &set);
    return sched_setaffinity(0, sizeof set, &set) < 0 ? -errno : 0;
}

uint64_t cload_raise_descriptor_limit(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0) return 0;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    getrlimit(RLIMIT_NOFILE, &limit);
    return limit.rlim_cur;
}

static volatile sig_atomic_t guarded_child;

static void end_with_child(int number) {
    if (guarded_child > 0) kill(guarded_child, SIGTERM);
    signal(number, SIG_DFL);
    raise(number);
}

void cload_guard_child(int32_t pid) {
    guarded_child = pid;
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    for (unsigned i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        signal(numbers[i], pid > 0 ? end_with_child : SIG_DFL);
    }
}
