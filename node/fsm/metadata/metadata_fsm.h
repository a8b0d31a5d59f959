/* The cluster's state machine (group 0): nodes, topics with their UUIDs, partitions -> groups -> replicas, topic
 * configs, producer id blocks. Pure: it issues group and replica ids itself, from counters, so that equal logs give equal
 * ids. Every node holds one, as a voter or a learner of the metadata group, as its read model. */
#ifndef CAIRN_FSM_METADATA_H
#define CAIRN_FSM_METADATA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/entry.h"
#include "proto/base/list.h"
#include "proto/base/uuid.h"
#include "proto/native/command.pb-c.h"

#define METADATA_GROUP 0            /* its group id */
#define METADATA_COMMAND_VERSION 2  /* newest that this program knows */
#define METADATA_ID_FIRST 1024      /* ids below belong to the founding: metadata replica = rank + 1 */
#define METADATA_COORDINATOR_GROUP_FIRST 64 /* group ids of the consumer groups' coordinators: fixed, so that a log alone tells them */
#define METADATA_COORDINATORS_MAX 64        /* and as many ids */
#define METADATA_NODES_MAX 256
#define METADATA_TOPICS_MAX 100000u
#define METADATA_PARTITIONS_MAX 10000u /* a topic */
#define METADATA_REPLICAS_MAX 7        /* a partition */
#define METADATA_LISTENERS_MAX 8       /* a node */
#define METADATA_CONFIGS_MAX 64        /* set on a topic */
#define METADATA_NAME_MAX 249          /* bytes of a topic's name, as Kafka has it */
#define METADATA_ADDRESS_MAX 256
#define METADATA_PRODUCER_BLOCK_MAX 100000u
#define METADATA_VOTERS_MAX 5

struct metadata_fsm;

struct metadata_setting {
    char *key;
    char *value;
};

struct metadata_node {
    uint32_t node;
    struct uuid disk_id;
    char peer_address[METADATA_ADDRESS_MAX];
    char rack[64];
    struct metadata_setting listeners[METADATA_LISTENERS_MAX]; /* listener name -> advertised client address */
    uint32_t n_listeners;
    uint64_t metadata_replica; /* its replica id in the metadata group; 0: none issued */
    uint32_t version_max;
    bool founder;
};

struct metadata_replica {
    uint64_t replica;
    uint32_t node;
    struct uuid disk_id; /* the disk that may found or hold it */
    bool founder;
};

struct metadata_topic;
struct metadata_partition {
    struct metadata_topic *topic;
    uint32_t partition;
    uint64_t group;
    uint32_t preferred_node;
    uint32_t n_replicas;
    struct metadata_replica replicas[METADATA_REPLICAS_MAX];
};

struct metadata_topic {
    char name[METADATA_NAME_MAX + 1];
    struct uuid id;
    uint32_t n_partitions;
    uint32_t replication;
    struct metadata_partition *partitions;
    struct metadata_setting configs[METADATA_CONFIGS_MAX];
    uint32_t n_configs;
    uint64_t created_index;
    struct list link; /* all topics, in order of creation */
};

/* What a command answered: to its proposer, on whichever node that is. */
struct metadata_reply {
    int error;                /* err.h */
    char text[ERRMSG_SIZE];   /* for people; empty when error is 0 */
    int64_t value;            /* first producer id of a block; replica id issued */
    struct uuid topic_id;     /* of the topic created */
};

struct metadata_fsm *metadata_fsm_new(void);
void metadata_fsm_free(struct metadata_fsm *m);

/* Apply a committed entry; @reply is the command's answer (zeroed for other kinds). A refused command changes nothing: that
 * is a reply, not an error. Errors: ERR_VERSION a command newer than this program (the replica must stop), ERR_MALFORMED,
 * ERR_NOMEM. */
int metadata_fsm_apply(struct metadata_fsm *m, const struct entry *entry, struct metadata_reply *reply) MUST_USE;

uint64_t metadata_fsm_index(const struct metadata_fsm *m);    /* of the newest applied entry */
uint64_t metadata_fsm_revision(const struct metadata_fsm *m); /* index of the newest entry that changed anything */
const struct uuid *metadata_fsm_cluster_id(const struct metadata_fsm *m); /* nil before FoundCluster */
uint32_t metadata_fsm_digest(const struct metadata_fsm *m);

const struct metadata_node *metadata_fsm_node(const struct metadata_fsm *m, uint32_t node); /* NULL: not known */
uint32_t metadata_fsm_nodes(const struct metadata_fsm *m);
const struct metadata_node *metadata_fsm_node_at(const struct metadata_fsm *m, uint32_t i); /* sorted by node id */
/* Advertised address of @listener on @n; NULL: it has none. */
const char *metadata_node_listener(const struct metadata_node *n, const char *listener);

const struct metadata_topic *metadata_fsm_topic(const struct metadata_fsm *m, const struct uuid *id);
const struct metadata_topic *metadata_fsm_topic_named(const struct metadata_fsm *m, const char *name);
/* NULL: @t is, or it has no such partition. */
const struct metadata_partition *metadata_topic_partition(const struct metadata_topic *t, int64_t partition);
const struct list *metadata_fsm_topics(const struct metadata_fsm *m); /* of struct metadata_topic.link */
uint32_t metadata_fsm_topic_count(const struct metadata_fsm *m);
uint32_t metadata_fsm_partition_count(const struct metadata_fsm *m); /* over all topics */
const struct metadata_partition *metadata_fsm_partition_of_group(const struct metadata_fsm *m, uint64_t group);
/* True when @group belonged to a topic that was deleted. */
bool metadata_fsm_group_deleted(const struct metadata_fsm *m, uint64_t group);
/* A topic that was deleted stays known by its id: where it is still spoken of (committed offsets) that is for nothing. */
bool metadata_fsm_topic_deleted(const struct metadata_fsm *m, const struct uuid *id);
uint32_t metadata_fsm_deleted_topics(const struct metadata_fsm *m); /* how many */
/* The internal groups of the coordinators, as a topic that no table of topics has: partition i is group
 * METADATA_COORDINATOR_GROUP_FIRST + i. NULL: nobody has needed them yet. */
const struct metadata_topic *metadata_fsm_coordinators(const struct metadata_fsm *m);
static inline bool metadata_is_coordinator(uint64_t group)
{
    return group >= METADATA_COORDINATOR_GROUP_FIRST &&
           group < METADATA_COORDINATOR_GROUP_FIRST + METADATA_COORDINATORS_MAX;
}
/* Newest command version that every registered node knows: newer commands are not proposed. */
uint32_t metadata_fsm_version(const struct metadata_fsm *m);
/* Value of a topic's config: the one set, or its default; NULL for a key that does not exist. */
const char *metadata_topic_config(const struct metadata_topic *t, const char *key);
const char *metadata_topic_config_set(const struct metadata_topic *t, const char *key); /* NULL: not set */
const char *metadata_config_default(const char *key); /* NULL: not known */
/* The command version that every node must know before @key is proposed: nodes of before refuse it. */
uint32_t metadata_config_version(const char *key);

/* Rules that proposers check first, and apply checks again. 0, or ERR_INVALID_TOPIC / ERR_INVALID_CONFIG with @text. */
int metadata_check_topic_name(const char *name, char *text) MUST_USE;
int metadata_check_config(const char *key, const char *value, char *text) MUST_USE;

/* Pack a command as an entry's payload (kind COMMAND), with the oldest version that has its kind. NULL: out of memory. */
struct entry *metadata_command_entry(Cairn__Command__MetadataCommand *command);

#endif
