// The io_uring engine: receive memory is lent to the kernel, filled by it, and taken back.
#include "uring.h"

void ct_uring_lend(ct_loop *loop) {
    ct_uring *u = uring_of(loop);
    if (ct_likely(u->lent >= u->lent_target)) return;
    bool added = false;
    while (u->lent < u->lent_target && u->free_ids > 0) {
        ct_chunk *chunk = ct_chunk_take(loop->pool);
        if (!chunk) break;
        uint16_t id = u->free_id[--u->free_ids];
        ct_assert(u->chunk_of[id] == NULL);
        chunk->buffer_id = id;
        u->chunk_of[id] = chunk;
        u->lent++;
        ct_buffer_ring_add(&u->buffers, chunk->base, chunk->size, id);
        added = true;
    }
    ct_assert(u->lent + u->free_ids == CT_BUFFER_ENTRIES);
    if (added) ct_buffer_ring_publish(&u->buffers);
    loop->statistics.chunks_lent = u->lent;
}

void ct_uring_place_bytes(ct_loop *loop, const struct io_uring_cqe *cqe, ct_event *event) {
    ct_uring *u = uring_of(loop);
    uint32_t id = cqe->flags >> IORING_CQE_BUFFER_SHIFT;
    ct_assert(id < CT_BUFFER_ENTRIES && u->chunk_of[id]);
    ct_chunk *chunk = u->chunk_of[id];
    uint32_t length = cqe->res > 0 ? (uint32_t)cqe->res : 0;
    ct_assert(chunk->buffer_id == id && chunk->offset + length <= chunk->size);
    event->chunk = chunk;
    event->data = chunk->base + chunk->offset;
    chunk->offset += length;
    if (u->incremental && (cqe->flags & CT_IORING_CQE_F_BUF_MORE)) return;
    event->flags |= CT_EVENT_CHUNK_DONE;
    u->chunk_of[id] = NULL;
    ct_assert(u->lent > 0 && u->free_ids < CT_BUFFER_ENTRIES);
    u->free_id[u->free_ids++] = (uint16_t)id;
    u->lent--;
}

bool ct_uring_has_memory(ct_loop *loop) {
    ct_uring_lend(loop);
    return uring_of(loop)->lent > 0;
}

void ct_uring_spoil_chunks(ct_uring *u) {
    for (uint32_t i = 0; i < CT_BUFFER_ENTRIES; i++) {
        if (!u->chunk_of[i]) continue;
        u->chunk_of[i]->next = u->spoiled;
        u->spoiled = u->chunk_of[i];
        u->chunk_of[i] = NULL;
    }
}

// Without connections nobody receives into what the kernel still knows of, and nothing is lent any more.
ct_chunk *_Nullable ct_uring_take_back(ct_loop *loop) {
    ct_uring *u = uring_of(loop);
    if (u->lent > 0) ct_uring_spoil_chunks(u);
    u->lent = 0;
    loop->statistics.chunks_lent = 0;
    ct_chunk *chunk = u->spoiled;
    if (chunk) u->spoiled = chunk->next;
    return chunk;
}
