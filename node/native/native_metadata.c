/* Hello and metadata: who is there, who leads what. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/native/native_internal.h"

static void set_client(struct native_session *session, const Cairn__Native__HelloRequest *m)
{
    snprintf(session->client, sizeof session->client, "%.20s/%.10s/%.30s", m->client_software, m->client_version,
             m->client_id);
}

int native_hello(struct native_session *session, const struct frame *frame)
{
    Cairn__Native__HelloRequest *m =
        cairn__native__hello_request__unpack(NULL, frame->header.message_length, frame->message);
    Cairn__Native__HelloResponse response = CAIRN__NATIVE__HELLO_RESPONSE__INIT;
    struct control *control = service_control(session->service);
    struct uuid cluster_id = *control_cluster_id(control);
    Cairn__Native__CallRange ranges[] = {
#define X(name, number, min, max)                                                                                      \
    {.base = PROTOBUF_C_MESSAGE_INIT(&cairn__native__call_range__descriptor),                                          \
     .call = (number),                                                                                                 \
     .version_min = (min),                                                                                             \
     .version_max = (max)},
        CALL_TABLE(X)
#undef X
    };
    Cairn__Native__CallRange *pointers[sizeof ranges / sizeof ranges[0]];
    struct native_request *request;

    if (m == NULL) {
        return ERR_MALFORMED;
    }
    set_client(session, m);
    cairn__native__hello_request__free_unpacked(m, NULL);
    request = native_request_new(session, frame, sizeof *request);
    if (request == NULL) {
        return ERR_NOMEM;
    }
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
        if (!call_is_peer((uint16_t)ranges[i].call)) {
            pointers[response.n_calls++] = &ranges[i];
        }
    }
    response.calls = pointers;
    response.cluster_id = native_uuid_bytes(&cluster_id);
    response.node = control_node(control);
    response.node_version = (char *)(uintptr_t)service_version(session->service);
    response.message_max_bytes = FRAME_MESSAGE_MAX;
    response.payload_max_bytes = NATIVE_PAYLOAD_MAX_BYTES;
    native_answer(request, 0, &response.base, NULL);
    return 0;
}

Cairn__Native__NodeInfo **native_nodes(struct service *s, const struct request_context *ctx, size_t *n)
{
    const struct metadata_fsm *m = service_metadata(s);
    uint32_t count = metadata_fsm_nodes(m);
    Cairn__Native__NodeInfo **nodes = calloc(count + 1, sizeof *nodes);

    *n = 0;
    for (uint32_t i = 0; nodes != NULL && i < count; i++) {
        const struct metadata_node *node = metadata_fsm_node_at(m, i);
        Cairn__Native__NodeInfo *info = malloc(sizeof *info);
        if (info == NULL) {
            native_nodes_free(nodes, *n);
            return NULL;
        }
        cairn__native__node_info__init(info);
        info->node = node->node;
        info->address = (char *)(uintptr_t)service_address(s, ctx, node->node);
        info->rack = (char *)(uintptr_t)node->rack;
        info->alive = control_node_alive(service_control(s), node->node);
        nodes[(*n)++] = info;
    }
    return nodes;
}

void native_nodes_free(Cairn__Native__NodeInfo **nodes, size_t n)
{
    for (size_t i = 0; nodes != NULL && i < n; i++) {
        free(nodes[i]);
    }
    free(nodes);
}

static Cairn__Native__PartitionInfo *partition_info(struct service *s, const struct metadata_partition *p)
{
    Cairn__Native__PartitionInfo *info = malloc(sizeof *info);
    uint64_t term = 0;
    if (info == NULL) {
        return NULL;
    }
    cairn__native__partition_info__init(info);
    info->partition = p->partition;
    info->leader_node = control_leader_of(service_control(s), p->group, &term);
    info->leader_epoch = term;
    info->preferred_node = p->preferred_node;
    info->group = p->group;
    info->replicas = calloc(p->n_replicas, sizeof *info->replicas);
    if (info->replicas == NULL) {
        free(info);
        return NULL;
    }
    info->n_replicas = p->n_replicas;
    for (uint32_t i = 0; i < p->n_replicas; i++) {
        info->replicas[i] = p->replicas[i].node;
    }
    return info;
}

static Cairn__Native__KeyValue *key_value(const struct metadata_setting *setting)
{
    Cairn__Native__KeyValue *kv = malloc(sizeof *kv);
    if (kv != NULL) {
        cairn__native__key_value__init(kv);
        kv->key = setting->key;
        kv->value = setting->value;
    }
    return kv;
}

Cairn__Native__TopicInfo *native_topic_info(struct service *s, const struct metadata_topic *t)
{
    Cairn__Native__TopicInfo *info = malloc(sizeof *info);
    if (info == NULL) {
        return NULL;
    }
    cairn__native__topic_info__init(info);
    info->name = (char *)(uintptr_t)t->name;
    info->topic_id.data = (uint8_t *)(uintptr_t)t->id.bytes;
    info->topic_id.len = sizeof t->id.bytes;
    info->replication = t->replication;
    info->partitions = calloc(t->n_partitions, sizeof *info->partitions);
    info->configs = calloc(t->n_configs + 1, sizeof *info->configs);
    if (info->partitions == NULL || info->configs == NULL) {
        goto err;
    }
    for (uint32_t i = 0; i < t->n_partitions; i++) {
        info->partitions[i] = partition_info(s, &t->partitions[i]);
        if (info->partitions[i] == NULL) {
            goto err;
        }
        info->n_partitions++;
    }
    for (uint32_t i = 0; i < t->n_configs; i++) {
        info->configs[i] = key_value(&t->configs[i]);
        if (info->configs[i] == NULL) {
            goto err;
        }
        info->n_configs++;
    }
    return info;
err:
    native_topic_info_free(info);
    return NULL;
}

/* The strings are borrowed from the metadata; only the structs are ours. */
void native_topic_info_free(Cairn__Native__TopicInfo *info)
{
    if (info == NULL) {
        return;
    }
    for (size_t i = 0; i < info->n_partitions; i++) {
        free(info->partitions[i]->replicas);
        free(info->partitions[i]);
    }
    for (size_t i = 0; i < info->n_configs; i++) {
        free(info->configs[i]);
    }
    free(info->partitions);
    free(info->configs);
    free(info);
}

/* ---- metadata --------------------------------------------------------------------------------------------------------- */

struct metadata_request {
    struct native_request request;
    Cairn__Native__MetadataRequest *message;
    struct service_topic read;
};

static void metadata_request_free(struct native_request *request)
{
    struct metadata_request *r = (struct metadata_request *)(void *)request;
    cairn__native__metadata_request__free_unpacked(r->message, NULL);
    free(r);
}

static Cairn__Native__TopicInfo *unknown_topic(char *name)
{
    Cairn__Native__TopicInfo *info = malloc(sizeof *info);
    if (info != NULL) {
        cairn__native__topic_info__init(info);
        info->name = name;
        info->error = ERR_UNKNOWN_TOPIC;
    }
    return info;
}

/* As much as a frame takes: what is named again and again, or a cluster of many partitions, must not take all memory. */
static int add_topic(Cairn__Native__MetadataResponse *response, Cairn__Native__TopicInfo *info, size_t *bytes)
{
    if (info == NULL) {
        return ERR_NOMEM;
    }
    response->topics[response->n_topics++] = info;
    *bytes += protobuf_c_message_get_packed_size(&info->base);
    return *bytes > FRAME_MESSAGE_MAX ? ERR_TOO_BIG : 0;
}

static int collect_topics(struct metadata_request *r, Cairn__Native__MetadataResponse *response)
{
    struct service *s = r->request.session->service;
    const struct metadata_fsm *m = service_metadata(s);
    size_t bytes = 0;
    int rv = 0;
    size_t n = r->message->n_topics == 0 ? metadata_fsm_topic_count(m) : r->message->n_topics;

    response->topics = calloc(n + 1, sizeof *response->topics);
    if (response->topics == NULL) {
        return ERR_NOMEM;
    }
    if (r->message->n_topics == 0) {
        list_for_each(pos, metadata_fsm_topics(m))
        {
            rv = add_topic(response, native_topic_info(s, list_entry(pos, struct metadata_topic, link)), &bytes);
            if (rv != 0) {
                return rv;
            }
        }
        return 0;
    }
    for (size_t i = 0; i < r->message->n_topics && rv == 0; i++) {
        const struct metadata_topic *t = metadata_fsm_topic_named(m, r->message->topics[i]);
        rv = add_topic(response, t == NULL ? unknown_topic(r->message->topics[i]) : native_topic_info(s, t), &bytes);
    }
    return rv;
}

static void answer_metadata(struct metadata_request *r)
{
    struct service *s = r->request.session->service;
    Cairn__Native__MetadataResponse response = CAIRN__NATIVE__METADATA_RESPONSE__INIT;
    struct uuid cluster_id = *control_cluster_id(service_control(s));
    Cairn__Native__NodeInfo **nodes = native_nodes(s, &r->request.session->ctx, &response.n_nodes);
    Cairn__Native__TopicInfo **topics;
    size_t n_topics;
    int rv = nodes == NULL ? ERR_NOMEM : collect_topics(r, &response);

    response.nodes = nodes;
    response.cluster_id = native_uuid_bytes(&cluster_id);
    response.metadata_leader_node = control_leader_of(service_control(s), METADATA_GROUP, NULL);
    topics = response.topics;
    n_topics = response.n_topics;
    if (rv == 0) {
        native_answer(&r->request, 0, &response.base, NULL);
    } else {
        native_fail(&r->request, rv,
                    rv == ERR_TOO_BIG ? "metadata: the answer is larger than a frame may be: name fewer topics" : NULL);
    }
    for (size_t i = 0; topics != NULL && i < n_topics; i++) {
        native_topic_info_free(topics[i]);
    }
    free(topics);
    native_nodes_free(nodes, response.n_nodes);
}

static void metadata_current(struct service_topic *read)
{
    /* When the leader cannot be asked now, what is known here is a better answer than none: it is retried anyway. */
    answer_metadata(container_of(read, struct metadata_request, read));
}

static bool all_known(const struct metadata_request *r)
{
    const struct metadata_fsm *m = service_metadata(r->request.session->service);
    for (size_t i = 0; i < r->message->n_topics; i++) {
        if (metadata_fsm_topic_named(m, r->message->topics[i]) == NULL) {
            return false;
        }
    }
    return true;
}

int native_metadata(struct native_session *session, const struct frame *frame)
{
    Cairn__Native__MetadataRequest *m =
        cairn__native__metadata_request__unpack(NULL, frame->header.message_length, frame->message);
    struct metadata_request *r;

    if (m == NULL) {
        return ERR_MALFORMED;
    }
    r = native_request_new(session, frame, sizeof *r);
    if (r == NULL) {
        cairn__native__metadata_request__free_unpacked(m, NULL);
        return ERR_NOMEM;
    }
    r->request.free = metadata_request_free;
    r->message = m;
    if (m->n_topics > NATIVE_TOPICS_MAX) {
        native_fail(&r->request, ERR_INVALID, "metadata: more topics named than a request may");
        return 0;
    }
    if (all_known(r)) {
        answer_metadata(r);
        return 0;
    }
    r->read.timeout_ms = 1000; /* a name that is not known here may have been made a moment ago elsewhere */
    r->read.done = metadata_current;
    service_read_metadata(session->service, &r->read);
    return 0;
}
