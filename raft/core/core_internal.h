/* The core's inside: what its files share. Rules are numbered as in README.md. */
#ifndef CAIRN_CORE_INTERNAL_H
#define CAIRN_CORE_INTERNAL_H

#include <assert.h>
#include <raft.h>

#include "raft/core/core.h"

#define CORE_TERM_MAX ((UINT64_C(1) << 31) - 1) /* the leader epoch of Kafka's clients is an int32 */
#define CORE_INDEX_MAX (UINT64_C(1) << 56)
#define CORE_HELD_MAX 4096 /* messages that wait for a write; above, the newest are lost as on a bad network */

/* libraft's message versions and its one feature flag: ours for the results that the core writes itself. */
#define CORE_RESULT_VERSION 2
#define CORE_FEATURE_CAPACITY 1

/* Parts of a rule that have a switch of their own. */
#define RULE_LONE_VOTER 26    /* of 16: no change from or to a single voter */
#define RULE_SELF_REMOVE 27   /* of 16: a leader does not remove itself */
#define RULE_SILENT_LEADER 28 /* of 15: a leader that has been silent for the election timeout is no reason to refuse a vote */
#define RULE_SETTLE_CHANGE 29 /* of 9: a change in the log means that the one before it is committed */
#define RULE_QUIET_SUBMIT 31  /* of 21: no empty message to a follower that is full, other than as heartbeat */

#ifdef CAIRN_CORE_RULE_SWITCHES
/* Off-switches are for the simulation alone: it shows what each rule is good for. */
#define RULE(core, number) (((core)->rules_off & (UINT32_C(1) << (number))) == 0)
#else
#define RULE(core, number) true
#endif

/* A CHANGE entry in the log above the snapshot. */
struct core_change_record {
    uint64_t index;
    struct core_config config;
};

/* A write that was given out and is not known durable yet. */
struct core_pending_write {
    uint64_t sequence;
    uint64_t last; /* last entry of it that still stands in the log; 0: none */
    bool install;
};

struct core_held {
    uint64_t sequence; /* leaves when this write is durable */
    struct core_message *message;
};

struct core {
    struct raft raft;
    const struct core_ops *ops;
    void *data;
    const uint64_t *now_ms;
    uint64_t now; /* never goes back: rule 20 */
    uint64_t group;
    uint64_t tick_at; /* earliest next RAFT_TIMEOUT, so that a clock that stands still cannot spin */
    uint32_t inflight_max;
    bool failed;
    bool busy;          /* inside one of our calls: up-calls must not move the core */
    bool step_failed;   /* raft_step() itself returned an error */
    bool vote_as_voter; /* rule 15, for the next step */
    bool proposing;     /* inside RAFT_SUBMIT */
    uint64_t prev_term; /* of the AppendEntries that libraft is looking at */
#ifdef CAIRN_CORE_RULE_SWITCHES
    uint32_t rules_off;
#endif

    uint64_t commit; /* rule 4 */

    /* What state_changed() last told. */
    enum core_role role;
    uint64_t term;
    uint64_t leader;
    bool barrier_due; /* became leader without libraft's own barrier */
    struct {
        uint64_t id;
        uint64_t term;
    } led_by; /* who last spoke as a leader, and of which term */

    uint64_t sequence;           /* last given out */
    uint64_t sequence_durable;   /* last said durable */
    uint64_t sequence_hard;      /* last write with hard state: messages wait for it */
    struct core_pending_write *writes; /* ring */
    uint32_t writes_begin, writes_n, writes_size;
    struct core_held *held; /* ring, by rising sequence */
    uint32_t held_begin, held_n, held_size;

    struct core_config config; /* copy of libraft's current one */
    uint64_t config_seen[2];   /* its committed and uncommitted index at the copy */
    bool config_stale;
    struct core_sent {
        uint64_t id;
        uint64_t at;
    } sent[CORE_MEMBERS_MAX]; /* when members, by place, were last sent an AppendEntries */
    struct core_change_record *changes; /* in the log above the snapshot, by rising index */
    uint32_t changes_n, changes_size;
    uint64_t change_applied; /* last one fed back as RAFT_CONFIGURATION */

    struct core_snapshot_meta *snapshot; /* the newest durable one; NULL: none */
    struct core_snapshot_meta *install;  /* given to persist(), not durable; NULL: none */
    struct core_snapshot_meta *offer;    /* in a message that libraft is looking at */

    uint64_t caught_up; /* learner that matched when its catch-up was asked for */
    struct {
        uint64_t target; /* 0: no hand-over */
        uint64_t deadline;
        bool fired;
    } transfer;

    struct core_counters counters;
};

/* Entries that stand behind a raft_entry array given to raft_step(). */
struct core_step_entries {
    const struct raft_entry *shadow;
    struct entry **entries;
    size_t n;
};

/* core_pump.c */
/* One event: raft_step(), then all that its update asks for, then RAFT_CONFIGURATION for what has committed. Sets
 * @persists when the update had entries. Errors: ERR_SHUTDOWN. */
int core_step(struct core *core, struct raft_event *event, const struct core_step_entries *entries, bool *persists);
/* Begin and end of every call that moves the core. */
int core_enter(struct core *core);
int core_leave(struct core *core, int rv);
int core_fail(struct core *core);
int core_feed_change(struct core *core, const struct core_change_record *change);

/* core.c */
void core_forget_leader(struct core *core); /* only as follower */

/* core_propose.c */
/* RAFT_SUBMIT of entries that were checked; only as leader and with no hand-over. Errors: ERR_SHUTDOWN. */
int core_propose(struct core *core, struct entry **entries, size_t n);
int core_barrier_step(struct core *core, uint64_t *index);

/* Entries given to raft_step() in one event stand on the stack up to this many. */
#define CORE_SHADOW_STACK 32

/* core_hold.c */
int core_write_out(struct core *core, struct core_write *write);
void core_emit(struct core *core, struct core_message *message); /* sends or holds */
void core_held_clear(struct core *core);

/* core_send.c */
void core_send_update(struct core *core, const struct raft_message *messages, unsigned n);

/* core_trail.c: libraft's index and term trail (its layout is public). */
uint64_t trail_last(const struct raft_trail *trail);
uint64_t trail_term(const struct raft_trail *trail, uint64_t index); /* 0: not known */
/* The last index at or below @index whose entry has at most @term; the one before the log when there is none. */
uint64_t trail_floor(const struct raft_trail *trail, uint64_t index, uint64_t term);
/* Terms of [first, first + n) as runs; stops when @runs_max are full. Returns how many entries they cover. */
uint32_t trail_runs(const struct raft_trail *trail, uint64_t first, uint32_t n, struct core_append_run *runs,
                    uint32_t runs_max, uint32_t *n_runs);

/* core_snapshot.c */
int core_install_offer(struct core *core, const struct core_message *message); /* Errors: ERR_NOMEM */

/* core_members.c */
int core_config_to_raft(const struct core_config *config, struct raft_configuration *out); /* Errors: ERR_NOMEM */
void core_config_refresh(struct core *core);
int core_changes_record(struct core *core, const struct entry *entry); /* Errors: ERR_NOMEM, ERR_MALFORMED */
void core_changes_truncate(struct core *core, uint64_t first);
void core_changes_forget(struct core *core, uint64_t index); /* those at or below @index */
bool core_self_votes(const struct core *core);

static inline bool core_is_leader(const struct core *core)
{
    return core->raft.state == RAFT_LEADER;
}

#endif
