/* This node as part of a cluster: its identity on disk, first start and joining, peer links, the metadata group and the
 * read model that it feeds, and the loop that makes the local replicas match it. On the leader of the metadata group
 * also: placing replicas and growing the group.
 *
 * Hub thread only. */
#ifndef CAIRN_CONTROL_H
#define CAIRN_CONTROL_H

#include <stdbool.h>
#include <stdint.h>

#include "node/fsm/metadata/metadata_fsm.h"
#include "node/shard/shard.h"
#include "raft/transport/transport.h"

struct control;

#define CONTROL_SEEDS_MAX 64

struct control_seed {
    uint32_t node;
    char address[ENV_ADDRESS_MAX]; /* of its peer listener */
};

struct control_listener {
    char name[32];
    char address[ENV_ADDRESS_MAX]; /* advertised to clients */
};

struct control_params {
    struct env *env;
    struct buf_pool *pool;
    const char *data_dir; /* made if its parent exists */
    uint32_t node;
    const char *rack;
    const char *peer_listen;     /* "host:port" */
    const char *peer_advertised; /* NULL: as bound */
    struct control_seed seeds[CONTROL_SEEDS_MAX];
    uint32_t n_seeds;
    struct control_listener listeners[METADATA_LISTENERS_MAX];
    uint32_t n_listeners;
    uint32_t shards; /* of a fresh data directory; another count than the directory's is refused */
    uint64_t log_file_bytes;
    uint64_t log_max_bytes; /* all shards together */
    uint64_t log_reserve_bytes;
    uint64_t cache_max_bytes;
    uint64_t peer_receive_max_bytes;
    uint32_t election_timeout_ms; /* 0: the default */
    uint32_t heartbeat_ms;
    uint32_t default_partitions;
    uint32_t default_replication;
    const struct coordinator_config *groups; /* consumer groups; NULL: the defaults */
    bool forget_pledge; /* the explicit way out when a seed never comes up; refused once formed */
};

/* Locks the data directory, reads or makes the identity, opens shards and links; founding, joining and resuming go on by
 * themselves. Errors with one line in @errmsg that says what to do: ERR_CONFIG, ERR_BUSY (directory in use), ERR_CORRUPT,
 * ERR_DISK_WIPED, ERR_IO, ... */
int control_open(const struct control_params *params, struct control **out, char *errmsg) MUST_USE;
/* Before control_close(): hand leaderships over; @done when none is left or after @limit_ms. */
void control_hand_over(struct control *c, uint32_t limit_ms, void (*done)(void *data), void *data);
void control_close(struct control *c, void (*closed)(void *data), void *data);
void control_abandon(struct control *c); /* the node is gone (simulation): free everything, no disk, no callbacks */
/* Called when this node must not go on (its disk was wiped under a known id, another cluster, ...): @text explains. */
void control_on_refused(struct control *c, void (*cb)(void *data, int err, const char *text), void *data);

bool control_formed(const struct control *c);
const struct uuid *control_cluster_id(const struct control *c);
uint32_t control_node(const struct control *c);
struct shards *control_shards(struct control *c);
struct transport *control_transport(struct control *c);
const struct metadata_fsm *control_metadata(const struct control *c); /* the local read model; may lag */
const char *control_peer_address(const struct control *c); /* as bound */

/* Who leads @group as far as this node has heard; 0: nobody known. @term may be NULL. */
uint32_t control_leader_of(const struct control *c, uint64_t group, uint64_t *term);
bool control_node_alive(const struct control *c, uint32_t node); /* heard of lately */
struct group *control_metadata_group(const struct control *c);  /* NULL: not there yet */

/* Have the metadata group commit @command (packed at once; wherever its leader is) and learn its reply. @done runs exactly
 * once, after the local read model has reached the command when that happens within the time limit. Errors through
 * @done: the reply's, ERR_NOT_FORMED, ERR_LEADER_NOT_READY, ERR_TIMEOUT, ERR_UNKNOWN_OUTCOME. */
struct control_proposal {
    void (*done)(struct control_proposal *p, int error, const struct metadata_reply *reply);
    uint32_t timeout_ms;
    void *impl[24];
};
void control_propose(struct control *c, Cairn__Command__MetadataCommand *command, struct control_proposal *p);

/* A point up to which the local read model is confirmed by the metadata leader since the call (linearizable reads). */
struct control_barrier {
    void (*done)(struct control_barrier *b, int error);
    uint32_t timeout_ms;
    void *impl[24];
};
void control_barrier(struct control *c, struct control_barrier *b);

/* Where partitions end, of whoever leads them (not linearizable; for lag). @done runs once, perhaps inside the call, within a
 * few seconds. Errors of an end: ERR_LEADER_NOT_READY, ERR_NOT_LEADER, ERR_TIMEOUT: not known now; ERR_UNKNOWN_TOPIC,
 * ERR_SHUTDOWN, ERR_IO, ERR_CORRUPT. */
struct control_log_end {
    uint64_t group;
    int64_t offset; /* where the reader stands */
    int error;
    int64_t log_start;
    int64_t high_watermark;
    int64_t time_ms; /* leader's wall clock when the first record at or after @offset was appended; -1: there is none */
};
struct control_log_ends {
    struct control_log_end *ends; /* the caller's */
    uint32_t n;
    void (*done)(struct control_log_ends *ask);
    uint32_t pending;
    uint64_t deadline_ms;
};
void control_log_ends(struct control *c, struct control_log_ends *ask);

/* A command that creates a topic with its replicas spread over the nodes that are alive, and preferred leaders spread
 * evenly. 0 partitions or replicas: the defaults. Free with cairn__command__metadata_command__free_unpacked().
 * Errors with @text: ERR_INVALID_TOPIC, ERR_TOPIC_EXISTS, ERR_INVALID_PARTITIONS, ERR_INVALID_REPLICAS (more than nodes),
 * ERR_NOMEM. */
int control_place_topic(struct control *c, const char *name, uint32_t partitions, uint32_t replication,
                        Cairn__Command__MetadataCommand **out, char *text) MUST_USE;
/* A command that creates the @count internal groups of the coordinators, spread like partitions over the nodes that are
 * known, on up to CONTROL_COORDINATOR_REPLICAS of them each. Errors: ERR_NOMEM, ERR_LEADER_NOT_READY (too few nodes are
 * alive). */
int control_place_coordinators(struct control *c, uint32_t count, Cairn__Command__MetadataCommand **out) MUST_USE;

/* A command that gives a topic @total partitions, the new ones placed likewise. Errors with @text: ERR_UNKNOWN_TOPIC,
 * ERR_INVALID_PARTITIONS (not more than it has), ERR_INVALID_REPLICAS (too few nodes are alive), ERR_VERSION (a node of the
 * cluster does not know the command), ERR_NOMEM. */
int control_place_partitions(struct control *c, const struct uuid *topic, uint32_t total,
                             Cairn__Command__MetadataCommand **out, char *text) MUST_USE;

#endif
