#include <string.h>

#include "node/kafka/kafka_internal.h"
#include "proto/kafka/messages/create_partitions.h"

struct creation {
    struct kafka_request *r;
    struct service_topic topic;
    struct kafka_create_partitions_response_result *out;
    bool begun;
};

struct state {
    struct kafka_create_partitions_request m;
    struct kafka_create_partitions_response response;
    struct creation *creations;
    uint32_t pending;
};

static void refuse(struct creation *c, int16_t code, const char *text)
{
    c->out->error_code = code;
    c->out->error_message = kafka_format(c->r, "%s", text);
}

static void release_one(struct kafka_request *r)
{
    struct state *s = r->state;
    s->pending--;
    if (s->pending == 0) {
        kafka_answer(r, &s->response);
    }
}

static void created(struct service_topic *topic)
{
    struct creation *c = container_of(topic, struct creation, topic);
    if (topic->error != 0) {
        refuse(c,
               topic->nodes != NULL && topic->error == ERR_INVALID_REPLICAS
                   ? KAFKA_ERROR_INVALID_REPLICA_ASSIGNMENT
                   : kafka_error_from_err(topic->error, KAFKA_CONTROLLER),
               topic->text);
    }
    release_one(c->r);
}

/* As many as there are new partitions, each with as many nodes as the topic has replicas. */
static int set_assignments(struct creation *c, const struct kafka_create_partitions_request_topic *in)
{
    const struct metadata_topic *t = kafka_find_topic(c->r, in->name);
    uint32_t *nodes;

    if (t == NULL) {
        return 0; /* the verb says so */
    }
    if ((int64_t)in->assignments_count != (int64_t)in->count - t->n_partitions) {
        refuse(c, KAFKA_ERROR_INVALID_REPLICA_ASSIGNMENT, "one assignment for each new partition");
        return 0;
    }
    nodes = kafka_alloc(c->r, (size_t)in->assignments_count * t->replication, sizeof *nodes);
    if (nodes == NULL) {
        return ERR_NOMEM;
    }
    for (int32_t i = 0; i < in->assignments_count; i++) {
        if ((uint32_t)in->assignments[i].broker_ids_count != t->replication) {
            refuse(c, KAFKA_ERROR_INVALID_REPLICA_ASSIGNMENT, "as many nodes as the topic has replicas");
            return 0;
        }
        for (uint32_t k = 0; k < t->replication; k++) {
            nodes[(uint32_t)i * t->replication + k] = (uint32_t)in->assignments[i].broker_ids[k];
        }
    }
    c->topic.nodes = nodes;
    c->topic.nodes_partitions = (uint32_t)in->assignments_count;
    c->topic.replication = t->replication;
    return 0;
}

static int prepare(struct kafka_request *r, struct state *s, int32_t i)
{
    const struct kafka_create_partitions_request_topic *in = &s->m.topics[i];
    struct creation *c = &s->creations[i];
    int rv = 0;

    c->r = r;
    c->out = &s->response.results[i];
    kafka_create_partitions_response_result_init(c->out);
    c->out->name = in->name;
    c->topic.name = kafka_text(r, in->name);
    if (c->topic.name == NULL) {
        return ERR_NOMEM;
    }
    if (in->name.length <= 0) {
        refuse(c, KAFKA_ERROR_INVALID_TOPIC, "a topic without a name");
    } else if (in->count <= 0) {
        refuse(c, KAFKA_ERROR_INVALID_PARTITIONS, "a topic has at least one partition");
    } else if (in->assignments_count > 0) {
        rv = set_assignments(c, in);
    }
    for (int32_t k = 0; k < i; k++) {
        if (kafka_string_equal(s->m.topics[k].name, in->name)) {
            refuse(c, KAFKA_ERROR_INVALID_REQUEST, "the topic is named twice");
        }
    }
    c->topic.partitions = in->count > 0 ? (uint32_t)in->count : 0;
    c->topic.validate_only = s->m.validate_only;
    c->topic.timeout_ms = s->m.timeout_ms > 0 ? (uint32_t)s->m.timeout_ms : 0;
    c->topic.done = created;
    c->begun = c->out->error_code == 0;
    return rv;
}

int kafka_create_partitions(struct kafka_request *r)
{
    struct state *s = kafka_alloc(r, 1, sizeof *s);
    int32_t n;
    int rv;

    if (s == NULL) {
        return ERR_NOMEM;
    }
    r->state = s;
    kafka_create_partitions_response_init(&s->response);
    rv = kafka_create_partitions_request_decode(&r->message, r->version, &r->arena, &s->m);
    if (rv != 0) {
        return rv;
    }
    n = s->m.topics_count;
    if (n > KAFKA_TOPICS_MAX) {
        return ERR_TOO_BIG;
    }
    s->creations = kafka_alloc(r, (size_t)n, sizeof *s->creations);
    s->response.results = kafka_alloc(r, (size_t)n, sizeof *s->response.results);
    if (s->creations == NULL || s->response.results == NULL) {
        return ERR_NOMEM;
    }
    s->response.results_count = n;
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
            service_create_partitions(r->service, &s->creations[i].topic);
        }
    }
    release_one(r);
    return 0;
}
