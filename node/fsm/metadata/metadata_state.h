/* Inside of the metadata state machine, shared by its files. */
#ifndef CAIRN_FSM_METADATA_STATE_H
#define CAIRN_FSM_METADATA_STATE_H

#include "node/fsm/metadata/metadata_fsm.h"

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

/* A topic with its places in the tables. */
struct topic_item {
    struct metadata_topic topic;
    UT_hash_handle by_id;
    UT_hash_handle by_name;
};

/* group id -> partition; a deleted group stays with partition NULL, so that its id is known to be dead. */
struct group_item {
    uint64_t group;
    struct metadata_partition *partition;
    UT_hash_handle hh;
};

struct deleted_topic {
    struct uuid id;
    UT_hash_handle hh;
};

struct metadata_fsm {
    struct uuid cluster_id;
    uint64_t index;
    uint64_t revision;
    uint64_t replica_next;
    uint64_t group_next;
    int64_t producer_id_next;
    uint32_t cluster_version;
    uint32_t n_nodes;
    struct metadata_node *nodes[METADATA_NODES_MAX]; /* sorted by node id */
    struct topic_item *topics_by_id;
    struct topic_item *topics_by_name;
    struct list topics;
    uint32_t n_partitions;
    struct group_item *groups;
    struct deleted_topic *deleted;
    struct topic_item *coordinators; /* in no table of topics; NULL: none yet */
};

struct metadata_node *metadata_find_node(const struct metadata_fsm *m, uint32_t node);

/* The commands. Each answers through @reply; ERR_NOMEM alone is returned. */
int metadata_apply_register(struct metadata_fsm *m, const Cairn__Command__RegisterNode *c, bool founder,
                            struct metadata_reply *reply) MUST_USE;
int metadata_apply_create_topic(struct metadata_fsm *m, const Cairn__Command__CreateTopic *c, uint64_t index,
                                struct metadata_reply *reply) MUST_USE;
int metadata_apply_create_coordinators(struct metadata_fsm *m, const Cairn__Command__CreateCoordinators *c, uint64_t index,
                                       struct metadata_reply *reply) MUST_USE;
int metadata_apply_delete_topic(struct metadata_fsm *m, const Cairn__Command__DeleteTopic *c,
                                struct metadata_reply *reply) MUST_USE;
int metadata_apply_alter_topic(struct metadata_fsm *m, const Cairn__Command__AlterTopic *c,
                               struct metadata_reply *reply) MUST_USE;
int metadata_apply_create_partitions(struct metadata_fsm *m, const Cairn__Command__CreatePartitions *c,
                                     struct metadata_reply *reply) MUST_USE;
int metadata_apply_replace_replica(struct metadata_fsm *m, const Cairn__Command__ReplaceReplica *c,
                                   struct metadata_reply *reply) MUST_USE;
void metadata_topic_free(struct topic_item *item);

void metadata_refuse(struct metadata_reply *reply, int error, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
bool metadata_uuid(const ProtobufCBinaryData *bytes, struct uuid *out);

#endif
