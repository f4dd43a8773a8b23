// What io_uring must be seen to do. Kernels that the version numbers take for good get some of it wrong, and fixes
// travel to old versions: so everything that has been wrong somewhere is done once, and looked at.
//
// Each test has a ring and sockets of its own, so that none is left a completion by another. What waits is asked again
// after EINTR: the end of a ring interrupts the thread that had it, some time later.
#include "ring.h"

#include <netinet/in.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <unistd.h>

#define CT_RIG_ENTRIES 8u
#define CT_RIG_COMPLETIONS 128u
#define CT_RIG_BUFFER 4096u
// More than any test's messages use: below kernel 6.12 a receive asks for a buffer before it looks, also when all that
// it finds is the end of the stream, and without one it completes with -ENOBUFS.
#define CT_RIG_BUFFERS 4u
#define CT_RIG_MEMORY (CT_RIG_BUFFERS * CT_RIG_BUFFER)
#define CT_RIG_TIMEOUT (2000 * CT_NANOS_PER_MILLI)

// A ring with receive memory, and two connections: of each, [0] is ours and [1] the peer's.
typedef struct ct_rig {
    ct_ring ring;
    ct_buffer_ring buffers;
    char *memory;
    bool incremental;
    int first[2], second[2];
} ct_rig;

static void rig_close_pair(int pair[_Nonnull 2]) {
    for (int i = 0; i < 2; i++)
        if (pair[i] >= 0) close(pair[i]);
    pair[0] = pair[1] = -1;
}

static bool rig_open(ct_rig *rig, bool incremental) {
    ct_failure ignored;
    *rig = (ct_rig){.incremental = incremental, .first = {-1, -1}, .second = {-1, -1}};
    rig->memory = mmap(NULL, CT_RIG_MEMORY, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | MAP_PRIVATE, -1, 0);
    if (rig->memory == MAP_FAILED) return false;
    if (ct_ring_setup(&rig->ring, CT_RIG_ENTRIES, CT_RIG_COMPLETIONS, &ignored) < 0) {
        munmap(rig->memory, CT_RIG_MEMORY);
        return false;
    }
    if (ct_ring_enable(&rig->ring, &ignored) < 0 ||
        ct_buffer_ring_open(&rig->ring, &rig->buffers, 0, CT_RIG_BUFFERS, incremental) < 0) {
        ct_ring_close(&rig->ring);
        munmap(rig->memory, CT_RIG_MEMORY);
        return false;
    }
    for (uint16_t i = 0; i < CT_RIG_BUFFERS; i++)
        ct_buffer_ring_add(&rig->buffers, rig->memory + i * CT_RIG_BUFFER, CT_RIG_BUFFER, i);
    ct_buffer_ring_publish(&rig->buffers);
    return true;
}

static void rig_close(ct_rig *rig) {
    rig_close_pair(rig->first);
    rig_close_pair(rig->second);
    ct_buffer_ring_close(&rig->ring, &rig->buffers);
    ct_ring_close(&rig->ring);
    munmap(rig->memory, CT_RIG_MEMORY);
}

static bool rig_run(bool incremental, bool (*test)(ct_rig *rig)) {
    ct_rig rig;
    if (!rig_open(&rig, incremental)) return false;
    bool works = test(&rig);
    rig_close(&rig);
    return works;
}

static bool rig_pair(int pair[_Nonnull 2]) {
    return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0;
}

static bool rig_listen_and_connect(int listener, int pair[_Nonnull 2]) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    // Where a firewall swallows everything, neither call may wait for long.
    struct timeval patience = {.tv_sec = 1};
    setsockopt(listener, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(pair[1], SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    if (bind(listener, (struct sockaddr *)&address, length) < 0 || listen(listener, 1) < 0 ||
        getsockname(listener, (struct sockaddr *)&address, &length) < 0 ||
        TEMP_FAILURE_RETRY(connect(pair[1], (struct sockaddr *)&address, length)) < 0)
        return false;
    pair[0] = TEMP_FAILURE_RETRY(accept4(listener, NULL, NULL, SOCK_CLOEXEC));
    return pair[0] >= 0;
}

// A TCP connection over loopback; there is no other way to get one.
static bool rig_tcp_pair(int pair[_Nonnull 2]) {
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    pair[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool works = listener >= 0 && pair[1] >= 0 && rig_listen_and_connect(listener, pair);
    if (listener >= 0) close(listener);
    return works;
}

// A receive as the engine arms it.
static bool rig_receive(ct_rig *rig, int fd, bool multishot, uint64_t token) {
    struct io_uring_sqe *sqe = io_uring_get_sqe(&rig->ring.io);
    if (!sqe) return false;
    if (multishot) io_uring_prep_recv_multishot(sqe, fd, NULL, 0, 0);
    else io_uring_prep_recv(sqe, fd, NULL, 0, 0);
    sqe->ioprio |= CT_IORING_RECVSEND_POLL_FIRST;
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = rig->buffers.group;
    io_uring_sqe_set_data64(sqe, token);
    return ct_ring_submit(&rig->ring) == 0;
}

// Takes a completion, and waits for it if there is none.
static bool rig_take(ct_rig *rig, uint64_t timeout, struct io_uring_cqe *taken) {
    struct io_uring_cq *cq = &rig->ring.io.cq;
    if (*cq->khead == __atomic_load_n(cq->ktail, __ATOMIC_ACQUIRE))
        while (ct_ring_enter(&rig->ring, 1, timeout) == -EINTR) {}
    if (*cq->khead == __atomic_load_n(cq->ktail, __ATOMIC_ACQUIRE)) return false;
    *taken = cq->cqes[*cq->khead & cq->ring_mask];
    __atomic_store_n(cq->khead, *cq->khead + 1, __ATOMIC_RELEASE);
    return true;
}

static bool rig_write(int fd, const char *text) {
    ssize_t length = (ssize_t)strlen(text);
    return send(fd, text, (size_t)length, MSG_NOSIGNAL) == length;
}

static bool rig_has_text(const struct io_uring_cqe *cqe, const char *at, const char *text) {
    size_t length = strlen(text);
    return cqe->res == (int32_t)length && (cqe->flags & IORING_CQE_F_BUFFER) && memcmp(at, text, length) == 0;
}

static bool test_receive(ct_rig *rig) {
    struct io_uring_cqe cqe;
    if (!rig_pair(rig->first) || !rig_receive(rig, rig->first[0], true, 1)) return false;
    const char *at = rig->memory;
    for (uint32_t i = 0; i < 2; i++) {
        const char *text = i ? "worlds" : "hello ";
        if (!rig_write(rig->first[1], text) || !rig_take(rig, CT_RIG_TIMEOUT, &cqe) || !rig_has_text(&cqe, at, text) ||
            !(cqe.flags & IORING_CQE_F_MORE) || cqe.flags >> IORING_CQE_BUFFER_SHIFT != (rig->incremental ? 0 : i) ||
            (bool)(cqe.flags & CT_IORING_CQE_F_BUF_MORE) != rig->incremental)
            return false;
        at += rig->incremental ? strlen(text) : CT_RIG_BUFFER;
    }
    // Closing relies on it.
    shutdown(rig->first[0], SHUT_RDWR);
    return rig_take(rig, CT_RIG_TIMEOUT, &cqe) && cqe.res == 0 && !(cqe.flags & IORING_CQE_F_MORE);
}

bool ct_self_test_receive(bool incremental) { return rig_run(incremental, test_receive); }

// Where in an incremental buffer the bytes lie, only the order of the completions says. Until 6.16, and until the fix
// came to older versions, those of one-shot requests were held back until the multishot ones of the same batch were
// posted: bytes of one connection were delivered to another.
static bool test_order(ct_rig *rig) {
    static const char *const text[] = {"one-shot", "multishot"};
    if (!rig_pair(rig->first) || !rig_pair(rig->second) || !rig_receive(rig, rig->first[0], false, 0) ||
        !rig_receive(rig, rig->second[0], true, 1) || !rig_write(rig->first[1], text[0]) ||
        !rig_write(rig->second[1], text[1]))
        return false;
    const char *at = rig->memory;
    for (int i = 0; i < 2; i++) {
        struct io_uring_cqe cqe;
        if (!rig_take(rig, CT_RIG_TIMEOUT, &cqe) || cqe.user_data > 1 || !rig_has_text(&cqe, at, text[cqe.user_data]))
            return false;
        at += cqe.res;
    }
    return true;
}

bool ct_self_test_order(void) { return rig_run(true, test_order); }

// The kernel has told whoever waits for this socket that something has happened to it.
static bool rig_was_told(int watch) {
    struct epoll_event event;
    return TEMP_FAILURE_RETRY(epoll_wait(watch, &event, 1, 1000)) == 1;
}

// TCP, because it tells how many bytes it has left, and that there are none is why the receive does not look again.
static bool test_end(ct_rig *rig) {
    struct io_uring_cqe cqe;
    if (!rig_tcp_pair(rig->first)) return false;
    // It waits for the same as the receive and comes to know of it later, because it has waited for longer.
    struct epoll_event edges = {.events = EPOLLIN | EPOLLET};
    int watch = rig->second[0] = epoll_create1(EPOLL_CLOEXEC);
    if (watch < 0 || epoll_ctl(watch, EPOLL_CTL_ADD, rig->first[0], &edges) < 0 ||
        !rig_receive(rig, rig->first[0], true, 1))
        return false;
    // Once around, because the first time is another case: see uring_check_end().
    if (!rig_write(rig->first[1], "hello") || !rig_was_told(watch) || !rig_take(rig, CT_RIG_TIMEOUT, &cqe) ||
        cqe.res != 5)
        return false;
    // Then bytes and a reset, and the ring is entered when both have happened.
    if (!rig_write(rig->first[1], "world") || !rig_was_told(watch)) return false;
    ct_socket_set_linger(rig->first[1], true, 0);
    close(rig->first[1]);
    rig->first[1] = -1;
    return rig_was_told(watch) && rig_take(rig, CT_RIG_TIMEOUT, &cqe) && cqe.res == 5 && rig_take(rig, 0, &cqe) &&
           cqe.res == -ECONNRESET;
}

bool ct_self_test_end(bool incremental) { return rig_run(incremental, test_end); }

// 6.2 and fixes of 6.1 know the flag. A Unix socket has no zero-copy send, which is said behind the look at the flags.
static bool test_zero_copy(ct_rig *rig) {
    struct io_uring_cqe cqe;
    struct io_uring_sqe *sqe = io_uring_get_sqe(&rig->ring.io);
    if (!sqe || !rig_pair(rig->first)) return false;
    io_uring_prep_send_zc(sqe, rig->first[0], rig->memory, 1, MSG_NOSIGNAL, 0);
    sqe->ioprio |= CT_IORING_SEND_ZC_REPORT_USAGE;
    return rig_take(rig, CT_RIG_TIMEOUT, &cqe) && cqe.res != -EINVAL;
}

bool ct_self_test_zero_copy(void) { return rig_run(false, test_zero_copy); }
