#include <string.h>

#include "node/kafka/kafka_internal.h"
#include "proto/kafka/messages/delete_topics.h"

#define TOPICS_VERSION_MIN 6 /* by name or id; before: by name */

struct deletion {
    struct kafka_request *r;
    struct service_topic topic;
    struct kafka_delete_topics_response_topic *out;
    bool by_id;
};

struct state {
    struct kafka_delete_topics_request m;
    struct kafka_delete_topics_response response;
    struct deletion *deletions;
    uint32_t pending;
};

static void release_one(struct kafka_request *r)
{
    struct state *s = r->state;
    s->pending--;
    if (s->pending == 0) {
        kafka_answer(r, &s->response);
    }
}

static void deleted(struct service_topic *topic)
{
    struct deletion *d = container_of(topic, struct deletion, topic);

    d->out->error_code = kafka_error_from_err(topic->error, KAFKA_CONTROLLER);
    if (topic->error == ERR_UNKNOWN_TOPIC && d->by_id) {
        d->out->error_code = KAFKA_ERROR_UNKNOWN_TOPIC_ID;
    }
    if (topic->error != 0) {
        d->out->error_message = kafka_format(d->r, "%s", topic->text);
    } else {
        d->out->topic_id = topic->topic_id;
    }
    release_one(d->r);
}

static int prepare(struct kafka_request *r, struct state *s, int32_t i)
{
    struct deletion *d = &s->deletions[i];
    struct kafka_string name = r->version >= TOPICS_VERSION_MIN ? s->m.topics[i].name : s->m.topic_names[i];

    d->r = r;
    d->out = &s->response.responses[i];
    kafka_delete_topics_response_topic_init(d->out);
    if (r->version >= TOPICS_VERSION_MIN && (name.length >= 0) != uuid_is_nil(&s->m.topics[i].topic_id)) {
        d->out->name = name; /* which of the two is meant is not for us to guess */
        d->out->topic_id = s->m.topics[i].topic_id;
        d->out->error_code = KAFKA_ERROR_INVALID_REQUEST;
        d->out->error_message = kafka_string("a topic is named by its name or by its id");
    } else if (r->version >= TOPICS_VERSION_MIN && name.length < 0) {
        const struct metadata_topic *t = metadata_fsm_topic(service_metadata(r->service), &s->m.topics[i].topic_id);
        d->by_id = true;
        d->topic.topic_id = s->m.topics[i].topic_id;
        d->out->topic_id = d->topic.topic_id;
        name = t == NULL ? name : kafka_format(r, "%s", t->name);
        d->out->name = name;
    } else {
        d->out->name = name;
        d->topic.name = kafka_text(r, name);
        if (d->topic.name == NULL) {
            return ERR_NOMEM;
        }
        if (name.length == 0) {
            d->topic.name = "\1"; /* no topic has this name; empty would mean "by id" */
        }
    }
    d->topic.timeout_ms = s->m.timeout_ms > 0 ? (uint32_t)s->m.timeout_ms : 0;
    d->topic.done = deleted;
    return 0;
}

int kafka_delete_topics(struct kafka_request *r)
{
    struct state *s = kafka_alloc(r, 1, sizeof *s);
    int32_t n;
    int rv;

    if (s == NULL) {
        return ERR_NOMEM;
    }
    r->state = s;
    kafka_delete_topics_response_init(&s->response);
    rv = kafka_delete_topics_request_decode(&r->message, r->version, &r->arena, &s->m);
    if (rv != 0) {
        return rv;
    }
    n = r->version >= TOPICS_VERSION_MIN ? s->m.topics_count : s->m.topic_names_count;
    if (n > KAFKA_TOPICS_MAX) {
        return ERR_TOO_BIG;
    }
    s->deletions = kafka_alloc(r, (size_t)n, sizeof *s->deletions);
    s->response.responses = kafka_alloc(r, (size_t)n, sizeof *s->response.responses);
    if (s->deletions == NULL || s->response.responses == NULL) {
        return ERR_NOMEM;
    }
    s->response.responses_count = n;
    for (int32_t i = 0; i < n; i++) {
        rv = prepare(r, s, i);
        if (rv != 0) {
            return rv;
        }
    }
    s->pending = 1; /* answers may come inside the calls */
    for (int32_t i = 0; i < n; i++) {
        if (s->response.responses[i].error_code == 0) {
            s->pending++;
            service_delete_topic(r->service, &s->deletions[i].topic);
        }
    }
    release_one(r);
    return 0;
}
