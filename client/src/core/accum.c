#include "client/src/core/accum.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/murmur2.h"

void accum_init(struct accum *a, struct producer_host *host, struct buf_pool *pool, const struct accum_config *config,
                uint64_t seed)
{
    memset(a, 0, sizeof *a);
    a->host = host;
    a->pool = pool;
    a->config = *config;
    list_init(&a->ready);
    list_init(&a->all);
    list_init(&a->expired);
    a->wake_ns = UINT64_MAX;
    rng_init(&a->rng, seed);
}

void accum_close(struct accum *a)
{
    struct accum_topic *t;
    struct accum_topic *next;

    assert(list_empty(&a->all));
    HASH_ITER (hh, a->topics, t, next) {
        HASH_DEL(a->topics, t);
        for (uint32_t i = 0; i < t->partition_count; i++) {
            free(t->partitions[i]);
        }
        free(t->partitions);
        free(t);
    }
    while (a->free_batches != NULL) {
        struct batch *b = a->free_batches;
        a->free_batches = (struct batch *)(void *)b->link.next;
        batch_free(b);
    }
}

/* The topic's entry, made at first sight. Errors: ERR_INVALID, ERR_NOMEM. */
static int accum_topic_get(struct accum *a, const char *name, struct accum_topic **out)
{
    struct accum_topic *t = a->topic_last;
    size_t length;

    if (t != NULL && strcmp(t->name, name) == 0) {
        *out = t;
        return 0;
    }
    length = strlen(name);
    if (length == 0 || length > CLIENT_TOPIC_NAME_MAX) {
        return ERR_INVALID;
    }
    HASH_FIND(hh, a->topics, name, length, t);
    if (t == NULL) {
        t = calloc(1, sizeof *t);
        if (t == NULL) {
            return ERR_NOMEM;
        }
        memcpy(t->name, name, length);
        t->error = ERR_LEADER_NOT_READY;
        HASH_ADD_KEYPTR(hh, a->topics, t->name, length, t);
        a->topics_new = true;
    }
    a->topic_last = t;
    *out = t;
    return 0;
}

int accum_topic_update(struct accum *a, struct accum_topic *t, uint32_t count, int error)
{
    struct producer_partition **partitions;

    t->error = error;
    if (count > t->partition_count) {
        partitions = realloc(t->partitions, count * sizeof *partitions);
        if (partitions == NULL) {
            return ERR_NOMEM;
        }
        t->partitions = partitions;
        while (t->partition_count < count) {
            struct producer_partition *p = calloc(1, sizeof *p);
            if (p == NULL) {
                return ERR_NOMEM;
            }
            p->topic = t;
            p->partition = t->partition_count;
            list_init(&p->ready_link);
            list_init(&p->sealed);
            list_init(&p->active_link);
            list_init(&p->room_link);
            list_init(&p->queue);
            p->room = a->config.in_flight_max;
            p->producer_id = -1;
            t->partitions[t->partition_count++] = p;
        }
        t->sticky = (uint32_t)rng_below(&a->rng, t->partition_count);
    }
    if (a->host->changed != NULL) {
        a->host->changed(a->host);
    }
    return 0;
}

static int accum_pick(struct accum *a, struct accum_topic *t, const struct accum_record *r,
                      struct producer_partition **out)
{
    uint32_t i;

    if (t->partition_count == 0) {
        return t->error != 0 ? t->error : ERR_LEADER_NOT_READY;
    }
    if (r->partition >= 0) {
        if ((uint32_t)r->partition >= t->partition_count) {
            return ERR_INVALID;
        }
        i = (uint32_t)r->partition;
    } else if (r->key_length >= 0) {
        i = murmur2_partition(r->key, (size_t)r->key_length, t->partition_count);
    } else {
        if (t->sticky_bytes >= a->config.batch_size_bytes) { /* a batch's worth each */
            t->sticky_bytes = 0;
            t->sticky = (t->sticky + 1 + (uint32_t)rng_below(&a->rng, t->partition_count - 1)) % t->partition_count;
        }
        t->sticky_bytes += (size_t)(r->value_length > 0 ? r->value_length : 0) + RECORD_SIZE_MIN;
        i = t->sticky;
    }
    *out = t->partitions[i];
    return 0;
}

/* Let the sender know by @when_ns. */
static void accum_want(struct accum *a, uint64_t when_ns, bool *wake)
{
    if (when_ns < a->wake_ns) {
        a->wake_ns = when_ns;
        *wake = true;
    }
}

/* When @p's open batch is to be taken: at once with nothing under way (waiting even 1 ms more was measured to cost just
 * that, at 5,000 to 200,000 records a second, and to save the nodes nothing). */
static uint64_t accum_due(const struct accum *a, const struct producer_partition *p)
{
    if (p->room == a->config.in_flight_max || a->flushing > 0 || a->waiters > 0) {
        return 0;
    }
    return p->open->created_ns + a->config.linger_ms * NS_PER_MS;
}

/* @p has something new for the sender: an open batch that has just begun, or a sealed one. */
static void accum_ready(struct accum *a, struct producer_partition *p, bool *wake)
{
    if (p->room == 0) {
        return;
    }
    if (list_empty(&p->ready_link)) {
        list_push_back(&a->ready, &p->ready_link);
    }
    if (!list_empty(&p->sealed)) {
        accum_want(a, 0, wake);
    } else if (p->open != NULL) {
        accum_want(a, accum_due(a, p), wake);
    }
}

static void accum_seal(struct producer_partition *p)
{
    struct batch *b = p->open;

    p->open = NULL;
    p->arena_hint = b->builder.position;
    b->state = BATCH_SEALED;
    list_push_back(&p->sealed, &b->link);
}

/* Open a batch that has room for a record of @need bytes. Errors: ERR_BUFFER_FULL, ERR_TOO_BIG, ERR_NOMEM. */
static int accum_open(struct accum *a, struct producer_partition *p, size_t need)
{
    size_t capacity = PRODUCER_ARENA_MIN_BYTES;
    struct batch *b = a->free_batches;

    need += RECORD_BATCH_HEADER_SIZE;
    if (need > RECORD_BATCH_SIZE_MAX || need > a->config.buffer_max_bytes) {
        return ERR_TOO_BIG;
    }
    while (capacity < p->arena_hint) {
        capacity *= 2;
    }
    if (capacity > a->config.batch_size_bytes) {
        capacity = a->config.batch_size_bytes;
    }
    capacity = capacity < need ? need : capacity;
    if (a->used_bytes + capacity > a->config.buffer_max_bytes) {
        return ERR_BUFFER_FULL;
    }
    if (b != NULL) {
        struct batch *next = (struct batch *)(void *)b->link.next;
        if (!batch_renew(b, a->pool, capacity)) {
            return ERR_NOMEM;
        }
        a->free_batches = next;
        a->free_count--;
    } else {
        b = batch_new(a->pool, capacity);
        if (b == NULL) {
            return ERR_NOMEM;
        }
    }
    a->used_bytes += capacity;
    b->partition = p;
    b->number = a->number_next++;
    b->created_ns = a->host->now_ns(a->host);
    list_push_back(&a->all, &b->all_link);
    p->open = b;
    return 0;
}

/* The open batch has no room for @need bytes more: a larger arena if the limits allow. */
static bool accum_grow(struct accum *a, struct batch *b, size_t need)
{
    size_t capacity = b->builder.capacity;

    need += b->builder.position;
    if (need > a->config.batch_size_bytes) {
        return false;
    }
    while (capacity < need) {
        capacity *= 2;
    }
    capacity = capacity > a->config.batch_size_bytes ? a->config.batch_size_bytes : capacity;
    if (a->used_bytes + (capacity - b->builder.capacity) > a->config.buffer_max_bytes) {
        return false;
    }
    a->used_bytes += capacity - b->builder.capacity;
    if (batch_grow(b, a->pool, capacity) != 0) {
        a->used_bytes -= capacity - b->builder.capacity;
        return false;
    }
    return true;
}

static inline int accum_copy(struct accum *a, struct batch *b, const struct accum_record *r)
{
    int rv = a->config.keep_tags ? batch_reserve_tag(b) : 0;

    if (rv == 0) {
        rv = record_builder_append(&b->builder, r->key, r->key_length, r->value, r->value_length, r->headers,
                                   r->header_count, r->timestamp_ms);
    }
    if (rv == 0 && a->config.keep_tags) {
        b->tags[b->builder.count - 1] = r->tag;
    }
    return rv;
}

/* The batch was opened for a record that then could not be taken. */
static void accum_unopen(struct accum *a, struct producer_partition *p)
{
    struct batch *b = p->open;

    p->open = NULL;
    list_remove(&b->all_link);
    a->used_bytes -= b->builder.capacity;
    accum_recycle(a, b);
}

/* The slow path: no open batch, or no room in it. */
static int accum_make_room(struct accum *a, struct producer_partition *p, const struct accum_record *r, bool *wake)
{
    size_t need = record_size_max(r->key_length, r->value_length, r->headers, r->header_count);
    int rv;

    if (p->open != NULL && !accum_grow(a, p->open, need)) {
        accum_seal(p);
        accum_ready(a, p, wake);
    }
    if (p->open == NULL) {
        rv = accum_open(a, p, need);
        if (rv != 0) {
            return rv;
        }
    }
    return 0;
}

int accum_append(struct accum *a, const struct accum_record *r, bool *wake)
{
    struct producer_partition *p = NULL;
    struct accum_topic *t;
    int rv;

    rv = accum_topic_get(a, r->topic, &t);
    if (rv == 0) {
        rv = accum_pick(a, t, r, &p);
    }
    if (rv != 0) {
        if (a->topics_new) {
            accum_want(a, 0, wake);
        }
        return rv;
    }
    rv = p->open != NULL ? accum_copy(a, p->open, r) : ERR_BUFFER_FULL;
    if (rv == ERR_BUFFER_FULL || rv == ERR_TOO_BIG) {
        rv = accum_make_room(a, p, r, wake);
        if (rv == 0) {
            rv = accum_copy(a, p->open, r);
        }
    }
    if (rv != 0) {
        if (p->open != NULL && p->open->builder.count == 0) {
            accum_unopen(a, p);
        }
        return rv;
    }
    if (p->open->builder.count == 1) {
        accum_ready(a, p, wake);
    }
    a->records_sent++;
    return 0;
}

uint64_t accum_flush(struct accum *a, bool *wake)
{
    list_for_each (pos, &a->all) {
        struct batch *b = list_entry(pos, struct batch, all_link);
        if (b->partition->open == b) {
            accum_seal(b->partition);
            accum_ready(a, b->partition, wake);
        }
    }
    return a->number_next;
}

bool accum_flushed(const struct accum *a, uint64_t number)
{
    return list_empty(&a->all) || list_entry(a->all.next, struct batch, all_link)->number >= number;
}

static void accum_take(struct producer_partition *p, struct list *out)
{
    struct batch *b = list_entry(list_pop_front(&p->sealed), struct batch, link);

    b->state = BATCH_QUEUED;
    list_push_back(out, &b->link);
    p->room--;
}

uint64_t accum_drain(struct accum *a, uint64_t now_ns, struct list *out)
{
    uint64_t wake_ns = UINT64_MAX;

    list_for_each_safe (pos, &a->ready) {
        struct producer_partition *p = list_entry(pos, struct producer_partition, ready_link);
        uint64_t due_ns;

        while (p->room > 0 && !list_empty(&p->sealed)) {
            accum_take(p, out);
        }
        if (p->room > 0 && p->open != NULL) {
            due_ns = accum_due(a, p);
            if (due_ns <= now_ns) {
                accum_seal(p);
                accum_take(p, out);
            } else {
                wake_ns = due_ns < wake_ns ? due_ns : wake_ns;
            }
        }
        if (p->room == 0 || (p->open == NULL && list_empty(&p->sealed))) {
            list_remove(&p->ready_link);
        }
    }
    a->wake_ns = wake_ns;
    return wake_ns;
}

void accum_unstick(struct accum *a)
{
    struct accum_topic *t;
    struct accum_topic *next;

    HASH_ITER (hh, a->topics, t, next) {
        bool full = t->partition_count > 1 && t->partitions[t->sticky]->room == 0;
        uint32_t begin = (uint32_t)rng_below(&a->rng, t->partition_count);

        for (uint32_t i = 0; full && t->sticky_stuck && i < t->partition_count; i++) {
            uint32_t candidate = (begin + i) % t->partition_count;
            if (t->partitions[candidate]->room > 0) {
                t->sticky = candidate;
                t->sticky_bytes = 0;
                full = false;
            }
        }
        t->sticky_stuck = full;
    }
}

static void accum_end_unsent(struct accum *a, struct batch *b, int status)
{
    list_remove(&b->link);
    b->state = BATCH_DONE;
    b->status = status;
    list_push_back(&a->expired, &b->link);
}

static void accum_end_if(struct accum *a, uint64_t created_before_ns, int status)
{
    list_for_each_safe (pos, &a->all) {
        struct batch *b = list_entry(pos, struct batch, all_link);
        if (b->created_ns > created_before_ns) {
            break; /* in order of creation */
        }
        if (b->partition->open == b) {
            accum_seal(b->partition);
        }
        if (b->state == BATCH_SEALED) {
            accum_end_unsent(a, b, status);
        }
    }
}

void accum_expire(struct accum *a, uint64_t now_ns)
{
    uint64_t timeout_ns = a->config.delivery_timeout_ms * NS_PER_MS;

    if (now_ns >= timeout_ns) {
        accum_end_if(a, now_ns - timeout_ns, ERR_TIMEOUT);
    }
}

void accum_abort(struct accum *a, int status)
{
    accum_end_if(a, UINT64_MAX, status);
}

void accum_give_room(struct accum *a, struct producer_partition *p, unsigned batches)
{
    p->room += batches;
    assert(p->room <= a->config.in_flight_max);
    if (list_empty(&p->ready_link) && (p->open != NULL || !list_empty(&p->sealed))) {
        list_push_back(&a->ready, &p->ready_link);
    }
}

void accum_settle(struct accum *a, struct batch *b)
{
    list_remove(&b->all_link);
    a->used_bytes -= b->builder.capacity;
    b->told = true;
    if (b->requests == 0) {
        accum_recycle(a, b);
    }
}

void accum_recycle(struct accum *a, struct batch *b)
{
    batch_drop_memory(b);
    if (a->free_count >= PRODUCER_FREE_BATCHES_MAX) {
        batch_free(b);
        return;
    }
    b->link.next = (struct list *)(void *)a->free_batches;
    a->free_batches = b;
    a->free_count++;
}
