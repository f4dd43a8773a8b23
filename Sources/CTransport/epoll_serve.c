// The epoll engine: what is done in a turn for the slots on the ready list.
#include "epoll.h"

// What one slot may do before the others have their turn.
#define CT_READS_PER_TURN 16u
#define CT_READ_BYTES_PER_TURN (64u * 1024)
#define CT_ACCEPTS_PER_TURN 64u
// A batch of more than this is handed out before anybody else is served: answering what is still in the cache is worth
// more than a wider batch.
#define CT_BATCH_BYTES_MAX (128u * 1024)
// A chunk with less than this part of it left is not worth a system call any more.
#define CT_CHUNK_REST_DIVISOR 8u

// -------------------------------------------------------------------------------------------------- receive memory

ct_chunk *_Nullable ct_epoll_take_back(ct_loop *loop) {
    ct_epoll *e = epoll_of(loop);
    ct_chunk *chunk = e->chunk;
    e->chunk = NULL;
    loop->statistics.chunks_lent = 0;
    return chunk;
}

bool ct_epoll_has_memory(ct_loop *loop) {
    ct_epoll *e = epoll_of(loop);
    if (ct_unlikely(!e->chunk)) {
        e->chunk = ct_chunk_take(loop->pool);
        loop->statistics.chunks_lent = e->chunk != NULL;
    }
    return e->chunk != NULL;
}

static void epoll_place_bytes(ct_loop *loop, ct_event *event, uint32_t length) {
    ct_epoll *e = epoll_of(loop);
    ct_chunk *chunk = e->chunk;
    ct_assert(chunk->offset + length <= chunk->size);
    event->chunk = chunk;
    event->data = chunk->base + chunk->offset;
    chunk->offset += length;
    if (ct_likely(chunk->size - chunk->offset >= chunk->size / CT_CHUNK_REST_DIVISOR)) return;
    event->flags |= CT_EVENT_CHUNK_DONE;
    e->chunk = NULL;
    loop->statistics.chunks_lent = 0;
}

// ---------------------------------------------------------------------------------------------------------- serving

static void receive_ended(ct_loop *loop, ct_slot *slot) {
    slot->receive_armed = false;
    ct_slot_operation_ended(loop, slot);
}

// What a failed or empty read means. True when it is an event.
static bool epoll_receive_failed(ct_loop *loop, ct_slot *slot, int error, ct_event *event) {
    if (error == EAGAIN) {
        slot->epoll.readiness &= (uint8_t)~(CT_READABLE | CT_HANGUP);
        // shutdown(2) did not reach this socket: nothing more will come, and nobody waits for it.
        if (slot->state == CT_SLOT_CLOSING) receive_ended(loop, slot);
        return false;
    }
    // The readiness stays: a receive that is started again meets the same end.
    if (error == 0) error = slot->lost;
    slot->receive_wanted = false;
    slot->input_ended = error == 0;
    receive_ended(loop, slot);
    *event = (ct_event){.kind = CT_EVENT_RECEIVE, .context = slot->context, .result = -error};
    return true;
}

static void epoll_exhausted(ct_loop *loop, ct_slot *slot) {
    loop->statistics.receive_exhausted++;
    slot->receive_armed = false;
    if (slot->state == CT_SLOT_OPEN) ct_loop_starve(loop, slot);
    else ct_slot_operation_ended(loop, slot);
}

static uint32_t epoll_serve_receive(ct_loop *loop, ct_slot *slot, ct_event *events, uint32_t capacity) {
    uint32_t count = 0;
    uint32_t total = 0;
    for (uint32_t reads = 0; reads < CT_READS_PER_TURN && total < CT_READ_BYTES_PER_TURN && count < capacity; reads++) {
        if (ct_unlikely(!ct_epoll_has_memory(loop))) {
            epoll_exhausted(loop, slot);
            break;
        }
        ct_chunk *chunk = epoll_of(loop)->chunk;
        uint32_t space = chunk->size - chunk->offset;
        ssize_t length = sys_recv(slot->fd, chunk->base + chunk->offset, space, MSG_DONTWAIT);
        if (ct_unlikely(length <= 0)) {
            if (length < 0 && errno == EINTR) continue;
            if (epoll_receive_failed(loop, slot, length < 0 ? errno : 0, &events[count])) count++;
            break;
        }
        ct_event *event = &events[count++];
        *event = (ct_event){
            .kind = CT_EVENT_RECEIVE,
            .context = slot->context,
            .result = (int32_t)length,
            .flags = CT_EVENT_MORE,
        };
        epoll_place_bytes(loop, event, (uint32_t)length);
        loop->statistics.receives++;
        total += (uint32_t)length;
        if (ct_likely((uint32_t)length < space && !(slot->epoll.readiness & (CT_HANGUP | CT_PIECEWISE)))) {
            slot->epoll.readiness &= (uint8_t)~CT_READABLE;
            break;
        }
    }
    loop->statistics.received_bytes += total;
    return count;
}

// See ct_loss_watch(): a read would tell of the end of the stream again, and only of that.
static uint32_t epoll_serve_loss(ct_loop *loop, ct_slot *slot, ct_event *event) {
    // The next edge says when to look again.
    slot->epoll.readiness &= (uint8_t)~(CT_READABLE | CT_HANGUP);
    if (slot->state == CT_SLOT_CLOSING) {
        receive_ended(loop, slot);
        return 0;
    }
    int error = ct_socket_take_error(slot->fd);
    if (error == 0) error = slot->lost;
    if (error == 0) return 0;
    slot->receive_wanted = false;
    receive_ended(loop, slot);
    *event = (ct_event){.kind = CT_EVENT_RECEIVE, .context = slot->context, .result = -error};
    return 1;
}

static uint32_t epoll_serve_accept(ct_loop *loop, ct_slot *slot, ct_event *events, uint32_t capacity) {
    uint32_t count = 0;
    for (uint32_t tries = 0; tries < CT_ACCEPTS_PER_TURN && count < capacity; tries++) {
        // A listener that is closing takes nobody in any more.
        int fd = -1;
        int error = ECANCELED;
        if (ct_likely(slot->state == CT_SLOT_OPEN)) {
            fd = sys_accept(slot->fd, SOCK_CLOEXEC);
            error = fd < 0 ? errno : 0;
        }
        if (error == EINTR) continue;
        if (error == EAGAIN) {
            slot->epoll.readiness &= (uint8_t)~(CT_READABLE | CT_HANGUP);
            break;
        }
        events[count++] = (ct_event){
            .kind = CT_EVENT_ACCEPT,
            .context = slot->context,
            .result = error ? -error : fd,
            .flags = error ? 0 : CT_EVENT_MORE,
        };
        if (error) {
            ct_assert(slot->accepts_in_flight == 1);
            slot->accepts_in_flight--;
            ct_slot_operation_ended(loop, slot);
            break;
        }
        loop->statistics.accepts++;
    }
    return count;
}

static ct_event epoll_connect_event(ct_loop *loop, ct_slot *slot) {
    ct_assert(slot->connects_in_flight == 1);
    slot->epoll.readiness &= (uint8_t)~CT_CONNECTED;
    slot->connects_in_flight--;
    ct_slot_operation_ended(loop, slot);
    return (ct_event){
        .kind = CT_EVENT_CONNECT,
        .context = slot->context,
        .result = -slot->epoll.connect_error,
    };
}

static ct_event epoll_send_event(ct_loop *loop, ct_slot *slot) {
    ct_assert(slot->sends_in_flight == 1);
    int32_t result = slot->epoll.send_result;
    slot->epoll.readiness &= (uint8_t)~CT_SENT;
    slot->sends_in_flight--;
    loop->statistics.sends++;
    if (result > 0) loop->statistics.sent_bytes += (uint64_t)result;
    ct_slot_operation_ended(loop, slot);
    return (ct_event){.kind = CT_EVENT_SEND, .context = slot->context, .token = slot->send_tag, .result = result};
}

static uint32_t epoll_serve_slot(ct_loop *loop, ct_slot *slot, ct_event *events, uint32_t capacity) {
    uint32_t count = 0;
    if (slot->epoll.readiness & CT_CONNECTED) events[count++] = epoll_connect_event(loop, slot);
    if ((slot->epoll.readiness & CT_SENT) && count < capacity) events[count++] = epoll_send_event(loop, slot);
    if (!(slot->epoll.readiness & CT_READABLE) || count == capacity) return count;
    if (slot->accepts_in_flight) count += epoll_serve_accept(loop, slot, events + count, capacity - count);
    else if (slot->receive_armed && ct_unlikely(slot->watches_loss)) count += epoll_serve_loss(loop, slot, events + count);
    else if (slot->receive_armed) count += epoll_serve_receive(loop, slot, events + count, capacity - count);
    return count;
}

// Everyone who is listed now, once. Who comes back stands behind those who have not been served for want of room.
uint32_t ct_epoll_serve(ct_loop *loop, ct_event *events, uint32_t capacity) {
    ct_epoll *e = epoll_of(loop);
    uint32_t last = e->ready_tail;
    uint32_t count = 0;
    uint64_t enough = loop->statistics.received_bytes + CT_BATCH_BYTES_MAX;
    bool more = last != 0;
    while (more && count < capacity && loop->statistics.received_bytes < enough) {
        more = e->ready_head != last;
        ct_slot *slot = ct_epoll_ready_take(loop);
        count += epoll_serve_slot(loop, slot, events + count, capacity - count);
        if (ct_epoll_ready_wanted(slot)) ct_epoll_ready_append(loop, slot);
    }
    ct_assert(count <= capacity);
    return count;
}
