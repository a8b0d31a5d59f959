#include "client/src/core/consumer.h"

#include <stdlib.h>
#include <string.h>

#include "client/src/core/conn.h"

#define TROUBLE_TELL_MS 3000 /* how long a topic may be unknown before the program hears of it */

void consumer_config_init(struct consumer_config *config)
{
    config->on_out_of_range = POLICY_ERROR;
    config->fetch_max_bytes = CONSUMER_FETCH_MAX_BYTES;
    config->prefetch_max_bytes = CONSUMER_PREFETCH_MAX_BYTES;
    config->fetch_max_wait_ms = CONSUMER_FETCH_WAIT_MS;
    membership_config_init(&config->group);
}

int consumer_new(struct core *core, struct consumer_host *host, const struct consumer_config *config,
                 struct consumer **out)
{
    struct consumer *c = calloc(1, sizeof *c);

    if (c == NULL) {
        return ERR_NOMEM;
    }
    c->core = core;
    c->host = host;
    c->config = *config;
    list_init(&c->partitions);
    list_init(&c->chunks);
    if (config->group.id[0] != '\0') {
        c->group = membership_new(c, &config->group);
        if (c->group == NULL) {
            free(c);
            return ERR_NOMEM;
        }
    }
    list_push_back(&core->consumers, &c->link);
    *out = c;
    return 0;
}

void chunk_free(struct chunk *chunk)
{
    buf_release(chunk->buf);
    free(chunk);
}

static void consumer_drop_chunks(struct consumer *c, const struct consumer_partition *of)
{
    list_for_each_safe (pos, &c->chunks) {
        struct chunk *chunk = list_entry(pos, struct chunk, link);
        if (of == NULL || chunk->partition == of) {
            chunk->partition->buffered_bytes -= chunk->size;
            list_remove(&chunk->link);
            chunk_free(chunk);
        }
    }
}

static void partition_free(struct consumer_partition *p)
{
    list_remove(&p->link);
    if (p->meta != NULL) {
        meta_topic_release(p->consumer->core, p->meta);
    }
    free(p);
}

void consumer_destroy(struct consumer *c)
{
    while (!list_empty(&c->partitions)) {
        partition_free(list_entry(c->partitions.next, struct consumer_partition, link));
    }
    free(c->picks);
    free(c);
}

void consumer_close(struct consumer *c)
{
    consumer_lock(c);
    consumer_drop_chunks(c, NULL);
    c->closed = true;
    consumer_unlock(c);
    if (c->group != NULL) {
        membership_free(c->group);
        c->group = NULL;
    }
    c->host = NULL;
    list_remove(&c->link);
    list_for_each (pos, &c->partitions) {
        struct consumer_partition *p = list_entry(pos, struct consumer_partition, link);
        if (p->meta != NULL) {
            meta_topic_release(c->core, p->meta);
            p->meta = NULL;
        }
    }
    if (c->requests == 0) {
        consumer_destroy(c);
    }
}

struct consumer_partition *consumer_find(struct consumer *c, const char *topic, uint32_t partition)
{
    list_for_each (pos, &c->partitions) {
        struct consumer_partition *p = list_entry(pos, struct consumer_partition, link);
        if (!p->removed && p->partition == partition && strcmp(p->topic, topic) == 0) {
            return p;
        }
    }
    return NULL;
}

static void consumer_wake(struct consumer *c, bool *wake)
{
    if (!c->attention) {
        c->attention = true;
        *wake = true;
    }
}

void consumer_seek(struct consumer *c, struct consumer_partition *p, int64_t offset, bool *wake)
{
    consumer_drop_chunks(c, p);
    p->position = offset;
    p->done_offset = offset >= 0 ? offset : -1;
    p->generation++;
    consumer_wake(c, wake);
}

int consumer_assign(struct consumer *c, const char *topic, uint32_t partition, int64_t offset, bool *wake)
{
    struct consumer_partition *p;
    size_t length = strlen(topic);

    if (length == 0 || length > CLIENT_TOPIC_NAME_MAX || offset < CONSUMER_EARLIEST) {
        return ERR_INVALID;
    }
    p = consumer_find(c, topic, partition);
    if (p == NULL) {
        p = calloc(1, sizeof *p);
        if (p == NULL) {
            return ERR_NOMEM;
        }
        p->consumer = c;
        memcpy(p->topic, topic, length);
        p->partition = partition;
        p->committed_offset = -1;
        p->high_watermark = -1;
        p->log_start = -1;
        list_push_back(&c->partitions, &p->link);
    }
    consumer_seek(c, p, offset, wake);
    return 0;
}

void consumer_unassign(struct consumer *c, struct consumer_partition *p, bool *wake)
{
    consumer_drop_chunks(c, p);
    p->removed = true;
    p->generation++;
    consumer_wake(c, wake);
}

void consumer_pause(struct consumer *c, struct consumer_partition *p, bool paused, bool *wake)
{
    p->paused = paused;
    consumer_wake(c, wake);
}

static bool partition_has_room(const struct consumer *c, const struct consumer_partition *p)
{
    return p->buffered_bytes == 0 || p->buffered_bytes + c->config.fetch_max_bytes <= c->config.prefetch_max_bytes;
}

void consumer_processed(struct consumer_partition *p, int64_t offset)
{
    p->done_offset = offset > p->done_offset ? offset : p->done_offset;
}

struct chunk *consumer_take(struct consumer *c, bool *wake)
{
    list_for_each (pos, &c->chunks) {
        struct chunk *chunk = list_entry(pos, struct chunk, link);
        struct consumer_partition *p = chunk->partition;
        bool had_room = partition_has_room(c, p);

        if (p->paused) {
            continue;
        }
        list_remove(&chunk->link);
        p->buffered_bytes -= chunk->size;
        if (chunk->status == 0) {
            p->position = chunk->end;
        }
        if (!had_room && partition_has_room(c, p)) {
            consumer_wake(c, wake);
        }
        return chunk;
    }
    return NULL;
}

void consumer_give(struct consumer *c, struct chunk *chunk)
{
    chunk->partition->buffered_bytes += chunk->size;
    list_push_back(&c->chunks, &chunk->link);
    if (c->host != NULL && c->host->changed != NULL) {
        c->host->changed(c->host);
    }
}

void consumer_tell(struct consumer_partition *p, int status)
{
    struct chunk *chunk = calloc(1, sizeof *chunk);

    if (chunk == NULL) {
        return; /* the next attempt tells */
    }
    chunk->partition = p;
    chunk->status = status;
    consumer_give(p->consumer, chunk);
}

void consumer_wake_at(struct consumer *c, uint64_t when_ns)
{
    c->wake_ns = when_ns < c->wake_ns ? when_ns : c->wake_ns;
    core_wake_at(c->core, c->wake_ns);
}

void consumer_later(struct consumer_partition *p, bool at_once)
{
    struct consumer *c = p->consumer;

    p->retry_ns = c->core->now_ns;
    if (!at_once || p->attempts > 0) {
        p->retry_ns += core_backoff_ns(c->core, p->attempts, CONSUMER_RETRY_MIN_MS, CONSUMER_RETRY_MAX_MS);
    }
    p->attempts++;
    consumer_wake_at(c, p->retry_ns);
}

/* The topic's metadata says that it, or the partition, is not there: patience, then words. */
static void partition_missing(struct consumer_partition *p)
{
    struct core *core = p->consumer->core;
    bool missing = p->meta->error != 0 && p->meta->error != ERR_LEADER_NOT_READY;

    missing =
        missing || (p->meta->error == 0 && p->meta->partition_count > 0 && p->partition >= p->meta->partition_count);
    if (!missing) {
        p->trouble_ns = 0;
        return;
    }
    if (p->trouble_ns == 0) {
        p->trouble_ns = core->now_ns;
    } else if (core->now_ns - p->trouble_ns >= TROUBLE_TELL_MS * NS_PER_MS) {
        p->trouble_ns = core->now_ns;
        consumer_tell(p, p->meta->error != 0 ? p->meta->error : ERR_UNKNOWN_TOPIC);
    }
    meta_refresh(core);
}

/* The topic was deleted and another one of its name made: an offset in the old one says nothing about the new one, and
 * all that is in the new one is new. */
static void partition_renew(struct consumer *c, struct consumer_partition *p)
{
    bool renewed = p->topic_known && memcmp(p->topic_id, p->meta->id, sizeof p->topic_id) != 0;
    bool wake = false;

    if (p->meta->partition_count == 0 || (p->topic_known && !renewed)) {
        return;
    }
    memcpy(p->topic_id, p->meta->id, sizeof p->topic_id);
    p->topic_known = true;
    if (!renewed || p->state == CONSUME_STOPPED) {
        return;
    }
    p->high_watermark = -1;
    p->log_start = -1;
    p->committed_offset = -1;
    if (p->position < 0) {
        consumer_seek(c, p, p->position, &wake);
    } else if (c->config.on_out_of_range != POLICY_ERROR) {
        consumer_seek(c, p, CONSUMER_EARLIEST, &wake);
    } else {
        consumer_seek(c, p, p->position, &wake);
        p->generation_seen = p->generation;
        p->asking = false;
        p->state = CONSUME_STOPPED;
        consumer_tell(p, ERR_OFFSET_OUT_OF_RANGE);
    }
}

/* Follow what the program did. Locked. False: the partition is gone. */
static bool partition_follow(struct consumer *c, struct consumer_partition *p)
{
    if (p->removed) {
        if (p->refs == 0) {
            partition_free(p);
        }
        return false;
    }
    if (p->meta == NULL) {
        p->meta = meta_topic_acquire(c->core, p->topic);
        if (p->meta == NULL) {
            consumer_wake_at(c, c->core->now_ns + CONSUMER_RETRY_MAX_MS * NS_PER_MS);
            return false;
        }
    }
    partition_renew(c, p);
    if (p->generation_seen != p->generation) {
        p->generation_seen = p->generation;
        p->state = p->position >= 0 ? CONSUME_FETCH : CONSUME_RESOLVE;
        p->fetch_offset = p->position;
        p->asking = false; /* an answer still under way is of another generation */
        p->resolve_to = p->position == CONSUMER_EARLIEST ? POLICY_EARLIEST : POLICY_LATEST;
        p->attempts = 0;
        p->retry_ns = 0;
    }
    partition_missing(p);
    return true;
}

void consumer_turn(struct consumer *c)
{
    struct core *core = c->core;

    if (c->group != NULL) {
        membership_follow(c->group);
    }
    consumer_lock(c);
    if (!c->attention && c->meta_generation == core->meta.generation && core->now_ns < c->wake_ns) {
        core_wake_at(core, c->wake_ns);
        consumer_unlock(c);
        return;
    }
    c->attention = false;
    c->meta_generation = core->meta.generation;
    c->wake_ns = UINT64_MAX;
    list_for_each_safe (pos, &c->partitions) {
        (void)partition_follow(c, list_entry(pos, struct consumer_partition, link));
    }
    consumer_ask(c);
    core_wake_at(core, c->wake_ns);
    consumer_unlock(c);
}
