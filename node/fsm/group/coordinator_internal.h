/* Inside of the coordinator, shared by its files. */
#ifndef CAIRN_FSM_COORDINATOR_INTERNAL_H
#define CAIRN_FSM_COORDINATOR_INTERNAL_H

#include "node/fsm/group/coordinator.h"
#include "node/fsm/group/deadlines.h"

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

struct live_group;

enum deadline_kind {
    DEADLINE_SESSION,   /* of a member */
    DEADLINE_PENDING,   /* of an id that was given out */
    DEADLINE_REBALANCE, /* of a group: joins, then syncs */
    DEADLINE_RETRY,     /* of a group: save again */
    DEADLINE_EXPIRE     /* of the coordinator: look for expired offsets */
};

struct live_member {
    struct group_member info;
    struct live_group *group;
    struct coordinator_join *join; /* parked */
    struct coordinator_sync *sync; /* parked */
    struct deadline session;
    bool fresh;        /* in no completed generation yet, so not to be saved */
    bool sync_awaited; /* has not asked for its assignment of this generation */
    struct list link;  /* in order of joining */
    UT_hash_handle hh;
};

/* A member id that was given out and not yet joined with (ERR_MEMBER_ID_REQUIRED). */
struct pending_member {
    struct group_blob *id;
    struct live_group *group;
    struct deadline expiry;
    struct list link;
};

/* A group with members or joins under way; others stand in the state machine alone. */
struct live_group {
    struct group_blob *id;
    struct group_blob *protocol_type;
    struct group_blob *protocol;
    struct group_blob *leader; /* member id */
    int32_t generation;
    enum coordinator_state state; /* never DEAD */
    bool assigned;                /* the leader's assignments of this generation are here */
    struct list members;
    struct live_member *table;
    uint32_t n_members;
    uint32_t n_joins; /* parked */
    struct list pending;
    uint32_t n_pending;
    size_t bytes; /* of all members, as they are saved */
    struct deadline rebalance;
    struct deadline retry;
    bool initial; /* the first rebalance of an empty group waits for more members */
    bool joined_meanwhile;
    uint64_t initial_end_ms;
    /* Durable changes are counted: an answer may leave once @saved has reached the count at which it was made. */
    uint64_t change;
    uint64_t saved;
    bool dirty;       /* a save could not be proposed: the retry saves everything */
    uint32_t tickets; /* saves under way */
    struct list held; /* answers */
    UT_hash_handle hh;
};

/* What a token stands for. */
struct ticket {
    uint64_t token;
    struct list link;
    struct live_group *group; /* a save, with the count of changes that it covers; NULL otherwise */
    uint64_t change;
    bool full;                           /* GroupSave, not GroupAssign */
    struct coordinator_request *request; /* to answer; NULL otherwise */
};

struct coordinator {
    const struct groups_fsm *fsm;
    struct coordinator_config config;
    struct coordinator_ops ops;
    void *data;
    bool leading;
    uint64_t now_ms;         /* of the call under way */
    struct group_blob *none; /* "" */
    struct live_group *groups;
    struct deadlines deadlines;
    size_t n_deadlines; /* that may be set at once: room is reserved for them */
    struct deadline expire;
    struct list tickets; /* in order of their proposals */
    uint64_t token;      /* the last one given out; never begins anew, so that late completions are told apart */
    struct list answered;
    struct coordinator_stats stats;
};

/* ---- coordinator.c ---------------------------------------------------------------------------------------------- */

/* Every verb begins here. False: not leading, it is answered already. */
bool coordinator_begin(struct coordinator *c, uint64_t now_ms, struct coordinator_request *request, uint8_t verb);
/* Every call from above ends here: @g (may be NULL) goes when nothing needs it, and the answers leave. */
void coordinator_end(struct coordinator *c, struct live_group *g);
/* The request's answer is complete; it waits for what @g has to save. @g may be NULL. */
void coordinator_answer(struct coordinator *c, struct live_group *g, struct coordinator_request *request, int error);
/* Propose @command. With @group it is a save, with @request that one is answered when it comes back. Errors: nothing is
 * under way. */
int coordinator_propose(struct coordinator *c, Cairn__Command__GroupCommand *command, struct live_group *g,
                        struct coordinator_request *request) MUST_USE;
int coordinator_confirm(struct coordinator *c, struct coordinator_request *request) MUST_USE;

/* ---- coordinator_group.c ---------------------------------------------------------------------------------------- */

/* Room for @n deadlines more. Errors: ERR_NOMEM. */
int coordinator_reserve(struct coordinator *c, size_t n) MUST_USE;
/* The live group, loaded where it is saved with members; *out is NULL where there is none. Errors: ERR_NOMEM. */
int coordinator_find(struct coordinator *c, const char *id, struct live_group **out) MUST_USE;
/* As above, and made where there is none. Errors: ERR_NOMEM, ERR_BUSY the limit of groups. */
int coordinator_get(struct coordinator *c, const char *id, struct live_group **out) MUST_USE;
void coordinator_free_group(struct coordinator *c, struct live_group *g); /* answers nothing */
/* Answer everything that waits in @g with @error, and forget its volatile part. */
void coordinator_drop_group(struct coordinator *c, struct live_group *g, int error);

struct live_member *group_find_member(const struct live_group *g, const char *id);
struct live_member *group_find_instance(const struct live_group *g, const char *instance);
struct pending_member *group_find_pending(const struct live_group *g, const char *id);
/* The member that a request names. Errors: ERR_UNKNOWN_MEMBER, ERR_FENCED_INSTANCE. */
int group_check_member(const struct live_group *g, const char *id, const char *instance,
                       struct live_member **out) MUST_USE;
/* Takes over @info. Errors: ERR_NOMEM, @info stays the caller's. */
int group_add_member(struct coordinator *c, struct live_group *g, struct group_member *info,
                     struct live_member **out) MUST_USE;
/* Its parked requests are answered with @error. */
void group_remove_member(struct coordinator *c, struct live_group *g, struct live_member *m, int error);
int group_add_pending(struct coordinator *c, struct live_group *g, struct group_blob *id, int32_t timeout_ms) MUST_USE;
void group_remove_pending(struct coordinator *c, struct pending_member *p);
void group_touch(struct coordinator *c, struct live_member *m);           /* it is alive: a new session begins */
void group_set_blob(struct group_blob **place, struct group_blob *value); /* takes a reference of its own */

/* Something durable has changed: save the generation whole, or only its fresh assignments. */
void group_save(struct coordinator *c, struct live_group *g);
void group_save_assignments(struct coordinator *c, struct live_group *g);
void group_retry_save(struct coordinator *c, struct live_group *g);
void group_save_failed(struct coordinator *c, struct live_group *g);

/* ---- coordinator_rebalance.c ------------------------------------------------------------------------------------ */

/* The protocol that all members support and most prefer; NULL: there is none. Borrowed. */
struct group_blob *group_select_protocol(const struct live_group *g);
/* Members changed: begin a rebalance, or see whether the present one has all it waits for. */
void group_rebalance(struct coordinator *c, struct live_group *g);
void group_try_complete(struct coordinator *c, struct live_group *g);
void group_rebalance_due(struct coordinator *c, struct live_group *g);
void group_session_due(struct coordinator *c, struct live_member *m);
void group_pending_due(struct coordinator *c, struct pending_member *p);
/* Answer a join with the present generation. */
void group_answer_join(struct coordinator *c, struct live_group *g, struct live_member *m,
                       struct coordinator_join *join);
/* Nobody is waited for any more? Then the deadline for syncs goes. */
void group_check_syncs(struct coordinator *c, struct live_group *g);

/* ---- coordinator_offsets.c -------------------------------------------------------------------------------------- */

void coordinator_fetch_confirmed(struct coordinator *c, struct coordinator_fetch *fetch);
void coordinator_expire(struct coordinator *c);

#endif
