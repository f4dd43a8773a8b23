// What will happen, in the order of its time, and of its making where times are the same.
#include "world.h"

static bool comes_before(const sim_event *a, const sim_event *b) {
    return a->time != b->time ? a->time < b->time : a->order < b->order;
}

static void place(sim_heap *heap, sim_event *event, uint32_t index) {
    heap->items[index] = event;
    event->position = index + 1;
}

static void sift_up(sim_heap *heap, uint32_t index) {
    sim_event *event = heap->items[index];
    for (; index > 0 && comes_before(event, heap->items[(index - 1) / 2]); index = (index - 1) / 2)
        place(heap, heap->items[(index - 1) / 2], index);
    place(heap, event, index);
}

static void sift_down(sim_heap *heap, uint32_t index) {
    sim_event *event = heap->items[index];
    while (2 * index + 1 < heap->count) {
        uint32_t child = 2 * index + 1;
        if (child + 1 < heap->count && comes_before(heap->items[child + 1], heap->items[child])) child++;
        if (!comes_before(heap->items[child], event)) break;
        place(heap, heap->items[child], index);
        index = child;
    }
    place(heap, event, index);
}

void sim_schedule(sim_world *world, sim_event *event, uint64_t time) {
    sim_heap *heap = &world->heap;
    if (!sim_grow(&heap->items, &heap->capacity, heap->count + 1, sizeof *heap->items)) abort();
    event->time = time < world->now ? world->now : time;
    event->order = heap->order++;
    place(heap, event, heap->count++);
    sift_up(heap, heap->count - 1);
}

void sim_unschedule(sim_world *world, sim_event *event) {
    sim_heap *heap = &world->heap;
    if (event->position == 0) return;
    uint32_t index = event->position - 1;
    event->position = 0;
    sim_event *last = heap->items[--heap->count];
    if (last == event) return;
    place(heap, last, index);
    sift_up(heap, index);
    sift_down(heap, last->position - 1);
}

uint64_t sim_next_event(const sim_world *world) { return world->heap.count == 0 ? SIM_FOREVER : world->heap.items[0]->time; }

// Others than the world's thread may look.
static void set_time(sim_world *world, uint64_t time) { __atomic_store_n(&world->now, time, __ATOMIC_RELAXED); }

void sim_advance(sim_world *world, uint64_t time) {
    bool busy = world->busy;
    world->busy = true;
    while (world->heap.count > 0 && world->heap.items[0]->time <= time) {
        sim_event *event = world->heap.items[0];
        sim_unschedule(world, event);
        if (event->time > world->now) set_time(world, event->time);
        event->happens(world, event);
    }
    if (time > world->now) set_time(world, time);
    world->busy = busy;
}
