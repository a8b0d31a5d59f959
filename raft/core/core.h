/* One replica of one Raft group as a pure state machine that is simply correct: libraft's raft_step() behind every rule
 * that its simulation taught us (README.md). No I/O, no clock, no random source: what happened is told by calls, what is
 * to be done comes back by the up-calls of struct core_ops.
 *
 * Thread: the one that owns the replica's shard. Up-calls run inside the calls below; they may read through the
 * accessors but must not call anything that moves the core (record and wake: an assertion holds this).
 *
 * Failure: any call may find that libraft's state can no longer be trusted (out of memory in the middle of a step, a
 * committed entry in conflict). It then returns ERR_SHUTDOWN and core_failed() is true from there on: nothing more is
 * sent or persisted, every later call returns ERR_SHUTDOWN. The owner closes the core and opens a new one from what is
 * durable. */
#ifndef CAIRN_CORE_CORE_H
#define CAIRN_CORE_CORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/entry.h"
#include "proto/base/err.h"
#include "raft/core/core_config.h"
#include "raft/core/core_message.h"

#define CORE_ELECTION_TIMEOUT_MS 800 /* default; a replica waits 1 to 2 times as long */
#define CORE_HEARTBEAT_MS 250        /* default */
#define CORE_INSTALL_TIMEOUT_MS 30000
#define CORE_INFLIGHT_ENTRIES 512    /* default: entries sent to a follower and not yet acknowledged; also last - commit */
#define CORE_APPEND_ENTRIES_MAX 4096 /* entries in one AppendEntries, sent or received, and in one submit */
#define CORE_CATCH_UP_ROUNDS 10
#define CORE_CATCH_UP_ROUND_MS 5000
#define CORE_TRAIL_ENTRIES_MAX (1u << 28) /* entries kept in the log of one group */

struct core;

enum core_role { CORE_FOLLOWER = 1, CORE_CANDIDATE, CORE_LEADER };

/* What a snapshot says about itself; stands in the manifest. */
struct core_snapshot_meta {
    uint64_t index; /* last entry that it covers */
    uint64_t term;  /* of that entry */
    uint64_t config_index; /* of the newest CHANGE entry at or below @index */
    struct core_config config;
};

/* One element of the group's single ordered write stream. Parts that are present become durable together or as a prefix
 * in this order: hard state, snapshot, entries. (Today's libraft never gives snapshot and entries in one write.) */
struct core_write {
    uint64_t sequence; /* 1, 2, 3 ... of this core instance */

    bool has_hard_state;
    uint64_t term;
    uint64_t vote; /* replica id voted for in @term; 0: none */

    /* Replace log and snapshot by this one, atomically: all entries of the group go, first kept entry is index + 1. NULL:
     * none. Valid during the up-call only. */
    const struct core_snapshot_meta *install;

    /* Entries [first, first + n): everything that stands at or above @first is replaced by them. Each has its index and
     * term set. The array is valid during the up-call only; the owner takes the references that it needs. On the leader
     * the owner may still stamp time_ms (barriers and changes made by the core come with 0) and base_offset. */
    uint64_t first;
    struct entry **entries;
    size_t n;
};

/* The owner's side. All are required. */
struct core_ops {
    /* Make @write durable after all earlier ones of this core, then core_persisted(core, write->sequence). Also called for
     * writes that need no acknowledgement in a hurry: the owner may batch as it likes, in order. Never fails from the
     * core's view: an owner that cannot write stops (a failed fsync is final). */
    void (*persist)(struct core *core, const struct core_write *write);
    /* Send, now: everything that the message must wait for is durable. An AppendEntries names its entries by (index, term)
     * only; the owner resolves them from memory or disk, in order, and drops the message when one was replaced meanwhile.
     * It may split one into several by bytes (core_append_split). May be lost, late, doubled. Valid during the call only. */
    void (*send)(struct core *core, const struct core_message *message);
    /* The commit index has risen to @index: entries up to there are committed and never change. They may be not yet durable
     * here, but have all been given to persist() or are covered by an installed snapshot. */
    void (*commit)(struct core *core, uint64_t index);
    /* Role, term or known leader have changed: read them through the accessors. */
    void (*state_changed)(struct core *core);
};

/* Index of the last entry of a stretch of entries of the same term. */
struct core_run {
    uint64_t last;
    uint64_t term;
};

/* What is durable, read back at start. Borrowed during core_open only. A replica that never stored anything has all
 * zero (a learner to be); a founder has term 1, no vote, and entry 1 (core_bootstrap_entry). */
struct core_start {
    uint64_t group;      /* group id, stamped on entries that the core makes */
    uint64_t replica;    /* own replica id, > 0 */
    const char *address; /* own address, the text "node.replica" */
    uint32_t random_seed;
    const uint64_t *now_ms; /* the loop's monotonic clock, read at every call; outlives the core */
    /* 0: the default. The preferred replica of a fresh founding may start with a shorter first election timeout. */
    uint32_t election_timeout_ms;
    uint32_t heartbeat_ms;
    uint32_t inflight_entries;
    uint32_t first_election_timeout_ms;

    uint64_t term;
    uint64_t vote;
    const struct core_snapshot_meta *snapshot; /* NULL: none */

    /* The log: entries first..runs[n_runs - 1].last; n_runs 0: empty (@first is then ignored). A log that does not reach
     * the snapshot's index, or begins above the snapshot's index + 1, must have been discarded by the owner: ERR_CORRUPT.
     * Without a snapshot @first is 1 and entry 1 is a CHANGE. */
    uint64_t first;
    const struct core_run *runs;
    size_t n_runs;
    struct entry *const *changes; /* every CHANGE entry in the log, by rising index, with payload */
    size_t n_changes;
#ifdef CAIRN_CORE_RULE_SWITCHES
    uint32_t rules_off; /* simulation only: bit r switches rule r off */
#endif
};

/* Once at program start, before any thread. Also makes libraft's failed allocations end the process: its unwinding is not
 * safe. @errmsg (ERRMSG_SIZE) says what is wrong and what to do.
 * Errors: ERR_VERSION libraft is not the release that this was built and simulated with, or older. */
int core_check_library(char *errmsg) MUST_USE;

/* A core in the state of @start. *out is set before the first up-call (a group with a single voter elects itself here).
 * @ops and @data outlive the core.
 * Errors: ERR_NOMEM; ERR_INVALID a field of ours; ERR_CORRUPT the durable state contradicts itself. */
int core_open(const struct core_start *start, const struct core_ops *ops, void *data, struct core **out) MUST_USE;
void core_close(struct core *core); /* NULL is allowed; no up-calls; held messages are dropped */
void *core_data(const struct core *core);
bool core_failed(const struct core *core);

/* Entry 1 of a group founded by @config (all founders as voters; one voter alone is allowed, see core_change). The caller
 * makes it durable on every founder together with term 1 before opening. Errors: ERR_NOMEM, ERR_INVALID. */
int core_bootstrap_entry(uint64_t group, const struct core_config *config, struct entry **out) MUST_USE;

/* A message from a peer. @entries: message->append.n entries of an AppendEntries, borrowed, else NULL; those that are new
 * come back through persist(). Every field is checked first. An InstallSnapshot is best given when its data is staged
 * and verified, so that the install is one quick write; a stale one does no harm.
 * Errors: ERR_MALFORMED dropped, counted, nothing changed (the peer is faulty: close the link); ERR_SHUTDOWN. */
int core_receive(struct core *core, const struct core_message *message, struct entry *const *entries) MUST_USE;

/* Propose BATCH and COMMAND entries; assigns index and term, then persist() and send() run for them. One call per group
 * and turn. Entries are borrowed. They are committed when commit() reaches them while core_term() is still theirs, or
 * the entry at that index still has that term.
 * Errors: ERR_NOT_LEADER; ERR_BUSY the in-flight limit is full or leadership is being handed over, nothing was taken;
 * ERR_TOO_BIG n is above CORE_APPEND_ENTRIES_MAX; ERR_SHUTDOWN. */
int core_submit(struct core *core, struct entry **entries, size_t n) MUST_USE;

/* How many entries core_submit() takes now; 0 when it would refuse. */
size_t core_submit_room(const struct core *core);

/* Propose a barrier; *index (may be NULL) is where it stands. A new leader's first barrier is proposed by the core
 * itself. Errors: as core_submit, ERR_NOMEM. */
int core_barrier(struct core *core, uint64_t *index) MUST_USE;

enum core_change_kind {
    CORE_ADD_LEARNER = 1,
    CORE_PROMOTE, /* a learner that has caught up (core_catch_up) becomes a voter */
    CORE_REMOVE   /* voter or learner, not the leader itself (core_transfer first) */
};

/* Propose one membership change; *index (may be NULL) is where it stands. @address is for CORE_ADD_LEARNER.
 * Errors: ERR_NOT_LEADER; ERR_LEADER_NOT_READY no entry of this term is committed yet (wait for the barrier);
 * ERR_BUSY another change or catch-up runs, or a hand-over, or the learner has not caught up; ERR_EXISTS, ERR_NOT_FOUND;
 * ERR_REFUSED a group with a single voter cannot be changed, nor become one (grow by copying), and a leader does not remove
 * itself; ERR_INVALID; ERR_TOO_BIG
 * CORE_MEMBERS_MAX; ERR_NOMEM; ERR_SHUTDOWN. */
int core_change(struct core *core, enum core_change_kind kind, uint64_t replica, const char *address, uint64_t *index) MUST_USE;

/* Start measuring whether a learner keeps up. Fine when it already does.
 * Errors: ERR_NOT_LEADER, ERR_NOT_FOUND, ERR_INVALID not a learner, ERR_BUSY another one runs, ERR_SHUTDOWN. */
int core_catch_up(struct core *core, uint64_t replica) MUST_USE;

enum core_catch_up_status { CORE_CATCH_UP_NONE = 0, CORE_CATCH_UP_RUNNING, CORE_CATCH_UP_ABORTED, CORE_CATCH_UP_DONE };
enum core_catch_up_status core_catch_up_status(const struct core *core, uint64_t replica);

/* Hand leadership to voter @replica (0: the voter that is furthest). From here submits are refused (ERR_BUSY) until it has
 * the whole log, leadership is gone, or an election timeout has passed; core_transferee() turns 0 then.
 * Errors: ERR_NOT_LEADER, ERR_NOT_FOUND, ERR_INVALID not another voter, ERR_BUSY one runs, ERR_SHUTDOWN. */
int core_transfer(struct core *core, uint64_t replica) MUST_USE;
uint64_t core_transferee(const struct core *core);

/* All writes up to and including @sequence are durable. Errors: ERR_INVALID not given out or already said; ERR_SHUTDOWN. */
int core_persisted(struct core *core, uint64_t sequence) MUST_USE;

/* The loop's time has reached core_timeout_ms() (called early it does nothing). */
int core_tick(struct core *core) MUST_USE;
uint64_t core_timeout_ms(const struct core *core);

/* Own snapshots. First core_snapshot_meta() fills the metadata of a snapshot at @index for the manifest; when that is
 * durable, core_snapshot() tells the core, with the first entry that stays in the log (<= index + 1, not below what is
 * there); only then the owner drops the entries before @first_kept.
 * Allowed: 2 <= index, above the last snapshot, <= min(commit, stored), none while an install runs.
 * Errors: ERR_INVALID not allowed (an install has overtaken it: forget the snapshot); ERR_SHUTDOWN. */
int core_snapshot_meta(const struct core *core, uint64_t index, struct core_snapshot_meta *out) MUST_USE;
int core_snapshot(struct core *core, uint64_t index, uint64_t first_kept) MUST_USE;
bool core_installing(const struct core *core); /* an install was given to persist() and is not durable yet */

/* State. */
uint64_t core_replica(const struct core *core);
enum core_role core_role(const struct core *core);
uint64_t core_term(const struct core *core);
uint64_t core_leader(const struct core *core); /* replica id, 0: not known */
uint64_t core_commit(const struct core *core);
uint64_t core_first(const struct core *core);  /* first entry of the log */
uint64_t core_last(const struct core *core);   /* last entry given to persist(), or the snapshot's index */
uint64_t core_stored(const struct core *core); /* last entry known durable here */
uint64_t core_term_at(const struct core *core, uint64_t index); /* 0: not in log, nor the snapshot's last */
uint64_t core_snapshot_index(const struct core *core);
/* A leader may serve: it leads, and an entry of its own term is committed. */
bool core_leader_ready(const struct core *core);
/* Entries proposed and not yet committed (last - commit). */
uint64_t core_inflight(const struct core *core);
/* The configuration in force (it is as soon as it stands in the log). Valid until the next call that moves the core. */
const struct core_config *core_config(const struct core *core);
bool core_config_committed(const struct core *core);
/* As leader: last entry that @replica is known to have durable. Errors: ERR_NOT_LEADER, ERR_NOT_FOUND. */
int core_match(const struct core *core, uint64_t replica, uint64_t *out) MUST_USE;

struct core_counters {
    uint64_t steps;              /* raft_step calls */
    uint64_t messages_in;
    uint64_t messages_malformed; /* dropped: a field was not possible */
    uint64_t messages_ignored;   /* dropped: a rule (stale results, votes when no candidate, id 0, ...) */
    uint64_t messages_answered;  /* older term: answered by the core itself */
    uint64_t messages_out;
    uint64_t messages_held;      /* had to wait for a write */
    uint64_t writes;
    uint64_t elections;          /* candidacies started here */
    uint64_t leaderships;        /* won here */
    uint64_t installs;
    uint64_t changes;            /* CHANGE entries committed */
};
const struct core_counters *core_counters(const struct core *core);

#endif
