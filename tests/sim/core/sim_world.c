/* Virtual time and the life of one run. */
#include <stdlib.h>

#include "tests/sim/core/sim.h"

static bool before(const struct event *a, const struct event *b)
{
    return a->time < b->time || (a->time == b->time && a->order < b->order);
}

static void heap_push(struct world *w, struct event event)
{
    size_t i = w->heap_n;
    if (w->heap_n == w->heap_size) {
        w->heap_size = w->heap_size == 0 ? 256 : w->heap_size * 2;
        w->heap = realloc(w->heap, w->heap_size * sizeof *w->heap);
        if (w->heap == NULL) {
            abort();
        }
    }
    w->heap_n++;
    while (i > 0 && before(&event, &w->heap[(i - 1) / 2])) {
        w->heap[i] = w->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    w->heap[i] = event;
}

static struct event heap_pop(struct world *w)
{
    struct event top = w->heap[0];
    struct event last = w->heap[--w->heap_n];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= w->heap_n) {
            break;
        }
        if (child + 1 < w->heap_n && before(&w->heap[child + 1], &w->heap[child])) {
            child++;
        }
        if (!before(&w->heap[child], &last)) {
            break;
        }
        w->heap[i] = w->heap[child];
        i = child;
    }
    w->heap[i] = last;
    return top;
}

void world_schedule(struct world *w, uint64_t at, enum event_type type, struct replica *r, struct simmsg *message)
{
    struct event event = {at, w->order++, type, r != NULL ? (uint32_t)r->id : 0, r != NULL ? r->boot : 0, message};
    heap_push(w, event);
}

struct replica *world_replica(struct world *w, uint64_t id)
{
    if (id == 0 || id > REPLICAS_MAX) {
        return &w->replicas[0];
    }
    return &w->replicas[id];
}

struct replica *world_spawn(struct world *w)
{
    struct replica *r;
    if (w->n_replicas == REPLICAS_MAX) {
        return NULL;
    }
    r = &w->replicas[++w->n_replicas];
    r->id = w->n_replicas;
    r->queue_tail = &r->queue;
    simlog_reset(&r->mem, 1);
    simlog_reset(&r->disk.log, 1);
    r->disk_ms = rng_chance(&w->rng, 0.3) ? 2000 : w->swarm.disk_ms;
    return r;
}

struct replica *world_leader(struct world *w)
{
    struct replica *best = NULL;
    for (unsigned i = 1; i <= w->n_replicas; i++) {
        struct replica *r = &w->replicas[i];
        if (r->up && core_leader_ready(r->core) && (best == NULL || core_term(r->core) > core_term(best->core))) {
            best = r;
        }
    }
    return best;
}

void world_found(struct world *w)
{
    struct core_config config = {.n = 0};
    struct entry *bootstrap;

    for (unsigned i = 0; i < w->swarm.founders; i++) {
        struct replica *r = world_spawn(w);
        char address[CORE_ADDRESS_SIZE];
        snprintf(address, sizeof address, "n%llu.%llu", (unsigned long long)r->id, (unsigned long long)r->id);
        if (core_config_add(&config, r->id, CORE_VOTER, address) != 0) {
            abort();
        }
    }
    if (core_bootstrap_entry(GROUP_ID, &config, &bootstrap) != 0) {
        abort();
    }
    w->term_started[1] = true;
    for (unsigned i = 1; i <= w->n_replicas; i++) {
        found_disk(w, &w->replicas[i], bootstrap);
    }
    entry_release(bootstrap);
    for (unsigned i = 1; i <= w->n_replicas; i++) {
        replica_start(w, &w->replicas[i]);
    }
}

void world_open(struct world *w, uint64_t seed, uint32_t rules_off, bool trace)
{
    memset(w, 0, sizeof *w);
    w->seed = seed;
    w->rng.state = seed * UINT64_C(0xd1342543de82ef95) + 1;
    w->rules_off = rules_off;
    w->trace = trace;
    w->now = 1000;
    w->next_value = 1;
    swarm_draw(w);
}

void world_close(struct world *w)
{
    for (size_t i = 0; i < w->heap_n; i++) {
        if (w->heap[i].message != NULL) {
            /* A message that waits to be read has its count, but no entries yet: NULL is fine. */
            simmsg_free(w->heap[i].message);
        }
    }
    for (unsigned i = 1; i <= w->n_replicas; i++) {
        replica_crash(w, &w->replicas[i]);
        replica_free(&w->replicas[i]);
    }
    free(w->heap);
    free(w->committed);
    free(w->placed);
}

static void handle(struct world *w, struct event *event)
{
    struct replica *r = world_replica(w, event->replica);

    switch (event->type) {
    case EVENT_TIMER:
        if (r->timer_at == event->time) {
            r->timer_at = 0;
            replica_clock(w, r);
            replica_after(w, r, core_tick(r->core));
        }
        break;
    case EVENT_MESSAGE:
        net_deliver(w, r, event->message);
        break;
    case EVENT_RESOLVE:
        net_resolve(w, r, event->message);
        event->message = NULL;
        break;
    case EVENT_FLUSH:
        replica_flush_done(w, r);
        break;
    case EVENT_RESTART:
        replica_start(w, r);
        break;
    case EVENT_ACTOR:
        actor_act(w);
        break;
    }
}

/* Messages reach whoever has that id when they arrive; everything else belongs to one boot. */
static bool due(struct world *w, const struct event *event)
{
    const struct replica *r = world_replica(w, event->replica);
    switch (event->type) {
    case EVENT_ACTOR:
        return true;
    case EVENT_RESTART:
        return !r->up && !r->stopped && r->boot == event->boot;
    case EVENT_MESSAGE:
        return r->up;
    default:
        return r->up && r->boot == event->boot;
    }
}

bool world_turn(struct world *w)
{
    struct event event;

    if (w->heap_n == 0) {
        return false;
    }
    event = heap_pop(w);
    w->now = event.time;
    w->steps++;
    if (event.type != EVENT_ACTOR && world_replica(w, event.replica)->paused_to > w->now) {
        struct replica *r = world_replica(w, event.replica);
        if (event.type == EVENT_TIMER && r->timer_at == event.time) {
            r->timer_at = r->paused_to;
        }
        event.time = r->paused_to;
        event.order = w->order++;
        heap_push(w, event);
        return true;
    }
    if (due(w, &event)) {
        handle(w, &event);
    }
    if (event.message != NULL) {
        simmsg_free(event.message);
    }
    return true;
}

void world_run(struct world *w, uint64_t steps)
{
    world_found(w);
    world_schedule(w, w->now + 1, EVENT_ACTOR, NULL, NULL);
    while (w->steps < steps && !violated(w) && world_turn(w)) {
    }
    if (!violated(w)) {
        world_heal(w);
    }
    w->counts.steps = w->steps;
    w->counts.seeds = 1;
}
