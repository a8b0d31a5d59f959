/* The owner of one core: its disk with an ordered write stream that loses what is not flushed, its state machine. */
#include <stdlib.h>

#include "tests/sim/core/sim.h"

static void write_free(struct disk_write *write)
{
    for (size_t i = 0; i < write->n; i++) {
        entry_release(write->entries[i]);
    }
    free(write->snap);
    free(write);
}

static struct disk_write *write_new(size_t n)
{
    struct disk_write *write = calloc(1, sizeof *write + n * sizeof write->entries[0]);
    if (write == NULL) {
        abort();
    }
    write->n = n;
    return write;
}

void replica_queue(struct world *w, struct replica *r, struct disk_write *write)
{
    *r->queue_tail = write;
    r->queue_tail = &write->next;
    if (r->flushing_to == NULL) {
        replica_flush_begin(w, r);
    }
}

void replica_flush_begin(struct world *w, struct replica *r)
{
    uint64_t delay = 1 + rng_below(&w->rng, w->healing ? 3 : r->disk_ms);
    struct disk_write *last = r->queue;

    if (last == NULL) {
        return;
    }
    while (last->next != NULL) {
        last = last->next;
    }
    r->flushing_to = last;
    if (!w->healing && rng_chance(&w->rng, w->swarm.disk_slow)) {
        delay += rng_below(&w->rng, w->swarm.disk_slow_ms);
    }
    world_schedule(w, w->now + delay, EVENT_FLUSH, r, NULL);
}

/* An install replaces snapshot and log in one atomic step (rule 7; with rule 8 off it is what it is elsewhere: the
 * snapshot first, the log at restart). */
static void disk_snapshot(struct disk *disk, const struct disk_write *write)
{
    disk->snap = *write->snap;
    if (write->sequence != 0) {
        simlog_reset(&disk->log, write->snap->meta.index + 1);
    }
}

/* The first @entries_max entries of @write, and all that stands before them. */
static void disk_apply(struct replica *r, const struct disk_write *write, size_t entries_max)
{
    if (write->hard) {
        r->disk.term = write->term;
        r->disk.vote = write->vote;
    }
    if (write->snap != NULL) {
        disk_snapshot(&r->disk, write);
    }
    for (size_t i = 0; i < write->n && i < entries_max; i++) {
        simlog_append(&r->disk.log, write->entries[i]);
    }
}

void replica_flush_done(struct world *w, struct replica *r)
{
    struct disk_write *last = r->flushing_to;
    uint64_t snapshot = 0;
    uint64_t sequence = 0;
    bool one_by_one = rng_chance(&w->rng, 0.3);
    uint32_t boot = r->boot;

    while (r->queue != NULL) {
        struct disk_write *write = r->queue;
        bool end = write == last;
        disk_apply(r, write, SIZE_MAX);
        if (write->snap != NULL) {
            if (write->sequence == 0) {
                snapshot = write->snap->meta.index;
            } else {
                r->snap = *write->snap; /* an install that is durable; the core says so by commit() */
                simlog_reset(&r->mem, r->snap.meta.index + 1);
                r->config_dirty = true;
            }
        }
        sequence = write->sequence != 0 ? write->sequence : sequence;
        r->queue = write->next;
        write_free(write);
        if (end) {
            r->flushing_to = NULL;
        }
        if (one_by_one && sequence != 0 && !end) {
            replica_clock(w, r);
            replica_after(w, r, core_persisted(r->core, sequence));
            sequence = 0;
        }
        if (end || violated(w) || r->boot != boot) {
            break;
        }
    }
    if (r->queue == NULL) {
        r->queue_tail = &r->queue;
    }
    if (sequence != 0 && r->boot == boot && !violated(w)) {
        replica_clock(w, r);
        replica_after(w, r, core_persisted(r->core, sequence));
    }
    if (snapshot != 0 && r->boot == boot && !violated(w)) {
        uint64_t first = core_first(r->core);
        uint64_t keep = snapshot + 1 > first + w->swarm.trailing ? snapshot + 1 - rng_below(&w->rng, w->swarm.trailing + 1) : first;
        struct simsnap taken = r->disk.snap;
        int rv = ERR_INVALID;
        replica_clock(w, r);
        if (taken.meta.index == snapshot) {
            rv = core_snapshot(r->core, snapshot, keep);
        }
        r->pending_snapshot = 0;
        if (rv == 0) {
            TRACE(w, "replica %llu snapshot %llu, keeps from %llu", (unsigned long long)r->id, (unsigned long long)snapshot,
                  (unsigned long long)keep);
            w->counts.snapshots++;
            r->snap = taken;
            simlog_drop_prefix(&r->mem, keep);
            simlog_drop_prefix(&r->disk.log, keep);
        } else if (rv != ERR_INVALID) {
            replica_after(w, r, rv);
        }
    }
    if (r->up && r->boot == boot && r->flushing_to == NULL) {
        replica_flush_begin(w, r);
    }
}

/* ---- the core's up-calls ---- */

static struct world *world_of(const struct core *core)
{
    return core_data(core);
}

static struct replica *replica_of(const struct core *core)
{
    return world_replica(world_of(core), core_replica(core));
}

static void on_persist(struct core *core, const struct core_write *from)
{
    struct world *w = world_of(core);
    struct replica *r = replica_of(core);
    struct disk_write *write = write_new(from->n);

    write->sequence = from->sequence;
    write->hard = from->has_hard_state;
    write->term = from->term;
    write->vote = from->vote;
    write->first = from->first;
    if (from->has_hard_state && from->vote == r->id && from->term < TERMS_MAX) {
        w->term_started[from->term] = true;
    }
    if (from->install != NULL) {
        write->snap = calloc(1, sizeof *write->snap);
        if (write->snap == NULL) {
            abort();
        }
        write->snap->meta = *from->install;
        write->snap->chain = from->install->index < w->committed_n ? w->committed[from->install->index].chain : 0;
        w->counts.installs++;
        TRACE(w, "replica %llu installs %llu", (unsigned long long)r->id, (unsigned long long)from->install->index);
    }
    if (from->n > 0) {
        check_placed(w, r, from);
        if (violated(w)) {
            free(write->snap);
            free(write);
            return;
        }
    }
    for (size_t i = 0; i < from->n; i++) {
        struct entry *e = from->entries[i];
        r->config_dirty |= e->kind == ENTRY_CHANGE || simlog_last(&r->mem) >= e->index;
        write->entries[i] = entry_acquire(e);
        simlog_append(&r->mem, e);
    }
    if (from->n > 0 || from->has_hard_state) {
        TRACE(w, "replica %llu writes #%llu term %llu vote %llu entries [%llu +%zu) of term %llu", (unsigned long long)r->id,
              (unsigned long long)from->sequence, (unsigned long long)from->term, (unsigned long long)from->vote,
              (unsigned long long)from->first, from->n, (unsigned long long)(from->n > 0 ? from->entries[0]->term : 0));
    }
    replica_queue(w, r, write);
}

static void on_send(struct core *core, const struct core_message *message)
{
    check_send(world_of(core), replica_of(core), message);
    net_send(world_of(core), replica_of(core), message);
}

static void on_commit(struct core *core, uint64_t index)
{
    struct world *w = world_of(core);
    struct replica *r = replica_of(core);
    check_commit(w, r, index);
    r->commit = index;
    check_apply(w, r);
}

static void on_state(struct core *core)
{
    struct world *w = world_of(core);
    struct replica *r = replica_of(core);
    TRACE(w, "replica %llu is %s in term %llu, leader %llu", (unsigned long long)r->id,
          core_role(core) == CORE_LEADER      ? "LEADER"
          : core_role(core) == CORE_CANDIDATE ? "candidate"
                                              : "follower",
          (unsigned long long)core_term(core), (unsigned long long)core_leader(core));
    check_state(w, r);
}

const struct core_ops replica_ops = {on_persist, on_send, on_commit, on_state};

/* ---- life ---- */

void replica_config(const struct replica *r, struct core_config *out)
{
    const struct simlog *log = r->up ? &r->mem : &r->disk.log;
    const struct simsnap *snap = r->up ? &r->snap : &r->disk.snap;

    *out = snap->meta.config;
    for (size_t i = log->n; i > 0 && log->entries[i - 1]->index > snap->meta.config_index; i--) {
        const struct entry *e = log->entries[i - 1];
        if (e->kind == ENTRY_CHANGE && core_config_decode(e->data, e->length, out) == 0) {
            return;
        }
    }
}

void replica_clock(struct world *w, struct replica *r)
{
    uint64_t now = w->now + r->offset;
    if (now > r->clock) {
        r->clock = now;
    }
    if (!w->healing && rng_chance(&w->rng, w->swarm.p_clock_back)) {
        r->clock -= rng_below(&w->rng, w->swarm.clock_back_ms); /* a clock that is not monotonic: rule 20 */
    }
}

static void count_core(struct world *w, const struct core *core)
{
    const struct core_counters *c = core_counters(core);
    w->counts.elections += c->elections;
    w->counts.leaderships += c->leaderships;
    w->counts.changes += c->changes;
    w->counts.held += c->messages_held;
}

static void arm_timer(struct world *w, struct replica *r)
{
    uint64_t at = core_timeout_ms(r->core) - r->offset;
    if (at <= w->now) {
        at = w->now + 1;
    }
    if (r->timer_at <= w->now || at < r->timer_at) {
        r->timer_at = at;
        world_schedule(w, at, EVENT_TIMER, r, NULL);
    }
}

void replica_after(struct world *w, struct replica *r, int rv)
{
    if (violated(w)) {
        return;
    }
    if (rv == ERR_SHUTDOWN || core_failed(r->core)) {
        violate(w, "the core of replica %llu has failed", (unsigned long long)r->id);
        return;
    }
    check_apply(w, r);
    if (r->config_dirty) {
        r->config_dirty = false;
        check_config(w, r);
    }
    arm_timer(w, r);
}

static size_t start_runs(const struct simlog *log, struct core_run *runs, size_t max)
{
    size_t n = 0;
    for (size_t i = 0; i < log->n; i++) {
        if (n == 0 || runs[n - 1].term != log->entries[i]->term) {
            if (n == max) {
                abort();
            }
            n++;
        }
        runs[n - 1].term = log->entries[i]->term;
        runs[n - 1].last = log->entries[i]->index;
    }
    return n;
}

/* Rule 8: a log that does not reach the snapshot was left behind by an install that stopped half-way. */
static void discard_short_log(struct replica *r)
{
    uint64_t index = r->disk.snap.meta.index;
    const struct entry *e = simlog_at(&r->disk.log, index);
    if (index == 0) {
        return;
    }
    if (simlog_last(&r->disk.log) < index || (e != NULL && e->term != r->disk.snap.meta.term)) {
        simlog_reset(&r->disk.log, index + 1);
    }
}

void replica_start(struct world *w, struct replica *r)
{
    struct core_run runs[512];
    struct entry *changes[512];
    struct core_start start;
    char address[CORE_ADDRESS_SIZE];
    int rv;

    if (!OFF(w, 8)) {
        discard_short_log(r);
    }
    snprintf(address, sizeof address, "n%llu.%llu", (unsigned long long)r->id, (unsigned long long)r->id);
    memset(&start, 0, sizeof start);
    r->offset = rng_below(&w->rng, 100000);
    r->clock = w->now + r->offset;
    start.group = GROUP_ID;
    start.replica = r->id;
    start.address = address;
    start.random_seed = (uint32_t)rng_next(&w->rng);
    start.now_ms = &r->clock;
    start.inflight_entries = w->swarm.inflight;
    start.election_timeout_ms = w->swarm.election_ms;
    start.heartbeat_ms = w->swarm.election_ms / 4;
    start.term = r->disk.term;
    start.vote = r->disk.vote;
    start.snapshot = r->disk.snap.meta.index > 0 ? &r->disk.snap.meta : NULL;
    start.first = r->disk.log.first;
    start.runs = runs;
    start.n_runs = start_runs(&r->disk.log, runs, 512);
    start.changes = changes;
    for (size_t i = 0; i < r->disk.log.n; i++) {
        if (r->disk.log.entries[i]->kind == ENTRY_CHANGE) {
            if (start.n_changes == 512) {
                abort();
            }
            changes[start.n_changes++] = r->disk.log.entries[i];
        }
    }
    start.rules_off = w->rules_off;

    /* What is in memory after a restart is what is on disk. */
    simlog_reset(&r->mem, r->disk.log.n > 0 ? r->disk.log.first : r->disk.snap.meta.index + 1);
    for (size_t i = 0; i < r->disk.log.n; i++) {
        simlog_append(&r->mem, r->disk.log.entries[i]);
    }
    r->snap = r->disk.snap;
    r->commit = r->applied = r->chain = 0;
    r->pending_snapshot = 0;
    r->role = CORE_FOLLOWER;
    r->term = r->disk.term;
    r->up = true;
    r->timer_at = 0;
    memset(w->append_at[r->id], 0, sizeof w->append_at[r->id]);
    r->config_dirty = true;
    if (r->snap.meta.index > 0) {
        r->applied = r->snap.meta.index;
        r->chain = r->snap.chain;
        check_snapshot(w, &r->snap);
    }
    rv = core_open(&start, &replica_ops, w, &r->core);
    if (rv != 0) {
        violate(w, "replica %llu does not start from its disk: %s", (unsigned long long)r->id, err_name(rv));
        r->core = NULL;
        r->up = false;
        return;
    }
    TRACE(w, "replica %llu starts: term %llu vote %llu snapshot %llu log [%llu, %llu]", (unsigned long long)r->id,
          (unsigned long long)start.term, (unsigned long long)start.vote, (unsigned long long)r->snap.meta.index,
          (unsigned long long)r->mem.first, (unsigned long long)simlog_last(&r->mem));
    w->counts.restarts++;
    replica_after(w, r, 0);
}

/* Power goes: some prefix of what was on its way has reached the disk. */
static void lose_power(struct world *w, struct replica *r)
{
    bool going = true;

    while (r->queue != NULL) {
        struct disk_write *write = r->queue;
        if (going && !rng_chance(&w->rng, 0.6)) {
            going = false;
            if (write->n > 0 && rng_chance(&w->rng, 0.5)) {
                disk_apply(r, write, rng_below(&w->rng, write->n));
                w->counts.torn++;
            } else if (write->snap != NULL && write->sequence != 0 && rng_chance(&w->rng, 0.7)) {
                r->disk.snap = *write->snap; /* the manifest is there, the old log still is, too: rule 8 */
                if (write->hard) {
                    r->disk.term = write->term;
                    r->disk.vote = write->vote;
                }
                w->counts.torn++;
            }
        } else if (going) {
            disk_apply(r, write, SIZE_MAX);
        }
        r->queue = write->next;
        write_free(write);
    }
    r->queue_tail = &r->queue;
    r->flushing_to = NULL;
}

void replica_crash(struct world *w, struct replica *r)
{
    if (!r->up) {
        return;
    }
    TRACE(w, "replica %llu crashes", (unsigned long long)r->id);
    count_core(w, r->core);
    core_close(r->core);
    r->core = NULL;
    r->up = false;
    r->boot++;
    lose_power(w, r);
}

void replica_free(struct replica *r)
{
    core_close(r->core);
    r->core = NULL;
    while (r->queue != NULL) {
        struct disk_write *write = r->queue;
        r->queue = write->next;
        write_free(write);
    }
    simlog_close(&r->mem);
    simlog_close(&r->disk.log);
}

void found_disk(struct world *w, struct replica *r, struct entry *bootstrap)
{
    r->disk.term = 1;
    r->disk.vote = 0;
    simlog_reset(&r->disk.log, 1);
    simlog_append(&r->disk.log, bootstrap);
}
