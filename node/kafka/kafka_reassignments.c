/* Reassignments by hand: there are none under way, ever; the cluster replaces lost replicas by itself. */
#include "node/kafka/kafka_internal.h"
#include "proto/kafka/messages/alter_partition_reassignments.h"
#include "proto/kafka/messages/list_partition_reassignments.h"

static int16_t judge(const struct metadata_topic *t,
                     const struct kafka_alter_partition_reassignments_request_partition *in, const char **text)
{
    *text = NULL;
    if (metadata_topic_partition(t, in->partition_index) == NULL) {
        return KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION;
    }
    if (in->replicas_count < 0) {
        return KAFKA_ERROR_NO_REASSIGNMENT_IN_PROGRESS;
    }
    *text = "replicas are not moved by hand in this version";
    return KAFKA_ERROR_INVALID_REPLICA_ASSIGNMENT;
}

int kafka_alter_partition_reassignments(struct kafka_request *r)
{
    struct kafka_alter_partition_reassignments_request m;
    struct kafka_alter_partition_reassignments_response response;
    int rv = kafka_alter_partition_reassignments_request_decode(&r->message, r->version, &r->arena, &m);

    if (rv != 0) {
        return rv;
    }
    kafka_alter_partition_reassignments_response_init(&response);
    response.error_message = kafka_string(NULL);
    response.allow_replication_factor_change = m.allow_replication_factor_change;
    response.responses = kafka_alloc(r, (size_t)m.topics_count, sizeof *response.responses);
    for (int32_t i = 0; i < m.topics_count; i++) {
        const struct kafka_alter_partition_reassignments_request_topic *in = &m.topics[i];
        struct kafka_alter_partition_reassignments_response_topic *out;
        const struct metadata_topic *t = kafka_find_topic(r, in->name);
        if (response.responses == NULL) {
            return ERR_NOMEM;
        }
        out = &response.responses[response.responses_count++];
        out->name = in->name;
        out->partitions = kafka_alloc(r, (size_t)in->partitions_count, sizeof *out->partitions);
        if (out->partitions == NULL) {
            return ERR_NOMEM;
        }
        for (int32_t k = 0; k < in->partitions_count; k++) {
            const char *text;
            out->partitions[k].partition_index = in->partitions[k].partition_index;
            out->partitions[k].error_code = judge(t, &in->partitions[k], &text);
            out->partitions[k].error_message = kafka_string(text);
        }
        out->partitions_count = in->partitions_count;
    }
    kafka_answer(r, &response);
    return 0;
}

int kafka_list_partition_reassignments(struct kafka_request *r)
{
    struct kafka_list_partition_reassignments_request m;
    struct kafka_list_partition_reassignments_response response;
    int rv = kafka_list_partition_reassignments_request_decode(&r->message, r->version, &r->arena, &m);

    if (rv != 0) {
        return rv;
    }
    kafka_list_partition_reassignments_response_init(&response);
    response.error_message = kafka_string(NULL);
    kafka_answer(r, &response);
    return 0;
}
