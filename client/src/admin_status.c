#include <stdlib.h>
#include <string.h>

#include "client/src/admin.h"
#include "proto/native/native.pb-c.h"

static size_t status_size(const Cairn__Native__ClusterStatusResponse *in)
{
    size_t size = ADMIN_ROUND(sizeof(struct cairn_cluster_status)) + ADMIN_ROUND(strlen(in->node_version) + 1) +
                  ADMIN_ROUND(in->n_metadata_voters * sizeof(uint32_t)) +
                  ADMIN_ROUND(in->n_nodes * sizeof(struct cairn_node_info)) +
                  ADMIN_ROUND(in->n_shards * sizeof(struct cairn_shard_status));

    for (size_t i = 0; i < in->n_nodes; i++) {
        size += ADMIN_ROUND(strlen(in->nodes[i]->address) + 1) + ADMIN_ROUND(strlen(in->nodes[i]->rack) + 1);
    }
    return size;
}

static const struct cairn_node_info *nodes_build(struct admin_memory *m, const Cairn__Native__ClusterStatusResponse *in)
{
    struct cairn_node_info *nodes = admin_memory_take(m, in->n_nodes * sizeof *nodes);

    for (size_t i = 0; i < in->n_nodes; i++) {
        nodes[i].node = in->nodes[i]->node;
        nodes[i].address = admin_memory_text(m, in->nodes[i]->address);
        nodes[i].rack = admin_memory_text(m, in->nodes[i]->rack);
        nodes[i].alive = in->nodes[i]->alive;
    }
    return nodes;
}

static const struct cairn_shard_status *shards_build(struct admin_memory *m,
                                                     const Cairn__Native__ClusterStatusResponse *in)
{
    struct cairn_shard_status *shards = admin_memory_take(m, in->n_shards * sizeof *shards);

    for (size_t i = 0; i < in->n_shards; i++) {
        const Cairn__Native__ShardStatus *s = in->shards[i];

        shards[i] = (struct cairn_shard_status){.shard = s->shard,
                                                .groups = s->groups,
                                                .leading = s->leading,
                                                .groups_damaged = s->groups_damaged,
                                                .log_bytes = s->log_bytes,
                                                .log_bytes_max = s->log_bytes_max};
    }
    return shards;
}

static struct cairn_cluster_status *status_build(const Cairn__Native__ClusterStatusResponse *in)
{
    struct admin_memory m;
    struct cairn_cluster_status *status;
    uint32_t *voters;

    if (!admin_memory_init(&m, status_size(in))) {
        return NULL;
    }
    status = admin_memory_take(&m, sizeof *status);
    if (in->cluster_id.len == CAIRN_ID_SIZE) {
        memcpy(status->cluster_id, in->cluster_id.data, CAIRN_ID_SIZE);
    }
    status->node = in->node;
    status->node_version = admin_memory_text(&m, in->node_version);
    status->uptime_ms = in->uptime_ms;
    status->metadata_leader_node = in->metadata_leader_node;
    status->metadata_term = in->metadata_term;
    voters = admin_memory_take(&m, in->n_metadata_voters * sizeof *voters);
    if (in->n_metadata_voters > 0) {
        memcpy(voters, in->metadata_voters, in->n_metadata_voters * sizeof *voters);
    }
    status->metadata_voters = voters;
    status->metadata_voter_count = in->n_metadata_voters;
    status->nodes = nodes_build(&m, in);
    status->node_count = in->n_nodes;
    status->topics = in->topics;
    status->partitions = in->partitions;
    status->partitions_without_leader = in->partitions_without_leader;
    status->shards = shards_build(&m, in);
    status->shard_count = in->n_shards;
    return status;
}

int cairn_admin_cluster_status(struct cairn_client *client, uint32_t timeout_ms, struct cairn_cluster_status **status,
                               struct cairn_error *error)
{
    struct admin_call a = {.client = client, .call = CALL_CLUSTER_STATUS, .timeout_ms = timeout_ms, .repeatable = true};
    Cairn__Native__ClusterStatusResponse *answer;
    int rv;

    rv = admin_run(&a, "cluster status", error);
    if (rv != 0) {
        return rv;
    }
    answer = cairn__native__cluster_status_response__unpack(NULL, a.answer_size, a.answer);
    admin_release(&a);
    if (answer == NULL) {
        return error_set(error, ERR_MALFORMED, "cluster status: the node's answer cannot be read");
    }
    *status = status_build(answer);
    cairn__native__cluster_status_response__free_unpacked(answer, NULL);
    return *status != NULL ? 0 : error_set(error, ERR_NOMEM, "cluster status: out of memory");
}

void cairn_cluster_status_free(struct cairn_cluster_status *status)
{
    free(status);
}
