/* The public producer: the program's threads meet the core's front under one mutex. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client/src/client.h"
#include "client/src/core/producer.h"

#define TOPIC_PATIENCE_MS 3000 /* a topic that nobody knows may have just been created */
#define HEADERS_ON_STACK 16

struct cairn_producer {
    struct producer_host host;
    struct cairn_client *client;
    struct producer *core;
    struct producer_config config;
    uint32_t max_block_ms;
    uv_mutex_t mutex; /* of core->accum, core->counts and what follows */
    uv_cond_t changed;
    unsigned waiters;
    int failure; /* first code other than CAIRN_OK since the last flush */
    char failure_text[CAIRN_ERROR_TEXT_SIZE];
    void (*callback)(void *arg, const struct cairn_delivery *delivery);
    void *callback_arg;
    int rv; /* of producer_new on the loop thread */
};

static void host_lock(struct producer_host *host)
{
    uv_mutex_lock(&container_of(host, struct cairn_producer, host)->mutex);
}

static void host_unlock(struct producer_host *host)
{
    uv_mutex_unlock(&container_of(host, struct cairn_producer, host)->mutex);
}

static uint64_t host_now_ns(struct producer_host *host)
{
    return driver_now_ns();
}

static void host_changed(struct producer_host *host)
{
    struct cairn_producer *p = container_of(host, struct cairn_producer, host);

    if (p->waiters > 0) {
        uv_cond_broadcast(&p->changed);
    }
}

static void host_delivered(struct producer_host *host, struct batch *b)
{
    struct cairn_producer *p = container_of(host, struct cairn_producer, host);
    struct cairn_delivery delivery = {.code = b->status,
                                      .text = b->text != NULL ? b->text : err_text(b->status),
                                      .topic = b->partition->topic->name,
                                      .partition = (int32_t)b->partition->partition,
                                      .base_offset = b->base_offset,
                                      .count = (size_t)b->builder.count,
                                      .tags = b->tags};

    if (b->status != 0) {
        uv_mutex_lock(&p->mutex);
        if (p->failure == 0) {
            p->failure = b->status;
            (void)snprintf(p->failure_text, sizeof p->failure_text, "topic %.100s partition %d: %.120s", delivery.topic,
                           delivery.partition, delivery.text);
        }
        uv_mutex_unlock(&p->mutex);
    }
    if (p->callback != NULL) {
        p->callback(p->callback_arg, &delivery);
    }
}

static int producer_options(struct cairn_producer *p, const struct cairn_options *options, struct cairn_error *error)
{
    struct accum_config *a = &p->config.accum;
    int codec = 0;
    uint32_t in_flight = a->in_flight_max;
    const struct option_field fields[] = {
        {.name = "linger_ms", .kind = OPTION_U32, .target = &a->linger_ms, .max = 60000},
        {.name = "batch_size_bytes", .kind = OPTION_U32, .target = &a->batch_size_bytes, .min = 512, .max = 8u << 20},
        {.name = "buffer_max_bytes",
         .kind = OPTION_U64,
         .target = &a->buffer_max_bytes,
         .min = 64u << 10,
         .max = 1ull << 40},
        {.name = "compression", .kind = OPTION_CHOICE, .target = &codec, .choices = "none|gzip|snappy|lz4|zstd"},
        {.name = "max_block_ms", .kind = OPTION_U32, .target = &p->max_block_ms, .max = INT_MAX},
        {.name = "delivery_timeout_ms",
         .kind = OPTION_U32,
         .target = &a->delivery_timeout_ms,
         .min = 100,
         .max = 3600000},
        {.name = "in_flight_max", .kind = OPTION_U32, .target = &in_flight, .min = 1, .max = PRODUCER_IN_FLIGHT_MAX},
    };
    int rv = options_apply(options, fields, sizeof fields / sizeof fields[0], error);

    if (rv == 0 && a->batch_size_bytes > a->buffer_max_bytes) {
        rv = error_set(error, ERR_CONFIG, "option batch_size_bytes: must not be above buffer_max_bytes");
    }
    p->config.codec = (uint8_t)codec; /* the choices stand in the order of their numbers */
    a->in_flight_max = in_flight;
    return rv;
}

static void task_open(struct core *core, void *arg)
{
    struct cairn_producer *p = arg;

    p->rv = producer_new(core, &p->host, &p->config, &p->core);
}

static void task_close(struct core *core, void *arg)
{
    struct cairn_producer *p = arg;

    producer_close(p->core);
}

int cairn_producer_open(struct cairn_client *client, const struct cairn_options *options, struct cairn_producer **out,
                        struct cairn_error *error)
{
    struct cairn_producer *p = calloc(1, sizeof *p);
    int rv;

    if (p == NULL) {
        return error_set(error, ERR_NOMEM, "open producer: out of memory");
    }
    p->client = client;
    p->host.lock = host_lock;
    p->host.unlock = host_unlock;
    p->host.now_ns = host_now_ns;
    p->host.delivered = host_delivered;
    p->host.changed = host_changed;
    p->max_block_ms = PRODUCER_MAX_BLOCK_MS;
    producer_config_init(&p->config);
    rv = producer_options(p, options, error);
    if (rv != 0) {
        goto err;
    }
    if (uv_mutex_init(&p->mutex) != 0) {
        rv = error_set(error, ERR_NOMEM, "open producer: out of memory");
        goto err;
    }
    if (uv_cond_init(&p->changed) != 0) {
        rv = error_set(error, ERR_NOMEM, "open producer: out of memory");
        goto err_after_mutex;
    }
    driver_run(&client->driver, task_open, p);
    rv = p->rv;
    if (rv != 0) {
        error_set(error, rv, "open producer: %s", err_text(rv));
        goto err_after_cond;
    }
    *out = p;
    return 0;

err_after_cond:
    uv_cond_destroy(&p->changed);
err_after_mutex:
    uv_mutex_destroy(&p->mutex);
err:
    free(p);
    return rv;
}

void cairn_producer_on_delivery(struct cairn_producer *p,
                                void (*callback)(void *arg, const struct cairn_delivery *delivery), void *arg)
{
    uv_mutex_lock(&p->mutex);
    p->callback = callback;
    p->callback_arg = arg;
    p->core->accum.config.keep_tags = callback != NULL;
    uv_mutex_unlock(&p->mutex);
}

/* Wait for a change until @deadline_ns. Locked. False: it is over. */
static bool producer_wait(struct cairn_producer *p, uint64_t deadline_ns)
{
    uint64_t now_ns = driver_now_ns();

    if (now_ns >= deadline_ns) {
        return false;
    }
    p->waiters++;
    (void)uv_cond_timedwait(&p->changed, &p->mutex, deadline_ns - now_ns);
    p->waiters--;
    return true;
}

static int send_error(const struct cairn_producer *p, const struct cairn_message *m, int rv, struct cairn_error *error)
{
    switch (rv) {
    case ERR_BUFFER_FULL:
        return error_set(error, rv,
                         "send to %.100s: the buffer of %llu bytes is full: the cluster takes less than is sent; try "
                         "again, or raise buffer_max_bytes",
                         m->topic, (unsigned long long)p->config.accum.buffer_max_bytes);
    case ERR_UNKNOWN_TOPIC:
        return error_set(error, rv, "send to %.100s: there is no such topic: create it first", m->topic);
    case ERR_LEADER_NOT_READY:
        return error_set(error, rv, "send to %.100s: nothing is known of the topic yet: is a node reachable?",
                         m->topic);
    default:
        return error_set(error, rv, "send to %.100s partition %d: %s", m->topic, m->partition, err_text(rv));
    }
}

/* The slow path: what keeps the record out may pass. Locked. */
static int send_wait(struct cairn_producer *p, const struct accum_record *r, int rv, bool *wake)
{
    uint64_t begin_ns = driver_now_ns();
    uint64_t deadline_ns = begin_ns + p->max_block_ms * NS_PER_MS;
    uint64_t patience_ns = begin_ns + TOPIC_PATIENCE_MS * NS_PER_MS;

    if (p->max_block_ms == 0 || driver_on_loop(&p->client->driver)) {
        return rv;
    }
    patience_ns = patience_ns < deadline_ns ? patience_ns : deadline_ns;
    while (rv == ERR_BUFFER_FULL || rv == ERR_LEADER_NOT_READY || rv == ERR_UNKNOWN_TOPIC) {
        bool full = rv == ERR_BUFFER_FULL;
        bool more;

        if (full && p->core->accum.waiters++ == 0) {
            *wake = true; /* half-filled batches leave now */
        }
        if (*wake) {
            driver_wake(&p->client->driver);
            *wake = false;
        }
        more = producer_wait(p, rv == ERR_UNKNOWN_TOPIC ? patience_ns : deadline_ns);
        if (full) {
            p->core->accum.waiters--;
        }
        if (!more) {
            break;
        }
        rv = accum_append(&p->core->accum, r, wake);
    }
    return rv;
}

/* False: a header's sizes are not allowed. */
static bool headers_convert(const struct cairn_message *m, struct record_header *headers)
{
    for (size_t i = 0; i < m->header_count; i++) {
        const struct cairn_header *h = &m->headers[i];
        size_t key_size = h->key != NULL ? strlen(h->key) : SIZE_MAX;

        if (key_size > RECORD_BATCH_SIZE_MAX || h->value_size > RECORD_BATCH_SIZE_MAX) {
            return false;
        }
        headers[i].key = (const uint8_t *)h->key;
        headers[i].key_length = (int32_t)key_size;
        headers[i].value = h->value;
        headers[i].value_length = h->value != NULL ? (int32_t)h->value_size : -1;
    }
    return true;
}

static int64_t wall_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static int send_record(struct cairn_producer *p, const struct cairn_message *m, const struct record_header *headers,
                       struct cairn_error *error)
{
    struct accum_record r = {.topic = m->topic,
                             .partition = m->partition,
                             .key = m->key,
                             .key_length = m->key != NULL ? (int32_t)m->key_size : -1,
                             .value = m->value,
                             .value_length = m->value != NULL ? (int32_t)m->value_size : -1,
                             .headers = headers,
                             .header_count = (int32_t)m->header_count,
                             .timestamp_ms = m->timestamp_ms != CAIRN_TIMESTAMP_NOW ? m->timestamp_ms : wall_ms(),
                             .tag = m->tag};
    bool wake = false;
    int rv;

    uv_mutex_lock(&p->mutex);
    rv = accum_append(&p->core->accum, &r, &wake);
    if (__builtin_expect(rv != 0, 0)) {
        rv = send_wait(p, &r, rv, &wake);
    }
    uv_mutex_unlock(&p->mutex);
    if (wake) {
        driver_wake(&p->client->driver);
    }
    return __builtin_expect(rv == 0, 1) ? 0 : send_error(p, m, rv, error);
}

int cairn_producer_send(struct cairn_producer *p, const struct cairn_message *m, struct cairn_error *error)
{
    struct record_header on_stack[HEADERS_ON_STACK];
    struct record_header *headers = on_stack;
    int rv;

    if (m->topic == NULL || m->partition < CAIRN_PARTITION_ANY || m->header_count > PRODUCER_HEADERS_MAX ||
        (m->header_count > 0 && m->headers == NULL)) {
        return error_set(error, ERR_INVALID, "send: topic, partition or headers are not allowed");
    }
    if (m->key_size > RECORD_BATCH_SIZE_MAX || m->value_size > RECORD_BATCH_SIZE_MAX) {
        return error_set(error, ERR_TOO_BIG, "send to %.100s: a record has at most %u bytes", m->topic,
                         RECORD_BATCH_SIZE_MAX);
    }
    if (__builtin_expect(m->header_count == 0, 1)) {
        return send_record(p, m, NULL, error);
    }
    if (m->header_count > HEADERS_ON_STACK) {
        headers = malloc(m->header_count * sizeof *headers);
        if (headers == NULL) {
            return error_set(error, ERR_NOMEM, "send to %.100s: out of memory", m->topic);
        }
    }
    rv = headers_convert(m, headers)
             ? send_record(p, m, headers, error)
             : error_set(error, ERR_INVALID, "send to %.100s: a header is not allowed", m->topic);
    if (headers != on_stack) {
        free(headers);
    }
    return rv;
}

int cairn_producer_flush(struct cairn_producer *p, uint32_t timeout_ms, struct cairn_error *error)
{
    uint64_t deadline_ns = driver_now_ns() + timeout_ms * NS_PER_MS;
    bool flushed;
    bool wake = false;
    uint64_t number;
    int rv = 0;

    if (driver_on_loop(&p->client->driver)) {
        return error_set(error, ERR_INVALID, "flush: not allowed in a delivery callback");
    }
    uv_mutex_lock(&p->mutex);
    p->core->accum.flushing++;
    number = accum_flush(&p->core->accum, &wake);
    flushed = accum_flushed(&p->core->accum, number);
    if (!flushed && wake) {
        driver_wake(&p->client->driver);
    }
    while (!flushed && producer_wait(p, deadline_ns)) {
        flushed = accum_flushed(&p->core->accum, number);
    }
    p->core->accum.flushing--;
    if (!flushed) {
        rv = error_set(error, ERR_TIMEOUT, "flush: some records were still under way after %u ms", timeout_ms);
    } else if (p->failure != 0) {
        rv = error_set(error, p->failure, "%s", p->failure_text);
        p->failure = 0;
    }
    uv_mutex_unlock(&p->mutex);
    return rv;
}

void cairn_producer_stats(struct cairn_producer *p, struct cairn_producer_stats *stats)
{
    const struct producer_counts *c = &p->core->counts;

    uv_mutex_lock(&p->mutex);
    *stats = (struct cairn_producer_stats){.records_sent = p->core->accum.records_sent,
                                           .records_acknowledged = c->records_acknowledged,
                                           .records_unknown = c->records_unknown,
                                           .records_failed = c->records_failed,
                                           .bytes_acknowledged = c->bytes_acknowledged,
                                           .batches_acknowledged = c->batches_acknowledged,
                                           .batches_retried = c->batches_retried,
                                           .buffer_used_bytes = p->core->accum.used_bytes};
    uv_mutex_unlock(&p->mutex);
}

void cairn_producer_close(struct cairn_producer *p, uint32_t timeout_ms)
{
    if (p == NULL) {
        return;
    }
    if (timeout_ms > 0) {
        (void)cairn_producer_flush(p, timeout_ms, NULL);
    }
    driver_run(&p->client->driver, task_close, p);
    uv_cond_destroy(&p->changed);
    uv_mutex_destroy(&p->mutex);
    free(p);
}
