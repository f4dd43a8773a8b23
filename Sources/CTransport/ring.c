// Set-up and the own enter. liburing makes the ring and prepares requests; the system call is ours, because
// liburing 2.3 has no way to say NO_IOWAIT, and its peek never runs deferred work.
#include "ring.h"

#include <signal.h>
#include <string.h>
#include <sys/mman.h>

int ct_ring_setup(ct_ring *ring, uint32_t entries, uint32_t completions, ct_failure *failure) {
    *ring = (ct_ring){0};
    struct io_uring_params parameters = {
        .flags = CT_RING_FLAGS,
        .cq_entries = completions,
    };
    int result = ct_simulated ? ct_kernel_here->uring_setup(entries, &ring->io, &parameters)
                              : io_uring_queue_init_params(entries, &ring->io, &parameters);
    if (result < 0) {
        ct_fail(failure, CT_CALL_IO_URING_SETUP, result);
        return result;
    }
    // A fork would share the ring with a child that must not touch it.
    if (!ct_simulated) io_uring_ring_dontfork(&ring->io);
    ring->enter_flags = IORING_ENTER_EXT_ARG;
    if (parameters.features & CT_IORING_FEAT_NO_IOWAIT) ring->enter_flags |= CT_IORING_ENTER_NO_IOWAIT;
    return 0;
}

int ct_ring_enable(ct_ring *ring, ct_failure *failure) {
    if (ct_simulated) {
        int result = ct_kernel_here->uring_enable(&ring->io);
        if (result < 0) ct_fail(failure, CT_CALL_IO_URING_REGISTER, result);
        return result;
    }
    // io_uring_enable_rings(), which liburing 2.3 forgot to export from its shared library.
    int result = io_uring_register((unsigned)ring->io.ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
    if (result < 0) {
        ct_fail(failure, CT_CALL_IO_URING_REGISTER, result);
        return result;
    }
    // A registered ring descriptor saves a reference per enter. All kernels with DEFER_TASKRUN (6.1) have it right.
    if (io_uring_register_ring_fd(&ring->io) == 1) ring->enter_flags |= IORING_ENTER_REGISTERED_RING;
    return 0;
}

void ct_ring_close(ct_ring *ring) {
    if (ct_simulated) ct_kernel_here->uring_exit(&ring->io);
    else io_uring_queue_exit(&ring->io);
}

static int ring_enter(ct_ring *ring, uint32_t submit, uint32_t wait, uint32_t flags, uint64_t timeout) {
    struct io_uring_sq *sq = &ring->io.sq;
    ct_assert(submit <= sq->ring_entries);
    // Read by the kernel inside the system call below, on this thread: it has the entries in any case. A release all the same,
    // because the kernel loads it with an acquire.
    __atomic_store_n(sq->ktail, sq->sqe_tail, __ATOMIC_RELEASE);
    if (ct_simulated) {
        int result = ct_kernel_here->uring_enter(&ring->io, submit, wait, ring->enter_flags | flags, timeout);
        return result >= 0 || result == -ETIME ? 0 : result;
    }
    struct __kernel_timespec time = {
        .tv_sec = (long long)(timeout / 1000000000ull),
        .tv_nsec = (long long)(timeout % 1000000000ull),
    };
    struct io_uring_getevents_arg argument = {
        .sigmask_sz = _NSIG / 8,
        .ts = timeout == CT_FOREVER ? 0 : (uint64_t)(uintptr_t)&time,
    };
    int result = io_uring_enter2((unsigned)ring->io.enter_ring_fd, submit, wait, ring->enter_flags | flags,
                                 (sigset_t *)&argument, sizeof argument);
    return result >= 0 || result == -ETIME ? 0 : result;
}

int ct_ring_enter(ct_ring *ring, uint32_t wait, uint64_t timeout) {
    return ring_enter(ring, ct_ring_pending(ring), wait, IORING_ENTER_GETEVENTS, timeout);
}

int ct_ring_submit(ct_ring *ring) { return ring_enter(ring, ct_ring_pending(ring), 0, 0, CT_FOREVER); }

int ct_ring_wait(ct_ring *ring, uint32_t wait, uint64_t timeout) {
    return ring_enter(ring, 0, wait, IORING_ENTER_GETEVENTS, timeout);
}

int ct_buffer_ring_open(ct_ring *ring, ct_buffer_ring *buffers, uint16_t group, uint32_t entries, bool incremental) {
    size_t size = entries * sizeof(struct io_uring_buf);
    if (ct_simulated && ct_kernel_here->refuses_memory(size)) return -ENOMEM;
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | MAP_PRIVATE, -1, 0);
    if (memory == MAP_FAILED) return -errno;
    struct io_uring_buf_reg registration = {
        .ring_addr = (uint64_t)(uintptr_t)memory,
        .ring_entries = entries,
        .bgid = group,
    };
    // The field is called pad in liburing 2.3 and flags since kernel 6.4; the ABI is the same.
    uint16_t flags = incremental ? CT_IOU_PBUF_RING_INC : 0;
    memcpy((char *)&registration + offsetof(struct io_uring_buf_reg, bgid) + sizeof registration.bgid, &flags, 2);
    int result = ct_simulated ? ct_kernel_here->uring_register_buffers(&ring->io, &registration)
                              : io_uring_register_buf_ring(&ring->io, &registration, 0);
    if (result < 0) {
        munmap(memory, size);
        return result;
    }
    *buffers = (ct_buffer_ring){.ring = memory, .entries = entries, .group = group};
    return 0;
}

void ct_buffer_ring_close(ct_ring *ring, ct_buffer_ring *buffers) {
    if (!buffers->ring) return;
    if (ct_simulated) ct_kernel_here->uring_unregister_buffers(&ring->io, buffers->group);
    else io_uring_unregister_buf_ring(&ring->io, buffers->group);
    munmap(buffers->ring, buffers->entries * sizeof(struct io_uring_buf));
    buffers->ring = NULL;
}
