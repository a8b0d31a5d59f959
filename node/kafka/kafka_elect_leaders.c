/* ElectLeaders: back to the preferred ones. There is no unclean election, whoever asks. */
#include <stdlib.h>

#include "node/kafka/kafka_internal.h"
#include "node/service/service_partition.h"
#include "proto/kafka/messages/elect_leaders.h"

#define PREFERRED 0

struct state {
    struct kafka_elect_leaders_request m;
    struct kafka_elect_leaders_response response;
    struct service_elections *elections;
    struct kafka_elect_leaders_response_partition **places;
    uint32_t n_parts;
    bool all; /* those that need none are left out of the answer */
};

static void cleanup(struct kafka_request *r)
{
    struct state *s = r->state;
    free(s->elections);
}

static int16_t code_of(int error)
{
    switch (error) {
    case ERR_EXISTS:
        return KAFKA_ERROR_ELECTION_NOT_NEEDED;
    case ERR_LEADER_NOT_READY:
        return KAFKA_ERROR_PREFERRED_LEADER_NOT_AVAILABLE;
    default:
        return kafka_error_from_err(error, KAFKA_CONTROLLER);
    }
}

/* Of all partitions only those are told of that an election was tried for. */
static void leave_out(struct kafka_elect_leaders_response *response)
{
    int32_t topics = 0;
    for (int32_t i = 0; i < response->replica_election_results_count; i++) {
        struct kafka_elect_leaders_response_topic *t = &response->replica_election_results[i];
        int32_t n = 0;
        for (int32_t k = 0; k < t->partition_result_count; k++) {
            if (t->partition_result[k].error_code != KAFKA_ERROR_ELECTION_NOT_NEEDED) {
                t->partition_result[n++] = t->partition_result[k];
            }
        }
        t->partition_result_count = n;
        if (n > 0) {
            response->replica_election_results[topics++] = *t;
        }
    }
    response->replica_election_results_count = topics;
}

static void elected(struct service_elections *e)
{
    struct kafka_request *r = e->data;
    struct state *s = r->state;

    for (uint32_t i = 0; i < s->n_parts; i++) {
        s->places[i]->error_code = code_of(e->parts[i].error);
        if (e->parts[i].error != 0) {
            s->places[i]->error_message = kafka_string(kafka_error_name(s->places[i]->error_code));
        }
    }
    if (s->all) {
        leave_out(&s->response);
    }
    kafka_answer(r, &s->response);
}

static bool add_topic(struct kafka_request *r, struct state *s, struct kafka_string name,
                      const struct metadata_topic *t, const int32_t *partitions, int32_t n)
{
    struct kafka_elect_leaders_response_topic *out =
        &s->response.replica_election_results[s->response.replica_election_results_count++];

    out->topic = name;
    out->partition_result = kafka_alloc(r, (size_t)n, sizeof *out->partition_result);
    if (out->partition_result == NULL) {
        return false;
    }
    for (int32_t i = 0; i < n; i++) {
        struct kafka_elect_leaders_response_partition *at = &out->partition_result[out->partition_result_count++];
        struct service_elections_part *part;
        at->partition_id = partitions == NULL ? i : partitions[i];
        at->error_message = kafka_string(NULL);
        if (metadata_topic_partition(t, at->partition_id) == NULL) {
            at->error_code = KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION;
            continue;
        }
        if (s->m.election_type != PREFERRED) {
            at->error_code = KAFKA_ERROR_ELIGIBLE_LEADERS_NOT_AVAILABLE;
            at->error_message = kafka_string("unclean elections lose records: there are none");
            continue;
        }
        s->places[s->n_parts] = at;
        part = &s->elections->parts[s->n_parts++];
        part->topic_id = t->id;
        part->partition = (uint32_t)at->partition_id;
    }
    return true;
}

static bool add_all(struct kafka_request *r, struct state *s)
{
    list_for_each (pos, metadata_fsm_topics(service_metadata(r->service))) {
        const struct metadata_topic *t = list_entry(pos, struct metadata_topic, link);
        struct kafka_string name = kafka_format(r, "%s", t->name);
        if (name.length < 0 || !add_topic(r, s, name, t, NULL, (int32_t)t->n_partitions)) {
            return false;
        }
    }
    return true;
}

static bool add_asked(struct kafka_request *r, struct state *s)
{
    for (int32_t i = 0; i < s->m.topic_partitions_count; i++) {
        const struct kafka_elect_leaders_request_topic *in = &s->m.topic_partitions[i];
        if (!add_topic(r, s, in->topic, kafka_find_topic(r, in->topic), in->partitions, in->partitions_count)) {
            return false;
        }
    }
    return true;
}

int kafka_elect_leaders(struct kafka_request *r)
{
    struct state *s = kafka_alloc(r, 1, sizeof *s);
    const struct metadata_fsm *metadata = service_metadata(r->service);
    uint64_t n = 0;
    int rv;

    if (s == NULL) {
        return ERR_NOMEM;
    }
    r->state = s;
    kafka_elect_leaders_response_init(&s->response);
    rv = kafka_elect_leaders_request_decode(&r->message, r->version, &r->arena, &s->m);
    if (rv != 0) {
        return rv;
    }
    s->all = s->m.topic_partitions_count < 0;
    for (int32_t i = 0; i < s->m.topic_partitions_count; i++) {
        n += (uint64_t)s->m.topic_partitions[i].partitions_count;
    }
    n = s->all ? metadata_fsm_partition_count(metadata) : n;
    if (!s->all && n > KAFKA_PARTS_MAX) {
        return ERR_TOO_BIG;
    }
    s->elections = service_elections_new((uint32_t)n);
    s->places = kafka_alloc(r, (size_t)n, sizeof(void *));
    s->response.replica_election_results =
        kafka_alloc(r, s->all ? metadata_fsm_topic_count(metadata) : (size_t)s->m.topic_partitions_count,
                    sizeof *s->response.replica_election_results);
    r->cleanup = cleanup;
    if (s->elections == NULL || s->places == NULL || s->response.replica_election_results == NULL ||
        !(s->all ? add_all(r, s) : add_asked(r, s))) {
        return ERR_NOMEM;
    }
    s->elections->n = s->n_parts; /* the others have their answer already */
    s->elections->timeout_ms = s->m.timeout_ms > 0 ? (uint32_t)s->m.timeout_ms : 0;
    s->elections->data = r;
    s->elections->done = elected;
    service_elections(r->service, s->elections);
    return 0;
}
