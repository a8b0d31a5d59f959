/* What clients, operators and fate do to the cluster. */
#include <stdlib.h>

#include "tests/sim/core/sim.h"

static double pick(struct rng *r, const double *values, size_t n)
{
    return values[rng_below(r, n)];
}

#define PICK(rng, ...) pick(rng, (const double[]){__VA_ARGS__}, sizeof((const double[]){__VA_ARGS__}) / sizeof(double))

static void draw_theme(struct world *w);

/* Each run has a character of its own: many things off, some on, a few far too much. */
void swarm_draw(struct world *w)
{
    struct swarm *s = &w->swarm;
    struct rng *r = &w->rng;

    s->founders = (unsigned)PICK(r, 3, 3, 3, 4, 5, 5, 2);
    s->loss = PICK(r, 0, 0, 0.01, 0.05, 0.2, 0.4);
    s->duplicate = PICK(r, 0, 0, 0.02, 0.2);
    s->slow = PICK(r, 0, 0.02, 0.1, 0.4);
    s->slow_ms = (uint64_t)PICK(r, 100, 1000, 4000);
    s->delay_ms = (uint64_t)PICK(r, 1, 5, 50, 200);
    s->disk_ms = (uint64_t)PICK(r, 1, 5, 50, 400);
    s->disk_slow = PICK(r, 0, 0.02, 0.2);
    s->disk_slow_ms = (uint64_t)PICK(r, 500, 3000);
    s->actor_ms = (uint64_t)PICK(r, 5, 30, 150, 500);
    s->p_crash = PICK(r, 0, 0.01, 0.03, 0.1, 0.3);
    s->restart_ms = (uint64_t)PICK(r, 10, 500, 5000);
    s->p_partition = PICK(r, 0, 0, 0.02, 0.08, 0.2);
    s->p_heal = PICK(r, 0.02, 0.1, 0.3);
    s->p_submit = PICK(r, 0.1, 0.4, 0.9);
    s->p_snapshot = PICK(r, 0, 0.02, 0.1, 0.3);
    s->p_change = PICK(r, 0, 0, 0.02, 0.1, 0.3);
    s->p_transfer = PICK(r, 0, 0, 0.02, 0.1);
    s->p_pause = PICK(r, 0, 0, 0.02, 0.1);
    s->p_early_tick = PICK(r, 0, 0.1);
    s->p_read_late = PICK(r, 0, 0, 0.1, 0.5);
    s->p_clock_back = PICK(r, 0, 0, 0.02);
    s->clock_back_ms = (uint64_t)PICK(r, 200, 900);
    s->burst = (unsigned)PICK(r, 1, 3, 10, 40);
    s->inflight = (uint32_t)PICK(r, 3, 16, 64, 512);
    s->election_ms = (uint32_t)PICK(r, 800, 800, 200, 80);
    s->trailing = (uint64_t)PICK(r, 0, 2, 20);
    draw_theme(w);
}

/* On top of that, half of the runs have a theme: what some rules are about needs several rare things at once. */
static void draw_theme(struct world *w)
{
    struct swarm *s = &w->swarm;
    struct rng *r = &w->rng;

    switch (rng_below(r, 8)) {
    case 0: /* leaders come and go under load, one disk lags far behind */
        s->p_transfer = PICK(r, 0, 0.1, 0.3);
        s->p_submit = 0.9;
        s->election_ms = (uint32_t)PICK(r, 80, 200);
        s->actor_ms = (uint64_t)PICK(r, 5, 30);
        s->p_partition = PICK(r, 0.05, 0.2);
        s->p_heal = 0.2;
        s->p_crash = PICK(r, 0, 0.01);
        s->disk_ms = (uint64_t)PICK(r, 1, 5);
        s->delay_ms = (uint64_t)PICK(r, 1, 5, 50);
        s->p_read_late = PICK(r, 0, 0.5);
        break;
    case 1: /* members come and go */
        s->p_change = 0.5;
        s->p_partition = PICK(r, 0.02, 0.1);
        s->p_heal = PICK(r, 0.1, 0.3);
        s->p_crash = PICK(r, 0, 0.02, 0.1);
        s->disk_ms = (uint64_t)PICK(r, 1, 5);
        s->actor_ms = (uint64_t)PICK(r, 30, 150);
        break;
    case 2: /* members come and go while leaders do */
        s->founders = (unsigned)PICK(r, 3, 4, 5);
        s->p_change = PICK(r, 0.3, 0.7);
        s->p_transfer = PICK(r, 0, 0.1);
        s->p_partition = PICK(r, 0.1, 0.3);
        s->p_heal = PICK(r, 0.2, 0.4);
        s->p_crash = PICK(r, 0, 0.02);
        s->p_submit = PICK(r, 0.05, 0.3);
        s->burst = 1;
        s->loss = PICK(r, 0, 0.05);
        s->election_ms = (uint32_t)PICK(r, 80, 200);
        s->actor_ms = (uint64_t)PICK(r, 5, 30);
        s->delay_ms = (uint64_t)PICK(r, 1, 5, 20);
        s->disk_ms = (uint64_t)PICK(r, 1, 5);
        break;
    case 3: /* followers fall behind and are copied */
        s->p_snapshot = 0.5;
        s->trailing = (uint64_t)PICK(r, 0, 2);
        s->p_submit = 0.9;
        s->p_crash = PICK(r, 0.03, 0.1);
        s->p_partition = PICK(r, 0.05, 0.2);
        s->p_heal = PICK(r, 0.1, 0.3);
        s->slow = PICK(r, 0.1, 0.4);
        s->election_ms = (uint32_t)PICK(r, 80, 200, 800);
        break;
    default:
        break;
    }
}

static struct replica *any_replica(struct world *w)
{
    return &w->replicas[1 + rng_below(&w->rng, w->n_replicas)];
}

bool act_submit(struct world *w, struct replica *r, size_t n)
{
    struct entry *entries[64];
    int rv;

    for (size_t i = 0; i < n; i++) {
        uint64_t value = w->next_value++;
        struct buf *buf = buf_new(NULL, sizeof value);
        memcpy(buf->data, &value, sizeof value);
        entries[i] = entry_new(rng_chance(&w->rng, 0.5) ? ENTRY_COMMAND : ENTRY_COMMAND, buf, buf->data, sizeof value);
        entries[i]->group = GROUP_ID;
        buf_release(buf);
    }
    replica_clock(w, r);
    w->submitting = true;
    rv = core_submit(r->core, entries, n);
    w->submitting = false;
    for (size_t i = 0; i < n; i++) {
        entry_release(entries[i]);
    }
    if (rv == 0) {
        w->counts.submits += n;
    }
    replica_after(w, r, rv);
    return rv == 0;
}

static void submit_somewhere(struct world *w)
{
    for (unsigned i = 1; i <= w->n_replicas && !violated(w); i++) {
        struct replica *r = &w->replicas[i];
        if (r->up && core_role(r->core) == CORE_LEADER && r->paused_to <= w->now) {
            act_submit(w, r, 1 + rng_below(&w->rng, w->swarm.burst));
        }
    }
}

void act_snapshot(struct world *w, struct replica *r)
{
    struct core_snapshot_meta meta;
    struct replica *self = r;
    uint64_t index;
    struct disk_write *write;
    struct simsnap *snap;

    if (r->pending_snapshot != 0 || r->applied == 0) {
        return;
    }
    index = rng_chance(&w->rng, 0.7) ? r->applied : r->applied - rng_below(&w->rng, r->applied < 10 ? r->applied : 10);
    if (core_snapshot_meta(r->core, index, &meta) != 0 || index >= w->committed_n) {
        return;
    }
    write = calloc(1, sizeof *write);
    snap = calloc(1, sizeof *snap);
    if (write == NULL || snap == NULL) {
        abort();
    }
    snap->meta = meta;
    snap->chain = w->committed[index].chain;
    check_snapshot(w, snap);
    write->snap = snap;
    self->pending_snapshot = index;
    replica_queue(w, r, write);
}

static void act_change(struct world *w)
{
    struct replica *leader = any_replica(w);
    const struct core_config *config;
    const struct core_member *member;
    char address[CORE_ADDRESS_SIZE];
    struct replica *joiner;
    uint64_t target;
    int rv;

    if (!leader->up || core_role(leader->core) != CORE_LEADER) {
        leader = world_leader(w);
    }
    if (leader == NULL || leader->paused_to > w->now) {
        return;
    }
    config = core_config(leader->core);
    if (config->n == 0) {
        return;
    }
    member = &config->members[rng_below(&w->rng, config->n)];
    target = member->id;
    replica_clock(w, leader);
    switch (rng_below(&w->rng, 5)) {
    case 0:
    case 1: /* the newest replica not in the group, else a new one */
        joiner = world_replica(w, w->n_replicas);
        if (core_config_find(config, joiner->id) != NULL || joiner->stopped || joiner->disk.term != 0) {
            joiner = config->n < 6 ? world_spawn(w) : NULL;
            if (joiner == NULL) {
                return;
            }
            replica_start(w, joiner);
        }
        snprintf(address, sizeof address, "n%llu.%llu", (unsigned long long)joiner->id, (unsigned long long)joiner->id);
        rv = core_change(leader->core, CORE_ADD_LEARNER, joiner->id, address, NULL);
        TRACE(w, "replica %llu adds %llu: %s", (unsigned long long)leader->id, (unsigned long long)joiner->id,
              rv == 0 ? "ok" : err_name(rv));
        break;
    case 2:
        rv = member->role == CORE_LEARNER ? core_catch_up(leader->core, target) : 0;
        break;
    case 3:
        rv = core_change(leader->core, CORE_PROMOTE, target, NULL, NULL);
        TRACE(w, "replica %llu promotes %llu: %s", (unsigned long long)leader->id, (unsigned long long)target,
              rv == 0 ? "ok" : err_name(rv));
        break;
    default:
        rv = core_change(leader->core, CORE_REMOVE, target, NULL, NULL);
        TRACE(w, "replica %llu removes %llu: %s", (unsigned long long)leader->id, (unsigned long long)target,
              rv == 0 ? "ok" : err_name(rv));
        break;
    }
    replica_after(w, leader, rv);
}

static void act_transfer(struct world *w)
{
    struct replica *leader = world_leader(w);
    int rv;
    if (leader == NULL || leader->paused_to > w->now) {
        return;
    }
    replica_clock(w, leader);
    rv = core_transfer(leader->core, rng_chance(&w->rng, 0.3) ? 0 : any_replica(w)->id);
    w->counts.transfers += rv == 0;
    replica_after(w, leader, rv);
}

static void act_partition(struct world *w)
{
    uint64_t kind = rng_below(&w->rng, 4);
    uint64_t side = rng_next(&w->rng);
    unsigned one = (unsigned)any_replica(w)->id;

    w->counts.partitions++;
    for (unsigned i = 1; i <= REPLICAS_MAX; i++) {
        for (unsigned j = 1; j <= REPLICAS_MAX; j++) {
            switch (kind) {
            case 0: /* two halves */
                w->blocked[i][j] = ((side >> i) & 1) != ((side >> j) & 1);
                break;
            case 1: /* one hears nobody */
                w->blocked[i][j] = j == one;
                break;
            case 2: /* nobody hears one */
                w->blocked[i][j] = i == one;
                break;
            default: /* some links, one way */
                w->blocked[i][j] = i != j && rng_chance(&w->rng, 0.3);
                break;
            }
        }
    }
    TRACE(w, "partition of kind %llu", (unsigned long long)kind);
}

static void act_crash(struct world *w)
{
    struct replica *r = any_replica(w);
    for (unsigned i = 1; i <= w->n_replicas; i++) { /* rather in the middle of an install */
        if (w->replicas[i].up && core_installing(w->replicas[i].core) && rng_chance(&w->rng, 0.7)) {
            r = &w->replicas[i];
        }
    }
    if (!r->up) {
        return;
    }
    replica_crash(w, r);
    w->counts.crashes++;
    world_schedule(w, w->now + 1 + rng_below(&w->rng, w->swarm.restart_ms), EVENT_RESTART, r, NULL);
    if (rng_chance(&w->rng, 0.1)) { /* the whole cluster */
        for (unsigned i = 1; i <= w->n_replicas; i++) {
            if (w->replicas[i].up) {
                replica_crash(w, &w->replicas[i]);
                w->counts.crashes++;
                world_schedule(w, w->now + 1 + rng_below(&w->rng, w->swarm.restart_ms), EVENT_RESTART, &w->replicas[i], NULL);
            }
        }
    }
}

void actor_act(struct world *w)
{
    const struct swarm *s = &w->swarm;
    struct rng *rng = &w->rng;

    if (w->healing) {
        return;
    }
    world_schedule(w, w->now + 1 + rng_below(rng, 2 * s->actor_ms), EVENT_ACTOR, NULL, NULL);
    if (rng_chance(rng, s->p_submit)) {
        submit_somewhere(w);
    }
    if (!violated(w) && rng_chance(rng, s->p_snapshot)) {
        struct replica *r = any_replica(w);
        if (r->up) {
            act_snapshot(w, r);
        }
    }
    if (!violated(w) && rng_chance(rng, s->p_change)) {
        act_change(w);
    }
    if (!violated(w) && rng_chance(rng, s->p_transfer)) {
        act_transfer(w);
    }
    if (!violated(w) && rng_chance(rng, s->p_early_tick)) {
        struct replica *r = any_replica(w);
        if (r->up && r->paused_to <= w->now) {
            replica_clock(w, r);
            replica_after(w, r, core_tick(r->core));
        }
    }
    if (!violated(w) && rng_chance(rng, s->p_crash)) {
        act_crash(w);
    }
    if (rng_chance(rng, s->p_partition)) {
        act_partition(w);
    } else if (rng_chance(rng, s->p_heal)) {
        memset(w->blocked, 0, sizeof w->blocked);
    }
    if (rng_chance(rng, s->p_pause)) {
        struct replica *r = any_replica(w);
        r->paused_to = w->now + rng_below(rng, 3000);
        w->counts.pauses++;
    }
}
