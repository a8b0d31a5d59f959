/* The coordinators of consumer groups on their shard: for each internal group that has a replica here the replicated
 * log, the state machine that it feeds, and the coordinator that answers while this replica leads. What partition.h is
 * for records, this is for consumer groups.
 *
 * Internal groups have fixed group ids below METADATA_ID_FIRST, so that a log alone tells what a replica is. Shard's thread,
 * but for what says hub. */
#ifndef CAIRN_SHARD_GROUP_RUNTIME_H
#define CAIRN_SHARD_GROUP_RUNTIME_H

#include "node/fsm/group/coordinator.h"
#include "node/shard/shard.h"

/* One call to a coordinator, to be submitted from the hub with shards_submit(@group). @u is filled by the caller as
 * coordinator.h says; what it points at stays until @op.done. Then u.request.error is the answer: an error of the verb,
 * ERR_NOT_COORDINATOR (another node leads, or none), ERR_LEADER_NOT_READY (this one leads and is not ready yet). What the
 * answer points at is freed by coordinator_request_release(). */
struct coordinator_op {
    struct shard_op op;
    uint64_t group; /* internal group */
    enum coordinator_verb verb;
    union {
        struct coordinator_request request; /* all begin with it */
        struct coordinator_join join;
        struct coordinator_sync sync;
        struct coordinator_heartbeat heartbeat;
        struct coordinator_leave leave;
        struct coordinator_commit commit;
        struct coordinator_fetch fetch;
        struct coordinator_forget forget;
        struct coordinator_delete del;
        struct coordinator_describe describe;
        struct coordinator_list list;
    } u;
    /* the runtime's */
    struct group_barrier barrier;
};
void coordinator_op_run(struct shard *shard, struct shard_op *op);

/* The topics that the groups of one coordinator have committed offsets of, each once; none where this replica does not lead.
 * Then, of a list of topics, forget the offsets (best effort). The array is the caller's to free(). */
struct coordinator_topics {
    struct shard_op op;
    uint64_t group;
    struct uuid *topics;
    uint32_t n;
};
void coordinator_topics_run(struct shard *shard, struct shard_op *op);
void coordinator_topics_forget_run(struct shard *shard, struct shard_op *op);

/* ---- for this room and the simulator's oracles ------------------------------------------------------------------------ */

struct group_runtime;
struct partition_open;

struct group_runtime *group_runtime_find(struct shard *shard, uint64_t group); /* NULL: no replica here */
const struct groups_fsm *group_runtime_state(const struct group_runtime *r);
/* Life of a replica, as of a partition's (partition_open_run and so on tell them apart by group id). Errors: those of
 * group_found, group_join and group_resume, ERR_NOMEM. */
int group_runtime_open(struct shard *shard, const struct partition_open *open) MUST_USE;
int group_runtime_resume(struct shard *shard, uint64_t group, uint64_t replica) MUST_USE;
/* False: there is none, and @done does not run. */
bool group_runtime_delete(struct shard *shard, uint64_t group, void (*done)(void *data), void *data) MUST_USE;
void group_runtime_close_all(struct shard *shard);
/* The node is gone (simulation): after group_host_abandon(), which still looks at proposals. Requests are not touched. */
void group_runtime_abandon_all(struct shard *shard);
/* Add what the coordinators here count. */
void group_runtime_count(struct shard *shard, struct shard_stats *stats);
/* End of turn: answers leave, timers are set. */
void group_runtime_wake_dirty(struct shard *shard);

#endif
