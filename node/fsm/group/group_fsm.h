/* The state machine of an internal group: of each consumer group what must outlive its coordinator, which is its
 * generation with the members, and the committed offsets. Pure: equal entries give equal states (groups_fsm_digest).
 *
 * A command is judged again when it is applied: what the coordinator accepted may have been overtaken. */
#ifndef CAIRN_FSM_GROUP_H
#define CAIRN_FSM_GROUP_H

#include "node/fsm/group/group_limits.h"
#include "node/fsm/group/group_types.h"
#include "proto/base/entry.h"
#include "proto/base/list.h"
#include "proto/base/uuid.h"
#include "proto/native/command.pb-c.h"

struct groups_fsm;

struct group_offset {
    struct uuid topic;
    int32_t partition;
    int32_t leader_epoch; /* -1: not known */
    int64_t offset;
    int64_t commit_ms; /* entry time */
    int64_t expire_ms; /* -1: by the cluster's retention */
    struct group_blob *metadata;
};

struct saved_group {
    struct group_blob *id;
    struct group_blob *protocol_type; /* "" where only offsets were ever committed */
    struct group_blob *protocol;
    struct group_blob *leader;
    int32_t generation;
    bool assigned; /* false: its members have joined, and wait for their assignments */
    int64_t empty_since_ms;
    uint32_t n_members;
    struct group_member *members;
    uint32_t n_offsets;
    struct list link; /* all groups, in order of creation */
};

/* What a command answered, to its proposer. */
struct group_reply {
    int error;      /* err.h */
    uint32_t count; /* offsets removed */
};

struct groups_fsm *groups_fsm_new(void);
void groups_fsm_free(struct groups_fsm *f);

/* Apply a committed entry; @reply is the command's answer (zeroed for other kinds). A refused command changes nothing.
 * Errors (the replica must stop): ERR_VERSION, ERR_MALFORMED, ERR_NOMEM. */
int groups_fsm_apply(struct groups_fsm *f, const struct entry *entry, struct group_reply *reply) MUST_USE;
uint64_t groups_fsm_index(const struct groups_fsm *f);
uint32_t groups_fsm_digest(const struct groups_fsm *f); /* independent of any order of tables */

/* What is borrowed here is good until the next apply. */
const struct saved_group *groups_fsm_find(const struct groups_fsm *f, const char *id); /* NULL: not known */
const struct list *groups_fsm_groups(const struct groups_fsm *f);                      /* of saved_group.link */
uint32_t groups_fsm_count(const struct groups_fsm *f);
const struct group_offset *groups_fsm_offset(const struct saved_group *g, const struct uuid *topic, int32_t partition);
/* All offsets of @g: pass NULL, then what was returned; NULL at the end. */
const struct group_offset *groups_fsm_offset_next(const struct saved_group *g, const struct group_offset *previous);

/* Pack a command as an entry's payload (kind COMMAND). NULL: out of memory, or larger than an entry may be. */
struct entry *group_command_entry(Cairn__Command__GroupCommand *command);

#endif
