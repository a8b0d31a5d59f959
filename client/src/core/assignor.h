/* How a group's leader deals partitions out to the members: Kafka's assignors, so that any client may lead a group that
 * ours is in, and the other way round. Pure. */
#ifndef CAIRN_CLIENT_ASSIGNOR_H
#define CAIRN_CLIENT_ASSIGNOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/err.h"

enum assignor {
    ASSIGNOR_RANGE,             /* topic by topic, neighbours to one member */
    ASSIGNOR_ROUNDROBIN,        /* all partitions in turn */
    ASSIGNOR_COOPERATIVE_STICKY /* as few changes as balance allows; what changes hands rests for one generation */
};
#define ASSIGNOR_COUNT 3

const char *assignor_name(enum assignor a); /* as Kafka's clients spell it */
/* ASSIGNOR_COUNT: not one of ours. */
enum assignor assignor_find(const char *name);

struct assignor_topic {
    const char *name;
    uint32_t partition_count;
};

struct assignor_part {
    uint32_t topic; /* index in the plan */
    uint32_t partition;
};

struct assignor_parts {
    struct assignor_part *items;
    size_t count;
    size_t capacity;
};

struct assignor_member {
    const char *id;
    const char *instance; /* "": a dynamic member */
    uint32_t *topics;     /* subscribed to: indices, ascending */
    size_t topic_count;
    struct assignor_parts owned; /* as it said when it joined */
    int32_t owned_generation;    /* -1: not said */
    struct assignor_parts assigned;
};

/* The caller's. @members are put in another order. */
struct assignor_plan {
    struct assignor_topic *topics; /* sorted by name */
    size_t topic_count;
    struct assignor_member *members;
    size_t member_count;
    size_t withheld; /* out: partitions that change hands, and are nobody's in this generation */
};

/* Fill each member's @assigned. Errors: ERR_NOMEM. */
int assignor_run(enum assignor a, struct assignor_plan *plan) MUST_USE;

/* Errors: ERR_NOMEM. */
int assignor_parts_add(struct assignor_parts *parts, uint32_t topic, uint32_t partition) MUST_USE;

#endif
