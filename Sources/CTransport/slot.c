// Connection slots: stable addresses, a generation, counters of what the kernel holds, and the way a slot closes.
//
//   FREE -> OPEN -> CLOSING -> TO_CLOSE ------------------------> FREE
//            |        |          |                                 |
//            |        |          +--> NOTIFYING --> CLOSED --------+-- the CLOSED event; generation + 1
//            |        |          |              +-- the last notification came
//            |        |          +-- a turn begins: what is unread is read away, then close(2)
//            |        +-- the last completion that uses the descriptor came
//            +-- ct_slot_close(): everything in flight is told to end
//
// A descriptor is never closed while an operation is in flight: that sends no FIN, and the kernel may write into
// memory that was given back.
#include "system.h"

#define CT_DISCARD_PIECE (32u * 1024)
#define CT_DISCARD_PIECES_PER_TURN 16u      // for all that close
#define CT_DISCARD_TURNS_MAX 32u            // for one of them

// ---------------------------------------------------------------------------------------------------------- states

static const uint8_t slot_successors[CT_SLOT_STATES] = {
    [CT_SLOT_FREE] = 1u << CT_SLOT_OPEN,
    [CT_SLOT_OPEN] = 1u << CT_SLOT_CLOSING,
    [CT_SLOT_CLOSING] = 1u << CT_SLOT_TO_CLOSE,
    [CT_SLOT_TO_CLOSE] = 1u << CT_SLOT_NOTIFYING | 1u << CT_SLOT_FREE,
    [CT_SLOT_NOTIFYING] = 1u << CT_SLOT_CLOSED,
    [CT_SLOT_CLOSED] = 1u << CT_SLOT_FREE,
};

bool ct_slot_may_become(enum ct_slot_state from, enum ct_slot_state to) {
    return from < CT_SLOT_STATES && to < CT_SLOT_STATES && (slot_successors[from] >> to & 1);
}

// What a slot has to be in a state.
static bool slot_fits(const ct_slot *slot, enum ct_slot_state state) {
    switch (state) {
    case CT_SLOT_FREE: return slot->fd < 0 && ct_slot_is_quiet(slot) && !slot->starved;
    case CT_SLOT_OPEN: return slot->fd >= 0 && ct_slot_is_quiet(slot) && !slot->reset;
    case CT_SLOT_CLOSING: return slot->fd >= 0 && !slot->receive_wanted;
    case CT_SLOT_TO_CLOSE: return slot->fd >= 0 && ct_slot_descriptor_is_quiet(slot) && !slot->starved;
    case CT_SLOT_NOTIFYING: return slot->fd < 0 && slot->notifications_in_flight > 0 && slot->reset;
    case CT_SLOT_CLOSED: return slot->fd < 0 && ct_slot_is_quiet(slot);
    }
    return false;
}

// The one place where a state changes.
static void slot_become(ct_slot *slot, enum ct_slot_state next) {
    ct_assert(ct_slot_may_become(slot->state, next));
    ct_assert(slot_fits(slot, next));
    slot->state = next;
}

// ----------------------------------------------------------------------------------------------------- table, lists

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
    ct_assert(slot->next == 0);
    if (list->tail) ct_slot_at(table, list->tail - 1)->next = slot->index + 1;
    else list->head = slot->index + 1;
    list->tail = slot->index + 1;
}

ct_slot *ct_slot_list_take(ct_slot_table *table, ct_slot_list *list) {
    ct_assert((list->head == 0) == (list->tail == 0));
    if (list->head == 0) return NULL;
    ct_slot *slot = ct_slot_at(table, list->head - 1);
    list->head = slot->next;
    if (list->head == 0) list->tail = 0;
    slot->next = 0;
    return slot;
}

// ------------------------------------------------------------------------------------------------------ open, close

ct_slot *ct_slot_open(ct_loop *loop, int fd, bool listener, void *context) {
    ct_assert_on_loop(loop);
    ct_slot_table *table = &loop->slots;
    if (table->free == 0 && slot_table_grow(table) < 0) return NULL;
    ct_slot *slot = ct_slot_at(table, table->free - 1);
    ct_assert(ct_slot_is_quiet(slot));
    table->free = slot->next;
    table->open++;
    ct_assert(table->open <= table->block_count * CT_SLOTS_PER_BLOCK);
    *slot = (ct_slot){
        .context = context,
        .fd = fd,
        .index = slot->index,
        .generation = slot->generation,
        .state = slot->state,
        .listener = listener,
    };
    slot_become(slot, CT_SLOT_OPEN);
    return slot;
}

static void slot_release(ct_slot_table *table, ct_slot *slot) {
    ct_assert(table->open > 0);
    slot_become(slot, CT_SLOT_FREE);
    slot->generation = (slot->generation + 1) & 0xFFFFFF;
    slot->context = NULL;
    slot->next = table->free;
    table->free = slot->index + 1;
    table->open--;
}

void ct_slot_close(ct_loop *loop, ct_slot *slot) {
    ct_assert_on_loop(loop);
    if (slot->state != CT_SLOT_OPEN) return;
    slot->receive_wanted = false;
    slot_become(slot, CT_SLOT_CLOSING);
    if (slot->starved) loop->slots.starved_closing++;
    if (!ct_slot_is_quiet(slot)) loop->engine->interrupt(loop, slot);
    ct_slot_operation_ended(loop, slot);
}

void ct_slot_reset(ct_loop *loop, ct_slot *slot) {
    ct_assert_on_loop(loop);
    // Without a descriptor it has been reset already.
    if (slot->reset || slot->fd < 0) return;
    // Who cannot have it this way gets it by connecting to nowhere: closing must not look like an end of stream.
    if (ct_socket_set_linger(slot->fd, true, 0) < 0) ct_socket_disconnect(slot->fd);
    slot->reset = true;
    if (slot->state == CT_SLOT_OPEN) {
        ct_slot_close(loop, slot);
        return;
    }
    // What was told to end may be waiting for the peer.
    if (!ct_slot_descriptor_is_quiet(slot)) loop->engine->interrupt(loop, slot);
    ct_slot_operation_ended(loop, slot);
}

// Whether the descriptor may be closed. Zero-copy memory is free once the peer has it or the socket is gone: a close waits
// for the first, so that it can still become a reset, and a reset brings about the second.
static bool slot_may_close(const ct_slot *slot) {
    return slot->reset ? ct_slot_descriptor_is_quiet(slot) : ct_slot_is_quiet(slot);
}

void ct_slot_move_on(ct_loop *loop, ct_slot *slot) {
    // A starved slot is on the other list; the next turn takes it from there and comes back here.
    if (slot->state == CT_SLOT_CLOSING && slot_may_close(slot) && !slot->starved) slot_become(slot, CT_SLOT_TO_CLOSE);
    else if (slot->state == CT_SLOT_NOTIFYING && ct_slot_is_quiet(slot)) slot_become(slot, CT_SLOT_CLOSED);
    else return;
    ct_slot_list_append(&loop->slots, &loop->slots.to_finish, slot);
}

// Closing with bytes unread is a reset, and a reset destroys what the peer was sent. So they are read away, in pieces that
// leave the others their turn. Whoever keeps sending more than any receive buffer holds (16 MiB in all) is not waited for:
// it learns by the reset that nobody reads. True when the descriptor may be closed. No system call when the end was seen.
static bool slot_discard_input(ct_slot *slot, uint32_t *pieces) {
    if (ct_likely(slot->input_ended || slot->reset || slot->listener)) return true;
    if (*pieces == 0) return false;
    char nobodys[CT_DISCARD_PIECE];
    for (; *pieces > 0; --*pieces) {
        // MSG_TRUNC: TCP throws the bytes away without copying them.
        ssize_t length = sys_recv(slot->fd, nobodys, sizeof nobodys, MSG_DONTWAIT | MSG_TRUNC);
        if (length == 0 || (length < 0 && errno != EINTR)) return true;
    }
    return ++slot->discards >= CT_DISCARD_TURNS_MAX;
}

// True when nothing is left of the slot but its CLOSED event.
static bool slot_close_descriptor(ct_loop *loop, ct_slot *slot) {
    loop->engine->forget(loop, slot);
    sys_close(slot->fd);
    slot->fd = -1;
    if (ct_slot_is_quiet(slot)) return true;
    slot_become(slot, CT_SLOT_NOTIFYING);
    return false;
}

uint32_t ct_slots_finish(ct_loop *loop, ct_event *events, uint32_t capacity) {
    ct_slot_table *table = &loop->slots;
    uint32_t count = 0;
    uint32_t last = table->to_finish.tail;
    uint32_t pieces = CT_DISCARD_PIECES_PER_TURN;
    for (bool more = last != 0; more && count < capacity;) {
        more = table->to_finish.head != last;
        ct_slot *slot = ct_slot_list_take(table, &table->to_finish);
        ct_assert(slot->state == CT_SLOT_TO_CLOSE || slot->state == CT_SLOT_CLOSED);
        if (slot->state == CT_SLOT_TO_CLOSE) {
            if (!slot_discard_input(slot, &pieces)) {
                ct_slot_list_append(table, &table->to_finish, slot);
                continue;
            }
            if (!slot_close_descriptor(loop, slot)) continue;
        }
        events[count++] = (ct_event){.kind = CT_EVENT_CLOSED, .context = slot->context};
        slot_release(table, slot);
    }
    return count;
}
