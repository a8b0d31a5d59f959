/* Topics and the cluster's state: calls that wait for their answer. Any thread but the background one.
 *
 *     rv = cairn_admin_create_topic(client, &(struct cairn_topic_spec){ .name = "orders", .partitions = 6 }, 10000,
 * &error);
 */
#ifndef CAIRN_ADMIN_H
#define CAIRN_ADMIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cairn/client.h>

#ifdef __cplusplus
extern "C" {
#endif

#define CAIRN_ID_SIZE 16

struct cairn_setting {
    const char *name;
    const char *value;
};

struct cairn_topic_spec {
    const char *name;
    uint32_t partitions;  /* 0: the cluster's default */
    uint32_t replication; /* 0: the cluster's default */
    const struct cairn_setting *configs;
    size_t config_count;
    bool validate_only; /* check, change nothing */
};

struct cairn_partition_info {
    uint32_t partition;
    uint32_t leader_node; /* 0: none known */
    uint64_t leader_epoch;
    const uint32_t *replicas;
    size_t replica_count;
    uint32_t preferred_node;
};

struct cairn_topic_info {
    const char *name;
    uint8_t id[CAIRN_ID_SIZE];
    uint32_t partition_count;
    uint32_t replication;
    const struct cairn_partition_info *partitions; /* NULL in a list */
    const struct cairn_setting *configs;           /* the ones that are set; NULL in a list */
    size_t config_count;
};

struct cairn_topic_list {
    const struct cairn_topic_info *topics;
    size_t count;
};

struct cairn_node_info {
    uint32_t node;
    const char *address;
    const char *rack;
    bool alive;
};

struct cairn_shard_status {
    uint32_t shard;
    uint32_t groups;
    uint32_t leading;
    uint32_t groups_damaged;
    uint64_t log_bytes;
    uint64_t log_bytes_max;
};

/* Health as the answering node sees it; the shards are its own. */
struct cairn_cluster_status {
    uint8_t cluster_id[CAIRN_ID_SIZE];
    uint32_t node; /* who answers */
    const char *node_version;
    uint64_t uptime_ms;
    uint32_t metadata_leader_node; /* 0: none known */
    uint64_t metadata_term;
    const uint32_t *metadata_voters;
    size_t metadata_voter_count;
    const struct cairn_node_info *nodes;
    size_t node_count;
    uint32_t topics;
    uint32_t partitions;
    uint32_t partitions_without_leader;
    const struct cairn_shard_status *shards;
    size_t shard_count;
};

struct cairn_offsets {
    int64_t log_start;      /* the first offset that is still there */
    int64_t high_watermark; /* the end of what is committed */
};

/* What is handed out belongs to the caller, in one piece of memory. NULL is allowed. */
CAIRN_API void cairn_topic_info_free(struct cairn_topic_info *info);
CAIRN_API void cairn_topic_list_free(struct cairn_topic_list *list);
CAIRN_API void cairn_cluster_status_free(struct cairn_cluster_status *status);

/* Errors of all: CAIRN_ERR_TIMEOUT (nobody answered in @timeout_ms), CAIRN_ERR_NOMEM, and what the node refuses with.
 * CAIRN_ERR_UNKNOWN_OUTCOME of create and delete: the connection broke before the answer and the cluster's state does
 * not tell whether this call was the one that changed it. */
CAIRN_API int cairn_admin_create_topic(struct cairn_client *client, const struct cairn_topic_spec *spec,
                                       uint32_t timeout_ms, struct cairn_error *error);
CAIRN_API int cairn_admin_delete_topic(struct cairn_client *client, const char *name, uint32_t timeout_ms,
                                       struct cairn_error *error);
CAIRN_API int cairn_admin_describe_topic(struct cairn_client *client, const char *name, uint32_t timeout_ms,
                                         struct cairn_topic_info **info, struct cairn_error *error);
CAIRN_API int cairn_admin_list_topics(struct cairn_client *client, uint32_t timeout_ms, struct cairn_topic_list **list,
                                      struct cairn_error *error);
CAIRN_API int cairn_admin_offsets(struct cairn_client *client, const char *name, int32_t partition, uint32_t timeout_ms,
                                  struct cairn_offsets *offsets, struct cairn_error *error);
/* The first record whose time is @timestamp_ms (since 1970) or later; -1: none is. */
CAIRN_API int cairn_admin_offset_at(struct cairn_client *client, const char *name, int32_t partition,
                                    int64_t timestamp_ms, uint32_t timeout_ms, int64_t *offset,
                                    struct cairn_error *error);
CAIRN_API int cairn_admin_cluster_status(struct cairn_client *client, uint32_t timeout_ms,
                                         struct cairn_cluster_status **status, struct cairn_error *error);

#ifdef __cplusplus
}
#endif

#endif
