// What Linux can say to each operation of the kernel table (ct_kernel.h) and each request of io_uring, as far as this library
// can meet it: a cell is an operation and one of its outcomes. Each outcome is counted where it is given; errors that are nobody's
// doing are brought about here.
#ifndef SIM_CELLS_H
#define SIM_CELLS_H

#include <stdint.h>

typedef enum sim_operation : uint8_t {
    SIM_ON_SOCKET,
    SIM_ON_BIND,
    SIM_ON_LISTEN,
    SIM_ON_ACCEPT,
    SIM_ON_CONNECT,
    SIM_ON_DISCONNECT,          // connect(2) to AF_UNSPEC
    SIM_ON_RECV,
    SIM_ON_DISCARD,             // recv(2) with MSG_TRUNC
    SIM_ON_SEND,
    SIM_ON_SHUTDOWN,
    SIM_ON_CLOSE,               // what becomes of the connection whose last user is gone
    SIM_ON_SETSOCKOPT,
    SIM_ON_SO_ERROR,            // getsockopt(2)
    SIM_ON_GETSOCKOPT,
    SIM_ON_GETSOCKNAME,
    SIM_ON_GETPEERNAME,
    SIM_ON_FIONBIO,
    SIM_ON_FIONREAD,
    SIM_ON_SIOCOUTQ,
    SIM_ON_POLL,
    SIM_ON_EVENTFD,
    SIM_ON_EPOLL_CREATE,
    SIM_ON_EPOLL_ADD,
    SIM_ON_EPOLL_DELETE,
    SIM_ON_EPOLL_WAIT,
    SIM_ON_EDGE,                // what epoll_wait(2) tells
    SIM_ON_URING_SETUP,
    SIM_ON_URING_ENABLE,
    SIM_ON_REGISTER_BUFFERS,
    SIM_ON_UNREGISTER_BUFFERS,
    SIM_ON_ENTER,
    SIM_ON_COMPLETION,          // the way of a completion to the program
    SIM_ON_URING_POLL,
    SIM_ON_URING_ACCEPT,
    SIM_ON_URING_CONNECT,
    SIM_ON_URING_RECV,
    SIM_ON_URING_BUFFER,        // what a receive made of its buffer
    SIM_ON_URING_SEND,          // SEND and SENDMSG: which of them depends on where bytes lie in memory
    SIM_ON_URING_SEND_ZC,
    SIM_ON_URING_NOTIFICATION,
    SIM_ON_URING_CANCEL,
    SIM_ON_RESOLVE,
    SIM_ON_MEMORY,
    SIM_OPERATIONS,
} sim_operation;

// Outcomes that are no errno; errors are their errno.
enum : uint8_t {
    SIM_DONE = 160,
    SIM_NOTHING,        // nothing is there, or time is over
    SIM_SHORT,          // fewer bytes than there were, or than there was room for
    SIM_FULL,           // as many as were asked for
    SIM_END,
    SIM_NOT_YET,        // EAGAIN or ENOBUFS though it could be done
    SIM_EARLY,          // a wait that ends before anything happened
    SIM_PART,           // some of what was handed over
    SIM_MORE,           // a multishot request goes on
    SIM_LAST,           // it has ended
    SIM_RESET,          // with SO_LINGER 0
    SIM_UNREAD,         // a reset, for bytes that nobody read
    SIM_KEPT,           // for want of room in the queue, until the next enter
    SIM_DROPPED,
    SIM_STALE,          // for what is over
    SIM_COPIED,
    SIM_LATE,
    SIM_BEHIND,         // behind the close of the descriptor
    SIM_IN,             // EPOLL bits
    SIM_OUT,
    SIM_RDHUP,
    SIM_HUP,
    SIM_ERR,
    SIM_AGAIN,          // an edge that is not new
    SIM_NO_NAME,        // EAI_ codes
    SIM_TRY_AGAIN,
    SIM_NO_ANSWER,
    SIM_NO_MEMORY,
    SIM_OUTCOMES,
};

#endif
