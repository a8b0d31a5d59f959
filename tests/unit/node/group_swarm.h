/* A consumer group's members as state machines over the service's verbs: shared by the files of test_group_swarm. */
#ifndef CAIRN_TESTS_GROUP_SWARM_H
#define CAIRN_TESTS_GROUP_SWARM_H

#include "node/service/service_group.h"
#include "tests/unit/node/door.h"

#define GROUP "workers"
#define MEMBERS 5
#define PARTITIONS 4
#define GENERATIONS_MAX 1000
#define STEP_MS 20
#define FAULTS_MS 60000 /* then everything is healed */
#define HEALED_MS 60000 /* and the group must work within this */
#define SESSION_MS 6000
#define ANSWER_MS 3000 /* a client waits no longer, or for a join: */
#define JOIN_MS 25000

enum phase { JOINING, SYNCING, FETCHING, LIVING };

struct swarm;
struct request;
struct member {
    struct swarm *swarm;
    unsigned number;
    char id[GROUP_MEMBER_ID_MAX + 1];
    int32_t generation;
    enum phase phase;
    bool leads;
    bool owns[PARTITIONS];
    int64_t position[PARTITIONS]; /* next to be committed */
    char everybody[MEMBERS * 4][GROUP_MEMBER_ID_MAX + 1]; /* the leader's: who is to get something */
    uint32_t n_everybody;
    struct request *waiting;
    uint64_t next_ms;
    uint64_t asleep_until_ms;
    uint64_t heartbeat_ms;
    uint64_t heard_ms; /* begin of its newest request that was answered well as a member; 0: since it (re)joined none */
};

/* Its memory is the coordinator's until the answer, also when nobody waits for it any more. */
struct request {
    struct service_groups *g;
    struct member *member; /* NULL: its client has given up */
    struct swarm *swarm;
    struct list link;
    unsigned at;
    bool started;
    bool done;
    uint64_t begin_ms;
    uint64_t deadline_ms;
    int64_t committed[PARTITIONS]; /* acknowledged before it began */
    int32_t generation;
    char id[GROUP_MEMBER_ID_MAX + 1];
    char instance[16];
    struct coordinator_protocol protocol;
    struct coordinator_assignment assignments[MEMBERS * 4];
    char names[MEMBERS * 4][GROUP_MEMBER_ID_MAX + 1];
    uint8_t shares[MEMBERS * 4][PARTITIONS];
    struct coordinator_part parts[PARTITIONS];
};

struct found {
    int32_t generation;
    int64_t offset;
};

struct swarm {
    struct door d;
    struct uuid topic;
    uint64_t random;
    uint64_t now_ms;
    bool healing;
    struct member members[MEMBERS];
    struct list requests;
    /* what is known to all */
    char owners[GENERATIONS_MAX][PARTITIONS][GROUP_MEMBER_ID_MAX + 1];
    struct found found[PARTITIONS][GENERATIONS_MAX];
    unsigned n_found[PARTITIONS];
    int64_t committed[PARTITIONS];
    unsigned acked[PARTITIONS];
    int32_t newest;
    /* the fault under way */
    unsigned victim;
    int fault;
    uint64_t fault_ms; /* when the next one begins or this one ends */
    unsigned faults;
    unsigned zombies;
};

/* Requests of a member to node @at; they are sent by the swarm's step. */
void ask_join(struct member *m, unsigned at);
void ask_sync(struct member *m, unsigned at);
/* @m NULL: somebody who only looks. */
void ask_fetch(struct swarm *s, struct member *m, unsigned at);
void ask_heartbeat(struct member *m, unsigned at);
/* @late: as if it had been on its way since the generation before; nobody waits for it any more. */
void ask_commit(struct member *m, unsigned at, bool late);
void request_free(struct request *r);
/* The answer, inside the service's callback. */
void group_swarm_answered(struct service_groups *g);

#endif
