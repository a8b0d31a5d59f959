/* Which API is handled where. */
#include "node/kafka/kafka_internal.h"
#include "proto/kafka/messages/alter_configs.h"
#include "proto/kafka/messages/alter_partition_reassignments.h"
#include "proto/kafka/messages/api_versions.h"
#include "proto/kafka/messages/create_partitions.h"
#include "proto/kafka/messages/create_topics.h"
#include "proto/kafka/messages/delete_groups.h"
#include "proto/kafka/messages/delete_records.h"
#include "proto/kafka/messages/delete_topics.h"
#include "proto/kafka/messages/describe_cluster.h"
#include "proto/kafka/messages/describe_configs.h"
#include "proto/kafka/messages/describe_groups.h"
#include "proto/kafka/messages/describe_log_dirs.h"
#include "proto/kafka/messages/describe_producers.h"
#include "proto/kafka/messages/elect_leaders.h"
#include "proto/kafka/messages/fetch.h"
#include "proto/kafka/messages/find_coordinator.h"
#include "proto/kafka/messages/heartbeat.h"
#include "proto/kafka/messages/incremental_alter_configs.h"
#include "proto/kafka/messages/init_producer_id.h"
#include "proto/kafka/messages/join_group.h"
#include "proto/kafka/messages/leave_group.h"
#include "proto/kafka/messages/list_groups.h"
#include "proto/kafka/messages/list_offsets.h"
#include "proto/kafka/messages/list_partition_reassignments.h"
#include "proto/kafka/messages/metadata.h"
#include "proto/kafka/messages/offset_commit.h"
#include "proto/kafka/messages/offset_delete.h"
#include "proto/kafka/messages/offset_fetch.h"
#include "proto/kafka/messages/offset_for_leader_epoch.h"
#include "proto/kafka/messages/produce.h"
#include "proto/kafka/messages/sasl_authenticate.h"
#include "proto/kafka/messages/sasl_handshake.h"
#include "proto/kafka/messages/sync_group.h"

const struct kafka_handler kafka_handlers[] = {
    {KAFKA_API_PRODUCE, KAFKA_APPENDS, kafka_produce},
    {KAFKA_API_FETCH, KAFKA_READS, kafka_fetch},
    {KAFKA_API_LIST_OFFSETS, KAFKA_READS, kafka_list_offsets},
    {KAFKA_API_METADATA, KAFKA_READS, kafka_metadata},
    {KAFKA_API_OFFSET_COMMIT, KAFKA_CHANGES, kafka_offset_commit},
    {KAFKA_API_OFFSET_FETCH, KAFKA_READS, kafka_offset_fetch},
    {KAFKA_API_FIND_COORDINATOR, KAFKA_READS, kafka_find_coordinator},
    {KAFKA_API_JOIN_GROUP, KAFKA_READS, kafka_join_group}, /* parks: a leave behind it must get through */
    {KAFKA_API_HEARTBEAT, KAFKA_READS, kafka_heartbeat},
    {KAFKA_API_LEAVE_GROUP, KAFKA_CHANGES, kafka_leave_group},
    {KAFKA_API_SYNC_GROUP, KAFKA_READS, kafka_sync_group},
    {KAFKA_API_DESCRIBE_GROUPS, KAFKA_READS, kafka_describe_groups},
    {KAFKA_API_LIST_GROUPS, KAFKA_READS, kafka_list_groups},
    {KAFKA_API_SASL_HANDSHAKE, KAFKA_CHANGES, kafka_sasl_handshake},
    {KAFKA_API_API_VERSIONS, KAFKA_READS, kafka_api_versions},
    {KAFKA_API_CREATE_TOPICS, KAFKA_CHANGES, kafka_create_topics},
    {KAFKA_API_DELETE_TOPICS, KAFKA_CHANGES, kafka_delete_topics},
    {KAFKA_API_DELETE_RECORDS, KAFKA_CHANGES, kafka_delete_records},
    {KAFKA_API_INIT_PRODUCER_ID, KAFKA_READS, kafka_init_producer_id},
    {KAFKA_API_OFFSET_FOR_LEADER_EPOCH, KAFKA_READS, kafka_offset_for_leader_epoch},
    {KAFKA_API_DESCRIBE_CONFIGS, KAFKA_READS, kafka_describe_configs},
    {KAFKA_API_ALTER_CONFIGS, KAFKA_CHANGES, kafka_alter_configs},
    {KAFKA_API_DESCRIBE_LOG_DIRS, KAFKA_READS, kafka_describe_log_dirs},
    {KAFKA_API_SASL_AUTHENTICATE, KAFKA_CHANGES, kafka_sasl_authenticate},
    {KAFKA_API_CREATE_PARTITIONS, KAFKA_CHANGES, kafka_create_partitions},
    {KAFKA_API_DELETE_GROUPS, KAFKA_CHANGES, kafka_delete_groups},
    {KAFKA_API_ELECT_LEADERS, KAFKA_READS, kafka_elect_leaders},
    {KAFKA_API_INCREMENTAL_ALTER_CONFIGS, KAFKA_CHANGES, kafka_incremental_alter_configs},
    {KAFKA_API_ALTER_PARTITION_REASSIGNMENTS, KAFKA_READS, kafka_alter_partition_reassignments},
    {KAFKA_API_LIST_PARTITION_REASSIGNMENTS, KAFKA_READS, kafka_list_partition_reassignments},
    {KAFKA_API_OFFSET_DELETE, KAFKA_CHANGES, kafka_offset_delete},
    {KAFKA_API_DESCRIBE_CLUSTER, KAFKA_READS, kafka_describe_cluster},
    {KAFKA_API_DESCRIBE_PRODUCERS, KAFKA_READS, kafka_describe_producers},
};
const size_t kafka_handlers_count = sizeof kafka_handlers / sizeof kafka_handlers[0];
