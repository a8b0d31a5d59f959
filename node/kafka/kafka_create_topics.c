#include <stdlib.h>
#include <string.h>

#include "node/kafka/kafka_config.h"
#include "proto/kafka/messages/create_topics.h"

struct creation {
    struct kafka_request *r;
    struct service_topic topic;
    struct kafka_create_topics_response_topic *out;
    bool begun;
    bool assigned; /* its replicas were placed by the client */
};

struct state {
    struct kafka_create_topics_request m;
    struct kafka_create_topics_response response;
    struct creation *creations;
    uint32_t pending;
    bool failed; /* no memory for an answer */
};

static void refuse(struct kafka_request *r, struct kafka_create_topics_response_topic *out, int16_t code,
                   const char *text)
{
    out->error_code = code;
    out->error_message = kafka_format(r, "%s", text);
    out->configs_count = -1;
}

/* ---- the answer
 * ----------------------------------------------------------------------------------------------------------- */

/* What was asked for stands over the defaults: with validate_only there is no topic to look at. */
static const char *asked_value(const struct service_topic *topic, const char *key)
{
    for (uint32_t i = 0; i < topic->n_configs; i++) {
        if (strcmp(topic->configs[i].key, key) == 0) {
            return topic->configs[i].value;
        }
    }
    return NULL;
}

static bool fill_configs(struct creation *c)
{
    uint32_t n;
    struct kafka_config *configs = kafka_topic_configs(c->r, NULL, &n);

    c->out->configs = kafka_alloc(c->r, n, sizeof *c->out->configs);
    if (configs == NULL || c->out->configs == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < n; i++) {
        struct kafka_create_topics_response_config *out = &c->out->configs[i];
        const char *asked = asked_value(&c->topic, configs[i].name);
        kafka_create_topics_response_config_init(out);
        out->name = kafka_string(configs[i].name);
        out->value = kafka_string(asked != NULL ? asked : configs[i].value);
        out->config_source = asked != NULL ? KAFKA_SOURCE_TOPIC : KAFKA_SOURCE_DEFAULT;
    }
    c->out->configs_count = (int32_t)n;
    return true;
}

static void fill(struct creation *c)
{
    struct state *s = c->r->state;
    const struct kafka_settings *settings = c->r->session->settings;
    const struct metadata_topic *t;

    if (c->topic.error != 0) {
        int16_t code = kafka_error_from_err(c->topic.error, KAFKA_CONTROLLER);
        if (c->assigned && c->topic.error == ERR_INVALID_REPLICAS) {
            code = KAFKA_ERROR_INVALID_REPLICA_ASSIGNMENT;
        }
        refuse(c->r, c->out, code, c->topic.text);
        return;
    }
    t = s->m.validate_only ? NULL : metadata_fsm_topic(service_metadata(c->r->service), &c->topic.topic_id);
    if (t != NULL) {
        c->out->topic_id = t->id;
        c->out->num_partitions = (int32_t)t->n_partitions;
        c->out->replication_factor = (int16_t)t->replication;
    } else {
        c->out->num_partitions =
            (int32_t)(c->topic.partitions != 0 ? c->topic.partitions : settings->default_partitions);
        c->out->replication_factor =
            (int16_t)(c->topic.replication != 0 ? c->topic.replication : settings->default_replication);
    }
    s->failed = s->failed || !fill_configs(c);
}

static void release_one(struct kafka_request *r)
{
    struct state *s = r->state;
    s->pending--;
    if (s->pending > 0) {
        return;
    }
    if (s->failed) {
        kafka_drop(r);
    } else {
        kafka_answer(r, &s->response);
    }
}

static void created(struct service_topic *topic)
{
    struct creation *c = container_of(topic, struct creation, topic);
    fill(c);
    release_one(c->r);
}

/* ---- the request
 * -------------------------------------------------------------------------------------------------------------- */

static bool named_twice(const struct state *s, int32_t i)
{
    for (int32_t k = 0; k < s->m.topics_count; k++) {
        if (k != i && kafka_string_equal(s->m.topics[k].name, s->m.topics[i].name)) {
            return true;
        }
    }
    return false;
}

static int set_configs(struct creation *c, const struct kafka_create_topics_request_topic *in)
{
    struct metadata_setting *configs = kafka_alloc(c->r, (size_t)in->configs_count, sizeof *configs);

    if (configs == NULL) {
        return ERR_NOMEM;
    }
    for (int32_t i = 0; i < in->configs_count; i++) {
        if (in->configs[i].value.length < 0) {
            refuse(c->r, c->out, KAFKA_ERROR_INVALID_CONFIG, "a config without a value");
            return 0;
        }
        configs[i].key = kafka_text(c->r, in->configs[i].name);
        configs[i].value = kafka_text(c->r, in->configs[i].value);
        if (configs[i].key == NULL || configs[i].value == NULL) {
            return ERR_NOMEM;
        }
    }
    c->topic.configs = configs;
    c->topic.n_configs = (uint32_t)in->configs_count;
    return 0;
}

/* Partitions 0, 1, ... in any order, each with the same number of replicas; the metadata judges the nodes. */
static int set_assignments(struct creation *c, const struct kafka_create_topics_request_topic *in)
{
    uint32_t n = (uint32_t)in->assignments_count;
    uint32_t replication = (uint32_t)in->assignments[0].broker_ids_count;
    bool *seen = kafka_alloc(c->r, n, sizeof *seen);
    uint32_t *nodes = NULL;

    if (in->num_partitions != -1 || in->replication_factor != -1) {
        refuse(c->r, c->out, KAFKA_ERROR_INVALID_REQUEST, "both numbers and assignments: give one of them");
        return 0;
    }
    if (replication >= 1 && replication <= METADATA_REPLICAS_MAX && n <= METADATA_PARTITIONS_MAX) {
        nodes = kafka_alloc(c->r, (size_t)n * replication, sizeof *nodes);
        if (nodes == NULL || seen == NULL) {
            return ERR_NOMEM;
        }
    }
    for (uint32_t i = 0; i < n && nodes != NULL; i++) {
        const struct kafka_create_topics_request_assignment *a = &in->assignments[i];
        if (a->partition_index < 0 || (uint32_t)a->partition_index >= n || seen[a->partition_index] ||
            (uint32_t)a->broker_ids_count != replication) {
            nodes = NULL;
            break;
        }
        seen[a->partition_index] = true;
        for (uint32_t k = 0; k < replication; k++) {
            nodes[(uint32_t)a->partition_index * replication + k] = (uint32_t)a->broker_ids[k];
        }
    }
    if (nodes == NULL) {
        refuse(c->r, c->out, KAFKA_ERROR_INVALID_REPLICA_ASSIGNMENT,
               "assignments are of partitions 0 and following, with equally many replicas each");
        return 0;
    }
    c->assigned = true;
    c->topic.nodes = nodes;
    c->topic.nodes_partitions = n;
    c->topic.partitions = n;
    c->topic.replication = replication;
    return 0;
}

/* Refused at once, or ready to begin. */
static int prepare(struct kafka_request *r, struct state *s, int32_t i)
{
    const struct kafka_create_topics_request_topic *in = &s->m.topics[i];
    struct creation *c = &s->creations[i];
    int rv;

    c->r = r;
    c->out = &s->response.topics[i];
    kafka_create_topics_response_topic_init(c->out);
    c->out->name = in->name;
    c->out->error_message = kafka_string(NULL);
    c->topic.name = kafka_text(r, in->name);
    if (c->topic.name == NULL) {
        return ERR_NOMEM;
    }
    if (named_twice(s, i)) {
        refuse(r, c->out, KAFKA_ERROR_INVALID_REQUEST, "the topic is named twice");
    } else if (in->assignments_count > 0) {
        rv = set_assignments(c, in);
        if (rv != 0) {
            return rv;
        }
    } else if (in->num_partitions == 0 || in->num_partitions < -1) {
        refuse(r, c->out, KAFKA_ERROR_INVALID_PARTITIONS, "a topic has at least one partition");
    } else if (in->replication_factor == 0 || in->replication_factor < -1) {
        refuse(r, c->out, KAFKA_ERROR_INVALID_REPLICATION_FACTOR, "a partition has at least one replica");
    } else {
        c->topic.partitions = in->num_partitions > 0 ? (uint32_t)in->num_partitions : 0;
        c->topic.replication = in->replication_factor > 0 ? (uint32_t)in->replication_factor : 0;
    }
    rv = set_configs(c, in);
    c->topic.validate_only = s->m.validate_only;
    c->topic.timeout_ms = s->m.timeout_ms > 0 ? (uint32_t)s->m.timeout_ms : 0;
    c->topic.done = created;
    c->begun = c->out->error_code == 0;
    return rv;
}

int kafka_create_topics(struct kafka_request *r)
{
    struct state *s = kafka_alloc(r, 1, sizeof *s);
    int32_t n;
    int rv;

    if (s == NULL) {
        return ERR_NOMEM;
    }
    r->state = s;
    kafka_create_topics_response_init(&s->response);
    rv = kafka_create_topics_request_decode(&r->message, r->version, &r->arena, &s->m);
    if (rv != 0) {
        return rv;
    }
    n = s->m.topics_count;
    if (n > KAFKA_TOPICS_MAX) {
        return ERR_TOO_BIG;
    }
    s->creations = kafka_alloc(r, (size_t)n, sizeof *s->creations);
    s->response.topics = kafka_alloc(r, (size_t)n, sizeof *s->response.topics);
    if (s->creations == NULL || s->response.topics == NULL) {
        return ERR_NOMEM;
    }
    s->response.topics_count = n;
    for (int32_t i = 0; i < n; i++) {
        rv = prepare(r, s, i);
        if (rv != 0) {
            return rv;
        }
    }
    s->pending = 1; /* answers may come inside the calls */
    for (int32_t i = 0; i < n; i++) {
        if (s->creations[i].begun) {
            s->pending++;
            service_create_topic(r->service, &s->creations[i].topic);
        }
    }
    release_one(r);
    return 0;
}
