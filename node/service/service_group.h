/* The verbs of consumer groups: who coordinates a group, and what its coordinator is asked. The requests and answers
 * themselves are those of node/fsm/group/coordinator.h, whose comments say what each field means and which errors a verb has.
 *
 * A group belongs to one of the internal Raft groups, by a hash of its name; that group's leader is the coordinator.
 * So each verb but find and list must be asked on the coordinator's node; elsewhere it is ERR_NOT_COORDINATOR at once.
 *
 * Errors that every verb may have, all of them retriable (in Kafka's words behind them, as kafka_error_from_err() has it
 * with KAFKA_COORDINATOR): ERR_NOT_COORDINATOR (16; for a change it may nevertheless have been made), ERR_LEADER_NOT_READY
 * (14; to find a coordinator: 15, the front door's matter), ERR_BUSY, ERR_NOMEM, ERR_SHUTDOWN.
 *
 * Hub thread. Callbacks may run inside the call that starts the verb. There is no cancelling: whose client is gone lets the
 * answer come (a parked join has its time limit; all end at once when the leadership or the node ends). */
#ifndef CAIRN_SERVICE_GROUP_H
#define CAIRN_SERVICE_GROUP_H

#include "node/service/service.h"
#include "node/shard/group_runtime.h"

#define SERVICE_GROUPS_MAX 1000u            /* consumer groups in one request */
#define SERVICE_FIND_TIMEOUT_MS 5000u       /* while the first coordinators are made and elected */

/* ---- find the coordinator ------------------------------------------------------------------------------------------- */

/* The first of all makes the internal groups: that is waited for, up to SERVICE_FIND_TIMEOUT_MS. Errors:
 * ERR_INVALID_GROUP, ERR_LEADER_NOT_READY (nobody is known to lead; ask again), ERR_NOT_FORMED. */
struct service_find_coordinator {
    struct service *service;
    const struct request_context *ctx;
    const char *group; /* in; borrowed until @done */
    /* out */
    int error;
    uint32_t node;
    const char *address; /* on the context's listener; "" when not known. Good until the callback returns */
    void (*done)(struct service_find_coordinator *f); /* then the caller's */
    void *data;
    /* the service's */
    uint64_t internal_group;
    uint64_t deadline_ms;
    struct list link;
};
void service_find_coordinator(struct service *s, struct service_find_coordinator *f);
/* Who coordinates @group as far as this node has heard; 0: nobody known. */
uint32_t service_coordinator_of(const struct service *s, const char *group);

/* ---- ask the coordinator ---------------------------------------------------------------------------------------------- */

/* One or more calls of any verbs, answered together (OffsetFetch, DescribeGroups and DeleteGroups name many groups). For
 * each call set op.verb and the fields of its op.u, nothing else: @u.request is the coordinator's.
 *
 * - COORDINATOR_JOIN: @uuid is filled by the service. @rebalance_timeout_ms < 0: the session timeout (version 0);
 *   @id_required from version 4, @skip_assignment_known from version 9.
 * - COORDINATOR_LEAVE: u.leave.members[i].error stands beside the whole's (which versions 0 to 2 lift to the top).
 * - Parts (commit, fetch, forget) name their topic by @topic or, where that is nil, by @topic_name. One that does not
 *   exist has ERR_UNKNOWN_TOPIC as its own error when it is committed or deleted, and offset -1 when it is fetched.
 *   @topic_name is filled in where it was NULL; it is then the read model's: good until the callback returns.
 *   What a fetch names and this node has not heard of is looked up in a current read model first, since -1 makes a consumer
 *   begin anew: ERR_LEADER_NOT_READY where that cannot be had.
 * - COORDINATOR_FETCH with @all: parts of topics that are deleted are left out. require_stable needs no flag: without
 *   transactions nothing is pending, and every answer is linearizable.
 * - COORDINATOR_COMMIT: members are fenced by generation, also at the moment when the commit is applied. */
struct service_groups;
struct service_group_call {
    struct coordinator_op op;
    struct service_groups *request;
};
struct service_groups {
    struct service *service;
    const struct request_context *ctx;
    void (*done)(struct service_groups *g); /* then the caller's, until service_groups_free() */
    void *data;
    uint32_t n;
    uint32_t pending;
    struct list link; /* the caller's */
    struct control_barrier barrier; /* the service's */
    struct service_group_call calls[];
};
struct service_groups *service_groups_new(uint32_t calls) MUST_USE; /* zeroed; NULL: out of memory */
/* Frees what the answers point at, too; what the requests point at (parts!) is the caller's, and must be there still. Not while it is under way, but when the
 * node is abandoned. NULL is allowed. */
void service_groups_free(struct service_groups *g);
void service_groups(struct service *s, struct service_groups *g);
static inline int service_group_error(const struct service_group_call *call)
{
    return call->op.u.request.error;
}

/* ---- list the groups that this node coordinates ------------------------------------------------------------------------- */

/* Errors: ERR_LEADER_NOT_READY: some of them could not be asked yet; what stands in the answer is true all the same. */
struct service_list_groups {
    struct service *service;
    const struct request_context *ctx;
    uint32_t states; /* bits 1 << enum coordinator_state; 0: all */
    /* out: read groups->calls[i].op.u.list, of those without error */
    int error;
    struct service_groups *groups;
    void (*done)(struct service_list_groups *l); /* then the caller's: service_list_groups_close() */
    void *data;
};
void service_list_groups(struct service *s, struct service_list_groups *l);
void service_list_groups_close(struct service_list_groups *l); /* what the answer points at */

/* ---- lag ---------------------------------------------------------------------------------------------------------------- */

/* How far a group is behind, of each partition that it has committed an offset of. @lag counts offsets up to the high
 * watermark; @lag_ms is the age of the first record that is not processed: this node's time minus the time at which the
 * leader appended it (0 where nothing is left). The offsets are the coordinator's own (this node's: others are
 * ERR_NOT_COORDINATOR), the ends are asked of the partitions' leaders. Not linearizable.
 * Part errors: ERR_LEADER_NOT_READY, ERR_NOT_LEADER, ERR_TIMEOUT, ...: not known now (@end_offset, @lag, @lag_ms are -1). */
struct service_lag_part {
    struct uuid topic;
    const char *topic_name; /* the read model's: good until the callback returns */
    int32_t partition;
    int error;
    int64_t offset;     /* committed */
    int64_t log_start;  /* an offset below it counts from here */
    int64_t end_offset; /* high watermark */
    int64_t lag;
    int64_t lag_ms;
};
struct service_lag_group {
    const char *group; /* in: borrowed until service_lag_close(); where all were asked: the answer's */
    int error;         /* ERR_GROUP_NOT_FOUND, ERR_NOT_COORDINATOR, ... */
    struct service_lag_part *parts;
    uint32_t n_parts;
};
struct service_lag {
    struct service *service;
    const struct request_context *ctx;
    bool all; /* every group that this node coordinates: @groups comes with the answer */
    struct service_lag_group *groups; /* the caller's, unless @all */
    uint32_t n_groups;
    int error; /* of the whole: ERR_NOMEM, or, with @all, ERR_LEADER_NOT_READY: some could not be asked */
    void (*done)(struct service_lag *l); /* then the caller's, until service_lag_close() */
    void *data;
    /* the service's */
    struct service_list_groups list;
    struct service_groups *fetch;
    struct control_log_ends ends;
    struct service_lag_part *parts; /* of all groups */
};
void service_lag(struct service *s, struct service_lag *l);
/* Frees what the answer points at; not while it is under way, but when the node is abandoned. Harmless before and twice. */
void service_lag_close(struct service_lag *l);

#endif
