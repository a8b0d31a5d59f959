/* What the client knows of the cluster: nodes and their addresses, topics, and who leads each partition. Fed by
 * metadata answers and by the hints of nodes that do not lead. */
#ifndef CAIRN_CLIENT_META_H
#define CAIRN_CLIENT_META_H

#include <stdbool.h>
#include <stdint.h>
#include <uthash.h>

#include "client/src/core/limits.h"
#include "proto/base/err.h"

struct core;
struct conn;
struct core_call;

/* Fetches have connections of their own: a large answer must not stand in front of an acknowledgement. */
enum meta_lane { LANE_MAIN, LANE_FETCH, LANE_COUNT };

struct meta_node {
    uint32_t id;
    bool alive; /* as some node saw it */
    char address[CLIENT_ADDRESS_SIZE];
    struct conn *lanes[LANE_COUNT];        /* NULL: not connected */
    uint64_t connect_after_ns[LANE_COUNT]; /* back-off */
    unsigned connect_failures[LANE_COUNT];
    UT_hash_handle hh;
};

struct meta_partition {
    uint32_t leader; /* node id, 0: not known */
    uint64_t leader_epoch;
};

struct meta_topic {
    char name[CLIENT_TOPIC_NAME_MAX + 1];
    uint8_t id[16];
    uint64_t group; /* lowest of its partitions'. They only rise: what comes with lower ones is an older topic */
    unsigned refs;  /* producers and consumers that need it */
    int error;      /* of the last answer: ERR_UNKNOWN_TOPIC, ...; ERR_LEADER_NOT_READY before the first */
    uint32_t partition_count; /* 0: not known */
    struct meta_partition *partitions;
    uint64_t generation; /* counts answers for this topic */
    UT_hash_handle hh;
};

struct meta {
    struct meta_node *nodes;   /* by id */
    struct meta_topic *topics; /* by name */
    struct core_call *refresh; /* under way */
    bool wanted;
    unsigned streak;          /* refreshes in quick succession */
    uint64_t last_ns;         /* end of the last refresh */
    uint64_t after_ns;        /* the next one not before */
    uint64_t generation;      /* counts answers, hints and new connections */
    uint32_t metadata_leader; /* node id, 0: not known */
};

void meta_init(struct meta *m);
void meta_close(struct core *core);
void meta_turn(struct core *core);

/* Something is missing or proved wrong: ask again soon. */
void meta_refresh(struct core *core);

/* Keep @name in the cache; one release for each. NULL: out of memory, or a name that is too long. */
struct meta_topic *meta_topic_acquire(struct core *core, const char *name);
void meta_topic_release(struct core *core, struct meta_topic *topic);

/* The partition's leader, or NULL (a refresh is then on its way). */
struct meta_node *meta_leader(struct core *core, struct meta_topic *topic, uint32_t partition);

/* The node behind @id, made if need be where @address is given; NULL: not known or out of memory. */
struct meta_node *meta_node_get(struct core *core, uint32_t id, const char *address);

/* A node said that it does not lead @partition; @leader 0: nor knows who does. */
void meta_not_leader(struct core *core, struct meta_topic *topic, uint32_t partition, uint32_t said_by, uint32_t leader,
                     const char *leader_address, uint64_t leader_epoch);

/* A connection that is ready for requests, or NULL while one is made or waited for. */
struct conn *meta_conn(struct core *core, struct meta_node *node, enum meta_lane lane);

#endif
