/* One replicated log: the core, its part of the shard log, the messages to its peers, and the state machine that it
 * feeds. All groups of a shard hang on one `struct group_host`, which ticks them, routes messages and submits their
 * proposals once a turn.
 *
 * Loop thread of the host's env only. Callbacks never run inside the call that starts the work. */
#ifndef CAIRN_GROUP_H
#define CAIRN_GROUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/entry.h"
#include "raft/core/core.h"
#include "raft/env/env.h"
#include "raft/wal/wal.h"

struct group;
struct group_host;

#define GROUP_TICK_MS 50
#define GROUP_UNCOMMITTED_MAX_BYTES (32u << 20) /* proposed and not yet committed, a group: beyond it ERR_BUSY at once */
#define GROUP_SEND_MAX_BYTES (4u << 20)         /* entries in one message to a peer */

/* ---- host ----------------------------------------------------------------------------------------------------- */

struct group_host_params {
    struct env *env;
    struct wal *wal;
    struct buf_pool *pool;
    uint32_t node; /* own node id: "node.replica" */
    uint32_t election_timeout_ms; /* 0: CORE_ELECTION_TIMEOUT_MS */
    uint32_t heartbeat_ms;        /* 0: CORE_HEARTBEAT_MS */
    /* Queue a message for a peer (transport_send, or a mailbox to the loop that has the links). Borrowed for the call.
     * An error means dropped. */
    int (*send)(void *data, uint32_t node, bool urgent, uint64_t group, const uint8_t *header, size_t size,
                struct entry *const *entries, size_t n);
    /* @g's known leader changed (soft state that nodes tell each other): node 0 when none is known. May be NULL. */
    void (*leader)(void *data, struct group *g, uint64_t term, uint32_t node);
    void *data;
};

/* Its hook runs in ENV_PHASE_SUBMIT: what groups queue leaves in the same turn. Errors: ERR_NOMEM. */
int group_host_open(const struct group_host_params *params, struct group_host **out) MUST_USE;
/* All groups stop (pending proposals end with ERR_SHUTDOWN or ERR_UNKNOWN_OUTCOME, inside this call); the wal stays the
 * caller's and must stay until what it holds for the groups has come back (wal_close). */
void group_host_close(struct group_host *host);
/* Frees without callbacks: the node has crashed (simulation). After wal_abandon(), and before the pool goes. */
void group_host_abandon(struct group_host *host);
/* A message of @node for @group. Unknown groups: counted, dropped. */
void group_host_receive(struct group_host *host, uint32_t node, uint64_t group, const uint8_t *header, size_t size,
                        struct entry **entries, size_t n);
struct group *group_host_find(struct group_host *host, uint64_t group);
void group_host_each(struct group_host *host, void (*each)(void *data, struct group *g), void *data);

struct group_host_stats {
    uint64_t messages_in;
    uint64_t messages_out;
    uint64_t unknown_group;     /* dropped */
    uint64_t malformed;         /* dropped: bytes, or fields that cannot be */
    uint64_t misdirected;       /* dropped: another replica is meant, or its sender does not live on that node */
    uint64_t not_open;          /* dropped: the group is being made or loaded, or has failed */
    uint64_t installs_dropped;  /* snapshot installs: not in this version */
    uint64_t sends_dropped;     /* no link, a full queue, an entry that was replaced meanwhile */
    uint64_t entries_applied;
    uint64_t submits;
    uint64_t proposals;
    uint64_t barriers;          /* entries proposed for waiters */
    uint64_t reads;             /* of the shard log, for peers and for applying */
    uint64_t stalls;            /* the loop stood still for half an election timeout or longer */
    uint64_t reopened;          /* cores opened anew after an error */
};
void group_host_stats(const struct group_host *host, struct group_host_stats *stats);

/* ---- the state machine above ------------------------------------------------------------------------------------ */

struct group_fsm {
    /* Committed entries in order, each exactly once per opening of the group, from the first kept one: BATCH, COMMAND and
     * BARRIER (CHANGE too: for those who show membership). Borrowed. */
    void (*apply)(void *data, const struct entry *entry);
    /* @leading with @ready: this replica leads in @term and all entries of earlier terms are applied: it may serve. Called
     * with ready = false at once when it wins, and with leading = false at step-down, before pending proposals are
     * ended. */
    void (*leadership)(void *data, bool leading, bool ready, uint64_t term);
    /* The replica cannot go on (corruption, a command it does not understand): it is stopped and never votes again under
     * its id. */
    void (*failed)(void *data, int err, const char *text);
};

/* The state machine refuses an entry it cannot understand from inside apply(): stops this replica (I6). */
void group_fail(struct group *g, int err, const char *text);
/* What a read of the log gave is corrupt (ERR_CORRUPT): stops this replica for good, restarts included (I6). */
void group_damaged(struct group *g, const char *text);

/* ---- life of a replica ------------------------------------------------------------------------------------------ */

struct group_params {
    uint64_t group;
    uint64_t replica;
    const struct group_fsm *fsm;
    void *data;
    /* Founding only: all founders as voters (address text "node.replica"); this replica among them. */
    const struct core_config *founders;
    bool preferred; /* a fresh founding's preferred replica starts with a one-tick election timeout */
};

/* Found a new group (entry 1 and term 1 with a durable CREATED record), join one as an empty learner to be, or resume one
 * that the shard log knows. Nothing is said to peers before the record is durable.
 * Errors: ERR_EXISTS (also a tombstone), ERR_NOT_FOUND (resume), ERR_CORRUPT damaged: not started, ERR_NOMEM. */
int group_found(struct group_host *host, const struct group_params *params, struct group **out) MUST_USE;
int group_join(struct group_host *host, const struct group_params *params, struct group **out) MUST_USE;
int group_resume(struct group_host *host, const struct group_params *params, struct group **out) MUST_USE;
/* Stop and free; leadership ends and pending proposals end as in group_host_close, inside this call. Its records stay. Not
 * from inside its callbacks. */
void group_close(struct group *g);
/* Stop, and write the tombstone. @done runs when that is durable. */
void group_delete(struct group *g, void (*done)(void *data), void *data);

/* ---- use -------------------------------------------------------------------------------------------------------- */

/* The caller embeds it; it and the entry's reference are the group's until @done, which runs after the entry was applied
 * (status 0) or with: ERR_NOT_LEADER, ERR_BUSY, ERR_SHUTDOWN: never proposed; ERR_UNKNOWN_OUTCOME: may or may not be
 * committed later. */
struct group_proposal {
    struct entry *entry; /* kind BATCH or COMMAND; base_offset set by the caller; the group stamps group and time_ms; one
                          * reference, released by the group */
    void (*done)(struct group_proposal *p, int status);
    struct list link;
};
/* Proposals are submitted in order, together at the end of the turn. Errors (nothing taken, the reference stays the
 * caller's): ERR_NOT_LEADER, ERR_LEADER_NOT_READY, ERR_BUSY too much is uncommitted. */
int group_propose(struct group *g, struct group_proposal *p) MUST_USE;

/* A linearizable point: @done with 0 when this replica was the leader after the call and everything committed before it
 * is applied. Many waiters share one barrier entry. Errors through @done: ERR_NOT_LEADER, ERR_UNKNOWN_OUTCOME, ... */
struct group_barrier {
    void (*done)(struct group_barrier *b, int status);
    struct list link;
};
int group_barrier(struct group *g, struct group_barrier *b) MUST_USE; /* Errors: ERR_NOT_LEADER, ERR_LEADER_NOT_READY */

/* False when the loop stalled so long (half an election timeout) that another may lead by now, and no quorum has confirmed
 * this leader since: answers need a barrier first. False as well when it does not lead. */
bool group_confirmed(struct group *g);

/* Read committed entries: wal_read with the group's commit as the end. ERR_NOT_FOUND through the result beyond it. */
bool group_read(struct group *g, struct wal_read *read);

int group_transfer(struct group *g, uint32_t node) MUST_USE; /* 0: to whoever is furthest */
int group_change(struct group *g, enum core_change_kind kind, uint64_t replica, uint32_t node) MUST_USE;
int group_catch_up(struct group *g, uint64_t replica) MUST_USE;

struct group_info {
    uint64_t group;
    uint64_t replica;
    bool leading;
    bool ready;
    bool failed;
    uint64_t term;
    uint64_t leader_replica; /* 0: none known */
    uint32_t leader_node;
    uint64_t commit;
    uint64_t applied;
    uint64_t first;
    uint64_t last;
    uint64_t uncommitted_bytes;
};
void group_info(const struct group *g, struct group_info *info);
uint64_t group_id(const struct group *g);
void *group_data(const struct group *g);
const struct core_config *group_config(const struct group *g);
struct core *group_core(struct group *g); /* for status, catch-up state and the simulator's oracles: read only */

/* For the owner of the links, when the lane for entries is full: what remains of an AppendEntries without its entries. It
 * still tells the follower that its leader lives, and asks whether the logs meet here; both must not wait behind the
 * entries of all groups on a slow way. @out holds GROUP_MESSAGE_MAX bytes. Errors: ERR_INVALID another message. */
#define GROUP_MESSAGE_MAX CORE_MESSAGE_ENCODED_MAX
int group_message_strip(const uint8_t *header, size_t size, uint8_t *out, size_t *out_size) MUST_USE;

/* Node of a member address "node.replica"; 0 when malformed. */
uint32_t group_address_node(const char *address);

#endif
