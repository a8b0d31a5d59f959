/* Consumer groups as an administrator sees them, whatever client their members use. Calls that wait for their answer;
 * any thread but the background one. What is handed out belongs to the caller, in one piece of memory.
 *
 *     rv = cairn_admin_group_lag(client, "webhook-delivery", 10000, &lag, &error);
 */
#ifndef CAIRN_GROUP_ADMIN_H
#define CAIRN_GROUP_ADMIN_H

#include <cairn/admin.h>
#include <cairn/group.h>

#ifdef __cplusplus
extern "C" {
#endif

struct cairn_group_info {
    const char *name;
    const char *state;         /* "Empty", "PreparingRebalance", "CompletingRebalance", "Stable" */
    const char *protocol_type; /* "consumer"; "": only offsets were committed, by nobody's member */
    uint32_t coordinator_node;
};

struct cairn_group_list {
    const struct cairn_group_info *groups; /* by name */
    size_t count;
    size_t nodes_silent; /* nodes that did not answer: their groups are missing */
};

struct cairn_group_member {
    const char *id;
    const char *instance; /* "": a dynamic member */
    const char *client_id;
    const char *client_host;
    const struct cairn_topic_partition *partitions; /* offsets are -1 */
    size_t partition_count;
};

struct cairn_group_description {
    const char *name;
    const char *state;
    const char *protocol_type;
    const char *protocol; /* the assignor; "" unless stable */
    const char *leader;   /* a member's id */
    int32_t generation;
    uint32_t coordinator_node;
    const struct cairn_group_member *members;
    size_t member_count;
};

struct cairn_partition_lag {
    const char *topic;
    int32_t partition;
    int64_t offset;     /* committed */
    int64_t end_offset; /* high watermark; -1: not known now */
    int64_t lag;        /* records behind; -1: not known now */
    int64_t lag_ms;     /* the age of the first record that is not processed; 0: none is behind; -1: not known now */
    int code;           /* why it is not known; 0: it is */
};

struct cairn_group_lag {
    const char *name;
    const struct cairn_partition_lag *partitions; /* that the group has committed of; by topic and number */
    size_t count;
};

struct cairn_group_offsets {
    const struct cairn_topic_partition *partitions; /* that the group has committed of; by topic and number */
    size_t count;
};

/* NULL is allowed. */
CAIRN_API void cairn_group_offsets_free(struct cairn_group_offsets *offsets);
CAIRN_API void cairn_group_list_free(struct cairn_group_list *list);
CAIRN_API void cairn_group_description_free(struct cairn_group_description *description);
CAIRN_API void cairn_group_lag_free(struct cairn_group_lag *lag);

/* Errors of all: CAIRN_ERR_TIMEOUT, CAIRN_ERR_NOMEM, CAIRN_ERR_INVALID_GROUP, CAIRN_ERR_GROUP_NOT_FOUND (but of
 * commit). */
CAIRN_API int cairn_admin_list_groups(struct cairn_client *client, uint32_t timeout_ms, struct cairn_group_list **list,
                                      struct cairn_error *error);
CAIRN_API int cairn_admin_describe_group(struct cairn_client *client, const char *group, uint32_t timeout_ms,
                                         struct cairn_group_description **description, struct cairn_error *error);
CAIRN_API int cairn_admin_group_lag(struct cairn_client *client, const char *group, uint32_t timeout_ms,
                                    struct cairn_group_lag **lag, struct cairn_error *error);
/* What is committed; nothing where the group is not known. */
CAIRN_API int cairn_admin_group_offsets(struct cairn_client *client, const char *group, uint32_t timeout_ms,
                                        struct cairn_group_offsets **offsets, struct cairn_error *error);
/* With its offsets. Errors: CAIRN_ERR_NON_EMPTY_GROUP. */
CAIRN_API int cairn_admin_delete_group(struct cairn_client *client, const char *group, uint32_t timeout_ms,
                                       struct cairn_error *error);
/* Set the offsets of a group that has no members (made if need be). Errors: CAIRN_ERR_UNKNOWN_MEMBER (it has members:
 * stop them first), CAIRN_ERR_UNKNOWN_TOPIC. */
CAIRN_API int cairn_admin_commit_group(struct cairn_client *client, const char *group,
                                       const struct cairn_topic_partition *offsets, size_t count, uint32_t timeout_ms,
                                       struct cairn_error *error);

#ifdef __cplusplus
}
#endif

#endif
