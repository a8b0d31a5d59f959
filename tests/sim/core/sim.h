/* A whole cluster around raft/core in one process: virtual time, a network and disks that lie, seeded. Same seed, same
 * run. Everything belongs to one struct world; one thread. */
#ifndef CAIRN_TESTS_SIM_CORE_SIM_H
#define CAIRN_TESTS_SIM_CORE_SIM_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "raft/core/core.h"

#define REPLICAS_MAX 16 /* created in one run; ids 1..16 */
#define TERMS_MAX 16384
#define GROUP_ID 7

/* ---- random ---- */
struct rng {
    uint64_t state;
};

static inline uint64_t rng_next(struct rng *r)
{
    uint64_t z = (r->state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static inline uint64_t rng_below(struct rng *r, uint64_t n)
{
    return n == 0 ? 0 : rng_next(r) % n;
}

static inline bool rng_chance(struct rng *r, double p)
{
    return (double)(rng_next(r) >> 11) * 0x1.0p-53 < p;
}

/* ---- log: entries [first, first + n) ---- */
struct simlog {
    uint64_t first;
    struct entry **entries;
    size_t n, size;
};

void simlog_reset(struct simlog *log, uint64_t first);
void simlog_close(struct simlog *log);
void simlog_append(struct simlog *log, struct entry *entry); /* truncates at entry->index; takes a reference */
void simlog_truncate(struct simlog *log, uint64_t first);    /* drops those at or above */
void simlog_drop_prefix(struct simlog *log, uint64_t first_kept);
struct entry *simlog_at(const struct simlog *log, uint64_t index); /* NULL: not there */
static inline uint64_t simlog_last(const struct simlog *log)
{
    return log->first + log->n - 1;
}

struct simsnap {
    struct core_snapshot_meta meta; /* index 0: none */
    uint64_t chain;                 /* the state machine: hash over all that was applied */
};

/* ---- disk ---- */
struct disk_write {
    struct disk_write *next;
    uint64_t sequence; /* of the core; 0: the owner's own snapshot */
    bool hard;
    uint64_t term, vote;
    struct simsnap *snap; /* install, or own snapshot */
    uint64_t first;
    size_t n;
    struct entry *entries[];
};

struct disk {
    uint64_t term, vote;
    struct simsnap snap;
    struct simlog log;
};

struct replica {
    uint64_t id;
    bool up;
    bool stopped; /* for good: removed from the group */
    struct core *core;
    uint32_t boot;      /* counts restarts: events of an earlier one are stale */
    uint64_t clock;     /* what the core reads */
    uint64_t offset;    /* of its clock to world time */
    uint64_t paused_to; /* no events are handled before */
    uint64_t timer_at;
    uint64_t disk_ms; /* of this one's disk */

    struct disk disk;
    struct disk_write *queue, **queue_tail; /* given to persist(), not durable */
    struct disk_write *flushing_to;         /* last write of the flush under way; NULL: none */

    struct simlog mem; /* the group's log as given to persist() */
    struct simsnap snap;
    uint64_t pending_snapshot; /* index of an own snapshot on its way to disk */
    uint64_t commit;
    uint64_t applied;
    uint64_t chain;
    enum core_role role;
    uint64_t term;
    bool config_dirty;
};

/* ---- events ---- */
enum event_type { EVENT_TIMER, EVENT_MESSAGE, EVENT_RESOLVE, EVENT_FLUSH, EVENT_RESTART, EVENT_ACTOR };

struct simmsg {
    struct core_message m;
    uint64_t chain; /* install: the state machine's state */
    struct entry *entries[];
};

struct event {
    uint64_t time;
    uint64_t order;
    enum event_type type;
    uint32_t replica;
    uint32_t boot;
    struct simmsg *message;
};

/* ---- one run's character ---- */
struct swarm {
    unsigned founders;
    double loss, duplicate, slow; /* per message */
    uint64_t delay_ms, slow_ms;
    double disk_slow;
    uint64_t disk_ms, disk_slow_ms;
    double p_crash, p_partition, p_heal, p_submit, p_snapshot, p_change, p_transfer, p_pause, p_early_tick, p_read_late;
    double p_clock_back;
    uint64_t clock_back_ms;
    uint64_t restart_ms;
    uint32_t election_ms;
    uint64_t actor_ms; /* mean between two deeds */
    unsigned burst;
    uint32_t inflight;
    uint64_t trailing;
};

struct counts {
    uint64_t seeds, steps, crashes, restarts, elections, leaderships, commits, submits, snapshots, installs, changes, transfers,
        messages, lost, partitions, pauses, held, torn;
};

struct committed {
    uint64_t term, content, chain;
    uint64_t by_term; /* of the leader that committed it */
};

struct placed { /* (index, term) -> what a leader put there */
    uint64_t index, term, content, prev_term;
};

struct world {
    struct rng rng;
    struct swarm swarm;
    uint64_t seed;
    uint32_t rules_off;
    bool trace;
    bool healing;
    bool submitting;
    uint64_t now;
    uint64_t order;
    uint64_t steps;
    struct event *heap;
    size_t heap_n, heap_size;
    struct replica replicas[REPLICAS_MAX + 1]; /* by id; [0] unused */
    unsigned n_replicas;
    bool blocked[REPLICAS_MAX + 1][REPLICAS_MAX + 1];
    uint64_t next_value;

    /* oracles */
    uint64_t leader_of_term[TERMS_MAX];
    bool term_started[TERMS_MAX];
    uint64_t append_at[REPLICAS_MAX + 1][REPLICAS_MAX + 1]; /* last empty one out of a submit: from, to */
    struct committed *committed; /* [index] */
    size_t committed_n, committed_size;
    struct placed *placed; /* open addressing */
    size_t placed_n, placed_size;

    char violation[512];
    struct counts counts;
};

#define OFF(world, rule) (((world)->rules_off >> (rule)) & 1)

#define TRACE(w, ...)                                                                                                  \
    do {                                                                                                               \
        if ((w)->trace) {                                                                                              \
            sim_trace(w, __VA_ARGS__);                                                                                 \
        }                                                                                                              \
    } while (0)
void sim_trace(struct world *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* First violation wins and ends the run. */
void violate(struct world *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static inline bool violated(const struct world *w)
{
    return w->violation[0] != 0;
}

/* sim_world.c */
void world_open(struct world *w, uint64_t seed, uint32_t rules_off, bool trace);
void world_found(struct world *w);
void world_close(struct world *w);
void world_run(struct world *w, uint64_t steps); /* chaos, then healing; look at violated() */
bool world_turn(struct world *w);                /* one event; false: nothing left */
void world_schedule(struct world *w, uint64_t at, enum event_type type, struct replica *r, struct simmsg *message);
struct replica *world_leader(struct world *w); /* of the highest term, up and ready; NULL: none */
struct replica *world_replica(struct world *w, uint64_t id);
struct replica *world_spawn(struct world *w); /* a blank replica to be; NULL: ids used up */

/* sim_heal.c */
void world_heal(struct world *w);

/* sim_actors.c */
void swarm_draw(struct world *w);
void actor_act(struct world *w);
bool act_submit(struct world *w, struct replica *r, size_t n);
void act_snapshot(struct world *w, struct replica *r);

/* sim_replica.c */
void replica_start(struct world *w, struct replica *r);
void replica_config(const struct replica *r, struct core_config *out); /* the newest that its log knows */
void replica_crash(struct world *w, struct replica *r);
void replica_free(struct replica *r);
void replica_clock(struct world *w, struct replica *r);
void replica_after(struct world *w, struct replica *r, int rv); /* every call into the core ends here */
void replica_flush_done(struct world *w, struct replica *r);
void replica_flush_begin(struct world *w, struct replica *r);
void replica_queue(struct world *w, struct replica *r, struct disk_write *write);
void found_disk(struct world *w, struct replica *r, struct entry *bootstrap);
extern const struct core_ops replica_ops;

/* sim_net.c */
void net_send(struct world *w, struct replica *r, const struct core_message *m);
void net_resolve(struct world *w, struct replica *r, struct simmsg *message);
void net_deliver(struct world *w, struct replica *r, struct simmsg *message);
void simmsg_free(struct simmsg *message);

/* sim_check.c */
uint64_t entry_content(const struct entry *e);
void check_placed(struct world *w, struct replica *r, const struct core_write *write);
void check_commit(struct world *w, struct replica *r, uint64_t index);
void check_apply(struct world *w, struct replica *r);
void check_snapshot(struct world *w, const struct simsnap *snap);
void check_state(struct world *w, struct replica *r);
void check_send(struct world *w, struct replica *r, const struct core_message *m);
void check_config(struct world *w, struct replica *r);
bool disk_has(const struct replica *r, uint64_t index, uint64_t term);

#endif
