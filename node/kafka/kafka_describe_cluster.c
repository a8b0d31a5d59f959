#include "node/kafka/kafka_internal.h"
#include "proto/kafka/messages/describe_cluster.h"

#define CLUSTER_OPERATIONS 8096 /* what is allowed where nobody is denied anything: Kafka's own bits */
#define ENDPOINT_BROKERS 1

static bool fill_brokers(struct kafka_request *r, const struct kafka_describe_cluster_request *m,
                         struct kafka_describe_cluster_response *response)
{
    const struct metadata_fsm *metadata = service_metadata(r->service);
    uint32_t n = metadata_fsm_nodes(metadata);

    response->brokers = kafka_alloc(r, n, sizeof *response->brokers);
    if (response->brokers == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < n; i++) {
        const struct metadata_node *node = metadata_fsm_node_at(metadata, i);
        struct kafka_describe_cluster_response_broker *out = &response->brokers[response->brokers_count];
        bool usable = kafka_node_usable(r, node->node);
        kafka_describe_cluster_response_broker_init(out);
        if ((!usable && !m->include_fenced_brokers) || !kafka_endpoint(r, node->node, &out->host, &out->port)) {
            continue;
        }
        out->broker_id = (int32_t)node->node;
        out->rack = kafka_string(node->rack[0] == '\0' ? NULL : node->rack);
        if (r->version >= 2) {
            out->is_fenced = !usable;
        }
        response->brokers_count++;
    }
    return true;
}

int kafka_describe_cluster(struct kafka_request *r)
{
    struct kafka_describe_cluster_request m;
    struct kafka_describe_cluster_response response;
    char cluster_id[UUID_TEXT_SIZE];
    int rv = kafka_describe_cluster_request_decode(&r->message, r->version, &r->arena, &m);

    if (rv != 0) {
        return rv;
    }
    kafka_describe_cluster_response_init(&response);
    response.cluster_id = kafka_string(uuid_format(control_cluster_id(service_control(r->service)), cluster_id));
    if (m.endpoint_type != ENDPOINT_BROKERS) {
        /* KIP-919: controllers of our own kind are not spoken to by Kafka's tools. */
        response.error_code = KAFKA_ERROR_MISMATCHED_ENDPOINT_TYPE;
        response.error_message = kafka_string("this is a broker's listener");
        response.cluster_id = kafka_string("");
        kafka_answer(r, &response);
        return 0;
    }
    if (!fill_brokers(r, &m, &response)) {
        return ERR_NOMEM;
    }
    response.controller_id = (int32_t)kafka_controller(r);
    if (m.include_cluster_authorized_operations) {
        response.cluster_authorized_operations = CLUSTER_OPERATIONS;
    }
    kafka_answer(r, &response);
    return 0;
}
