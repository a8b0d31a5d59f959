#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/integration/checker/checker.h"

int meta_init(struct checker *ck, char *errmsg)
{
    char *copy = strdup(ck->args.bootstrap);
    char *rest = copy;
    char *address;

    if (copy == NULL) {
        return ERR_NOMEM;
    }
    while ((address = strsep(&rest, ",")) != NULL) {
        if (address[0] == '\0' || ck->n_nodes == NODES_MAX) {
            continue;
        }
        snprintf(ck->nodes[ck->n_nodes++].address, sizeof ck->nodes[0].address, "%s", address);
    }
    free(copy);
    ck->meta_wanted = true;
    if (ck->n_nodes == 0) {
        snprintf(errmsg, ERRMSG_SIZE, "--bootstrap names no address");
        return ERR_CONFIG;
    }
    return 0;
}

void meta_want(struct checker *ck)
{
    ck->meta_wanted = true;
}

int meta_leader(const struct checker *ck, uint32_t partition)
{
    uint32_t leader = ck->partitions[partition].leader;
    for (uint32_t i = 0; leader != 0 && i < ck->n_nodes; i++) {
        if (ck->nodes[i].id == leader) {
            return (int)i;
        }
    }
    return -1;
}

/* A woken node may know an older leader than we do: only what is newer counts. */
void meta_hint(struct checker *ck, uint32_t partition, uint32_t leader, uint64_t epoch, const char *source)
{
    struct ck_partition *p = &ck->partitions[partition];
    if (leader != 0 && p->leader != 0 && epoch == p->leader_epoch && leader != p->leader) {
        violation(ck, partition, -1, "nodes %u and %u are both said to lead epoch %llu (%s)", p->leader, leader,
                  (unsigned long long)epoch, source);
    }
    if (leader != 0 && (epoch > p->leader_epoch || (epoch == p->leader_epoch && p->leader == 0))) {
        p->leader = leader;
        p->leader_epoch = epoch;
    }
}

static void take_nodes(struct checker *ck, const Cairn__Native__MetadataResponse *m)
{
    for (size_t i = 0; i < m->n_nodes; i++) {
        const Cairn__Native__NodeInfo *info = m->nodes[i];
        uint32_t at = 0;
        if (info->address[0] == '\0') {
            continue;
        }
        while (at < ck->n_nodes && strcmp(ck->nodes[at].address, info->address) != 0) {
            at++;
        }
        if (at == NODES_MAX) {
            continue;
        }
        if (at == ck->n_nodes) {
            ck->n_nodes++;
            snprintf(ck->nodes[at].address, sizeof ck->nodes[at].address, "%s", info->address);
        }
        for (uint32_t k = 0; k < ck->n_nodes; k++) {
            if (ck->nodes[k].id == info->node) {
                ck->nodes[k].id = 0; /* it may have moved */
            }
        }
        ck->nodes[at].id = info->node;
    }
}

static void take_topic(struct checker *ck, const Cairn__Native__TopicInfo *t)
{
    struct uuid id;

    if (t->error == ERR_UNKNOWN_TOPIC && ck->args.until_gone && ck->topic_known) {
        ck->topic_gone = true;
        return;
    }
    if (t->error != 0 || t->topic_id.len != sizeof id.bytes || t->n_partitions == 0 ||
        t->n_partitions > PARTITIONS_MAX) {
        return;
    }
    memcpy(id.bytes, t->topic_id.data, sizeof id.bytes);
    if (!ck->topic_known) {
        ck->topic_id = id;
        ck->topic_known = true;
        ck->n_partitions = (uint32_t)t->n_partitions;
        ck->partitions = calloc(ck->n_partitions, sizeof *ck->partitions);
        if (ck->partitions == NULL) {
            abort();
        }
    } else if (!uuid_equal(&id, &ck->topic_id)) {
        ck->topic_gone = true; /* another topic of the same name */
        return;
    }
    for (size_t i = 0; i < t->n_partitions; i++) {
        const Cairn__Native__PartitionInfo *p = t->partitions[i];
        if (p->partition < ck->n_partitions) {
            meta_hint(ck, p->partition, p->leader_node, p->leader_epoch, "metadata");
        }
    }
}

static void answered(struct checker *ck, struct ck_request *request, int status, const struct frame *frame)
{
    Cairn__Native__MetadataResponse *m;

    (void)request;
    ck->meta_busy = false;
    if (status != 0 || frame == NULL) {
        ck->meta_node++;
        ck->meta_wanted = true;
        return;
    }
    m = cairn__native__metadata_response__unpack(NULL, frame->header.message_length, frame->message);
    if (m == NULL) {
        violation(ck, UINT32_MAX, -1, "a metadata response that does not decode");
        return;
    }
    take_nodes(ck, m);
    for (size_t i = 0; i < m->n_topics; i++) {
        if (strcmp(m->topics[i]->name, ck->args.topic) == 0) {
            take_topic(ck, m->topics[i]);
        }
    }
    cairn__native__metadata_response__free_unpacked(m, NULL);
    for (uint32_t i = 0; i < ck->n_partitions; i++) {
        ck->meta_wanted |= meta_leader(ck, i) < 0;
    }
    ck->meta_wanted |= !ck->topic_known;
    ck->meta_node++; /* the next question goes to another node: one that lags is asked once */
}

void meta_tick(struct checker *ck)
{
    uint64_t since_us = ck->now_us - ck->meta_sent_us;
    Cairn__Native__MetadataRequest m = CAIRN__NATIVE__METADATA_REQUEST__INIT;
    struct ck_request request = {.done = answered, .partition = UINT32_MAX};
    char *topics[1] = {(char *)(uintptr_t)ck->args.topic};
    struct ck_conn *conn;

    if (ck->meta_busy) {
        if (since_us < META_TIMEOUT_US) {
            return;
        }
        conn = conn_to(ck, OWNER_CONTROL, ck->meta_node % ck->n_nodes);
        if (conn != NULL) {
            conn_lose(conn); /* its answer moves on to the next node */
        }
        return;
    }
    if (ck->meta_sent_us != 0 && since_us < (ck->meta_wanted ? META_INTERVAL_US : META_PERIOD_US)) {
        return;
    }
    conn = conn_to(ck, OWNER_CONTROL, ck->meta_node % ck->n_nodes);
    if (conn == NULL) {
        /* down, or not open yet: try the next one while this one opens */
        ck->meta_node++;
        ck->meta_sent_us = ck->now_us - META_INTERVAL_US + META_INTERVAL_US / 10;
        return;
    }
    m.topics = topics;
    m.n_topics = 1;
    ck->meta_busy = true;
    ck->meta_wanted = false;
    ck->meta_sent_us = ck->now_us;
    conn_request(conn, CALL_METADATA, &m.base, NULL, 0, &request);
}

static bool stalled(struct checker *ck, const struct ck_conn *conn)
{
    uint64_t limit_us = STALL_US + (conn->owner == OWNER_READER ? FETCH_WAIT_MS * 1000u : 0);

    list_for_each(pos, &conn->requests)
    {
        const struct ck_request *request = list_entry(pos, struct ck_request, link);
        uint64_t age_us = ck->now_us - request->sent_us;
        if (age_us < limit_us) {
            return false; /* all behind it are younger */
        }
        meta_want(ck);
        if (age_us > (uint64_t)(ck->args.timeout_s * 1e6) ||
            (request->partition < ck->n_partitions && meta_leader(ck, request->partition) != (int)conn->node)) {
            return true;
        }
    }
    return false;
}

void meta_drop_stalled(struct checker *ck)
{
    list_for_each(pos, &ck->conns)
    {
        struct ck_conn *conn = list_entry(pos, struct ck_conn, link);
        if (conn->fd >= 0 && stalled(ck, conn)) {
            conn_lose(conn);
        }
    }
}
