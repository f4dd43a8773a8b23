// What the core asks of the operating system, as a table that something else can fill in: a simulated network takes the place of
// Linux for all loops of a thread, and the engines above it run unchanged. Each entry has the form and the meaning of the call
// it stands for: -1 and errno, or, for io_uring, -errno. Swift never sees this; the simulation includes it.
#ifndef CT_KERNEL_H
#define CT_KERNEL_H

#include "CTransport.h"

#include <poll.h>
#include <sys/epoll.h>

#pragma clang assume_nonnull begin

struct io_uring;
struct io_uring_params;
struct io_uring_buf_reg;

typedef struct ct_kernel {
    // Sockets.
    int (*socket)(int family, int type, int protocol);
    int (*bind)(int fd, const struct sockaddr *address, socklen_t length);
    int (*listen)(int fd, int backlog);
    int (*accept)(int fd, int flags);
    int (*connect)(int fd, const struct sockaddr *address, socklen_t length);
    ssize_t (*recv)(int fd, void *memory, size_t length, int flags);
    ssize_t (*sendmsg)(int fd, const struct msghdr *message, int flags);
    int (*shutdown)(int fd, int how);
    int (*close)(int fd);
    int (*setsockopt)(int fd, int level, int name, const void *value, socklen_t length);
    int (*getsockopt)(int fd, int level, int name, void *value, socklen_t *length);
    int (*getsockname)(int fd, struct sockaddr *address, socklen_t *length);
    int (*getpeername)(int fd, struct sockaddr *address, socklen_t *length);
    int (*ioctl)(int fd, unsigned long request, int *value);
    int (*poll)(struct pollfd *one);                        // without waiting
    // Event descriptors: a write adds one. The last two on any thread, until the last event descriptor is closed.
    int (*eventfd)(void);
    void (*eventfd_write)(const struct ct_kernel *kernel, int fd);
    void (*eventfd_close)(const struct ct_kernel *kernel, int fd);
    // epoll. `timeout` in nanoseconds, CT_FOREVER for none.
    int (*epoll_create)(void);
    int (*epoll_ctl)(int epoll, int operation, int fd, struct epoll_event *_Nullable event);
    int (*epoll_wait)(int epoll, struct epoll_event *events, int capacity, uint64_t timeout);
    // io_uring, as liburing has it.
    int (*uring_setup)(unsigned entries, struct io_uring *ring, struct io_uring_params *parameters);
    void (*uring_exit)(struct io_uring *ring);
    int (*uring_enable)(struct io_uring *ring);
    int (*uring_enter)(struct io_uring *ring, uint32_t submit, uint32_t wait, uint32_t flags, uint64_t timeout);
    int (*uring_register_buffers)(struct io_uring *ring, const struct io_uring_buf_reg *registration);
    int (*uring_unregister_buffers)(struct io_uring *ring, int group);
    // Everything else.
    uint64_t (*now)(void);
    // What `now` says, on any thread, until the last event descriptor is closed.
    uint64_t (*clock)(const struct ct_kernel *kernel);
    // As getaddrinfo(): a number of addresses, or a negative EAI_ code.
    int (*resolve)(const char *host, uint16_t port, ct_address *addresses, int capacity);
    const ct_probe_report *_Nonnull (*_Nonnull probe)(void);
    // True when an allocation is to fail.
    bool (*refuses_memory)(uint64_t size);
    // A block was allocated, 1, or freed, -1.
    void (*count_memory)(int blocks);
    // True when the wait that has just returned would go on: there is nothing yet for this loop, and the scheduler has the turn.
    bool (*is_suspended)(void);
    // Who gives the loops of this kernel their turns: see ct_kernel_driver().
    void *_Nullable driver;
} ct_kernel;

// The kernel of this thread; NULL: Linux itself. Not to be changed while a loop of this thread takes a turn.
extern _Thread_local const ct_kernel *_Nullable ct_kernel_here;
// The loop that does not own its thread and stands in for it: see ct_loop_enter().
extern _Thread_local const void *_Nullable ct_thread_stand_in;

#pragma clang assume_nonnull end
#endif
