/* Inside raft/group. A group's memory ends with group_close(); what the shard log still holds of it then (writes, reads)
 * belongs to the host, which ends when the last of them has come back. */
#ifndef CAIRN_GROUP_INTERNAL_H
#define CAIRN_GROUP_INTERNAL_H

#include "raft/group/group.h"
#include "raft/group/limits.h"
#include "raft/group/table.h"

enum group_state {
    GROUP_CREATING = 1, /* its CREATED record is on its way to the disk */
    GROUP_LOADING,      /* reads what core_open() needs */
    GROUP_OPEN,
    GROUP_BROKEN, /* the core has failed: wait for what is being written, then load again */
    GROUP_FAILED  /* for good */
};

/* An AppendEntries with entries that waits for a read. */
struct group_queued {
    struct list link;
    uint8_t version;
    uint64_t from;
    uint64_t to;
    uint64_t term;
    struct core_append append;
};

/* Another replica, as this one has to do with it. What each heartbeat touches stands in front. */
struct group_peer {
    struct group_peer *next;
    uint64_t replica;
    uint32_t node; /* 0: not known yet */
    bool member;   /* @node is what the configuration says; else only where a message came from */
    bool reading;
    uint32_t queued_n;
    uint64_t asked_ms;    /* when entries left first since it spoke last; 0: none have */
    uint64_t entries_ms;  /* when entries left last; 0: never */
    uint64_t match;       /* as seen at the last heartbeat after that */
    uint64_t progress_ms; /* when it rose */
    struct group *group;
    struct list queued; /* the first one waits for the read */
};

/* A write that the shard log holds. */
struct group_write {
    struct wal_write write;
    struct group_host *host;
    struct group *group;   /* NULL: gone */
    struct list link;      /* of group.writes, or host.orphans, or host.write_pool */
    uint32_t generation;   /* of the core that wanted it */
    uint64_t sequence;     /* of the core; 0: the CREATED record */
    uint32_t capacity;     /* of write.entries */
    void (*deleted)(void *data);
    void *deleted_data;
};

/* A read of the shard log, at most READS_MAX at a time. @done gets the entries and must let them go (io_drop). */
struct group_io {
    struct wal_read read;
    struct group_host *host;
    struct group *group;   /* NULL: gone */
    struct list link;      /* of group.ios or host.orphan_ios */
    struct list wait_link; /* of host.io_waiting, host.io_failed or host.io_answered */
    bool issued;
    uint8_t tries; /* that failed */
    int status;
    void (*done)(struct group_io *io, int status);
    struct group_peer *peer;
};

/* Reading what a core needs to open. */
struct group_load {
    uint64_t *indexes; /* entries wanted: changes, and the last one for its time */
    struct entry **entries;
    size_t n;
    size_t got;
};

struct group {
    /* What each message touches. */
    uint64_t id;
    struct group_host *host;
    struct core *core; /* NULL unless OPEN (or just BROKEN) */
    uint64_t replica;
    struct group_peer *peers;
    uint64_t wheel_tick;
    enum group_state state;
    int fail_err;
    struct list wheel_link;
    struct list dirty_link;

    struct list link; /* of host.groups */
    struct wal_group *wal;
    const struct group_fsm *fsm;
    void *data;
    uint32_t generation;

    bool preferred;     /* one-tick first election timeout */
    bool in_turn;       /* callbacks run: must not be closed */
    bool state_changed; /* the core's role, term or leader */
    bool leading;
    bool ready;
    bool confirmed;
    uint32_t reopened;
    uint64_t lead_term;
    uint64_t lead_index; /* end of the log when it won: what it serves from begins there */
    uint64_t confirm_index; /* committed up to here: a quorum has spoken since the stall */

    uint64_t hint_term; /* last told to the host's owner */
    uint32_t hint_node;

    uint64_t applied;
    int64_t time_ms; /* newest entry time known */
    uint64_t uncommitted_bytes;
    struct list queued;   /* proposals not submitted */
    struct list pending;  /* proposals submitted, by index */
    struct list barriers; /* waiters without an entry yet */
    struct list barriers_pending;
    uint64_t barrier_index; /* what barriers_pending wait for */

    struct list writes;
    struct list ios;
    struct group_load *load;
    bool apply_reading;
    struct entry **ahead; /* read and not yet applied */
    uint32_t ahead_n;
    uint32_t ahead_at;

    char *fail_text; /* may be NULL: out of memory */
};

struct group_host {
    struct group_host_params params;
    struct env *env;
    struct wal *wal;
    uint64_t now_ms; /* the cores' clock, read once a turn */
    bool now_stale;
    struct group_table table;
    struct list groups;
    struct list dirty;
    struct env_hook hook;

    struct timer tick;
    bool ticking;
    bool grace; /* after a stall: hear what peers said before timers fire */
    uint64_t ticked_ms;
    uint64_t wheel_tick; /* newest one handled */
    struct list slots[WHEEL_SLOTS];

    struct list write_pool;
    uint32_t write_pool_n;
    struct list orphans;
    struct list orphan_ios;
    struct list io_waiting;
    struct list io_failed; /* tried again at the next tick */
    struct list io_answered; /* from memory: delivered in the hook */
    uint32_t reads;
    struct list refused; /* user reads beyond the commit index: answered in the hook */
    uint32_t outstanding; /* writes and issued reads: keep the host's memory */
    bool closed;

    struct group_host_stats stats;
    struct entry *scratch[CORE_APPEND_ENTRIES_MAX];
};

/* host.c */
void group_dirty(struct group *g);
void host_now(struct group_host *host); /* what happens in one turn happens at one time */
void host_unref(struct group_host *host);

/* wheel.c */
void wheel_init(struct group_host *host);
void wheel_start(struct group_host *host);
void wheel_stop(struct group_host *host);
void wheel_file(struct group *g, uint64_t deadline_ms); /* earlier than filed: moves it; later: left where it is */
void wheel_remove(struct group *g);
bool wheel_stalled(struct group_host *host); /* looks at the clock, and marks leaders when it did */

/* load.c */
void load_start(struct group *g);
void load_drop(struct group *g);

/* persist.c */
struct group_write *write_new(struct group_host *host, struct group *g, uint32_t n_entries);
void write_free(struct group_write *w);
void group_persist(struct core *core, const struct core_write *cw);
void group_written(struct wal_write *write);
void writes_orphan(struct group *g);

/* io.c */
/* NULL: out of memory. @done never runs inside. */
struct group_io *io_start(struct group *g, uint64_t first, uint32_t n_max, void (*done)(struct group_io *io, int status),
                          struct group_peer *peer);
void io_drop(struct group_io *io);
void io_deliver(struct group_host *host);
void io_try_again(struct group_host *host);
void ios_orphan(struct group *g);
void io_free(struct group_io *io);

/* send.c */
void group_send(struct core *core, const struct core_message *message);
struct group_peer *group_peer(struct group *g, uint64_t replica);
void peers_clear(struct group *g); /* queued messages go */
void peers_free(struct group *g);

/* propose.c */
void group_submit(struct group *g);
void proposals_end(struct group *g, int submitted, int queued);
void proposals_applied(struct group *g, const struct entry *entry);
void barriers_applied(struct group *g);

/* apply.c */
/* False: more is to be done, and can be. */
bool group_apply(struct group *g, uint32_t *budget);
void apply_drop(struct group *g);

/* turn.c */
extern const struct core_ops group_core_ops;
void group_turn(struct group *g, uint32_t *budget);
void group_step_down(struct group *g, int submitted, int queued);
void group_after(struct group *g); /* after every call that moved the core */
void group_timer(struct group *g);
bool group_still_leads(const struct group *g);

#endif
