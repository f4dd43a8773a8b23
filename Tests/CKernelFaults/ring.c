// A function with the name of liburing's, which the program finds first: the kernel's refusals, which no test can bring
// about in earnest, at the moment a test chooses.
#include "CKernelFaults.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ENTER_GETEVENTS 1u

static _Thread_local struct {
    uint32_t refusals, most, interruptions;
    int32_t error;
    bool loses;
} faults;

void ring_faults_refuse(uint32_t count, uint32_t most, int32_t error) {
    faults.refusals = count;
    faults.most = most;
    faults.error = error;
}

void ring_faults_interrupt(uint32_t count, int32_t error) {
    faults.interruptions = count;
    faults.error = error;
}

void ring_faults_lose(void) { faults.loses = true; }

uint32_t ring_faults_left(void) { return faults.refusals + faults.interruptions + faults.loses; }

static int enter(unsigned fd, unsigned submit, unsigned wait, unsigned flags, sigset_t *argument, size_t size) {
    long result = syscall(__NR_io_uring_enter, fd, submit, wait, flags, argument, size);
    return result < 0 ? -errno : (int)result;
}

int io_uring_enter2(unsigned fd, unsigned submit, unsigned wait, unsigned flags, sigset_t *argument, size_t size) {
    if (submit > 0 && faults.refusals > 0) {
        faults.refusals--;
        if (faults.most == 0) return -faults.error;
        return enter(fd, submit < faults.most ? submit : faults.most, 0, flags & ~ENTER_GETEVENTS, argument, size);
    }
    if (submit == 0 && faults.interruptions > 0) {
        faults.interruptions--;
        return -faults.error;
    }
    int result = enter(fd, submit, wait, flags, argument, size);
    if (!faults.loses || !(flags & ENTER_GETEVENTS)) return result;
    faults.loses = false;
    return -EBADR;
}
