/* DescribeLogDirs: one directory, and in it the replicas of this node. A replica's size is that of its record batches.
 */
#include "node/kafka/kafka_internal.h"
#include "node/service/service_partition.h"
#include "proto/kafka/messages/describe_log_dirs.h"

struct state {
    struct kafka_describe_log_dirs_request m;
    struct kafka_describe_log_dirs_response response;
    struct kafka_describe_log_dirs_response_result result;
    struct service_describes *describes;
    struct kafka_describe_log_dirs_response_partition **places;
    uint32_t n_parts;
};

static void cleanup(struct kafka_request *r)
{
    struct state *s = r->state;
    service_describes_free(s->describes);
}

static void described(struct service_describes *d)
{
    struct kafka_request *r = d->data;
    struct state *s = r->state;
    for (uint32_t i = 0; i < s->n_parts; i++) {
        s->places[i]->partition_size = d->parts[i].op.bytes;
    }
    kafka_answer(r, &s->response);
}

static bool is_here(struct kafka_request *r, const struct metadata_partition *p)
{
    for (uint32_t i = 0; i < p->n_replicas; i++) {
        if (p->replicas[i].node == control_node(service_control(r->service))) {
            return true;
        }
    }
    return false;
}

/* The partitions named, or all; those that have a replica here. */
static bool add_topic(struct kafka_request *r, struct state *s, const struct metadata_topic *t,
                      const int32_t *partitions, int32_t n)
{
    struct kafka_describe_log_dirs_response_topic *out = &s->result.topics[s->result.topics_count];

    out->name = kafka_format(r, "%s", t->name);
    out->partitions = kafka_alloc(r, (size_t)n, sizeof *out->partitions);
    if (out->partitions == NULL || out->name.length < 0) {
        return false;
    }
    for (int32_t i = 0; i < n; i++) {
        int32_t partition = partitions == NULL ? i : partitions[i];
        struct kafka_describe_log_dirs_response_partition *at = &out->partitions[out->partitions_count];
        struct service_describes_part *part;
        const struct metadata_partition *p = metadata_topic_partition(t, partition);
        if (p == NULL || !is_here(r, p)) {
            continue;
        }
        at->partition_index = partition;
        s->places[s->n_parts] = at;
        part = &s->describes->parts[s->n_parts++];
        part->topic_id = t->id;
        part->partition = (uint32_t)partition;
        out->partitions_count++;
    }
    s->result.topics_count += out->partitions_count > 0;
    return true;
}

static bool add_all(struct kafka_request *r, struct state *s)
{
    list_for_each (pos, metadata_fsm_topics(service_metadata(r->service))) {
        const struct metadata_topic *t = list_entry(pos, struct metadata_topic, link);
        if (!add_topic(r, s, t, NULL, (int32_t)t->n_partitions)) {
            return false;
        }
    }
    return true;
}

static bool add_asked(struct kafka_request *r, struct state *s)
{
    for (int32_t i = 0; i < s->m.topics_count; i++) {
        const struct kafka_describe_log_dirs_request_topic *in = &s->m.topics[i];
        const struct metadata_topic *t = kafka_find_topic(r, in->topic);
        if (t != NULL && !add_topic(r, s, t, in->partitions, in->partitions_count)) {
            return false;
        }
    }
    return true;
}

int kafka_describe_log_dirs(struct kafka_request *r)
{
    struct state *s = kafka_alloc(r, 1, sizeof *s);
    const struct metadata_fsm *metadata = service_metadata(r->service);
    uint64_t n = 0;
    bool all;
    int rv;

    if (s == NULL) {
        return ERR_NOMEM;
    }
    r->state = s;
    kafka_describe_log_dirs_response_init(&s->response);
    kafka_describe_log_dirs_response_result_init(&s->result);
    rv = kafka_describe_log_dirs_request_decode(&r->message, r->version, &r->arena, &s->m);
    if (rv != 0) {
        return rv;
    }
    all = s->m.topics_count < 0;
    for (int32_t i = 0; i < s->m.topics_count; i++) {
        n += (uint64_t)s->m.topics[i].partitions_count;
    }
    n = all ? metadata_fsm_partition_count(metadata) : n;
    if (!all && n > KAFKA_PARTS_MAX) {
        return ERR_TOO_BIG;
    }
    s->describes = service_describes_new((uint32_t)n);
    s->places = kafka_alloc(r, (size_t)n, sizeof(void *));
    s->result.topics =
        kafka_alloc(r, all ? metadata_fsm_topic_count(metadata) : (size_t)s->m.topics_count, sizeof *s->result.topics);
    r->cleanup = cleanup;
    if (s->describes == NULL || s->places == NULL || s->result.topics == NULL ||
        !(all ? add_all(r, s) : add_asked(r, s))) {
        return ERR_NOMEM;
    }
    s->result.log_dir = kafka_string(r->session->settings->data_dir);
    s->response.results = &s->result;
    s->response.results_count = 1;
    s->describes->n = s->n_parts;
    s->describes->data = r;
    s->describes->done = described;
    service_describes(r->service, s->describes);
    return 0;
}
