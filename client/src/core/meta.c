#include "client/src/core/meta.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/src/core/call.h"
#include "client/src/core/conn.h"
#include "proto/native/native.pb-c.h"

void meta_init(struct meta *m)
{
    memset(m, 0, sizeof *m);
}

void meta_close(struct core *core)
{
    struct meta *m = &core->meta;
    struct meta_node *node;
    struct meta_node *node_next;
    struct meta_topic *topic;
    struct meta_topic *topic_next;

    HASH_ITER (hh, m->nodes, node, node_next) {
        HASH_DEL(m->nodes, node);
        free(node);
    }
    HASH_ITER (hh, m->topics, topic, topic_next) {
        HASH_DEL(m->topics, topic);
        free(topic->partitions);
        free(topic);
    }
}

void meta_refresh(struct core *core)
{
    if (core->meta.topics == NULL) {
        return; /* nobody needs to know: to wake up for it would have no end while a call's node is hard to reach */
    }
    core->meta.wanted = true;
    if (core->meta.refresh == NULL) { /* else its end starts a turn */
        core_wake_at(core, core->meta.after_ns);
    }
}

struct meta_node *meta_node_get(struct core *core, uint32_t id, const char *address)
{
    struct meta *m = &core->meta;
    struct meta_node *node;

    HASH_FIND(hh, m->nodes, &id, sizeof id, node);
    if (node != NULL || id == 0 || address == NULL || address[0] == '\0') {
        return node;
    }
    if (HASH_COUNT(m->nodes) >= CLIENT_NODES_MAX || strlen(address) >= CLIENT_ADDRESS_SIZE) {
        return NULL;
    }
    node = calloc(1, sizeof *node);
    if (node == NULL) {
        return NULL;
    }
    node->id = id;
    node->alive = true;
    snprintf(node->address, sizeof node->address, "%s", address);
    HASH_ADD(hh, m->nodes, id, sizeof node->id, node);
    return node;
}

struct meta_topic *meta_topic_acquire(struct core *core, const char *name)
{
    struct meta *m = &core->meta;
    size_t length = strlen(name);
    struct meta_topic *topic;

    if (length == 0 || length > CLIENT_TOPIC_NAME_MAX) {
        return NULL;
    }
    HASH_FIND(hh, m->topics, name, length, topic);
    if (topic == NULL) {
        topic = calloc(1, sizeof *topic);
        if (topic == NULL) {
            return NULL;
        }
        memcpy(topic->name, name, length);
        topic->error = ERR_LEADER_NOT_READY;
        HASH_ADD_KEYPTR(hh, m->topics, topic->name, length, topic);
        m->streak = 0; /* somebody waits: no back-off of earlier troubles */
        m->after_ns = 0;
    }
    topic->refs++;
    if (topic->partition_count == 0) {
        meta_refresh(core);
    }
    return topic;
}

void meta_topic_release(struct core *core, struct meta_topic *topic)
{
    if (--topic->refs == 0) {
        HASH_DEL(core->meta.topics, topic);
        free(topic->partitions);
        free(topic);
    }
}

struct meta_node *meta_leader(struct core *core, struct meta_topic *topic, uint32_t partition)
{
    struct meta_node *node = NULL;

    if (partition < topic->partition_count && topic->partitions[partition].leader != 0) {
        node = meta_node_get(core, topic->partitions[partition].leader, NULL);
    }
    if (node == NULL) {
        meta_refresh(core);
    }
    return node;
}

void meta_not_leader(struct core *core, struct meta_topic *topic, uint32_t partition, uint32_t said_by, uint32_t leader,
                     const char *leader_address, uint64_t leader_epoch)
{
    struct meta_partition *p;

    if (partition >= topic->partition_count) {
        return;
    }
    p = &topic->partitions[partition];
    if (leader != 0 && leader != said_by && leader_epoch >= p->leader_epoch &&
        meta_node_get(core, leader, leader_address) != NULL) {
        p->leader = leader;
        p->leader_epoch = leader_epoch;
        core->meta.generation++;
        return;
    }
    if (p->leader == said_by) {
        p->leader = 0;
    }
    meta_refresh(core);
}

struct conn *meta_conn(struct core *core, struct meta_node *node, enum meta_lane lane)
{
    struct conn *conn = node->lanes[lane];

    if (conn != NULL) {
        if (conn->state != CONN_READY && (node->connect_failures[lane] > 0 ||
                                          core->now_ns + CONN_SILENCE_MS * NS_PER_MS >= conn->connect_deadline_ns)) {
            meta_refresh(core); /* hard to reach: it may lead no longer */
        }
        return conn_ready(conn) ? conn : NULL;
    }
    if (core->now_ns < node->connect_after_ns[lane]) {
        meta_refresh(core);
        core_wake_at(core, node->connect_after_ns[lane]);
        return NULL;
    }
    if (conn_open(core, node->address, node, lane, &conn) != 0) {
        node->connect_after_ns[lane] =
            core->now_ns + core_backoff_ns(core, node->connect_failures[lane]++, CONN_RETRY_MIN_MS, CONN_RETRY_MAX_MS);
        core_wake_at(core, node->connect_after_ns[lane]);
        return NULL;
    }
    node->lanes[lane] = conn;
    return NULL;
}

static void meta_apply_nodes(struct core *core, const Cairn__Native__MetadataResponse *m)
{
    for (size_t i = 0; i < m->n_nodes; i++) {
        const Cairn__Native__NodeInfo *in = m->nodes[i];
        struct meta_node *node = meta_node_get(core, in->node, in->address);

        if (node == NULL) {
            continue;
        }
        node->alive = in->alive;
        if (in->address[0] != '\0' && strlen(in->address) < CLIENT_ADDRESS_SIZE &&
            strcmp(node->address, in->address) != 0) { /* it moved: new connections go there */
            snprintf(node->address, sizeof node->address, "%s", in->address);
            for (int lane = 0; lane < LANE_COUNT; lane++) {
                node->connect_after_ns[lane] = 0;
            }
        }
    }
}

/* Room for partitions 0..max; grows only. False: out of memory, or numbers that nobody can mean. */
static bool meta_topic_size(struct meta_topic *topic, uint32_t count)
{
    struct meta_partition *p;

    if (count <= topic->partition_count) {
        return true;
    }
    if (count > CLIENT_PARTITIONS_MAX) {
        return false;
    }
    p = realloc(topic->partitions, count * sizeof *p);
    if (p == NULL) {
        return false;
    }
    memset(p + topic->partition_count, 0, (count - topic->partition_count) * sizeof *p);
    topic->partitions = p;
    topic->partition_count = count;
    return true;
}

static uint64_t lowest_group(const Cairn__Native__TopicInfo *in)
{
    uint64_t group = UINT64_MAX;

    for (size_t i = 0; i < in->n_partitions; i++) {
        group = in->partitions[i]->group < group ? in->partitions[i]->group : group;
    }
    return group;
}

static bool meta_apply_topic(struct meta_topic *topic, const Cairn__Native__TopicInfo *in)
{
    uint64_t group = lowest_group(in);
    bool complete = true;

    if (in->error == 0 && group < topic->group) {
        return false; /* a node that is behind still has the topic that was deleted before this one was made */
    }
    topic->error = (int)in->error;
    if (in->error != 0) {
        return false;
    }
    if (in->topic_id.len == sizeof topic->id && memcmp(topic->id, in->topic_id.data, sizeof topic->id) != 0) {
        memcpy(topic->id, in->topic_id.data, sizeof topic->id); /* first seen, or deleted and created again */
        topic->group = group;
        for (uint32_t i = 0; i < topic->partition_count; i++) {
            topic->partitions[i] = (struct meta_partition){0};
        }
    }
    if (in->n_partitions == 0 || !meta_topic_size(topic, (uint32_t)in->n_partitions)) {
        return false;
    }
    for (size_t i = 0; i < in->n_partitions; i++) {
        const Cairn__Native__PartitionInfo *pi = in->partitions[i];
        struct meta_partition *p;

        if (pi->partition >= topic->partition_count) {
            continue;
        }
        p = &topic->partitions[pi->partition];
        if (pi->leader_epoch >= p->leader_epoch && (pi->leader_node != 0 || pi->leader_epoch > p->leader_epoch)) {
            p->leader = pi->leader_node;
            p->leader_epoch = pi->leader_epoch;
        }
        complete = complete && p->leader != 0;
    }
    return complete;
}

static bool meta_apply(struct core *core, const Cairn__Native__MetadataResponse *m)
{
    bool complete = true;

    core->meta.metadata_leader = m->metadata_leader_node;
    meta_apply_nodes(core, m);
    for (size_t i = 0; i < m->n_topics; i++) {
        const Cairn__Native__TopicInfo *in = m->topics[i];
        struct meta_topic *topic;

        HASH_FIND(hh, core->meta.topics, in->name, strlen(in->name), topic);
        if (topic == NULL) {
            continue;
        }
        topic->generation++;
        complete = meta_apply_topic(topic, in) && complete;
    }
    core->meta.generation++;
    return complete;
}

static void meta_done(struct core_call *call, int status, const struct frame *frame)
{
    struct core *core = call->core;
    struct meta *meta = &core->meta;
    Cairn__Native__MetadataResponse *m = NULL;

    meta->refresh = NULL;
    if (status == 0) {
        m = cairn__native__metadata_response__unpack(NULL, frame->header.message_length, frame->message);
    }
    if (m != NULL) {
        if (meta_apply(core, m)) {
            meta->streak = 0;
        }
        cairn__native__metadata_response__free_unpacked(m, NULL);
    }
    meta->streak++;
    meta->last_ns = core->now_ns;
    meta->after_ns = core->now_ns + core_backoff_ns(core, meta->streak - 1, META_RETRY_MIN_MS, META_RETRY_MAX_MS);
    core_wake_at(core, 0);
}

static void meta_ask(struct core *core)
{
    struct meta *meta = &core->meta;
    unsigned count = HASH_COUNT(meta->topics);
    Cairn__Native__MetadataRequest m = CAIRN__NATIVE__METADATA_REQUEST__INIT;
    struct meta_topic *topic;
    struct meta_topic *next;
    uint8_t *message;
    size_t size;

    m.topics = malloc((count + 1) * sizeof *m.topics);
    if (m.topics == NULL) {
        return;
    }
    HASH_ITER (hh, meta->topics, topic, next) {
        m.topics[m.n_topics++] = topic->name;
    }
    size = cairn__native__metadata_request__get_packed_size(&m);
    message = malloc(size + 1);
    if (message != NULL) {
        cairn__native__metadata_request__pack(&m, message);
        meta->refresh = call_start(core, CALL_METADATA, message, size, 10 * NS_PER_S, meta_done, NULL);
        free(message);
    }
    free(m.topics);
}

void meta_turn(struct core *core)
{
    struct meta *meta = &core->meta;

    if (meta->refresh != NULL) {
        return;
    }
    if (HASH_COUNT(meta->topics) > 0) {
        uint64_t stale_ns = meta->last_ns + core->config.metadata_max_age_ms * NS_PER_MS;
        if (core->now_ns >= stale_ns) {
            meta->wanted = true;
        } else {
            core_wake_at(core, stale_ns);
        }
    } else {
        meta->wanted = false; /* nobody needs to know */
    }
    if (!meta->wanted) {
        return;
    }
    if (core->now_ns < meta->after_ns) {
        core_wake_at(core, meta->after_ns);
        return;
    }
    meta_ask(core);
    meta->wanted = meta->refresh == NULL; /* out of memory: again later */
    if (meta->wanted) {
        meta->after_ns = core->now_ns + META_RETRY_MAX_MS * NS_PER_MS;
        core_wake_at(core, meta->after_ns);
    }
}
