/* Metadata: who is there, which topics, who leads what. Topics that are asked for by name and not there are created
 * where both sides allow it. */
#include <stdlib.h>
#include <string.h>

#include "node/kafka/kafka_internal.h"
#include "proto/kafka/messages/metadata.h"

#define READ_TIMEOUT_MS 1000    /* a name that is not known here may have been made a moment ago elsewhere */
#define CREATE_TIMEOUT_MS 10000 /* a topic made on the way is waited for so long */

/* What each resource allows where nobody is denied anything: Kafka's own bits. */
#define TOPIC_OPERATIONS 3576
#define CLUSTER_OPERATIONS 8096

struct creation {
    struct kafka_request *r;
    struct service_topic topic;
};

struct state {
    struct kafka_metadata_request m;
    struct service_topic read;
    struct kafka_request *r;
    struct creation *creations;
    uint32_t n_creations;
    uint32_t pending;
};

/* ---- the answer
 * ---------------------------------------------------------------------------------------------------------- */

static bool fill_brokers(struct kafka_request *r, struct kafka_metadata_response *response)
{
    const struct metadata_fsm *m = service_metadata(r->service);
    uint32_t n = metadata_fsm_nodes(m);

    response->brokers = kafka_alloc(r, n, sizeof *response->brokers);
    if (response->brokers == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < n; i++) {
        const struct metadata_node *node = metadata_fsm_node_at(m, i);
        struct kafka_metadata_response_broker *out = &response->brokers[response->brokers_count];
        if (!kafka_node_usable(r, node->node) || !kafka_endpoint(r, node->node, &out->host, &out->port)) {
            continue;
        }
        out->node_id = (int32_t)node->node;
        out->rack = kafka_string(node->rack[0] == '\0' ? NULL : node->rack);
        response->brokers_count++;
    }
    return true;
}

static bool fill_partition(struct kafka_request *r, const struct metadata_partition *p,
                           struct kafka_metadata_response_partition *out)
{
    struct control *control = service_control(r->service);
    uint32_t leader = kafka_leader_of(r, p, &out->leader_epoch);

    out->partition_index = (int32_t)p->partition;
    out->leader_id = leader == 0 ? -1 : (int32_t)leader;
    out->error_code = leader == 0 ? KAFKA_ERROR_LEADER_NOT_AVAILABLE : 0;
    out->replica_nodes = kafka_alloc(r, 3 * p->n_replicas, sizeof(int32_t));
    if (out->replica_nodes == NULL) {
        return false;
    }
    out->isr_nodes = out->replica_nodes + p->n_replicas;
    out->offline_replicas = out->isr_nodes + p->n_replicas;
    for (uint32_t i = 0; i < p->n_replicas; i++) {
        uint32_t node = p->replicas[i].node;
        out->replica_nodes[out->replica_nodes_count++] = (int32_t)node;
        if (node == control_node(control) || control_node_alive(control, node)) {
            out->isr_nodes[out->isr_nodes_count++] = (int32_t)node;
        } else {
            out->offline_replicas[out->offline_replicas_count++] = (int32_t)node;
        }
    }
    return true;
}

static bool fill_topic(struct state *s, const struct metadata_topic *t, struct kafka_metadata_response_topic *out)
{
    out->name = kafka_string(t->name);
    out->topic_id = t->id;
    out->partitions = kafka_alloc(s->r, t->n_partitions, sizeof *out->partitions);
    if (out->partitions == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < t->n_partitions; i++) {
        kafka_metadata_response_partition_init(&out->partitions[i]);
        if (!fill_partition(s->r, &t->partitions[i], &out->partitions[i])) {
            return false;
        }
    }
    out->partitions_count = (int32_t)t->n_partitions;
    if (s->m.include_topic_authorized_operations) {
        out->topic_authorized_operations = TOPIC_OPERATIONS;
    }
    return true;
}

static bool fill_all_topics(struct state *s, struct kafka_metadata_response *response)
{
    const struct metadata_fsm *m = service_metadata(s->r->service);

    response->topics = kafka_alloc(s->r, metadata_fsm_topic_count(m), sizeof *response->topics);
    if (response->topics == NULL) {
        return false;
    }
    list_for_each (pos, metadata_fsm_topics(m)) {
        struct kafka_metadata_response_topic *out = &response->topics[response->topics_count++];
        kafka_metadata_response_topic_init(out);
        if (!fill_topic(s, list_entry(pos, struct metadata_topic, link), out)) {
            return false;
        }
    }
    return true;
}

static bool by_id(const struct kafka_metadata_request_topic *asked)
{
    return asked->name.length < 0 || !uuid_is_nil(&asked->topic_id);
}

static const struct metadata_topic *find(struct kafka_request *r, const struct kafka_metadata_request_topic *asked)
{
    return by_id(asked) ? metadata_fsm_topic(service_metadata(r->service), &asked->topic_id)
                        : kafka_find_topic(r, asked->name);
}

/* 0, or why no topic can have this name. */
static int check_name(struct kafka_request *r, struct kafka_string name)
{
    char ignored[ERRMSG_SIZE];
    const char *text = kafka_text(r, name);
    return text == NULL ? ERR_NOMEM : metadata_check_topic_name(text, ignored);
}

/* Why it is not there: the creation's own word, where there was one. */
static int16_t why_missing(const struct state *s, int32_t i)
{
    const struct kafka_metadata_request_topic *asked = &s->m.topics[i];
    if (by_id(asked)) {
        return KAFKA_ERROR_UNKNOWN_TOPIC_ID;
    }
    for (uint32_t k = 0; k < s->n_creations; k++) {
        const struct service_topic *t = &s->creations[k].topic;
        if (t->error != 0 && strlen(t->name) == (size_t)asked->name.length &&
            memcmp(t->name, asked->name.data, (size_t)asked->name.length) == 0) {
            /* What may succeed the next time is said so that clients ask again. */
            return err_retriable(t->error) ? KAFKA_ERROR_LEADER_NOT_AVAILABLE
                                           : kafka_error_from_err(t->error, KAFKA_CONTROLLER);
        }
    }
    return check_name(s->r, asked->name) != 0 ? KAFKA_ERROR_INVALID_TOPIC : KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION;
}

static bool fill_asked_topics(struct state *s, struct kafka_metadata_response *response)
{
    int32_t n = s->m.topics_count;

    response->topics = kafka_alloc(s->r, (size_t)n, sizeof *response->topics);
    if (response->topics == NULL) {
        return false;
    }
    for (int32_t i = 0; i < n; i++) {
        struct kafka_metadata_response_topic *out = &response->topics[i];
        const struct metadata_topic *t = find(s->r, &s->m.topics[i]);
        kafka_metadata_response_topic_init(out);
        if (t != NULL && !fill_topic(s, t, out)) {
            return false;
        }
        if (t == NULL) {
            out->error_code = why_missing(s, i);
            out->name = s->m.topics[i].name;
            out->topic_id = s->m.topics[i].topic_id;
            if (out->name.length < 0 && s->r->version < 12) {
                out->name = kafka_string("");
            }
        }
    }
    response->topics_count = n;
    return true;
}

static bool wants_all(const struct state *s)
{
    return s->m.topics_count < 0 || (s->r->version == 0 && s->m.topics_count == 0);
}

static void answer(struct state *s)
{
    struct kafka_request *r = s->r;
    struct kafka_metadata_response response;
    char cluster_id[UUID_TEXT_SIZE];

    kafka_metadata_response_init(&response);
    if (!fill_brokers(r, &response) ||
        !(wants_all(s) ? fill_all_topics(s, &response) : fill_asked_topics(s, &response))) {
        kafka_drop(r);
        return;
    }
    response.cluster_id = kafka_string(uuid_format(control_cluster_id(service_control(r->service)), cluster_id));
    response.controller_id = (int32_t)kafka_controller(r);
    if (s->m.include_cluster_authorized_operations) {
        response.cluster_authorized_operations = CLUSTER_OPERATIONS;
    }
    kafka_answer(r, &response);
}

/* ---- what is not there
 * ----------------------------------------------------------------------------------------------------- */

static void release_one(struct state *s)
{
    s->pending--;
    if (s->pending == 0) {
        answer(s);
    }
}

static void created(struct service_topic *topic)
{
    struct creation *c = container_of(topic, struct creation, topic);
    release_one(c->r->state);
}

static void current(struct service_topic *read)
{
    /* When the leader cannot be asked now, what is known here is a better answer than none: it is asked for again. */
    release_one(container_of(read, struct state, read));
}

static uint32_t count_missing(struct state *s)
{
    uint32_t n = 0;
    for (int32_t i = 0; i < s->m.topics_count; i++) {
        n += find(s->r, &s->m.topics[i]) == NULL;
    }
    return n;
}

static int create_missing(struct state *s, uint32_t missing)
{
    uint32_t n = missing < KAFKA_AUTO_CREATE_MAX ? missing : KAFKA_AUTO_CREATE_MAX;

    s->creations = kafka_alloc(s->r, n, sizeof *s->creations);
    if (s->creations == NULL) {
        return ERR_NOMEM;
    }
    for (int32_t i = 0; i < s->m.topics_count && s->n_creations < n; i++) {
        const struct kafka_metadata_request_topic *asked = &s->m.topics[i];
        struct creation *c = &s->creations[s->n_creations];
        if (by_id(asked) || find(s->r, asked) != NULL || check_name(s->r, asked->name) != 0) {
            continue;
        }
        c->r = s->r;
        c->topic.name = kafka_text(s->r, asked->name);
        if (c->topic.name == NULL) {
            return ERR_NOMEM;
        }
        c->topic.timeout_ms = CREATE_TIMEOUT_MS;
        c->topic.done = created;
        s->n_creations++;
    }
    return 0;
}

int kafka_metadata(struct kafka_request *r)
{
    struct state *s = kafka_alloc(r, 1, sizeof *s);
    uint32_t missing;
    uint32_t n;
    int rv;

    if (s == NULL) {
        return ERR_NOMEM;
    }
    s->r = r;
    r->state = s;
    rv = kafka_metadata_request_decode(&r->message, r->version, &r->arena, &s->m);
    if (rv != 0) {
        return rv;
    }
    missing = wants_all(s) ? 0 : count_missing(s);
    if (missing > 0 && s->m.allow_auto_topic_creation && r->session->settings->auto_create_topics) {
        rv = create_missing(s, missing);
        if (rv != 0) {
            return rv;
        }
    }
    n = s->n_creations;
    s->pending = 1; /* answers may come inside the calls */
    if (missing > n) {
        s->pending++;
        s->read.timeout_ms = READ_TIMEOUT_MS;
        s->read.done = current;
        service_read_metadata(r->service, &s->read);
    }
    for (uint32_t i = 0; i < n; i++) {
        s->pending++;
        service_create_topic(r->service, &s->creations[i].topic);
    }
    release_one(s);
    return 0;
}
