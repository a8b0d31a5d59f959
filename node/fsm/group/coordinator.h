/* The coordinator of the consumer groups in one internal Raft group, on that group's leader: Kafka's classic protocol
 * (join, sync, heartbeat, leave), offsets, and what administrators ask. Pure: time is passed in, the rest goes through
 * a small vtable.
 *
 * Requests run against the volatile state at once; an answer that tells of a change parks until the command that saves
 * the change is committed. So nobody ever knows a generation, a member id that stays, or a commit that a coordinator's
 * death could take back, and a generation's number is never given out twice.
 *
 * Use: feed committed entries to the state machine, always; coordinator_lead() when this replica leads and is ready,
 * coordinator_step_down() as soon as it does not; between them the verbs below. The caller makes sure that the
 * leadership is confirmed (group_confirmed(), or a barrier first) before it passes a request: a stale leader that says
 * UNKNOWN_MEMBER or FENCED_INSTANCE kills good consumers.
 *
 * Memory: a request is the caller's, with what it points at, and stays until it is answered, exactly once; the answer
 * may come inside the call. What an answer points at belongs to the request: coordinator_request_release() frees it, on
 * any thread. Thread: that of the state machine. */
#ifndef CAIRN_FSM_GROUP_COORDINATOR_H
#define CAIRN_FSM_GROUP_COORDINATOR_H

#include "node/fsm/group/group_fsm.h"

struct coordinator;

enum coordinator_verb {
    COORDINATOR_JOIN = 1,
    COORDINATOR_SYNC,
    COORDINATOR_HEARTBEAT,
    COORDINATOR_LEAVE,
    COORDINATOR_COMMIT,
    COORDINATOR_FETCH,
    COORDINATOR_FORGET,
    COORDINATOR_DELETE,
    COORDINATOR_DESCRIBE,
    COORDINATOR_LIST
};

enum coordinator_state {
    COORDINATOR_EMPTY = 0,
    COORDINATOR_PREPARING,  /* PreparingRebalance: waits for joins */
    COORDINATOR_COMPLETING, /* CompletingRebalance: waits for the leader's assignments */
    COORDINATOR_STABLE,
    COORDINATOR_DEAD /* in answers only: a group that is not known */
};
const char *coordinator_state_name(enum coordinator_state state); /* as Kafka spells it */

/* Every request begins with this. */
struct coordinator_request {
    struct list link; /* the coordinator's until the answer, then the caller's */
    uint8_t verb;     /* enum coordinator_verb, set by the call that submits */
    int error;        /* answer: err.h */
    uint64_t save;    /* the coordinator's: the change of the group that must be saved first */
};

struct coordinator_protocol {
    const char *name;
    const void *metadata;
    uint32_t size;
};

/* JoinGroup. Errors: ERR_MEMBER_ID_REQUIRED (@member is the id to join with), ERR_UNKNOWN_MEMBER, ERR_FENCED_INSTANCE,
 * ERR_INCONSISTENT_PROTOCOL, ERR_INVALID_SESSION_TIMEOUT, ERR_INVALID_GROUP, ERR_INVALID, ERR_GROUP_FULL, ERR_REBALANCE
 * (a later join of the same member took over), ERR_BUSY, ERR_NOMEM, ERR_NOT_COORDINATOR. */
struct coordinator_join_member {
    struct group_blob *id;
    struct group_blob *instance; /* NULL: dynamic */
    struct group_blob *metadata; /* under the chosen protocol */
};
struct coordinator_join {
    struct coordinator_request request;
    const char *group;
    const char *member;   /* "": a new one */
    const char *instance; /* NULL: dynamic */
    const char *client_id;
    const char *client_host;
    const char *protocol_type;
    int32_t session_timeout_ms;
    int32_t rebalance_timeout_ms; /* < 0: the session timeout (version 0) */
    const struct coordinator_protocol *protocols;
    uint32_t n_protocols;
    bool id_required;           /* version 4 and later: a new dynamic member is told its id before it is let in */
    bool skip_assignment_known; /* version 9 and later */
    struct uuid uuid;           /* random: becomes part of a new member's id */
    /* answer */
    int32_t generation;
    struct group_blob *protocol_type_out;
    struct group_blob *protocol;
    struct group_blob *leader;
    struct group_blob *member_out; /* NULL: echo the request's */
    bool skip_assignment;
    uint32_t n_members; /* for the leader */
    struct coordinator_join_member *members;
};

/* SyncGroup. Errors: ERR_UNKNOWN_MEMBER, ERR_FENCED_INSTANCE, ERR_ILLEGAL_GENERATION, ERR_INCONSISTENT_PROTOCOL,
 * ERR_REBALANCE, ERR_TOO_BIG, ERR_NOMEM, ERR_NOT_COORDINATOR. */
struct coordinator_assignment {
    const char *member;
    const void *data;
    uint32_t size;
};
struct coordinator_sync {
    struct coordinator_request request;
    const char *group;
    const char *member;
    const char *instance;
    const char *protocol_type; /* NULL: not said (before version 5) */
    const char *protocol;
    int32_t generation;
    const struct coordinator_assignment *assignments; /* of the leader */
    uint32_t n_assignments;
    /* answer */
    struct group_blob *protocol_type_out;
    struct group_blob *protocol_out;
    struct group_blob *assignment; /* NULL: no bytes */
};

/* Heartbeat. Errors: ERR_REBALANCE, ERR_UNKNOWN_MEMBER, ERR_ILLEGAL_GENERATION, ERR_FENCED_INSTANCE,
 * ERR_NOT_COORDINATOR. */
struct coordinator_heartbeat {
    struct coordinator_request request;
    const char *group;
    const char *member;
    const char *instance;
    int32_t generation;
};

/* LeaveGroup. Each member has an answer of its own: ERR_UNKNOWN_MEMBER, ERR_FENCED_INSTANCE. */
struct coordinator_leaver {
    const char *member;   /* "": found by its instance */
    const char *instance; /* NULL: dynamic */
    int error;
};
struct coordinator_leave {
    struct coordinator_request request;
    const char *group;
    struct coordinator_leaver *members;
    uint32_t n_members;
};

struct coordinator_part {
    struct uuid topic;
    const char *topic_name; /* only where offsets are deleted: what subscriptions call it. Borrowed */
    int32_t partition;
    int32_t leader_epoch;
    int64_t offset;       /* fetch: -1: nothing committed */
    const void *metadata; /* commit; NULL is kept as no bytes */
    uint32_t metadata_size;
    struct group_blob *metadata_out; /* fetch; NULL: nothing committed */
    int error; /* commit, forget: one that is set already is left out */
};

/* OffsetCommit. Errors: ERR_UNKNOWN_MEMBER, ERR_ILLEGAL_GENERATION, ERR_FENCED_INSTANCE, ERR_REBALANCE,
 * ERR_INVALID_GROUP, ERR_BUSY, ERR_TOO_BIG, ERR_NOT_COORDINATOR (it may have been committed). A part of its own:
 * ERR_OFFSET_METADATA_TOO_BIG. */
struct coordinator_commit {
    struct coordinator_request request;
    const char *group;
    const char *member; /* "" with generation -1: no member (simple consumers, administrators) */
    const char *instance;
    int32_t generation;
    int64_t retention_ms; /* -1: the cluster's */
    struct coordinator_part *parts;
    uint32_t n_parts;
};

/* OffsetFetch of one group: everything committed before the call is in the answer. A group that is not known has no
 * offsets, which is no error. Errors: ERR_NOT_COORDINATOR, ERR_NOMEM. */
struct coordinator_fetch {
    struct coordinator_request request;
    const char *group;
    bool all;       /* every offset: @parts comes with the answer */
    bool unchecked; /* for people and dashboards: without a linearizable point, which costs an entry of the log */
    struct coordinator_part *parts;
    uint32_t n_parts;
    bool known; /* answer: there is such a group */
};

/* OffsetDelete. Errors: ERR_GROUP_NOT_FOUND, ERR_NON_EMPTY_GROUP, ERR_NOT_COORDINATOR; a part: ERR_SUBSCRIBED. */
struct coordinator_forget {
    struct coordinator_request request;
    const char *group;
    struct coordinator_part *parts;
    uint32_t n_parts;
};

/* DeleteGroups, one group. Errors: ERR_GROUP_NOT_FOUND, ERR_NON_EMPTY_GROUP, ERR_NOT_COORDINATOR. */
struct coordinator_delete {
    struct coordinator_request request;
    const char *group;
};

/* DescribeGroups, one group. Errors: ERR_GROUP_NOT_FOUND (state DEAD), ERR_NOMEM, ERR_NOT_COORDINATOR. */
struct coordinator_described {
    struct group_member info;    /* its protocols are left out */
    struct group_blob *metadata; /* subscription and assignment stand here while the group is stable */
};
struct coordinator_describe {
    struct coordinator_request request;
    const char *group;
    /* answer */
    enum coordinator_state state;
    int32_t generation;
    struct group_blob *protocol_type;
    struct group_blob *protocol; /* "" unless stable */
    struct group_blob *leader;
    struct coordinator_described *members;
    uint32_t n_members;
};

/* ListGroups. All groups here are of the classic type. Errors: ERR_NOMEM, ERR_NOT_COORDINATOR. */
struct coordinator_listed {
    struct group_blob *id;
    struct group_blob *protocol_type;
    enum coordinator_state state;
};
struct coordinator_list {
    struct coordinator_request request;
    uint32_t states; /* bits 1 << enum coordinator_state; 0: all */
    /* answer */
    struct coordinator_listed *groups;
    uint32_t n_groups;
};

/* What lies above. Called from inside the calls below, never re-entered from propose and confirm. */
struct coordinator_ops {
    /* Propose @entry, in order; coordinator_proposed(@token) follows, not inside this call. Takes the reference.
     * Errors (nothing taken): ERR_BUSY and other retriable ones: tried again soon; ERR_NOT_LEADER: the end is near. */
    int (*propose)(void *data, struct entry *entry, uint64_t token);
    /* A linearizable point (barrier): coordinator_confirmed(@token) follows, not inside this call. Errors:
     * ERR_NOT_LEADER. */
    int (*confirm)(void *data, uint64_t token);
    /* @request has its answer. Its memory is the caller's again; further calls to the coordinator are allowed. */
    void (*answer)(void *data, struct coordinator_request *request);
};

struct coordinator_config {
    int32_t session_timeout_min_ms;
    int32_t session_timeout_max_ms;
    int32_t initial_delay_ms;
    int64_t offset_retention_ms;
    uint32_t members_max; /* group.max.size */
};
void coordinator_config_default(struct coordinator_config *config);

/* @fsm is borrowed, and read only. NULL: out of memory. */
struct coordinator *coordinator_new(const struct groups_fsm *fsm, const struct coordinator_config *config,
                                    const struct coordinator_ops *ops, void *data) MUST_USE;
void coordinator_free(struct coordinator *c); /* must have stepped down */
/* The node is gone (simulation), and perhaps the requests' memory with it: step down without touching or answering any. */
void coordinator_abandon(struct coordinator *c);

/* Everything of earlier terms is applied: take over the saved members, each with a fresh session. Errors: ERR_NOMEM. */
int coordinator_lead(struct coordinator *c, uint64_t now_ms) MUST_USE;
/* Every request under way is answered ERR_NOT_COORDINATOR; later completions are ignored. Harmless when not leading. */
void coordinator_step_down(struct coordinator *c);
bool coordinator_leading(const struct coordinator *c);

/* The proposal came back: @status 0: it is applied, with @reply; else an error, and @reply is not read. */
void coordinator_proposed(struct coordinator *c, uint64_t now_ms, uint64_t token, int status,
                          const struct group_reply *reply);
void coordinator_confirmed(struct coordinator *c, uint64_t now_ms, uint64_t token, int status);
/* Run what is due. Call at coordinator_deadline(), an early call is harmless. UINT64_MAX: nothing is due ever. */
void coordinator_tick(struct coordinator *c, uint64_t now_ms);
uint64_t coordinator_deadline(const struct coordinator *c);

void coordinator_join(struct coordinator *c, uint64_t now_ms, struct coordinator_join *join);
void coordinator_sync(struct coordinator *c, uint64_t now_ms, struct coordinator_sync *sync);
void coordinator_heartbeat(struct coordinator *c, uint64_t now_ms, struct coordinator_heartbeat *heartbeat);
void coordinator_leave(struct coordinator *c, uint64_t now_ms, struct coordinator_leave *leave);
void coordinator_commit(struct coordinator *c, uint64_t now_ms, struct coordinator_commit *commit);
void coordinator_fetch(struct coordinator *c, uint64_t now_ms, struct coordinator_fetch *fetch);
void coordinator_forget(struct coordinator *c, uint64_t now_ms, struct coordinator_forget *forget);
void coordinator_delete(struct coordinator *c, uint64_t now_ms, struct coordinator_delete *del);
void coordinator_describe(struct coordinator *c, uint64_t now_ms, struct coordinator_describe *describe);
void coordinator_list(struct coordinator *c, uint64_t now_ms, struct coordinator_list *list);
/* A topic was deleted: its offsets go. Best effort: say it again after a change of leaders. */
void coordinator_forget_topic(struct coordinator *c, const struct uuid *topic);

/* Free what the answer points at. */
void coordinator_request_release(struct coordinator_request *request);

struct coordinator_stats {
    uint32_t groups; /* with members or joins under way */
    uint32_t members;
    uint64_t rebalances; /* completed; this and what follows since the coordinator was made */
    uint64_t sessions_expired;
    uint64_t commits;
};
void coordinator_stats(const struct coordinator *c, struct coordinator_stats *stats);

#endif
