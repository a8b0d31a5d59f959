/* Inside of the groups' state machine, shared by its files. */
#ifndef CAIRN_FSM_GROUP_STATE_H
#define CAIRN_FSM_GROUP_STATE_H

#include "node/fsm/group/group_fsm.h"

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

struct offset_key {
    struct uuid topic;
    int32_t partition;
};
static_assert(sizeof(struct offset_key) == 20, "no padding: it is hashed as bytes");

struct offset_item {
    struct group_offset offset;
    struct offset_key key;
    UT_hash_handle hh;
};

struct saved_item {
    struct saved_group group;
    struct offset_item *offsets;
    bool spared; /* only during an expiry */
    UT_hash_handle hh;
};

struct groups_fsm {
    struct saved_item *table;
    struct list groups;
    uint64_t index;
    int64_t time_ms; /* of the newest entry */
};

static inline struct saved_item *saved_item_of(const struct saved_group *g)
{
    return (struct saved_item *)(void *)((char *)(uintptr_t)g - offsetof(struct saved_item, group));
}

struct saved_item *groups_find_item(const struct groups_fsm *f, const char *id);
/* A new group without members. Errors: ERR_NOMEM; ERR_BUSY as @reply's error, *out is NULL. */
int groups_add_item(struct groups_fsm *f, const char *id, struct group_reply *reply, struct saved_item **out) MUST_USE;
void groups_remove_item(struct groups_fsm *f, struct saved_item *item);

/* The commands on offsets. ERR_NOMEM alone is returned. */
int groups_apply_commit(struct groups_fsm *f, const Cairn__Command__GroupCommit *c, struct group_reply *reply) MUST_USE;
void groups_apply_forget(struct groups_fsm *f, const Cairn__Command__GroupForget *c, struct group_reply *reply);
void groups_apply_expire(struct groups_fsm *f, const Cairn__Command__GroupExpire *c, struct group_reply *reply);
void groups_apply_forget_topic(struct groups_fsm *f, const Cairn__Command__GroupForgetTopic *c,
                               struct group_reply *reply);
void groups_clear_offsets(struct saved_item *item);
uint32_t groups_digest_offsets(const struct saved_item *item);

#endif
