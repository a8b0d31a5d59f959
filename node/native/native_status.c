#include <stdlib.h>

#include "node/native/native_internal.h"

struct status_request {
    struct native_request request;
    struct service_status status;
};

static void fill_shards(const struct service_status *st, Cairn__Native__ShardStatus *shards,
                        Cairn__Native__ShardStatus **pointers)
{
    for (uint32_t i = 0; i < st->n; i++) {
        const struct shard_stats *stats = &st->shards[i].stats.stats;
        Cairn__Native__ShardStatus *shard = &shards[i];
        cairn__native__shard_status__init(shard);
        shard->shard = i;
        shard->groups = stats->groups;
        shard->leading = stats->leading;
        shard->log_bytes = stats->log_bytes;
        shard->log_bytes_max = stats->log_bytes_max;
        shard->groups_damaged = stats->failed;
        pointers[i] = shard;
    }
}

static void collected(struct service_status *st)
{
    struct status_request *r = container_of(st, struct status_request, status);
    struct service *s = r->request.session->service;
    struct control *control = service_control(s);
    const struct metadata_fsm *m = service_metadata(s);
    Cairn__Native__ClusterStatusResponse response = CAIRN__NATIVE__CLUSTER_STATUS_RESPONSE__INIT;
    Cairn__Native__ShardStatus shards[SHARDS_MAX];
    Cairn__Native__ShardStatus *pointers[SHARDS_MAX];
    uint32_t voters[CORE_MEMBERS_MAX];
    struct uuid cluster_id = *control_cluster_id(control);
    struct group *g = control_metadata_group(control);
    Cairn__Native__NodeInfo **nodes = native_nodes(s, &r->request.session->ctx, &response.n_nodes);
    size_t n_nodes = response.n_nodes;

    if (nodes == NULL) {
        native_fail(&r->request, ERR_NOMEM, NULL);
        return;
    }
    fill_shards(st, shards, pointers);
    response.cluster_id = native_uuid_bytes(&cluster_id);
    response.node = control_node(control);
    response.metadata_leader_node = control_leader_of(control, METADATA_GROUP, &response.metadata_term);
    response.nodes = nodes;
    response.topics = metadata_fsm_topic_count(m);
    response.partitions = metadata_fsm_partition_count(m);
    response.partitions_without_leader = service_partitions_without_leader(s);
    response.n_shards = st->n;
    response.shards = pointers;
    response.node_version = (char *)(uintptr_t)service_version(s);
    response.uptime_ms = service_uptime_ms(s);
    response.metadata_voters = voters;
    if (g != NULL) {
        const struct core_config *config = group_config(g);
        for (uint32_t i = 0; config != NULL && i < config->n; i++) {
            if (config->members[i].role == CORE_VOTER) {
                voters[response.n_metadata_voters++] = group_address_node(config->members[i].address);
            }
        }
    }
    native_answer(&r->request, 0, &response.base, NULL);
    native_nodes_free(nodes, n_nodes);
}

int native_cluster_status(struct native_session *session, const struct frame *frame)
{
    Cairn__Native__ClusterStatusRequest *m =
        cairn__native__cluster_status_request__unpack(NULL, frame->header.message_length, frame->message);
    struct status_request *r;
    if (m == NULL) {
        return ERR_MALFORMED;
    }
    cairn__native__cluster_status_request__free_unpacked(m, NULL);
    r = native_request_new(session, frame, sizeof *r);
    if (r == NULL) {
        return ERR_NOMEM;
    }
    r->status.done = collected;
    service_status(session->service, &r->status);
    return 0;
}
