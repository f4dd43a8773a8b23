// A hierarchical timing wheel: six levels of 64 spokes, one tick a millisecond, arm and cancel in O(1), no object per
// timer. A timer sits on the level of the highest bit in which its expiry differs from the wheel's tick, and moves
// down ("cascades") when the wheel reaches that spoke.
#include "internal.h"

#include <string.h>

#define CT_TICK_NANOS CT_NANOS_PER_MILLI
#define CT_WHEEL_SPAN (1ull << (CT_WHEEL_LEVELS * CT_WHEEL_BITS))
#define CT_NODES_FIRST 64u

enum : uint16_t {
    CT_TIMER_FREE = 0xFFFF,
    CT_TIMER_DUE = 0xFFFE,
    CT_TIMER_POSTED = 0xFFFD,
};

void ct_wheel_init(ct_wheel *wheel, uint64_t now) {
    memset(wheel, 0, sizeof *wheel);
    wheel->origin = now;
}

void ct_wheel_destroy(ct_wheel *wheel) {
    ct_memory_free(wheel->nodes, wheel->capacity * sizeof *wheel->nodes);
}

static int wheel_grow(ct_wheel *wheel) {
    uint32_t capacity = wheel->capacity ? wheel->capacity * 2 : CT_NODES_FIRST;
    ct_timer_node *nodes = ct_memory_allocate(capacity * sizeof *nodes);
    if (!nodes) return -ENOMEM;
    if (wheel->nodes) memcpy(nodes, wheel->nodes, wheel->capacity * sizeof *nodes);
    for (uint32_t i = capacity; i-- > wheel->capacity;) {
        nodes[i] = (ct_timer_node){.place = CT_TIMER_FREE, .next = wheel->free};
        wheel->free = i + 1;
    }
    ct_memory_free(wheel->nodes, wheel->capacity * sizeof *nodes);
    wheel->nodes = nodes;
    wheel->capacity = capacity;
    return 0;
}

static void wheel_link(ct_wheel *wheel, uint32_t id) {
    ct_timer_node *node = &wheel->nodes[id - 1];
    uint64_t tick = wheel->tick;
    if (node->expiry <= tick) node->expiry = tick + 1;
    // Beyond the wheel's reach (two years) it waits on the outermost level and is placed anew when it comes by.
    uint64_t expiry = node->expiry - tick < CT_WHEEL_SPAN ? node->expiry : tick + CT_WHEEL_SPAN - 1;
    uint32_t level = (63u - (uint32_t)__builtin_clzll(expiry ^ tick)) / CT_WHEEL_BITS;
    // The carry into the bit above the top level: the spoke there is free, because the distance is below the span.
    if (level >= CT_WHEEL_LEVELS) level = CT_WHEEL_LEVELS - 1;
    uint32_t spoke = (expiry >> (level * CT_WHEEL_BITS)) & (CT_WHEEL_SPOKES - 1);
    node->place = (uint16_t)(level * CT_WHEEL_SPOKES + spoke);
    uint32_t *head = &wheel->heads[node->place];
    node->previous = 0;
    node->next = *head;
    if (*head) wheel->nodes[*head - 1].previous = id;
    *head = id;
    wheel->occupied[level] |= 1ull << spoke;
}

static void wheel_unlink(ct_wheel *wheel, uint32_t id) {
    ct_timer_node *node = &wheel->nodes[id - 1];
    if (node->next) wheel->nodes[node->next - 1].previous = node->previous;
    if (node->previous) wheel->nodes[node->previous - 1].next = node->next;
    if (node->place == CT_TIMER_DUE) {
        if (wheel->due_head == id) wheel->due_head = node->next;
        if (wheel->due_tail == id) wheel->due_tail = node->previous;
        return;
    }
    ct_assert(node->place < CT_WHEEL_LEVELS * CT_WHEEL_SPOKES);
    if (wheel->heads[node->place] == id) {
        wheel->heads[node->place] = node->next;
        if (!node->next) wheel->occupied[node->place / CT_WHEEL_SPOKES] &= ~(1ull << node->place % CT_WHEEL_SPOKES);
    }
}

ct_timer ct_wheel_arm(ct_wheel *wheel, uint64_t deadline, void *context) {
    if (wheel->free == 0 && wheel_grow(wheel) < 0) return 0;
    uint32_t id = wheel->free;
    ct_timer_node *node = &wheel->nodes[id - 1];
    ct_assert(node->place == CT_TIMER_FREE);
    wheel->free = node->next;
    wheel->armed++;
    ct_assert(wheel->armed <= wheel->capacity);
    if (id <= wheel->swept) wheel->swept = id - 1;
    node->context = context;
    // Rounded up: a timer is late by less than a tick and never early.
    uint64_t distance = deadline > wheel->origin ? deadline - wheel->origin : 0;
    node->expiry = distance / CT_TICK_NANOS + (distance % CT_TICK_NANOS != 0);
    wheel_link(wheel, id);
    return (uint64_t)node->generation << 32 | id;
}

void *ct_wheel_take(ct_wheel *wheel, ct_timer timer) {
    uint32_t id = (uint32_t)timer;
    if (id == 0 || id > wheel->capacity) return NULL;
    ct_timer_node *node = &wheel->nodes[id - 1];
    if (node->place == CT_TIMER_FREE || node->generation != (uint32_t)(timer >> 32)) return NULL;
    if (node->place != CT_TIMER_POSTED) wheel_unlink(wheel, id);
    ct_assert(wheel->armed > 0);
    void *context = node->context;
    *node = (ct_timer_node){.place = CT_TIMER_FREE, .generation = node->generation + 1, .next = wheel->free};
    wheel->free = id;
    wheel->armed--;
    return context;
}

static void wheel_make_due(ct_wheel *wheel, uint32_t id) {
    ct_timer_node *node = &wheel->nodes[id - 1];
    node->place = CT_TIMER_DUE;
    node->next = 0;
    node->previous = wheel->due_tail;
    if (wheel->due_tail) wheel->nodes[wheel->due_tail - 1].next = id;
    else wheel->due_head = id;
    wheel->due_tail = id;
}

// The spoke of `level` that the wheel has just reached is emptied: each timer is due or moves down.
static void wheel_open_spoke(ct_wheel *wheel, uint32_t level) {
    uint32_t spoke = (wheel->tick >> (level * CT_WHEEL_BITS)) & (CT_WHEEL_SPOKES - 1);
    uint32_t place = level * CT_WHEEL_SPOKES + spoke;
    uint32_t id = wheel->heads[place];
    // The list is newest first; timers of one tick fire in the order they were armed.
    uint32_t last = 0;
    for (; id; id = wheel->nodes[id - 1].next) last = id;
    wheel->heads[place] = 0;
    wheel->occupied[level] &= ~(1ull << spoke);
    while (last) {
        uint32_t previous = wheel->nodes[last - 1].previous;
        if (wheel->nodes[last - 1].expiry <= wheel->tick) wheel_make_due(wheel, last);
        else wheel_link(wheel, last);
        last = previous;
    }
}

// The first tick after the present one at which some spoke opens; CT_FOREVER when there is none.
static uint64_t wheel_next_tick(const ct_wheel *wheel) {
    uint64_t next = CT_FOREVER;
    for (uint32_t level = 0; level < CT_WHEEL_LEVELS; level++) {
        if (!wheel->occupied[level]) continue;
        uint32_t shift = level * CT_WHEEL_BITS;
        uint64_t position = wheel->tick >> shift;
        uint32_t spoke = position & (CT_WHEEL_SPOKES - 1);
        // Distance, 1 to 64 spokes, from the present spoke to the next occupied one.
        uint64_t ahead = wheel->occupied[level] >> 1 >> spoke;
        uint32_t distance = ahead ? (uint32_t)__builtin_ctzll(ahead) + 1
                                  : CT_WHEEL_SPOKES - spoke + (uint32_t)__builtin_ctzll(wheel->occupied[level]);
        uint64_t tick = (position + distance) << shift;
        if (tick < next) next = tick;
    }
    return next;
}

void ct_wheel_advance(ct_wheel *wheel, uint64_t now) {
    if (now < wheel->origin) return;
    uint64_t target = (now - wheel->origin) / CT_TICK_NANOS;
    while (wheel->tick < target) {
        uint64_t next = wheel_next_tick(wheel);
        if (next > target) {
            wheel->tick = target;
            return;
        }
        wheel->tick = next;
        // Outer levels first, so that what cascades down to a spoke that opens now is still seen.
        for (uint32_t level = CT_WHEEL_LEVELS; level-- > 0;) {
            uint64_t below = (1ull << (level * CT_WHEEL_BITS)) - 1;
            if ((wheel->tick & below) == 0) wheel_open_spoke(wheel, level);
        }
    }
}

uint64_t ct_wheel_next(const ct_wheel *wheel) {
    if (wheel->due_head) return 0;
    uint64_t tick = wheel_next_tick(wheel);
    return tick == CT_FOREVER ? CT_FOREVER : wheel->origin + tick * CT_TICK_NANOS;
}

uint32_t ct_wheel_expire(ct_wheel *wheel, ct_event *events, uint32_t capacity) {
    uint32_t count = 0;
    while (count < capacity && wheel->due_head) {
        uint32_t id = wheel->due_head;
        ct_timer_node *node = &wheel->nodes[id - 1];
        wheel_unlink(wheel, id);
        node->place = CT_TIMER_POSTED;
        events[count++] = (ct_event){
            .kind = CT_EVENT_TIMER,
            .token = (uint64_t)node->generation << 32 | id,
            .context = node->context,
        };
    }
    return count;
}

ct_timer ct_timer_arm(ct_loop *loop, uint64_t deadline, void *context) {
    ct_assert_on_loop(loop);
    return ct_wheel_arm(&loop->wheel, deadline, context);
}

void *ct_timer_take(ct_loop *loop, ct_timer timer) {
    ct_assert_on_loop(loop);
    return ct_wheel_take(&loop->wheel, timer);
}

void *ct_timer_take_any(ct_loop *loop) {
    ct_assert_on_loop(loop);
    ct_wheel *wheel = &loop->wheel;
    if (wheel->armed == 0) return NULL;
    // Not from the first node every time: taking all of them looks at each once.
    while (wheel->nodes[wheel->swept].place == CT_TIMER_FREE) wheel->swept++;
    ct_assert(wheel->swept < wheel->capacity);
    uint32_t id = wheel->swept + 1;
    return ct_wheel_take(wheel, (uint64_t)wheel->nodes[id - 1].generation << 32 | id);
}
