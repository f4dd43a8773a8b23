// Connection slots: stable addresses, a generation, counters of what the kernel holds, and the way a slot closes.
//
//   FREE -> OPEN -> CLOSING -> CLOSED -> FREE
//            |        |          |
//            |        |          +-- next turn: close(2), generation + 1, CLOSED event
//            |        +-- the last completion came
//            +-- ct_slot_close(): everything in flight is told to end
//
// A descriptor is never closed while an operation is in flight: that sends no FIN, and the kernel may write into
// memory that was given back (io_uring.md 1.8).
#include "internal.h"

#include <unistd.h>

int ct_slot_table_init(ct_slot_table *table) {
    table->blocks = ct_memory_allocate(CT_SLOT_BLOCKS_MAX * sizeof *table->blocks);
    return table->blocks ? 0 : -ENOMEM;
}

void ct_slot_table_destroy(ct_slot_table *table) {
    ct_assert(table->open == 0);
    for (uint32_t b = 0; b < table->block_count; b++)
        ct_memory_free(table->blocks[b], CT_SLOTS_PER_BLOCK * sizeof(ct_slot));
    ct_memory_free(table->blocks, CT_SLOT_BLOCKS_MAX * sizeof *table->blocks);
}

static int slot_table_grow(ct_slot_table *table) {
    ct_assert(table->free == 0);
    if (table->block_count == CT_SLOT_BLOCKS_MAX) return -ENOMEM;
    ct_slot *block = ct_memory_allocate_pages(CT_SLOTS_PER_BLOCK * sizeof(ct_slot));
    if (!block) return -ENOMEM;
    uint32_t first = table->block_count * CT_SLOTS_PER_BLOCK;
    for (uint32_t i = CT_SLOTS_PER_BLOCK; i-- > 0;) {
        block[i] = (ct_slot){.fd = -1, .index = first + i, .generation = 1, .next = table->free};
        table->free = first + i + 1;
    }
    table->blocks[table->block_count++] = block;
    return 0;
}

void ct_slot_list_append(ct_slot_table *table, ct_slot_list *list, ct_slot *slot) {
    slot->next = 0;
    if (list->tail) ct_slot_at(table, list->tail - 1)->next = slot->index + 1;
    else list->head = slot->index + 1;
    list->tail = slot->index + 1;
}

ct_slot *ct_slot_list_take(ct_slot_table *table, ct_slot_list *list) {
    if (list->head == 0) return NULL;
    ct_slot *slot = ct_slot_at(table, list->head - 1);
    list->head = slot->next;
    if (list->head == 0) list->tail = 0;
    slot->next = 0;
    return slot;
}

ct_slot *ct_slot_open(ct_loop *loop, int fd, bool listener, void *context) {
    ct_assert(fd >= 0);
    ct_slot_table *table = &loop->slots;
    if (table->free == 0 && slot_table_grow(table) < 0) return NULL;
    ct_slot *slot = ct_slot_at(table, table->free - 1);
    ct_assert(slot->state == CT_SLOT_FREE && ct_slot_is_quiet(slot));
    table->free = slot->next;
    table->open++;
    *slot = (ct_slot){
        .context = context, .fd = fd, .index = slot->index, .generation = slot->generation,
        .state = CT_SLOT_OPEN, .listener = listener,
    };
    return slot;
}

static void slot_release(ct_slot_table *table, ct_slot *slot) {
    ct_assert(slot->state == CT_SLOT_CLOSED && ct_slot_is_quiet(slot));
    ct_assert(table->open > 0);
    slot->state = CT_SLOT_FREE;
    slot->generation = (slot->generation + 1) & 0xFFFFFF;
    slot->context = NULL;
    slot->fd = -1;
    slot->closed_listed = false;
    slot->next = table->free;
    table->free = slot->index + 1;
    table->open--;
}

void ct_slot_close(ct_loop *loop, ct_slot *slot) {
    if (slot->state != CT_SLOT_OPEN) return;
    slot->state = CT_SLOT_CLOSING;
    slot->receive_wanted = false;
    if (slot->starved) loop->slots.starved_closing++;
    if (!ct_slot_is_quiet(slot)) loop->engine->interrupt(loop, slot);
    ct_slot_operation_ended(loop, slot);
}

void ct_slot_reset(ct_loop *loop, ct_slot *slot) {
    if (slot->state != CT_SLOT_OPEN) return;
    ct_socket_set_linger(slot->fd, true, 0);
    slot->reset = true;
    ct_slot_close(loop, slot);
}

void ct_slot_operation_ended(ct_loop *loop, ct_slot *slot) {
    // A starved slot is on the other list; the next turn takes it from there and comes back here.
    if (slot->state != CT_SLOT_CLOSING || slot->closed_listed || slot->starved) return;
    if (!ct_slot_descriptor_is_quiet(slot) || (slot->fd < 0 && !ct_slot_is_quiet(slot))) return;
    slot->closed_listed = true;
    ct_slot_list_append(&loop->slots, &loop->slots.closed, slot);
}

uint32_t ct_slots_finish(ct_loop *loop, ct_event *events, uint32_t capacity) {
    uint32_t count = 0;
    while (count < capacity) {
        ct_slot *slot = ct_slot_list_take(&loop->slots, &loop->slots.closed);
        if (!slot) break;
        ct_assert(slot->state == CT_SLOT_CLOSING && ct_slot_descriptor_is_quiet(slot));
        if (slot->fd >= 0) {
            loop->engine->forget(loop, slot);
            close(slot->fd);
            slot->fd = -1;
        }
        // Zero-copy memory is free once the peer has it or the socket is gone, which only the close may bring about:
        // the descriptor must not wait for it, the slot must.
        if (!ct_slot_is_quiet(slot)) {
            slot->closed_listed = false;
            continue;
        }
        slot->state = CT_SLOT_CLOSED;
        events[count++] = (ct_event){.kind = CT_EVENT_CLOSED, .context = slot->context};
        slot_release(&loop->slots, slot);
    }
    return count;
}
