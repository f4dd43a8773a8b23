// What this kernel can do, found by trying: a version number says nothing about seccomp, sysctl or a vendor's patches.
// What the engine relies on is tried in selftest.c.
#include "ring.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#define CT_PROBE_ENTRIES 8u
#define CT_PROBE_COMPLETIONS 16u

// Opcode numbers of the kernel's ABI; SEND_ZC doubles as the mark of 6.0.
static const uint8_t required_operations[] = {
    IORING_OP_ACCEPT,
    IORING_OP_CONNECT,
    IORING_OP_RECV,
    IORING_OP_SEND,
    IORING_OP_SENDMSG,
    IORING_OP_POLL_ADD,
    IORING_OP_ASYNC_CANCEL,
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
                             io_uring_opcode_supported(probe, IORING_OP_SENDMSG_ZC) && ct_self_test_zero_copy();
    io_uring_free_probe(probe);
    if (!all) ct_fail(&report->failure, CT_CALL_IO_URING_SELF_TEST, EOPNOTSUPP);
    return all;
}

static void probe_ring(ct_probe_report *report) {
    ct_ring ring;
    if (ct_ring_setup(&ring, CT_PROBE_ENTRIES, CT_PROBE_COMPLETIONS, &report->failure) < 0) return;
    const uint32_t features = IORING_FEAT_EXT_ARG | IORING_FEAT_NODROP | IORING_FEAT_FAST_POLL | IORING_FEAT_SUBMIT_STABLE;
    if ((ring.io.features & features) != features) {
        ct_fail(&report->failure, CT_CALL_IO_URING_SETUP, EOPNOTSUPP);
    } else if (ct_ring_enable(&ring, &report->failure) == 0 && probe_operations(&ring, report)) {
        report->no_iowait = ring.enter_flags & CT_IORING_ENTER_NO_IOWAIT;
        report->incremental_buffers = ct_self_test_receive(true) && ct_self_test_order();
        report->uring = report->incremental_buffers || ct_self_test_receive(false);
        report->sees_ends = ct_self_test_end(report->incremental_buffers);
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
        snprintf(line, size, "kernel %d.%d: io_uring (%s buffers%s%s%s), memory %s", report.kernel_major,
                 report.kernel_minor, report.incremental_buffers ? "incremental" : "whole",
                 report.no_iowait ? ", no iowait" : "", report.send_zero_copy ? ", zero-copy send" : "",
                 report.sees_ends ? "" : ", looks for ends", ct_memory_name());
    else
        snprintf(line, size, "kernel %d.%d: epoll, because io_uring is not to be had (%s), memory %s",
                 report.kernel_major, report.kernel_minor, probe_cause(report.failure.error), ct_memory_name());
}

const ct_probe_report *ct_probe(void) {
    if (ct_simulated) return ct_kernel_here->probe();
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, probe_once);
    return &report;
}
