/* Makes the topics; with churn, deletes the last one and makes it again under the same name. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/client.h"

#define TICK_MS 20
#define BACKOFF_MS 100

struct admin {
    struct env *env;
    struct workload *w;
    struct client_net *net;
    struct client_tick tick;
    unsigned asking; /* requests under way */
    bool deleting;
    unsigned topic; /* that is asked for */
    struct uuid doomed;
    uint64_t wait_ns;
    uint64_t churn_ns; /* the next deletion */
};

static void on_created(void *data, int status, const struct frame *frame)
{
    struct admin *a = data;
    Cairn__Native__CreateTopicResponse *m;
    struct uuid id;
    char name[16];

    a->asking--;
    a->wait_ns = env_now_ns(a->env) + BACKOFF_MS * SIM_MS;
    client_refresh(a->net);
    if (status != 0 || frame->header.status != 0) {
        int error = status != 0 ? status : frame->header.status;
        if (!err_retriable(error) && error != ERR_TOPIC_EXISTS && error != ERR_INVALID_REPLICAS) {
            oracle_violation(a->w->oracle, "topic t%u cannot be made: %s", a->topic, err_name(error));
        }
        return;
    }
    m = cairn__native__create_topic_response__unpack(NULL, frame->header.message_length, frame->message);
    if (m == NULL || m->topic == NULL || m->topic->topic_id.len != sizeof id.bytes ||
        m->topic->n_partitions != a->w->partitions) {
        oracle_violation(a->w->oracle, "a create topic answer that cannot be read");
    }
    memcpy(id.bytes, m->topic->topic_id.data, sizeof id.bytes);
    client_topic_name(a->w, a->topic, name);
    oracle_topic_exists(a->w->oracle, name, &id, a->w->partitions);
    oracle_counts(a->w->oracle)->topics_created++;
    oracle_trace(a->w->oracle, "client: topic t%u created", a->topic);
    cairn__native__create_topic_response__free_unpacked(m, NULL);
}

static void create(struct admin *a, unsigned topic, unsigned node)
{
    Cairn__Native__CreateTopicRequest m = CAIRN__NATIVE__CREATE_TOPIC_REQUEST__INIT;
    Cairn__Native__KeyValue setting;
    Cairn__Native__KeyValue *settings[1] = {&setting};
    char value[16];
    char name[16];

    client_topic_name(a->w, topic, name);
    cairn__native__key_value__init(&setting);
    snprintf(value, sizeof value, "%u", oracle_setting(topic));
    setting.key = (char *)(uintptr_t)ORACLE_SETTING;
    setting.value = value;
    m.n_configs = 1;
    m.configs = settings;
    m.name = name;
    m.partitions = a->w->partitions;
    m.replication = a->w->replication;
    m.timeout_ms = a->w->request_timeout_ms;
    a->topic = topic;
    a->asking += client_request(a->net, node, CALL_CREATE_TOPIC, &m.base, NULL, 0, a->w->request_timeout_ms + 500, on_created,
                                a) == 0;
    /* Somebody else has the same idea at the same time: one of the two is made. */
    node = client_random(a->net, 2) == 0 ? client_any_node(a->net) : 0;
    if (node != 0) {
        a->asking += client_request(a->net, node, CALL_CREATE_TOPIC, &m.base, NULL, 0, a->w->request_timeout_ms + 500, on_created,
                                    a) == 0;
    }
}

static void on_deleted(void *data, int status, const struct frame *frame)
{
    struct admin *a = data;
    int error = status != 0 ? status : frame->header.status;

    a->asking--;
    a->wait_ns = env_now_ns(a->env) + BACKOFF_MS * SIM_MS;
    client_refresh(a->net);
    if (error != 0 && !err_retriable(error) && error != ERR_UNKNOWN_TOPIC) {
        oracle_violation(a->w->oracle, "topic t%u cannot be deleted: %s", a->topic, err_name(error));
    }
    if (error == 0 || error == ERR_UNKNOWN_TOPIC) {
        oracle_counts(a->w->oracle)->topics_deleted++;
        a->deleting = false;
        a->churn_ns = env_now_ns(a->env) + (1000 + client_random(a->net, 6000)) * SIM_MS;
        oracle_trace(a->w->oracle, "client: topic t%u deleted: %s", a->topic, err_name(error));
    }
}

static void delete_topic(struct admin *a, unsigned topic, unsigned node)
{
    Cairn__Native__DeleteTopicRequest m = CAIRN__NATIVE__DELETE_TOPIC_REQUEST__INIT;

    if (!a->deleting) {
        a->doomed = client_topic(a->net, topic)->id;
        a->deleting = true;
    }
    oracle_topic_doomed(a->w->oracle, &a->doomed);
    m.topic_id = (ProtobufCBinaryData){sizeof a->doomed.bytes, a->doomed.bytes};
    m.name = (char *)(uintptr_t)"";
    m.timeout_ms = a->w->request_timeout_ms;
    a->topic = topic;
    a->asking += client_request(a->net, node, CALL_DELETE_TOPIC, &m.base, NULL, 0, a->w->request_timeout_ms + 500, on_deleted,
                                a) == 0;
}

static void admin_tick(void *data)
{
    struct admin *a = data;
    uint64_t now = env_now_ns(a->env);
    unsigned node;

    if (a->asking > 0 || now < a->wait_ns || client_metadata_age_ns(a->net) > 500 * SIM_MS) {
        client_refresh(a->net);
        return;
    }
    node = client_any_node(a->net);
    if (node == 0) {
        return;
    }
    if (a->deleting) {
        delete_topic(a, a->w->n_topics - 1, node);
        return;
    }
    if (a->w->churn && !a->w->stop && a->w->healed_ns == 0 && now >= a->churn_ns && client_topic(a->net, a->w->n_topics - 1)->exists) {
        delete_topic(a, a->w->n_topics - 1, node);
        return;
    }
    for (unsigned t = 0; t < a->w->n_topics; t++) {
        const struct client_topic *topic = client_topic(a->net, t);
        if (!topic->exists) {
            create(a, t, node);
            return;
        }
        if (oracle_part_doomed(topic->partitions[0].part)) {
            delete_topic(a, t, node); /* an earlier life of this client had begun */
            return;
        }
    }
}

static void *admin_start(struct env *env, struct workload *w)
{
    struct admin *a = calloc(1, sizeof *a);

    assert(a != NULL);
    a->env = env;
    a->w = w;
    a->net = client_net_new(env, w);
    a->churn_ns = env_now_ns(env) + (3000 + client_random(a->net, 5000)) * SIM_MS;
    client_tick_start(&a->tick, env, TICK_MS, admin_tick, a);
    return a;
}

static void admin_abandon(void *client)
{
    struct admin *a = client;
    client_net_abandon(a->net);
    free(a);
}

static bool admin_fresh(const void *client)
{
    const struct admin *a = client;
    for (unsigned t = 0; t < a->w->n_topics; t++) {
        if (!client_topic(a->net, t)->exists || oracle_part_doomed(client_topic(a->net, t)->partitions[0].part)) {
            return false;
        }
    }
    return !a->deleting;
}

static bool admin_idle(const void *client)
{
    const struct admin *a = client;
    return a->asking == 0 && !a->deleting;
}

static void admin_describe(const void *client, char *out, size_t size)
{
    const struct admin *a = client;
    snprintf(out, size, "admin: asking %u deleting %d topic %u exists %d %d", a->asking, a->deleting, a->topic,
             client_topic(a->net, 0)->exists, client_topic(a->net, 1)->exists);
}

const struct client_kind client_admin = {
    "admin", admin_start, admin_abandon, admin_fresh, admin_idle, admin_describe};
