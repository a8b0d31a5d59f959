/* The public consumer: takes chunks from the core's queue and opens their batches in the caller's thread. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "client/src/consumer.h"

_Static_assert(CAIRN_OFFSET_EARLIEST == CONSUMER_EARLIEST, "the core's word");
_Static_assert(CAIRN_OFFSET_LATEST == CONSUMER_LATEST, "the core's word");

static void host_lock(struct consumer_host *host)
{
    uv_mutex_lock(&container_of(host, struct cairn_consumer, host)->mutex);
}

static void host_unlock(struct consumer_host *host)
{
    uv_mutex_unlock(&container_of(host, struct cairn_consumer, host)->mutex);
}

static void host_changed(struct consumer_host *host)
{
    uv_cond_signal(&container_of(host, struct cairn_consumer, host)->changed);
}

static void task_open(struct core *core, void *arg)
{
    struct cairn_consumer *c = arg;

    c->rv = consumer_new(core, &c->host, &c->config, &c->core);
}

static void task_close(struct core *core, void *arg)
{
    struct cairn_consumer *c = arg;

    consumer_close(c->core);
}

static int consumer_options(struct cairn_consumer *c, const struct cairn_options *options, struct cairn_error *error)
{
    struct membership_config *g = &c->config.group;
    const char *id = "";
    const char *instance = "";
    const char *assignors = "";
    int policy = 0;
    int from = 0;
    int auto_commit = 1;
    const struct option_field fields[] = {
        {.name = "group_id", .kind = OPTION_TEXT, .target = &id},
        {.name = "group_instance_id", .kind = OPTION_TEXT, .target = &instance},
        {.name = "assignors", .kind = OPTION_TEXT, .target = &assignors},
        {.name = "from_offset", .kind = OPTION_CHOICE, .target = &from, .choices = "earliest|latest"},
        {.name = "auto_commit", .kind = OPTION_CHOICE, .target = &auto_commit, .choices = "false|true"},
        {.name = "auto_commit_interval_ms",
         .kind = OPTION_U32,
         .target = &g->auto_commit_interval_ms,
         .min = 10,
         .max = 3600000},
        {.name = "session_timeout_ms", .kind = OPTION_U32, .target = &g->session_timeout_ms, .min = 1, .max = INT_MAX},
        {.name = "heartbeat_interval_ms",
         .kind = OPTION_U32,
         .target = &g->heartbeat_interval_ms,
         .min = 10,
         .max = 3600000},
        {.name = "max_poll_interval_ms",
         .kind = OPTION_U32,
         .target = &g->max_poll_interval_ms,
         .min = 100,
         .max = 86400000},
        {.name = "on_out_of_range", .kind = OPTION_CHOICE, .target = &policy, .choices = "error|earliest|latest"},
        {.name = "fetch_max_bytes",
         .kind = OPTION_U32,
         .target = &c->config.fetch_max_bytes,
         .min = 1024,
         .max = 32u << 20},
        {.name = "prefetch_max_bytes",
         .kind = OPTION_U64,
         .target = &c->config.prefetch_max_bytes,
         .min = 1024,
         .max = 1ull << 40},
        {.name = "fetch_max_wait_ms",
         .kind = OPTION_U32,
         .target = &c->config.fetch_max_wait_ms,
         .min = 1,
         .max = 30000},
    };
    int rv = options_apply(options, fields, sizeof fields / sizeof fields[0], error);

    c->config.on_out_of_range = (enum consumer_policy)policy;
    g->from_latest = from == 1;
    g->auto_commit = auto_commit == 1;
    return rv == 0 ? consumer_group_options(c, id, instance, assignors, error) : rv;
}

int cairn_consumer_open(struct cairn_client *client, const struct cairn_options *options, struct cairn_consumer **out,
                        struct cairn_error *error)
{
    struct cairn_consumer *c = calloc(1, sizeof *c);
    int rv;

    if (c == NULL) {
        return error_set(error, ERR_NOMEM, "open consumer: out of memory");
    }
    c->client = client;
    c->host.lock = host_lock;
    c->host.unlock = host_unlock;
    c->host.changed = host_changed;
    codec_scratch_init(&c->records.scratch, 0);
    consumer_config_init(&c->config);
    rv = consumer_options(c, options, error);
    if (rv != 0) {
        goto err;
    }
    if (uv_mutex_init(&c->mutex) != 0) {
        rv = error_set(error, ERR_NOMEM, "open consumer: out of memory");
        goto err;
    }
    if (uv_cond_init(&c->changed) != 0) {
        rv = error_set(error, ERR_NOMEM, "open consumer: out of memory");
        goto err_after_mutex;
    }
    driver_run(&client->driver, task_open, c);
    rv = c->rv;
    if (rv != 0) {
        error_set(error, rv, "open consumer: %s", err_text(rv));
        goto err_after_cond;
    }
    *out = c;
    return 0;

err_after_cond:
    uv_cond_destroy(&c->changed);
err_after_mutex:
    uv_mutex_destroy(&c->mutex);
err:
    free(c);
    return rv;
}

static void records_drop(struct cairn_records *r)
{
    if (r->chunk != NULL) {
        chunk_free(r->chunk);
        r->chunk = NULL;
    }
    r->left = 0;
    r->in_batch = false;
}

void cairn_consumer_close(struct cairn_consumer *c)
{
    if (c == NULL) {
        return;
    }
    consumer_group_leave(c);
    records_drop(&c->records);
    driver_run(&c->client->driver, task_close, c);
    codec_scratch_close(&c->records.scratch);
    uv_cond_destroy(&c->changed);
    uv_mutex_destroy(&c->mutex);
    free(c);
}

void consumer_unlock_and_wake(struct cairn_consumer *c, bool wake)
{
    uv_mutex_unlock(&c->mutex);
    if (wake) {
        driver_wake(&c->client->driver);
    }
}

int cairn_consumer_assign(struct cairn_consumer *c, const char *topic, int32_t partition, int64_t offset,
                          struct cairn_error *error)
{
    bool wake = false;
    int rv = ERR_INVALID;

    uv_mutex_lock(&c->mutex);
    if (topic != NULL && partition >= 0 && !(c->core->group != NULL && c->core->group->state != MEMBERSHIP_IDLE)) {
        rv = consumer_assign(c->core, topic, (uint32_t)partition, offset, &wake);
    }
    consumer_unlock_and_wake(c, wake);
    if (rv != 0) {
        error_set(error, rv, "assign %.100s partition %d offset %lld: %s", topic != NULL ? topic : "(none)", partition,
                  (long long)offset, err_text(rv));
    }
    return rv;
}

int cairn_consumer_unassign(struct cairn_consumer *c, const char *topic, int32_t partition)
{
    struct consumer_partition *p;
    bool wake = false;

    uv_mutex_lock(&c->mutex);
    p = consumer_find(c->core, topic, (uint32_t)partition);
    if (p != NULL) {
        consumer_unassign(c->core, p, &wake);
    }
    consumer_unlock_and_wake(c, wake);
    return p != NULL ? 0 : ERR_NOT_FOUND;
}

int cairn_consumer_seek(struct cairn_consumer *c, const char *topic, int32_t partition, int64_t offset,
                        struct cairn_error *error)
{
    struct consumer_partition *p;
    bool wake = false;
    int rv = 0;

    uv_mutex_lock(&c->mutex);
    p = consumer_find(c->core, topic, (uint32_t)partition);
    if (p == NULL || offset < CAIRN_OFFSET_EARLIEST) {
        rv = p == NULL ? ERR_NOT_FOUND : ERR_INVALID;
        error_set(error, rv, "seek %.100s partition %d to %lld: %s", topic, partition, (long long)offset,
                  p == NULL ? "not assigned" : "not an offset");
    } else {
        consumer_seek(c->core, p, offset, &wake);
    }
    consumer_unlock_and_wake(c, wake);
    return rv;
}

static int pause_set(struct cairn_consumer *c, const char *topic, int32_t partition, bool paused)
{
    struct consumer_partition *p;
    bool wake = false;

    uv_mutex_lock(&c->mutex);
    p = consumer_find(c->core, topic, (uint32_t)partition);
    if (p != NULL) {
        consumer_pause(c->core, p, paused, &wake);
    }
    consumer_unlock_and_wake(c, wake);
    return p != NULL ? 0 : ERR_NOT_FOUND;
}

int cairn_consumer_pause(struct cairn_consumer *c, const char *topic, int32_t partition)
{
    return pause_set(c, topic, partition, true);
}

int cairn_consumer_resume(struct cairn_consumer *c, const char *topic, int32_t partition)
{
    return pause_set(c, topic, partition, false);
}

int cairn_consumer_position(struct cairn_consumer *c, const char *topic, int32_t partition, int64_t *offset)
{
    struct consumer_partition *p;

    uv_mutex_lock(&c->mutex);
    p = consumer_find(c->core, topic, (uint32_t)partition);
    if (p != NULL) {
        *offset = p->position;
    }
    uv_mutex_unlock(&c->mutex);
    return p != NULL ? 0 : ERR_NOT_FOUND;
}

int cairn_consumer_high_watermark(struct cairn_consumer *c, const char *topic, int32_t partition, int64_t *offset)
{
    struct consumer_partition *p;

    uv_mutex_lock(&c->mutex);
    p = consumer_find(c->core, topic, (uint32_t)partition);
    if (p != NULL) {
        *offset = p->high_watermark;
    }
    uv_mutex_unlock(&c->mutex);
    return p != NULL ? 0 : ERR_NOT_FOUND;
}

/* Other records are to be given while some were not taken (their partition is paused): they are fetched again. Locked.
 */
static void records_set_aside(struct cairn_consumer *c, bool *wake)
{
    struct cairn_records *r = &c->records;
    struct consumer_partition *p = r->chunk != NULL ? consumer_find(c->core, r->topic, (uint32_t)r->partition) : NULL;

    if (p != NULL && p->generation == r->generation) {
        int64_t done_offset = p->done_offset;
        consumer_seek(c->core, p, r->wanted, wake);
        p->done_offset = done_offset;
    }
    records_drop(r);
}

/* The last poll's records turned out unreadable: fetch them again, and say so. Locked. */
static int poll_broken(struct cairn_consumer *c, bool *wake, struct cairn_error *error)
{
    struct cairn_records *r = &c->records;
    struct consumer_partition *p = consumer_find(c->core, r->topic, (uint32_t)r->partition);
    int rv = r->err;

    r->err = 0;
    if (p == NULL || p->generation != r->generation) {
        return 0; /* the program went elsewhere since */
    }
    consumer_seek(c->core, p, r->wanted, wake);
    return error_set(error, rv, "read %.100s partition %d at offset %lld: %s; polling on fetches it again", r->topic,
                     r->partition, (long long)r->wanted, err_text(rv));
}

/* Locked. */
static int poll_chunk(struct cairn_consumer *c, struct chunk *chunk, struct cairn_records **records,
                      struct cairn_error *error)
{
    struct cairn_records *r = &c->records;
    struct consumer_partition *p = chunk->partition;
    int rv = chunk->status;

    if (rv != 0) {
        error_set(error, rv, "read %.100s partition %u at offset %lld: %s%s", p->topic, p->partition,
                  (long long)p->position, err_text(rv),
                  rv == ERR_OFFSET_OUT_OF_RANGE ? ": seek, or set on_out_of_range" : "");
        chunk_free(chunk);
        return rv;
    }
    memcpy(r->topic, p->topic, sizeof r->topic);
    r->partition = (int32_t)p->partition;
    r->generation = p->generation;
    r->chunk = chunk;
    r->next = chunk->bytes;
    r->left = chunk->size;
    r->wanted = chunk->begin;
    r->in_batch = false;
    *records = r;
    return 0;
}

void consumer_records_mark(struct cairn_consumer *c)
{
    struct cairn_records *r = &c->records;
    struct consumer_partition *p = r->chunk != NULL ? consumer_find(c->core, r->topic, (uint32_t)r->partition) : NULL;

    if (p != NULL && p->generation == r->generation && (r->left == 0 || r->wanted > r->chunk->begin)) {
        consumer_processed(p, r->left == 0 ? r->chunk->end : r->wanted);
    }
}

/* The program asks for more: what it was given is processed, what it did not take is kept for it. Locked. */
static void records_done(struct cairn_consumer *c)
{
    struct cairn_records *r = &c->records;

    consumer_records_mark(c);
    if (r->chunk != NULL && r->err == 0 && (r->left == 0 || r->wanted >= r->chunk->end)) {
        records_drop(r);
    }
}

/* What the last poll gave and the program did not take. Locked. */
static bool poll_rest(struct cairn_consumer *c)
{
    const struct cairn_records *r = &c->records;
    struct consumer_partition *p;

    if (r->chunk == NULL || r->err != 0) {
        return false;
    }
    p = consumer_find(c->core, r->topic, (uint32_t)r->partition);
    return p != NULL && p->generation == r->generation && !p->paused;
}

/* Locked. Until there is something to give or to say, or it is too late. */
static int poll_wait(struct cairn_consumer *c, uint64_t deadline_ns, struct cairn_records **records, bool *wake,
                     struct cairn_error *error)
{
    struct chunk *chunk;
    uint64_t now_ns;
    int rv;

    for (;;) {
        rv = consumer_group_events(c, wake, error);
        if (rv != 0) {
            return rv;
        }
        if (poll_rest(c)) {
            *records = &c->records;
            return 0;
        }
        chunk = consumer_take(c->core, wake);
        if (chunk != NULL) {
            records_set_aside(c, wake);
            return poll_chunk(c, chunk, records, error);
        }
        now_ns = driver_now_ns();
        if (now_ns >= deadline_ns) {
            return 0;
        }
        if (*wake) {
            driver_wake(&c->client->driver);
            *wake = false;
        }
        (void)uv_cond_timedwait(&c->changed, &c->mutex, deadline_ns - now_ns);
    }
}

int cairn_consumer_poll(struct cairn_consumer *c, uint32_t timeout_ms, struct cairn_records **records,
                        struct cairn_error *error)
{
    uint64_t now_ns = driver_now_ns();
    bool wake = false;
    int rv = 0;

    *records = NULL;
    if (c->in_callback) {
        return error_set(error, ERR_INVALID, "poll: not allowed in a callback");
    }
    uv_mutex_lock(&c->mutex);
    if (c->core->group != NULL) {
        membership_polled(c->core->group, now_ns, true, &wake);
    }
    records_done(c);
    if (c->records.err != 0) {
        rv = poll_broken(c, &wake, error);
    }
    if (rv == 0) {
        rv = poll_wait(c, now_ns + timeout_ms * NS_PER_MS, records, &wake, error);
    }
    if (c->core->group != NULL) {
        membership_polled(c->core->group, driver_now_ns(), false, &wake);
    }
    consumer_unlock_and_wake(c, wake);
    return rv;
}

/* Open the next batch that has records for us. False: none is left, or r->err. */
static bool records_open(struct cairn_records *r)
{
    struct record_batch_header h;

    while (r->left > 0 && r->err == 0) {
        const uint8_t *batch = r->next;

        r->err = record_batch_peek(batch, r->left, &h);
        if (r->err != 0) {
            return false;
        }
        if (!record_batch_intact(batch, h.size)) {
            r->err = ERR_CORRUPT;
            return false;
        }
        if (record_batch_is_control(&h) || record_batch_offset_next(&h) <= r->wanted) {
            r->next += h.size;
            r->left -= h.size;
            continue;
        }
        r->err = record_iter_init(&r->iter, batch, h.size, &r->scratch);
        r->in_batch = r->err == 0;
        return r->in_batch;
    }
    return false;
}

bool cairn_records_next(struct cairn_records *r, struct cairn_record *out)
{
    struct record record;

    for (;;) {
        if (__builtin_expect(!r->in_batch, 0) && !records_open(r)) {
            return false;
        }
        while (record_iter_next(&r->iter, &record)) {
            if (__builtin_expect(record.offset < r->wanted, 0)) {
                continue;
            }
            r->wanted = record.offset + 1;
            out->offset = record.offset;
            out->timestamp_ms = record.timestamp;
            out->key = record.key;
            out->key_size = record.key_length > 0 ? (size_t)record.key_length : 0;
            out->value = record.value;
            out->value_size = record.value_length > 0 ? (size_t)record.value_length : 0;
            out->header_count = (size_t)record.header_count;
            out->headers = record.headers;
            out->headers_end = record.headers_end;
            return true;
        }
        r->err = record_iter_error(&r->iter);
        r->in_batch = false;
        if (r->err != 0) {
            return false;
        }
        r->left -= r->iter.batch.size;
        r->next += r->iter.batch.size;
    }
}

const char *cairn_records_topic(const struct cairn_records *r)
{
    return r->topic;
}

int32_t cairn_records_partition(const struct cairn_records *r)
{
    return r->partition;
}

size_t cairn_records_size(const struct cairn_records *r)
{
    return r->chunk != NULL ? r->chunk->size : 0;
}

bool cairn_record_header(struct cairn_record *record, struct cairn_record_header *header)
{
    struct record r = {
        .header_count = (int32_t)record->header_count, .headers = record->headers, .headers_end = record->headers_end};
    struct record_header h;

    if (!record_header_next(&r, &h)) {
        return false;
    }
    record->header_count = (size_t)r.header_count;
    record->headers = r.headers;
    header->key = (const char *)h.key;
    header->key_size = (size_t)h.key_length;
    header->value = h.value;
    header->value_size = h.value_length > 0 ? (size_t)h.value_length : 0;
    return true;
}
