// The system calls of the core: Linux's, or those of the kernel that stands in for it on this thread (ct_kernel.h). The look
// costs a load and a branch beside each call. Nothing else in the core names these calls, except what tries the machine itself.
#ifndef CT_SYSTEM_H
#define CT_SYSTEM_H

#include "ct_kernel.h"
#include "internal.h"

#include <linux/sockios.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#pragma clang assume_nonnull begin

// The time of a kernel; NULL: of Linux. Any thread.
uint64_t ct_clock_of(const ct_kernel *_Nullable kernel);

#define ct_simulated (ct_unlikely(ct_kernel_here != NULL))

static inline int sys_socket(int family, int type, int protocol) {
    return ct_simulated ? ct_kernel_here->socket(family, type, protocol) : socket(family, type, protocol);
}
static inline int sys_bind(int fd, const struct sockaddr *address, socklen_t length) {
    return ct_simulated ? ct_kernel_here->bind(fd, address, length) : bind(fd, address, length);
}
static inline int sys_listen(int fd, int backlog) {
    return ct_simulated ? ct_kernel_here->listen(fd, backlog) : listen(fd, backlog);
}
static inline int sys_accept(int fd, int flags) {
    return ct_simulated ? ct_kernel_here->accept(fd, flags) : accept4(fd, NULL, NULL, flags);
}
static inline int sys_connect(int fd, const struct sockaddr *address, socklen_t length) {
    return ct_simulated ? ct_kernel_here->connect(fd, address, length) : connect(fd, address, length);
}
static inline ssize_t sys_recv(int fd, void *memory, size_t length, int flags) {
    return ct_simulated ? ct_kernel_here->recv(fd, memory, length, flags) : recv(fd, memory, length, flags);
}
static inline ssize_t sys_sendmsg(int fd, const struct iovec *vectors, uint32_t count, int flags) {
    struct msghdr message = {.msg_iov = (struct iovec *)vectors, .msg_iovlen = count};
    if (ct_simulated) return ct_kernel_here->sendmsg(fd, &message, flags);
    return count == 1 ? send(fd, vectors->iov_base, vectors->iov_len, flags) : sendmsg(fd, &message, flags);
}
static inline int sys_shutdown(int fd, int how) {
    return ct_simulated ? ct_kernel_here->shutdown(fd, how) : shutdown(fd, how);
}
static inline int sys_close(int fd) { return ct_simulated ? ct_kernel_here->close(fd) : close(fd); }
static inline int sys_setsockopt(int fd, int level, int name, const void *value, socklen_t length) {
    return ct_simulated ? ct_kernel_here->setsockopt(fd, level, name, value, length)
                        : setsockopt(fd, level, name, value, length);
}
static inline int sys_getsockopt(int fd, int level, int name, void *value, socklen_t *length) {
    return ct_simulated ? ct_kernel_here->getsockopt(fd, level, name, value, length)
                        : getsockopt(fd, level, name, value, length);
}
static inline int sys_getsockname(int fd, struct sockaddr *address, socklen_t *length) {
    return ct_simulated ? ct_kernel_here->getsockname(fd, address, length) : getsockname(fd, address, length);
}
static inline int sys_getpeername(int fd, struct sockaddr *address, socklen_t *length) {
    return ct_simulated ? ct_kernel_here->getpeername(fd, address, length) : getpeername(fd, address, length);
}
// For requests whose argument is an int.
static inline int sys_ioctl(int fd, unsigned long request, int *value) {
    return ct_simulated ? ct_kernel_here->ioctl(fd, request, value) : ioctl(fd, request, value);
}
static inline int sys_poll_now(struct pollfd *one) { return ct_simulated ? ct_kernel_here->poll(one) : poll(one, 1, 0); }

static inline int sys_eventfd(void) {
    return ct_simulated ? ct_kernel_here->eventfd() : eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
}

static inline int sys_epoll_create(void) {
    return ct_simulated ? ct_kernel_here->epoll_create() : epoll_create1(EPOLL_CLOEXEC);
}
static inline int sys_epoll_ctl(int epoll, int operation, int fd, struct epoll_event *_Nullable event) {
    return ct_simulated ? ct_kernel_here->epoll_ctl(epoll, operation, fd, event) : epoll_ctl(epoll, operation, fd, event);
}

static inline bool sys_is_suspended(void) { return ct_simulated && ct_kernel_here->is_suspended(); }

#pragma clang assume_nonnull end
#endif
