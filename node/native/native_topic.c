/* Create, delete, list and describe topics; producer ids; cluster status. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/native/native_internal.h"

struct topic_request {
    struct native_request request;
    struct service_topic topic;
    ProtobufCMessage *message; /* names are borrowed from it */
    struct metadata_setting *configs;
};

static void topic_request_free(struct native_request *request)
{
    struct topic_request *r = (struct topic_request *)(void *)request;
    protobuf_c_message_free_unpacked(r->message, NULL);
    free(r->configs);
    free(r);
}

/* Takes over @message, which may be NULL (malformed). */
static int topic_request_new(struct native_session *session, const struct frame *frame, ProtobufCMessage *message,
                             struct topic_request **out)
{
    struct topic_request *r;
    if (message == NULL) {
        return ERR_MALFORMED;
    }
    r = native_request_new(session, frame, sizeof *r);
    if (r == NULL) {
        protobuf_c_message_free_unpacked(message, NULL);
        return ERR_NOMEM;
    }
    r->request.free = topic_request_free;
    r->message = message;
    *out = r;
    return 0;
}

static ProtobufCMessage *unpack(const ProtobufCMessageDescriptor *descriptor, const struct frame *frame)
{
    return protobuf_c_message_unpack(descriptor, NULL, frame->header.message_length, frame->message);
}

/* ---- create --------------------------------------------------------------------------------------------------------------- */

static void created(struct service_topic *topic)
{
    struct topic_request *r = container_of(topic, struct topic_request, topic);
    struct service *s = r->request.session->service;
    Cairn__Native__CreateTopicResponse response = CAIRN__NATIVE__CREATE_TOPIC_RESPONSE__INIT;
    const struct metadata_topic *t = metadata_fsm_topic(service_metadata(s), &topic->topic_id);

    if (topic->error != 0) {
        native_fail(&r->request, topic->error, topic->text);
        return;
    }
    if (t != NULL) { /* not with validate_only */
        response.topic = native_topic_info(s, t);
    }
    {
        Cairn__Native__TopicInfo *info = response.topic;
        native_answer(&r->request, 0, &response.base, NULL);
        native_topic_info_free(info);
    }
}

int native_create_topic(struct native_session *session, const struct frame *frame)
{
    struct topic_request *r = NULL;
    const Cairn__Native__CreateTopicRequest *m;
    int rv = topic_request_new(session, frame, unpack(&cairn__native__create_topic_request__descriptor, frame), &r);
    if (rv != 0) {
        return rv;
    }
    m = (const Cairn__Native__CreateTopicRequest *)(const void *)r->message;
    r->configs = calloc(m->n_configs + 1, sizeof *r->configs);
    if (r->configs == NULL) {
        native_fail(&r->request, ERR_NOMEM, NULL);
        return 0;
    }
    for (size_t i = 0; i < m->n_configs; i++) {
        r->configs[i].key = m->configs[i]->key;
        r->configs[i].value = m->configs[i]->value;
    }
    r->topic.name = m->name;
    r->topic.partitions = m->partitions;
    r->topic.replication = m->replication;
    r->topic.configs = r->configs;
    r->topic.n_configs = (uint32_t)m->n_configs;
    r->topic.validate_only = m->validate_only;
    r->topic.timeout_ms = m->timeout_ms;
    r->topic.done = created;
    service_create_topic(session->service, &r->topic);
    return 0;
}

/* ---- delete --------------------------------------------------------------------------------------------------------------- */

static void deleted(struct service_topic *topic)
{
    struct topic_request *r = container_of(topic, struct topic_request, topic);
    Cairn__Native__DeleteTopicResponse response = CAIRN__NATIVE__DELETE_TOPIC_RESPONSE__INIT;
    if (topic->error != 0) {
        native_fail(&r->request, topic->error, topic->text);
        return;
    }
    native_answer(&r->request, 0, &response.base, NULL);
}

int native_delete_topic(struct native_session *session, const struct frame *frame)
{
    struct topic_request *r = NULL;
    const Cairn__Native__DeleteTopicRequest *m;
    int rv = topic_request_new(session, frame, unpack(&cairn__native__delete_topic_request__descriptor, frame), &r);
    if (rv != 0) {
        return rv;
    }
    m = (const Cairn__Native__DeleteTopicRequest *)(const void *)r->message;
    r->topic.name = m->name;
    if (m->name[0] == '\0' && !native_uuid(&m->topic_id, &r->topic.topic_id)) {
        native_fail(&r->request, ERR_INVALID, "delete topic: a name or a topic id of 16 bytes is needed");
        return 0;
    }
    r->topic.timeout_ms = m->timeout_ms;
    r->topic.done = deleted;
    service_delete_topic(session->service, &r->topic);
    return 0;
}

/* ---- list, describe --------------------------------------------------------------------------------------------------------- */

static void listed(struct service_topic *topic)
{
    struct topic_request *r = container_of(topic, struct topic_request, topic);
    const struct metadata_fsm *m = service_metadata(r->request.session->service);
    Cairn__Native__ListTopicsResponse response = CAIRN__NATIVE__LIST_TOPICS_RESPONSE__INIT;
    uint32_t n = metadata_fsm_topic_count(m);
    Cairn__Native__TopicSummary *summaries;
    Cairn__Native__TopicSummary **pointers;

    if (topic->error != 0) {
        native_fail(&r->request, topic->error, topic->text);
        return;
    }
    summaries = calloc(n + 1, sizeof *summaries);
    pointers = calloc(n + 1, sizeof *pointers);
    if (summaries == NULL || pointers == NULL) {
        native_fail(&r->request, ERR_NOMEM, NULL);
        goto out;
    }
    list_for_each(pos, metadata_fsm_topics(m))
    {
        struct metadata_topic *t = list_entry(pos, struct metadata_topic, link);
        Cairn__Native__TopicSummary *summary = &summaries[response.n_topics];
        cairn__native__topic_summary__init(summary);
        summary->name = t->name;
        summary->topic_id = native_uuid_bytes(&t->id);
        summary->partitions = t->n_partitions;
        summary->replication = t->replication;
        pointers[response.n_topics++] = summary;
    }
    response.topics = pointers;
    native_answer(&r->request, 0, &response.base, NULL);
out:
    free(pointers);
    free(summaries);
}

int native_list_topics(struct native_session *session, const struct frame *frame)
{
    struct topic_request *r = NULL;
    int rv = topic_request_new(session, frame, unpack(&cairn__native__list_topics_request__descriptor, frame), &r);
    if (rv != 0) {
        return rv;
    }
    r->topic.timeout_ms = 5000;
    r->topic.done = listed;
    service_read_metadata(session->service, &r->topic);
    return 0;
}

static void described(struct service_topic *topic)
{
    struct topic_request *r = container_of(topic, struct topic_request, topic);
    struct service *s = r->request.session->service;
    Cairn__Native__DescribeTopicResponse response = CAIRN__NATIVE__DESCRIBE_TOPIC_RESPONSE__INIT;
    const struct metadata_topic *t = metadata_fsm_topic_named(service_metadata(s), topic->name);
    Cairn__Native__TopicInfo *info;
    char text[ERRMSG_SIZE];

    if (topic->error != 0) {
        native_fail(&r->request, topic->error, topic->text);
        return;
    }
    if (t == NULL) {
        snprintf(text, sizeof text, "topic \"%.200s\" does not exist", topic->name);
        native_fail(&r->request, ERR_UNKNOWN_TOPIC, text);
        return;
    }
    info = native_topic_info(s, t);
    if (info == NULL) {
        native_fail(&r->request, ERR_NOMEM, NULL);
        return;
    }
    response.topic = info;
    native_answer(&r->request, 0, &response.base, NULL);
    native_topic_info_free(info);
}

int native_describe_topic(struct native_session *session, const struct frame *frame)
{
    struct topic_request *r = NULL;
    int rv = topic_request_new(session, frame, unpack(&cairn__native__describe_topic_request__descriptor, frame), &r);
    if (rv != 0) {
        return rv;
    }
    r->topic.name = ((const Cairn__Native__DescribeTopicRequest *)(const void *)r->message)->name;
    r->topic.timeout_ms = 5000;
    r->topic.done = described;
    service_read_metadata(session->service, &r->topic);
    return 0;
}

/* ---- producer ids ----------------------------------------------------------------------------------------------------------- */

struct init_request {
    struct native_request request;
    struct service_init_producer init;
};

static void initialized(struct service_init_producer *init)
{
    struct init_request *r = container_of(init, struct init_request, init);
    Cairn__Native__InitProducerIdResponse response = CAIRN__NATIVE__INIT_PRODUCER_ID_RESPONSE__INIT;
    if (init->error != 0) {
        native_fail(&r->request, init->error, NULL);
        return;
    }
    response.producer_id = init->producer_id;
    response.producer_epoch = init->epoch;
    native_answer(&r->request, 0, &response.base, NULL);
}

int native_init_producer_id(struct native_session *session, const struct frame *frame)
{
    Cairn__Native__InitProducerIdRequest *m =
        cairn__native__init_producer_id_request__unpack(NULL, frame->header.message_length, frame->message);
    struct init_request *r;
    if (m == NULL) {
        return ERR_MALFORMED;
    }
    r = native_request_new(session, frame, sizeof *r);
    if (r != NULL) {
        r->init.producer_id = m->producer_id;
        r->init.epoch = m->producer_epoch;
        r->init.done = initialized;
        service_init_producer(session->service, &r->init);
    }
    cairn__native__init_producer_id_request__free_unpacked(m, NULL);
    return r == NULL ? ERR_NOMEM : 0;
}
