/* Members of a consumer group on world_group.h, on virtual time, that watch each other: what is committed was
 * processed, and no two have a partition at once in good faith. */
#ifndef TESTS_CLIENT_MEMBERS_H
#define TESTS_CLIENT_MEMBERS_H

#include "client/src/core/membership.h"
#include "tests/unit/client/world_group.h"

#define GROUP "billing"
#define MEMBERS_MAX 6
#define RECORDS_MAX 4096

struct all;

struct member {
    struct all *all;
    int number;
    struct consumer *c; /* NULL: not there */
    bool stuck;         /* does not poll */
    bool owns[WORLD_PARTITIONS_MAX];
    struct chunk *chunk; /* in work: processed when it polls again */
    unsigned assigned;   /* events */
    unsigned revoked;
    unsigned lost;
    size_t revoked_partitions;
    size_t read; /* records */
};

struct all {
    struct world w;
    struct world_group group;
    struct consumer_config config;
    struct member members[MEMBERS_MAX];
    uint8_t processed[WORLD_PARTITIONS_MAX][RECORDS_MAX]; /* how often */
    int64_t committed[WORLD_PARTITIONS_MAX];
    bool strict; /* no record twice */
};

void all_open(struct all *a, uint32_t partitions, uint64_t seed);
void all_close(struct all *a);
void member_start(struct all *a, int number, const char *instance);
/* In good order; member_kill() frees it. */
void member_leave(struct member *m);
/* It dies: no word to anybody. */
void member_kill(struct member *m);
size_t member_owned(const struct member *m); /* partitions */
/* Let everybody poll until @done or @limit_ms of virtual time pass; true when done, or where that is NULL. */
bool all_run(struct all *a, uint64_t limit_ms, bool (*done)(struct all *a));
/* All records are processed, and all of them committed. */
bool all_done(struct all *a);
/* Each partition has exactly one owner among those that live, and nobody is in the middle of a change. */
bool all_owned(struct all *a);
/* @count records to every partition. */
void append_all(struct all *a, int32_t count);

#endif
