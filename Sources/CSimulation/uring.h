// A simulated ring, and the requests that are in it.
#ifndef SIM_URING_H
#define SIM_URING_H

#include "world.h"

#pragma clang assume_nonnull begin

typedef struct sim_completion {
    struct sim_completion *_Nullable next;
    struct io_uring_cqe cqe;
} sim_completion;

typedef struct sim_ring {
    sim_file file;
    bool closed, incremental, dropped;
    unsigned sq_head, sq_tail, sq_mask, sq_entries, sq_flags, sq_dropped;
    unsigned cq_head, cq_tail, cq_mask, cq_entries, cq_overflow;
    struct io_uring_sqe *sqes;
    struct io_uring_cqe *cqes;
    sim_completion *_Nullable later_head;       // found no room, or came between two enters
    sim_completion *_Nullable later_tail;
    sim_request *_Nullable requests;            // all that have not completed
    sim_request *_Nullable work_head;           // those for which something happened
    sim_request *_Nullable work_tail;
    struct io_uring_buf_ring *_Nullable buffers;
    uint32_t buffer_mask;
    uint16_t buffer_head, buffers_poisoned;
} sim_ring;

struct sim_request {
    sim_request *_Nullable next;                // of the ring
    sim_request *_Nullable previous;
    sim_request *_Nullable next_of_file;
    sim_request *_Nullable next_of_work;
    sim_ring *ring;
    sim_file *file;
    struct io_uring_sqe entry;
    uint32_t wants;                             // EPOLL bits
    bool listed, multishot;
    bool cancelled;                             // ends when it has been looked at
    bool interrupted;                           // with EINTR
    bool armed_behind_the_end;                  // the end was there already when it was armed: no edge will tell of it
    struct iovec *_Nullable vectors;            // copied: the program may reuse its own once the entry is taken
    uint32_t vector_count;
    sim_lent lent;                              // while it waits
};

sim_ring *sim_ring_of(sim_world *world, const struct io_uring *io);
// lent.c: what is provided is filled, and what is used must be as it was then.
void sim_ring_poison_buffers(sim_ring *ring);
void sim_ring_poison_buffer(const struct io_uring_buf *buffer);
void sim_ring_check_buffer(const sim_world *world, const struct io_uring_buf *buffer, uint64_t length, uint64_t user_data);
void sim_ring_complete(sim_world *world, sim_ring *ring, uint64_t user_data, int32_t result, uint32_t flags);

void sim_request_begin(sim_world *world, sim_ring *ring, const struct io_uring_sqe *entry);
// It is looked at in the next enter.
void sim_request_list(sim_request *request);
sim_request *_Nullable sim_request_take(sim_ring *ring);
void sim_request_run(sim_world *world, sim_request *request);
// Without a completion.
void sim_request_drop(sim_world *world, sim_request *request);

#pragma clang assume_nonnull end
#endif
