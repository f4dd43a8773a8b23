// What this kernel can do, found by trying: a version number says nothing about seccomp, sysctl or a vendor's patches.
#include "ring.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/utsname.h>
#include <unistd.h>

#define CT_PROBE_ENTRIES 8u
#define CT_PROBE_BUFFER 4096u
// More than the two messages use: below kernel 6.12 a receive asks for a buffer before it looks, also when all that
// it finds is the end of the stream, and without one it completes with -ENOBUFS.
#define CT_PROBE_BUFFERS 4u
#define CT_PROBE_TIMEOUT (2000 * CT_NANOS_PER_MILLI)

// Opcode numbers of the kernel's ABI; SEND_ZC doubles as the mark of 6.0.
static const uint8_t required_operations[] = {
    IORING_OP_ACCEPT, IORING_OP_CONNECT, IORING_OP_RECV,    IORING_OP_SEND,
    IORING_OP_SENDMSG, IORING_OP_POLL_ADD, IORING_OP_ASYNC_CANCEL,
};

static bool probe_operations(ct_ring *ring, ct_probe_report *report) {
    struct io_uring_probe *probe = io_uring_get_probe_ring(&ring->io);
    if (!probe) {
        ct_fail(&report->failure, CT_CALL_IO_URING_REGISTER, ENOSYS);
        return false;
    }
    bool all = true;
    for (size_t i = 0; i < sizeof required_operations; i++)
        all = all && io_uring_opcode_supported(probe, required_operations[i]);
    report->send_zero_copy = io_uring_opcode_supported(probe, IORING_OP_SEND_ZC) &&
                             io_uring_opcode_supported(probe, IORING_OP_SENDMSG_ZC);
    io_uring_free_probe(probe);
    if (!all) ct_fail(&report->failure, CT_CALL_IO_URING_SELF_TEST, EOPNOTSUPP);
    return all;
}

// Waits for one completion and takes it.
static bool probe_completion(ct_ring *ring, struct io_uring_cqe *taken) {
    ct_ring_enter(ring, 1, CT_PROBE_TIMEOUT);
    struct io_uring_cq *cq = &ring->io.cq;
    if (*cq->khead == __atomic_load_n(cq->ktail, __ATOMIC_ACQUIRE)) return false;
    *taken = cq->cqes[*cq->khead & cq->ring_mask];
    __atomic_store_n(cq->khead, *cq->khead + 1, __ATOMIC_RELEASE);
    return true;
}

// Two messages through one armed multishot receive must arrive in order, byte for byte, and leave it armed. With an
// incremental ring the second must lie right behind the first in the same buffer.
static bool probe_receive(ct_ring *ring, bool incremental) {
    ct_buffer_ring buffers = {0};
    if (ct_buffer_ring_open(ring, &buffers, 1, CT_PROBE_BUFFERS, incremental) < 0) return false;
    int pair[2];
    char *memory = mmap(NULL, CT_PROBE_BUFFERS * CT_PROBE_BUFFER, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | MAP_PRIVATE, -1, 0);
    bool works = memory != MAP_FAILED && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0;
    if (!works) {
        if (memory != MAP_FAILED) munmap(memory, CT_PROBE_BUFFERS * CT_PROBE_BUFFER);
        ct_buffer_ring_close(ring, &buffers);
        return false;
    }
    for (uint16_t i = 0; i < CT_PROBE_BUFFERS; i++)
        ct_buffer_ring_add(&buffers, memory + i * CT_PROBE_BUFFER, CT_PROBE_BUFFER, i);
    ct_buffer_ring_publish(&buffers);
    struct io_uring_sqe *sqe = io_uring_get_sqe(&ring->io);
    works = sqe != NULL;
    if (works) {
        io_uring_prep_recv_multishot(sqe, pair[0], NULL, 0, 0);
        sqe->ioprio |= CT_IORING_RECVSEND_POLL_FIRST;
        sqe->flags |= IOSQE_BUFFER_SELECT;
        sqe->buf_group = buffers.group;
        io_uring_sqe_set_data64(sqe, 1);
        ct_ring_submit(ring);
    }
    struct io_uring_cqe cqe;
    const char *expected = memory;
    for (int i = 0; works && i < 2; i++) {
        works = write(pair[1], i ? "worlds" : "hello ", 6) == 6 && probe_completion(ring, &cqe) && cqe.res == 6 &&
                (cqe.flags & IORING_CQE_F_MORE) && (cqe.flags & IORING_CQE_F_BUFFER) &&
                cqe.flags >> IORING_CQE_BUFFER_SHIFT == (incremental ? 0 : (uint32_t)i) &&
                (bool)(cqe.flags & CT_IORING_CQE_F_BUF_MORE) == incremental &&
                memcmp(expected, i ? "worlds" : "hello ", 6) == 0;
        expected += incremental ? 6 : CT_PROBE_BUFFER;
    }
    // shutdown(2) must end the armed receive: closing relies on it.
    shutdown(pair[0], SHUT_RDWR);
    if (sqe) works = probe_completion(ring, &cqe) && cqe.res == 0 && !(cqe.flags & IORING_CQE_F_MORE) && works;
    close(pair[0]);
    close(pair[1]);
    ct_buffer_ring_close(ring, &buffers);
    munmap(memory, CT_PROBE_BUFFERS * CT_PROBE_BUFFER);
    return works;
}

static void probe_ring(ct_probe_report *report) {
    ct_ring ring;
    if (ct_ring_setup(&ring, CT_PROBE_ENTRIES, &report->failure) < 0) return;
    const uint32_t features = IORING_FEAT_EXT_ARG | IORING_FEAT_NODROP | IORING_FEAT_FAST_POLL | IORING_FEAT_SUBMIT_STABLE;
    if ((ring.io.features & features) != features) {
        ct_fail(&report->failure, CT_CALL_IO_URING_SETUP, EOPNOTSUPP);
    } else if (ct_ring_enable(&ring, &report->failure) == 0 && probe_operations(&ring, report)) {
        report->no_iowait = ring.enter_flags & CT_IORING_ENTER_NO_IOWAIT;
        report->incremental_buffers = probe_receive(&ring, true);
        report->uring = report->incremental_buffers || probe_receive(&ring, false);
        if (!report->uring) ct_fail(&report->failure, CT_CALL_IO_URING_SELF_TEST, EOPNOTSUPP);
    }
    ct_ring_close(&ring);
}

// Why io_uring is not to be had, as far as the error and the sysctl tell.
static const char *probe_cause(int error) {
    if (error == ENOSYS) return "this kernel or sandbox does not have it";
    if (error == EINVAL) return "this kernel is too old: 6.1 is needed";
    if (error == EOPNOTSUPP) return "this kernel's io_uring lacks what is needed";
    if (error == ENOMEM) return "no memory that may be locked: see ulimit -l";
    if (error != EPERM && error != EACCES) return strerror(error);
    int disabled = 0;
    FILE *file = fopen("/proc/sys/kernel/io_uring_disabled", "re");
    if (file) {
        if (fscanf(file, "%d", &disabled) != 1) disabled = 0;
        fclose(file);
    }
    return disabled ? "forbidden by the sysctl kernel.io_uring_disabled" : "forbidden, by seccomp as it seems";
}

static ct_probe_report report;

static void probe_once(void) {
    struct utsname name;
    if (uname(&name) == 0) sscanf(name.release, "%d.%d", &report.kernel_major, &report.kernel_minor);
    probe_ring(&report);
    char *line = report.line;
    size_t size = sizeof report.line;
    if (report.uring)
        snprintf(line, size, "kernel %d.%d: io_uring (%s buffers%s%s), memory %s", report.kernel_major,
                 report.kernel_minor, report.incremental_buffers ? "incremental" : "whole",
                 report.no_iowait ? ", no iowait" : "", report.send_zero_copy ? ", zero-copy send" : "",
                 ct_memory_name());
    else
        snprintf(line, size, "kernel %d.%d: epoll, because io_uring is not to be had (%s), memory %s",
                 report.kernel_major, report.kernel_minor, probe_cause(report.failure.error), ct_memory_name());
}

const ct_probe_report *ct_probe(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, probe_once);
    return &report;
}
