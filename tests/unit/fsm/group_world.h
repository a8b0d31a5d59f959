/* A coordinator on its state machine, with a log that commits when the test says so. */
#ifndef CAIRN_TEST_GROUP_WORLD_H
#define CAIRN_TEST_GROUP_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "node/fsm/group/coordinator.h"

struct call {
    union {
        struct coordinator_request request;
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
    };
    unsigned answers; /* must never pass 1 */
    void (*answered)(struct call *call);
    void *owner;
};

struct queued {
    struct entry *entry; /* NULL: a confirmation */
    uint64_t token;
};

struct group_world {
    struct groups_fsm *fsm;
    struct coordinator *c;
    struct coordinator_config config;
    uint64_t now_ms;
    int64_t wall_ms;
    uint64_t index;
    struct queued queue[4096];
    size_t n_queue;
    int refuse;         /* what propose answers with; 0: it takes */
    struct entry **log; /* all that was committed */
    size_t n_log;
    void (*applied)(struct group_world *w, const struct entry *entry, const struct group_reply *reply);
    void *owner;
    bool
        *memory_fails; /* NULL, or switched off while an entry is applied: a replica that finds no memory there stops */
};

void world_open(struct group_world *w);
void world_close(struct group_world *w);
/* Commit the oldest thing queued. False: nothing is. */
bool world_commit_one(struct group_world *w);
void world_commit(struct group_world *w);
/* The first thing queued comes back with @status and is not committed. */
void world_fail_one(struct group_world *w, int status);
/* Another replica takes over: the first @keep of what is queued are committed, the rest is lost. */
void world_change_leader(struct group_world *w, size_t keep);
/* Time passes: everything that is due happens, and is committed. */
void world_pass(struct group_world *w, uint64_t ms);

/* A finished call gives back what it holds and may be used again. */
void call_reset(struct call *call);

extern const struct coordinator_protocol range_protocol[1];
void send_join(struct group_world *w, struct call *call, const char *member);
void send_static_join(struct group_world *w, struct call *call, const char *member, const char *instance);
void send_sync(struct group_world *w, struct call *call, const char *member, int32_t generation);
void send_heartbeat(struct group_world *w, struct call *call, const char *member, int32_t generation);
void send_leave(struct group_world *w, struct call *call, struct coordinator_leaver *leaver);
void send_commit(struct group_world *w, struct call *call, const char *member, int32_t generation,
                 struct coordinator_part *part);
void send_fetch(struct group_world *w, struct call *call, struct coordinator_part *part);
void send_describe(struct group_world *w, struct call *call);
struct uuid topic_uuid(unsigned n);

#define assert_answer(call, expected)                                                                                  \
    do {                                                                                                               \
        assert_int_equal((call)->answers, 1);                                                                          \
        assert_string_equal(err_name((call)->request.error), err_name(expected));                                      \
    } while (0)
#define assert_parked(call) assert_int_equal((call)->answers, 0)

#endif
