#define _GNU_SOURCE
#include "connection.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "buffers.h"
#include "ring.h"

enum {
    // A peer that does not read: we stop reading from it here and go on at half of it.
    QUEUED_BYTES_MAX = 4 * 1024 * 1024,
    PIECES_PER_BLOCK = 512,
};

// Received bytes on their way back. Holds one count of its buffer.
typedef struct piece {
    struct piece *next;
    char *bytes;
    uint32_t length;
    uint16_t buffer;
} piece;

typedef struct connection {
    piece *first, *last;
    uint32_t queued_bytes;
    int next_to_flush;    // Valid while must_flush.
    int next_starved;     // Valid while starved.
    bool receiving;       // A multishot receive is armed.
    bool sending;         // A send is in flight: the kernel reads the first pieces.
    bool cancelling;      // The receive is being taken back because the queue is full.
    bool must_flush;
    bool starved;         // Waits for buffers.
    bool peer_finished;
    bool broken;          // Nothing more can be sent or received; waits for the kernel to let go.
    bool was_shut_down;
} connection;

static connection *connections;
static piece *free_pieces;
static int flush_first = -1;
static int starved_first = -1, starved_last = -1;
static bool freed_descriptors;

void connections_open(void) {
    struct rlimit descriptors;
    if (getrlimit(RLIMIT_NOFILE, &descriptors) < 0) fail("getrlimit", errno);
    size_t bytes = descriptors.rlim_cur * sizeof(connection);
    connections = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (connections == MAP_FAILED) fail("mmap(connections)", errno);
}

// MARK: - Pieces

static piece *piece_new(void) {
    if (free_pieces == NULL) {
        piece *block = malloc(PIECES_PER_BLOCK * sizeof *block);
        if (block == NULL) fail("malloc", ENOMEM);
        for (int i = 0; i < PIECES_PER_BLOCK; i++) {
            block[i].next = free_pieces;
            free_pieces = &block[i];
        }
    }
    piece *taken = free_pieces;
    free_pieces = taken->next;
    return taken;
}

static void drop_first_piece(connection *c) {
    piece *dropped = c->first;
    c->first = dropped->next;
    buffers_release(dropped->buffer);
    dropped->next = free_pieces;
    free_pieces = dropped;
}

static void append(connection *c, char *bytes, uint32_t length, uint16_t buffer) {
    c->queued_bytes += length;
    piece *last = c->last;
    // A connection that is alone gets its bytes back to back: one piece, and no gathering.
    if (c->first != NULL && last->buffer == buffer && last->bytes + last->length == bytes) {
        last->length += length;
        buffers_release(buffer);
        return;
    }
    piece *added = piece_new();
    *added = (piece){.bytes = bytes, .length = length, .buffer = buffer};
    if (c->first == NULL) c->first = added;
    else last->next = added;
    c->last = added;
}

static void remove_sent(connection *c, uint32_t sent) {
    assert(sent <= c->queued_bytes);
    c->queued_bytes -= sent;
    while (sent > 0) {
        piece *first = c->first;
        if (sent < first->length) {
            first->bytes += sent;
            first->length -= sent;
            return;
        }
        sent -= first->length;
        drop_first_piece(c);
    }
}

// MARK: - Operations

static void arm_receive(connection *c, int fd) {
    struct io_uring_sqe *sqe = ring_sqe();
    io_uring_prep_recv_multishot(sqe, fd, NULL, 0, 0);
    // Wait for readiness first: an idle connection then stays armed when the buffers run out.
    sqe->ioprio |= IORING_RECVSEND_POLL_FIRST;
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = BUFFER_GROUP;
    sqe->user_data = operation_token(OPERATION_RECEIVE, fd);
    c->receiving = true;
}

static void cancel_receive(connection *c, int fd) {
    struct io_uring_sqe *sqe = ring_sqe();
    io_uring_prep_cancel64(sqe, operation_token(OPERATION_RECEIVE, fd), 0);
    sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
    sqe->user_data = operation_token(OPERATION_CANCEL, fd);
    c->cancelling = true;
}

static void start_send(connection *c, int fd) {
    struct io_uring_sqe *sqe;
    if (c->first == c->last) {
        sqe = ring_sqe();
        io_uring_prep_send(sqe, fd, c->first->bytes, c->first->length, MSG_NOSIGNAL);
    } else {
        struct msghdr *message = ring_message();
        for (piece *p = c->first; p != NULL && message->msg_iovlen < GATHER_LIMIT; p = p->next) {
            message->msg_iov[message->msg_iovlen++] = (struct iovec){.iov_base = p->bytes, .iov_len = p->length};
        }
        sqe = ring_sqe();
        io_uring_prep_sendmsg(sqe, fd, message, MSG_NOSIGNAL);
    }
    sqe->user_data = operation_token(OPERATION_SEND, fd);
    c->sending = true;
}

static void flush_later(connection *c, int fd) {
    if (c->must_flush) return;
    c->must_flush = true;
    c->next_to_flush = flush_first;
    flush_first = fd;
}

static void wait_for_buffers(connection *c, int fd) {
    if (c->starved) return;
    c->starved = true;
    c->next_starved = -1;
    if (starved_first < 0) starved_first = fd;
    else connections[starved_last].next_starved = fd;
    starved_last = fd;
}

// MARK: - State

/// A broken connection is shut down, which ends what is in flight, and closed by the last completion.
static void bury(connection *c, int fd) {
    if (c->receiving || c->sending) {
        if (!c->was_shut_down) shutdown(fd, SHUT_RDWR);
        c->was_shut_down = true;
        return;
    }
    // The lists name connections by descriptor: this one is closed when they have let go of it.
    if (c->must_flush || c->starved) return;
    while (c->first != NULL) drop_first_piece(c);
    close(fd);
    freed_descriptors = true;
}

/// Does what the state asks for, after it has changed.
static void settle(connection *c, int fd) {
    if (c->broken) {
        bury(c, fd);
    } else if (c->peer_finished) {
        if (c->first == NULL) {
            c->broken = true;
            bury(c, fd);
        }
    } else if (c->receiving) {
        if (c->queued_bytes > QUEUED_BYTES_MAX && !c->cancelling) cancel_receive(c, fd);
    } else if (c->queued_bytes <= QUEUED_BYTES_MAX / 2 && !c->starved) {
        if (buffers_lent() > 0) arm_receive(c, fd);
        else wait_for_buffers(c, fd);
    }
}

void connection_accepted(int fd) {
    connections[fd] = (connection){0};
    arm_receive(&connections[fd], fd);
}

void connection_received(int fd, int result, uint32_t flags) {
    connection *c = &connections[fd];
    if ((flags & IORING_CQE_F_MORE) == 0) c->receiving = c->cancelling = false;
    if (flags & IORING_CQE_F_BUFFER) {
        uint16_t buffer;
        char *bytes = buffers_take(flags, result > 0 ? (uint32_t)result : 0, &buffer);
        if (result > 0 && !c->broken) {
            append(c, bytes, (uint32_t)result, buffer);
            flush_later(c, fd);
        } else {
            buffers_release(buffer);
        }
    }
    if (result == 0) {
        c->peer_finished = true;
    } else if (result == -ENOBUFS) {
        buffers_grow();
        if (!c->broken) wait_for_buffers(c, fd);
    } else if (result < 0 && result != -ECANCELED) {
        c->broken = true;
    }
    settle(c, fd);
}

void connection_sent(int fd, int result) {
    connection *c = &connections[fd];
    c->sending = false;
    if (result > 0) {
        remove_sent(c, (uint32_t)result);
        if (c->first != NULL) flush_later(c, fd);
    } else {
        c->broken = true;
    }
    settle(c, fd);
}

bool connections_freed_descriptors(void) {
    bool freed = freed_descriptors;
    freed_descriptors = false;
    return freed;
}

void connections_flush(void) {
    while (flush_first >= 0) {
        int fd = flush_first;
        connection *c = &connections[fd];
        flush_first = c->next_to_flush;
        c->must_flush = false;
        if (c->broken) {
            bury(c, fd);
        } else if (!c->sending && c->first != NULL) {
            start_send(c, fd);
        }
    }
    // At most one receive per buffer, in the order they came: arming more would starve them again.
    for (unsigned budget = buffers_refill(); starved_first >= 0 && budget > 0; budget--) {
        int fd = starved_first;
        connection *c = &connections[fd];
        starved_first = c->next_starved;
        c->starved = false;
        settle(c, fd);
    }
}
