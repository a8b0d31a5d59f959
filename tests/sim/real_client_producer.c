/* A program that produces with the library: to partitions of its choice or the library's, with and without keys, now and
 * then flushing, now and then closing its producer with records under way and opening another one. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/src/core/producer.h"
#include "tests/sim/real_client.h"

#define PARTITIONS_MAX 16
#define VALUE_BYTES_MAX (64u << 10)
#define KEYS 20
#define SMALL_BUFFER_BYTES (64u << 10)
#define BACKLOG_MAX 20 /* batches: with more, slow ways would need longer than a run for them */

struct sent_record {
    uint64_t made_ns;     /* world's time */
    bool acked;           /* the library has the acknowledgement of the batch that begins here */
    struct uuid acked_by; /* ... of this topic; nil: of which is not certain */
};

struct sent_topic {
    struct real_stream *stream;
    struct sent_record *records; /* by sequence number */
    uint32_t capacity;
    struct uuid id; /* that the library had at the end of its last turn */
    uint64_t next_ns;
    uint64_t fresh_ns[PARTITIONS_MAX]; /* when the newest acknowledged record was made */
};

struct real_producer {
    struct producer_host host;
    struct real_driver *driver;
    struct env *env;
    struct workload *w;
    struct producer *lib;
    struct sent_topic topics[CLIENT_TOPICS_MAX];
    bool flushing;
    uint64_t flush_number;
    uint64_t close_mean_ms; /* 0: it stays open */
    uint64_t close_ns;
    bool closing;
    bool dead;
    int64_t id; /* to see epochs rise */
    int32_t epoch;
    uint8_t *value;
};

static uint64_t host_now_ns(struct producer_host *host)
{
    return env_now_ns(container_of(host, struct real_producer, host)->env);
}

/* ---- what the library tells ------------------------------------------------------------------------------------------ */

/* An acknowledgement is of the topic that had the name when it came. It may be told much later, when the batches before it
 * have ended: by then the name may be another topic's. */
static const struct uuid *acked_by(struct real_producer *p, const struct batch *b)
{
    const struct accum_topic *at = b->partition->topic;
    struct sent_topic *t = &p->topics[atoi(at->name + 1)];
    struct sent_record *first = &t->records[(uintptr_t)b->tags[0] - 1];

    if (!first->acked) {
        first->acked = true;
        if (memcmp(at->meta->id, t->id.bytes, sizeof at->meta->id) == 0) { /* else it came in a turn that changed the id */
            first->acked_by = t->id;
        }
    }
    return &first->acked_by;
}

static void look_at_acked(struct real_producer *p, const struct list *batches)
{
    list_for_each(pos, batches)
    {
        const struct batch *b = list_entry(pos, struct batch, link);
        if (b->state == BATCH_DONE && b->status == 0) {
            (void)acked_by(p, b);
        }
    }
}

static void told_failed(struct real_producer *p, const struct batch *b, unsigned topic, uint32_t seq)
{
    struct oracle *o = p->w->oracle;
    bool explained = b->status == ERR_TIMEOUT || (b->status == ERR_CANCELLED && p->closing);

    if (!explained) {
        oracle_violation(o, "real client: t%u/%u: a batch failed: %s: %s", topic, b->partition->partition, err_name(b->status),
                         b->text != NULL ? b->text : "");
    }
    real_stream_failed(o, p->topics[topic].stream, seq, b->status);
}

static void on_delivered(struct producer_host *host, struct batch *b)
{
    struct real_producer *p = container_of(host, struct real_producer, host);
    struct oracle *o = p->w->oracle;
    unsigned topic = (unsigned)atoi(b->partition->topic->name + 1);
    struct sent_topic *t = &p->topics[topic];
    struct oracle_part *part = NULL;

    if (p->dead) {
        return;
    }
    oracle_trace(o, "real client: %s: t%u/%u: %d records from %" PRIuPTR ": %s offset %" PRId64 " (id %" PRId64 " epoch %d sequence %d)",
                 p->closing ? "closing" : "told", topic, b->partition->partition, b->builder.count,
                 (uintptr_t)b->tags[0] - 1, b->status == 0 ? "acked" : err_name(b->status), b->base_offset, b->producer_id,
                 b->producer_epoch, b->sequence);
    if (b->status == 0) {
        const struct uuid *id = acked_by(p, b);
        if (!uuid_is_nil(id)) {
            part = oracle_part(o, id, b->partition->partition, 0);
        }
        oracle_counts(o)->real_acks++;
        oracle_counts(o)->real_compressed += p->lib->config.codec != CODEC_NONE;
    }
    for (int32_t i = 0; i < b->builder.count; i++) {
        uint32_t seq = (uint32_t)((uintptr_t)b->tags[i] - 1);
        if (b->status == ERR_UNKNOWN_OUTCOME) {
            real_stream_unknown(o, t->stream, seq);
        } else if (b->status != 0) {
            told_failed(p, b, topic, seq);
        } else {
            real_stream_acked(o, t->stream, seq, part, b->base_offset >= 0 ? b->base_offset + i : -1);
            if (t->records[seq].made_ns > t->fresh_ns[b->partition->partition]) {
                t->fresh_ns[b->partition->partition] = t->records[seq].made_ns;
            }
        }
    }
}

void real_producer_after_turn(struct real_producer *p)
{
    struct accum_topic *at, *next;

    list_for_each(pos, &p->lib->active)
    {
        look_at_acked(p, &list_entry(pos, struct producer_partition, active_link)->queue);
    }
    look_at_acked(p, &p->lib->done);
    HASH_ITER(hh, p->lib->accum.topics, at, next)
    {
        if (at->registered) {
            memcpy(p->topics[atoi(at->name + 1)].id.bytes, at->meta->id, sizeof at->meta->id);
        }
    }
    if (p->lib->producer_id >= 0) {
        oracle_counts(p->w->oracle)->real_epochs += p->lib->producer_id == p->id && p->lib->producer_epoch > p->epoch;
        p->id = p->lib->producer_id;
        p->epoch = p->lib->producer_epoch;
    }
}

/* ---- sending --------------------------------------------------------------------------------------------------------- */

static void open_producer(struct real_producer *p)
{
    static const uint32_t batches[] = {512, 4u << 10, 32u << 10, SMALL_BUFFER_BYTES};
    static const uint32_t lingers[] = {0, 1, 5, 50};
    struct producer_config config;
    int rv;

    producer_config_init(&config);
    config.accum.keep_tags = true;
    config.accum.linger_ms = lingers[real_draw(p->env, 0, 3)];
    config.accum.batch_size_bytes = batches[real_draw(p->env, 0, 3)];
    config.accum.buffer_max_bytes = real_draw(p->env, 0, 2) == 0 ? SMALL_BUFFER_BYTES : 16u << 20;
    config.accum.delivery_timeout_ms = (uint32_t)(real_draw(p->env, 0, 1) == 0 ? real_draw(p->env, 1500, 6000) : 30000);
    config.accum.in_flight_max = (unsigned)real_draw(p->env, 1, PRODUCER_IN_FLIGHT_MAX);
    config.codec = real_draw(p->env, 0, 2) == 0 ? CODEC_ZSTD : CODEC_NONE;
    rv = producer_new(&p->driver->core, &p->host, &config, &p->lib);
    assert(rv == 0);
    (void)rv;
    p->flushing = false;
    p->close_ns = env_now_ns(p->env) + real_draw(p->env, 1, 2 * p->close_mean_ms + 1) * SIM_MS;
    for (unsigned t = 0; t < p->w->n_topics; t++) {
        p->topics[t].stream = real_stream_new(p->w->oracle, t, p->w->churn && t == p->w->n_topics - 1);
    }
}

static bool has_backlog(const struct accum *a)
{
    return !list_empty(&a->all) && a->number_next - list_entry(a->all.next, struct batch, all_link)->number >= BACKLOG_MAX;
}

/* False: not now. */
static bool send_one(struct real_producer *p, unsigned topic)
{
    struct sent_topic *t = &p->topics[topic];
    struct oracle *o = p->w->oracle;
    uint32_t seq = real_stream_next(t->stream);
    uint32_t key = (uint32_t)real_draw(p->env, 0, KEYS - 1);
    uint64_t way = real_draw(p->env, 0, 3);
    struct accum_record r = {.partition = -1, .key_length = -1, .timestamp_ms = env_wall_ms(p->env)};
    char name[16];
    bool wake = false;
    int rv;

    if (has_backlog(&p->lib->accum)) {
        return false;
    }
    client_topic_name(p->w, topic, name);
    r.topic = name;
    r.value_length = (int32_t)oracle_value_size(o, real_stream_id(t->stream), seq);
    oracle_value(o, real_stream_id(t->stream), seq, p->value);
    r.value = p->value;
    r.tag = (void *)(uintptr_t)(seq + 1u);
    if (way <= 1) {
        r.partition = (int32_t)real_draw(p->env, 0, p->w->partitions - 1);
    } else if (way == 2) {
        r.key = &key;
        r.key_length = sizeof key;
    }
    rv = accum_append(&p->lib->accum, &r, &wake);
    if (rv == ERR_BUFFER_FULL) {
        oracle_counts(o)->real_full++;
        return false;
    }
    if (rv == ERR_LEADER_NOT_READY || rv == ERR_UNKNOWN_TOPIC) {
        return false;
    }
    if (rv != 0) {
        oracle_violation(o, "real client: t%u takes no record: %s", topic, err_name(rv));
    }
    real_stream_sent(t->stream);
    if (seq >= t->capacity) {
        t->capacity = t->capacity == 0 ? 256 : 2 * t->capacity;
        t->records = realloc(t->records, t->capacity * sizeof *t->records);
        assert(t->records != NULL);
    }
    t->records[seq] = (struct sent_record){.made_ns = sim_world_now(p->w->world)};
    return true;
}

static void flush(struct real_producer *p)
{
    bool wake;

    if (!p->flushing) {
        p->flushing = true;
        p->lib->accum.flushing++;
        p->flush_number = accum_flush(&p->lib->accum, &wake);
    } else if (accum_flushed(&p->lib->accum, p->flush_number)) {
        p->flushing = false;
        p->lib->accum.flushing--;
        oracle_counts(p->w->oracle)->real_flushes++;
    }
}

/* What was never sent ends as cancelled, the rest as unknown. */
static void reopen(struct real_producer *p)
{
    oracle_counts(p->w->oracle)->real_closes += !list_empty(&p->lib->accum.all);
    oracle_counts(p->w->oracle)->real_retries += p->lib->counts.batches_retried;
    oracle_trace(p->w->oracle, "real client: closes a producer");
    p->closing = true;
    producer_close(p->lib);
    p->closing = false;
    p->id = -1;
    open_producer(p);
}

void real_producer_tick(struct real_producer *p)
{
    uint64_t now = env_now_ns(p->env);

    if (p->close_mean_ms != 0 && now >= p->close_ns && p->w->healed_ns == 0) {
        reopen(p);
    }
    for (unsigned t = 0; t < p->w->n_topics && !p->w->stop; t++) {
        if (now < p->topics[t].next_ns) {
            continue;
        }
        for (uint64_t n = real_draw(p->env, 1, 2 * p->w->records_max); n > 0 && send_one(p, t); n--) {
        }
        p->topics[t].next_ns = now + real_draw(p->env, 0, 2 * p->w->batch_gap_ms) * SIM_MS;
    }
    if (p->flushing || p->w->stop || real_draw(p->env, 0, 400) == 0) {
        flush(p);
    }
}

/* ---- life ------------------------------------------------------------------------------------------------------------ */

struct real_producer *real_producer_new(struct real_driver *d, struct workload *w)
{
    struct real_producer *p = calloc(1, sizeof *p);

    assert(p != NULL && w->partitions <= PARTITIONS_MAX);
    p->host.now_ns = host_now_ns;
    p->host.delivered = on_delivered;
    p->driver = d;
    p->env = d->env;
    p->w = w;
    p->id = -1;
    p->close_mean_ms = real_draw(p->env, 0, 1) == 0 ? real_draw(p->env, 1000, 6000) : 0;
    p->value = malloc(VALUE_BYTES_MAX);
    assert(p->value != NULL);
    open_producer(p);
    return p;
}

void real_producer_abandon(struct real_producer *p)
{
    p->dead = true;
    oracle_counts(p->w->oracle)->real_retries += p->lib->counts.batches_retried;
    producer_close(p->lib);
    for (unsigned t = 0; t < CLIENT_TOPICS_MAX; t++) {
        free(p->topics[t].records);
    }
    free(p->value);
    free(p);
}

bool real_producer_fresh(const struct real_producer *p)
{
    for (unsigned t = 0; t < p->w->n_topics; t++) {
        for (unsigned i = 0; i < p->w->partitions; i++) {
            if (p->topics[t].fresh_ns[i] <= p->w->healed_ns) {
                return false;
            }
        }
    }
    return true;
}

bool real_producer_idle(const struct real_producer *p)
{
    return list_empty(&p->lib->accum.all);
}

size_t real_producer_describe(const struct real_producer *p, char *out, size_t size)
{
    const struct producer *lib = p->lib;
    size_t n = (size_t)snprintf(out, size, " producer id %" PRId64 " epoch %d, next epoch wanted %d;", lib->producer_id,
                                lib->producer_epoch, lib->next_epoch_wanted);
    struct accum_topic *at, *next;

    HASH_ITER(hh, lib->accum.topics, at, next)
    {
        n += n < size ? (size_t)snprintf(out + n, size - n, " %s: %u partitions, error %s;", at->name, at->partition_count,
                                         err_name(at->error))
                      : 0;
        for (uint32_t i = 0; i < at->partition_count && n < size; i++) {
            const struct producer_partition *pp = at->partitions[i];
            n += (size_t)snprintf(out + n, size - n, " %u: fresh %d queue %u wire %u room %u open %d sealed %d retrying %d reset %d "
                                  "stale %d last %s;", i, p->topics[atoi(at->name + 1)].fresh_ns[i] > p->w->healed_ns,
                                  pp->queue_count, pp->on_wire, pp->room, pp->open != NULL, !list_empty(&pp->sealed),
                                  pp->retrying, pp->reset_wanted, pp->stale, err_name(pp->last_error));
        }
    }
    return n < size ? n : size;
}
