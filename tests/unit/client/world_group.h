/* Consumer groups for world.h: the node's own coordinator over a log in memory, and a thin door before it. */
#ifndef TESTS_CLIENT_WORLD_GROUP_H
#define TESTS_CLIENT_WORLD_GROUP_H

#include "node/fsm/group/coordinator.h"
#include "tests/unit/client/server.h"

#define WORLD_GROUP_QUEUE_MAX 1024

struct world_group {
    struct world *w;
    struct groups_fsm *fsm;
    struct coordinator_config config;
    struct coordinator *c;
    uint32_t node; /* where the coordinator is */
    uint64_t index;
    struct {
        struct entry *entry; /* NULL: a confirmation */
        uint64_t token;
    } queue[WORLD_GROUP_QUEUE_MAX];
    size_t queued;
    struct list pending; /* requests not yet answered */
    uint64_t joins;
    uint64_t commits; /* requests */
    unsigned lose;    /* in 1000: the answer is lost with the connection */
};

void world_group_open(struct world_group *g, struct world *w);
/* The same for a server that runs: by the real clock. Closed after the server. */
void world_group_serve(struct world_group *g, struct server *s);
void world_group_close(struct world_group *g);
/* The coordinator dies, @node's takes over from what is committed. */
void world_group_move(struct world_group *g, uint32_t node);
/* What is committed of a partition of WORLD_TOPIC; -1: nothing. */
int64_t world_group_offset(const struct world_group *g, const char *group, int32_t partition);
/* The same while @s, whose thread the world belongs to, runs. */
int64_t world_group_served_offset(const struct world_group *g, struct server *s, const char *group, int32_t partition);

#endif
