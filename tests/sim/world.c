/* Time: a heap of events, ordered by (time, number), and the loop that takes them out. */
#include "tests/sim/impl.h"

#include <stdlib.h>
#include <string.h>

#define SLAB_EVENTS 1024

struct slab {
    struct slab *next;
    struct sim_event events[SLAB_EVENTS];
};

void sim_params_default(struct sim_params *params)
{
    *params = (struct sim_params){
        .net = {.latency_min_ns = 30 * SIM_US,
                .latency_max_ns = 300 * SIM_US,
                .spike_ppm = 500,
                .spike_max_ns = 40 * SIM_MS,
                .bytes_per_s = 500000000,
                .buffer_bytes = 512 * 1024,
                .split_ppm = 150000,
                .reset_ppm = 0,
                .stall_timeout_ns = 20 * SIM_S,
                .connect_timeout_ns = ENV_CONNECT_TIMEOUT_MS * SIM_MS},
        .loop = {.wake_max_ns = 10 * SIM_US,
                 .event_ns = 1 * SIM_US,
                 .post_max_ns = 20 * SIM_US,
                 .work_max_ns = 40 * SIM_US,
                 .batch_cut_ppm = 50000},
        .disk = {.sync_min_ns = 60 * SIM_US,
                 .sync_max_ns = 400 * SIM_US,
                 .call_ns = 1 * SIM_US,
                 .bytes_per_s = 1000000000,
                 .slow_factor = 1},
        .disk_size_bytes = 16ull << 30,
        .pool_threads = 2,
    };
}

/* ---- events ---------------------------------------------------------------------------------- */

struct sim_event *sim_event_new(struct sim_world *world, enum sim_event_kind kind)
{
    if (world->free_events == NULL) {
        struct slab *slab = malloc(sizeof(*slab));
        assert(slab != NULL);
        slab->next = world->event_slabs;
        world->event_slabs = slab;
        for (size_t i = 0; i < SLAB_EVENTS; i++) {
            slab->events[i].next = world->free_events;
            world->free_events = &slab->events[i];
        }
    }
    struct sim_event *event = world->free_events;
    world->free_events = event->next;
    memset(event, 0, sizeof(*event));
    event->kind = kind;
    return event;
}

void sim_event_free(struct sim_world *world, struct sim_event *event)
{
    event->next = world->free_events;
    world->free_events = event;
}

void sim_event_drop(struct sim_world *world, struct sim_event *event)
{
    if (event->drop != NULL) {
        event->drop(world, event);
    }
    sim_event_free(world, event);
}

static inline bool item_before(const struct sim_heap_item *a, const struct sim_heap_item *b)
{
    return a->time != b->time ? a->time < b->time : a->seq < b->seq;
}

/* Four children a node: a flatter heap touches fewer cache lines. */
static void heap_up(struct sim_heap_item *heap, size_t at, struct sim_heap_item item)
{
    while (at > 0) {
        size_t parent = (at - 1) / 4;
        if (!item_before(&item, &heap[parent])) {
            break;
        }
        heap[at] = heap[parent];
        at = parent;
    }
    heap[at] = item;
}

static void heap_down(struct sim_heap_item *heap, size_t size, size_t at, struct sim_heap_item item)
{
    for (;;) {
        size_t first = at * 4 + 1;
        size_t best = first;
        if (first >= size) {
            break;
        }
        for (size_t c = first + 1; c < first + 4 && c < size; c++) {
            if (item_before(&heap[c], &heap[best])) {
                best = c;
            }
        }
        if (!item_before(&heap[best], &item)) {
            break;
        }
        heap[at] = heap[best];
        at = best;
    }
    heap[at] = item;
}

void sim_event_at(struct sim_world *world, uint64_t time, struct sim_event *event)
{
    if (world->heap_size == world->heap_capacity) {
        world->heap_capacity = world->heap_capacity == 0 ? 1024 : world->heap_capacity * 2;
        world->heap = realloc(world->heap, world->heap_capacity * sizeof(*world->heap));
        assert(world->heap != NULL);
    }
    event->seq = world->seq++;
    struct sim_heap_item item = {time > world->now ? time : world->now, event->seq, event};
    heap_up(world->heap, world->heap_size++, item);
}

static struct sim_heap_item heap_pop(struct sim_world *world)
{
    struct sim_heap_item top = world->heap[0];
    world->heap_size--;
    if (world->heap_size > 0) {
        heap_down(world->heap, world->heap_size, 0, world->heap[world->heap_size]);
    }
    return top;
}

static int item_compare(const void *a, const void *b)
{
    return item_before(a, b) ? -1 : 1;
}

void sim_events_discard(struct sim_world *world, bool (*match)(const struct sim_event *event, void *data), void *data)
{
    size_t kept = 0;
    for (size_t i = 0; i < world->heap_size; i++) {
        struct sim_heap_item item = world->heap[i];
        if (match(item.event, data)) {
            sim_event_drop(world, item.event);
        } else {
            world->heap[kept++] = item;
        }
    }
    world->heap_size = kept;
    qsort(world->heap, kept, sizeof(*world->heap), item_compare); /* sorted is a heap */
}

/* ---- running --------------------------------------------------------------------------------- */

bool sim_world_step(struct sim_world *world)
{
    assert(world->context == SIM_OUTSIDE);
    if (world->heap_size == 0) {
        return false;
    }
    struct sim_heap_item item = heap_pop(world);
    struct sim_event *event = item.event;
    struct sim_node *node = event->node;

    world->now = item.time;
    world->events++;
    sim_hash_add(world, item.time ^ ((uint64_t)event->kind << 56) ^ ((node == NULL ? 0 : node->id + 1) << 48));
    if (node != NULL && node->paused) {
        sim_fifo_push(&node->deferred, event);
        return true;
    }
    event->fire(world, event);
    return true;
}

void sim_world_run_until(struct sim_world *world, uint64_t time_ns)
{
    while (world->heap_size > 0 && world->heap[0].time <= time_ns) {
        (void)sim_world_step(world);
    }
    if (world->now < time_ns) {
        world->now = time_ns;
    }
}

bool sim_world_run_until_true(struct sim_world *world, bool (*holds)(void *data), void *data, uint64_t limit_ns)
{
    uint64_t limit = world->now + limit_ns;
    while (!holds(data)) {
        if (world->heap_size == 0 || world->heap[0].time > limit) {
            world->now = limit;
            return false;
        }
        (void)sim_world_step(world);
    }
    return true;
}

struct harness_call {
    void (*fn)(struct sim_world *world, void *data);
    void *data;
};

static void harness_drop(struct sim_world *world, struct sim_event *event)
{
    free(event->object);
}

static void harness_fire(struct sim_world *world, struct sim_event *event)
{
    struct harness_call call = *(struct harness_call *)event->object;
    sim_event_drop(world, event);
    call.fn(world, call.data);
}

void sim_world_at(struct sim_world *world, uint64_t time_ns, void (*fn)(struct sim_world *world, void *data),
                  void *data)
{
    struct sim_event *event = sim_event_new(world, SIM_EV_HARNESS);
    struct harness_call *call = malloc(sizeof(*call));
    assert(call != NULL);
    *call = (struct harness_call){fn, data};
    event->fire = harness_fire;
    event->drop = harness_drop;
    event->object = call;
    sim_event_at(world, time_ns, event);
}

/* ---- life ------------------------------------------------------------------------------------ */

struct sim_world *sim_world_new(uint64_t seed, const struct sim_params *params)
{
    struct sim_world *world = calloc(1, sizeof(*world));
    assert(world != NULL);
    if (params != NULL) {
        world->params = *params;
    } else {
        sim_params_default(&world->params);
    }
    sim_rng_init(&world->rng, seed);
    world->hash = sim_hash_mix(0, seed);
    list_init(&world->pairs);
    list_init(&world->free_pairs);
    return world;
}

static bool match_all(const struct sim_event *event, void *data)
{
    return true;
}

void sim_world_free(struct sim_world *world)
{
    for (size_t i = 0; i < world->n_nodes; i++) {
        if (world->nodes[i]->running) {
            sim_node_kill(world->nodes[i], SIM_END_KILL);
        }
    }
    sim_events_discard(world, match_all, NULL);
    sim_net_free(world);
    for (size_t i = 0; i < world->n_nodes; i++) {
        sim_node_free(world->nodes[i]);
    }
    for (struct slab *slab = world->event_slabs, *next; slab != NULL; slab = next) {
        next = slab->next;
        free(slab);
    }
    free(world->heap);
    free(world);
}

struct sim_params *sim_world_knobs(struct sim_world *world)
{
    return &world->params;
}

uint64_t sim_world_now(const struct sim_world *world)
{
    return world->now;
}

uint64_t sim_world_hash(const struct sim_world *world)
{
    return world->hash;
}

uint64_t sim_world_events(const struct sim_world *world)
{
    return world->events;
}

const struct sim_world_counts *sim_world_counts(const struct sim_world *world)
{
    return &world->counts;
}

uint64_t sim_world_random(struct sim_world *world)
{
    return sim_rng_next(&world->rng);
}
