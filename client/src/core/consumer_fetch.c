/* What the consumer asks of the leaders, and what it makes of their answers. */
#include <stdlib.h>
#include <string.h>

#include "client/src/core/conn.h"
#include "client/src/core/consumer.h"
#include "proto/native/native.pb-c.h"
#include "proto/record/record_batch.h"

/* request->extra: one for each partition asked for. */
struct consumer_entry {
    struct consumer_partition *partition;
    uint64_t generation;
    int64_t offset;
};

struct consumer_extra {
    uint32_t count;
    struct consumer_entry entries[];
};

static void consumer_release(struct request *r)
{
    struct consumer *c = r->owner;
    struct consumer_extra *extra = r->extra;

    for (uint32_t i = 0; i < extra->count; i++) {
        extra->entries[i].partition->refs--;
    }
    c->requests--;
    if (c->closed && c->requests == 0) {
        consumer_destroy(c);
    }
}

/* The partition an answer's entry is about, if it still wants to hear. */
static struct consumer_partition *entry_live(const struct consumer_entry *e)
{
    struct consumer_partition *p = e->partition;

    return !p->removed && p->generation == e->generation ? p : NULL;
}

/* What any failed answer means. */
static void partition_failed(struct consumer_partition *p, const struct request *r, int err, uint32_t leader,
                             const char *leader_address, uint64_t leader_epoch)
{
    struct consumer *c = p->consumer;
    uint32_t node = r->conn->node != NULL ? r->conn->node->id : 0;

    if (err == ERR_OFFSET_OUT_OF_RANGE) {
        if (c->config.on_out_of_range == POLICY_ERROR) {
            p->state = CONSUME_STOPPED;
            consumer_tell(p, err);
            return;
        }
        p->state = CONSUME_RESOLVE;
        p->resolve_to = c->config.on_out_of_range;
        consumer_later(p, true);
        return;
    }
    if (err == ERR_NOT_LEADER) {
        meta_not_leader(c->core, p->meta, p->partition, node, leader, leader_address, leader_epoch);
        consumer_later(p, leader != 0 && leader != node);
        return;
    }
    if (err_retriable(err)) {
        meta_refresh(c->core);
    } else {
        consumer_tell(p, err);
    }
    consumer_later(p, false);
}

/* No answer, or one for the whole request. */
static void request_failed(struct consumer *c, struct request *r, int err)
{
    struct consumer_extra *extra = r->extra;

    for (uint32_t i = 0; i < extra->count; i++) {
        struct consumer_partition *p = entry_live(&extra->entries[i]);
        if (p != NULL) {
            p->asking = false;
            partition_failed(p, r, err, 0, NULL, 0);
        }
    }
}

/* The whole batches of @bytes that hold records from @want on. *size becomes 0 where there are none. @end is the offset
 * behind them. Errors: ERR_MALFORMED, ERR_VERSION; only where not even the first batch is usable. */
static int slice_scan(const uint8_t **bytes, size_t *size, int64_t want, int64_t *end)
{
    const uint8_t *begin = NULL;
    const uint8_t *p = *bytes;
    size_t left = *size;
    int64_t next = want;
    struct record_batch_header h;
    int rv = 0;

    while (left > 0) {
        rv = record_batch_peek(p, left, &h);
        if (rv != 0) {
            break;
        }
        if (record_batch_offset_next(&h) > next) {
            if (begin == NULL) {
                begin = p;
            } else if (h.base_offset < next) {
                rv = ERR_MALFORMED;
                break;
            }
            next = record_batch_offset_next(&h);
        } else if (begin != NULL) {
            rv = ERR_MALFORMED; /* offsets go back */
            break;
        }
        p += h.size;
        left -= h.size;
    }
    if (begin == NULL) {
        if (rv == ERR_TORN) {
            rv = left == *size ? ERR_MALFORMED : 0; /* a cut first batch would never become whole */
        }
        *size = 0;
        return rv;
    }
    *size = (size_t)(p - begin);
    *bytes = begin;
    *end = next;
    return 0;
}

static void partition_received(struct consumer_partition *p, const struct request *r, struct buf *buf,
                               const uint8_t *bytes, size_t size)
{
    struct consumer *c = p->consumer;
    struct chunk *chunk;
    int64_t end = 0;
    int rv = slice_scan(&bytes, &size, p->fetch_offset, &end);

    if (rv != 0) {
        partition_failed(p, r, rv, 0, NULL, 0);
        return;
    }
    p->attempts = 0;
    if (size == 0) {
        if (c->core->now_ns - r->sent_ns < CONSUMER_EMPTY_RETRY_MS * NS_PER_MS) {
            p->retry_ns = c->core->now_ns + CONSUMER_EMPTY_RETRY_MS * NS_PER_MS;
        }
        return;
    }
    chunk = calloc(1, sizeof *chunk);
    if (chunk == NULL) {
        consumer_later(p, false);
        return;
    }
    chunk->partition = p;
    chunk->buf = buf_acquire(buf);
    chunk->bytes = bytes;
    chunk->size = size;
    chunk->begin = p->fetch_offset;
    chunk->end = end;
    p->fetch_offset = end;
    consumer_give(c, chunk);
}

static void fetch_apply(struct consumer *c, struct request *r, const Cairn__Native__FetchResponse *m,
                        const struct frame *frame)
{
    struct consumer_extra *extra = r->extra;
    size_t at = 0;
    uint32_t next = 0;

    for (size_t i = 0; i < m->n_partitions; i++) {
        const Cairn__Native__FetchPartitionResult *result = m->partitions[i];
        struct consumer_partition *p = NULL;
        uint32_t k;

        if (result->size > frame->header.payload_length - at) {
            break;
        }
        for (k = next; k < extra->count && p == NULL; k++) { /* answers come in the order of the questions */
            p = extra->entries[k].partition;
            if (p->partition != result->partition || result->topic_id.len != 16 || p->meta == NULL ||
                memcmp(p->meta->id, result->topic_id.data, 16) != 0) {
                p = NULL;
            }
        }
        if (p != NULL && entry_live(&extra->entries[k - 1]) != NULL) {
            p->asking = false;
            if (result->error != 0) {
                partition_failed(p, r, (int)result->error, result->leader_node, result->leader_address,
                                 result->leader_epoch);
            } else {
                p->high_watermark = result->high_watermark;
                p->log_start = result->log_start_offset;
                partition_received(p, r, frame->buf, frame->payload + at, result->size);
            }
        }
        next = p != NULL ? k : next;
        at += result->size;
    }
    for (uint32_t i = 0; i < extra->count; i++) { /* those that the answer forgot */
        struct consumer_partition *p = entry_live(&extra->entries[i]);
        if (p != NULL && p->asking && p->fetch_offset == extra->entries[i].offset) {
            p->asking = false;
            consumer_later(p, false);
        }
    }
}

static void fetch_answer(struct request *r, int status, const struct frame *frame)
{
    struct consumer *c = r->owner;
    Cairn__Native__FetchResponse *m = NULL;

    if (c->closed) {
        return;
    }
    consumer_lock(c);
    c->attention = true;
    if (frame == NULL || status != 0) {
        request_failed(c, r, frame == NULL ? ERR_CLOSED : status);
    } else {
        m = cairn__native__fetch_response__unpack(NULL, frame->header.message_length, frame->message);
        if (m == NULL) {
            request_failed(c, r, ERR_CLOSED);
            conn_drop(r->conn, ERR_MALFORMED);
        } else {
            fetch_apply(c, r, m, frame);
            cairn__native__fetch_response__free_unpacked(m, NULL);
        }
    }
    consumer_unlock(c);
}

static void offsets_apply(struct consumer *c, struct request *r, const Cairn__Native__ListOffsetsResponse *m)
{
    struct consumer_extra *extra = r->extra;
    struct consumer_partition *p = entry_live(&extra->entries[0]);

    if (p == NULL) {
        return;
    }
    p->asking = false;
    if (m->n_partitions != 1 || (m->partitions[0]->error == 0 && m->partitions[0]->offset < 0)) {
        partition_failed(p, r, ERR_CLOSED, 0, NULL, 0);
        return;
    }
    if (m->partitions[0]->error != 0) {
        const Cairn__Native__ListOffsetsResult *result = m->partitions[0];
        partition_failed(p, r, (int)result->error, result->leader_node, result->leader_address, result->leader_epoch);
        return;
    }
    p->attempts = 0;
    p->state = CONSUME_FETCH;
    p->fetch_offset = m->partitions[0]->offset;
    if (p->buffered_bytes == 0) {
        p->position = p->fetch_offset;
        p->done_offset = p->done_offset < 0 ? p->fetch_offset : p->done_offset;
    }
}

static void offsets_answer(struct request *r, int status, const struct frame *frame)
{
    struct consumer *c = r->owner;
    Cairn__Native__ListOffsetsResponse *m;

    if (c->closed) {
        return;
    }
    consumer_lock(c);
    c->attention = true;
    if (frame == NULL || status != 0) {
        request_failed(c, r, frame == NULL ? ERR_CLOSED : status);
    } else {
        m = cairn__native__list_offsets_response__unpack(NULL, frame->header.message_length, frame->message);
        if (m == NULL) {
            request_failed(c, r, ERR_CLOSED);
            conn_drop(r->conn, ERR_MALFORMED);
        } else {
            offsets_apply(c, r, m);
            cairn__native__list_offsets_response__free_unpacked(m, NULL);
        }
    }
    consumer_unlock(c);
}

static void entry_fill(struct request *r, struct consumer_partition *p)
{
    struct consumer_extra *extra = r->extra;
    struct consumer_entry *e = &extra->entries[extra->count++];

    e->partition = p;
    e->generation = p->generation;
    e->offset = p->fetch_offset;
    p->asking = true;
    p->refs++;
}

static void consumer_request(struct consumer *c, struct conn *conn, struct request *r, uint64_t timeout_ms)
{
    r->owner = c;
    r->release = consumer_release;
    c->requests++;
    conn_request(conn, r, timeout_ms * NS_PER_MS);
}

static void offsets_ask(struct consumer *c, struct consumer_partition *p, struct conn *conn)
{
    Cairn__Native__ListOffsetsRequest m = CAIRN__NATIVE__LIST_OFFSETS_REQUEST__INIT;
    Cairn__Native__ListOffsetsPartition item = CAIRN__NATIVE__LIST_OFFSETS_PARTITION__INIT;
    Cairn__Native__ListOffsetsPartition *items = &item;
    struct request *r;

    item.topic_id.data = p->meta->id;
    item.topic_id.len = sizeof p->meta->id;
    item.partition = p->partition;
    item.timestamp_ms = p->resolve_to == POLICY_EARLIEST ? CONSUMER_EARLIEST : CONSUMER_LATEST;
    m.n_partitions = 1;
    m.partitions = &items;
    r = request_new(CALL_LIST_OFFSETS, cairn__native__list_offsets_request__get_packed_size(&m), 0,
                    sizeof(struct consumer_extra) + sizeof(struct consumer_entry));
    if (r == NULL) {
        consumer_later(p, false);
        return;
    }
    cairn__native__list_offsets_request__pack(&m, request_message(r));
    r->done = offsets_answer;
    entry_fill(r, p);
    consumer_request(c, conn, r, c->core->config.request_timeout_ms);
}

/* One request to @conn for the picks that go there. False: out of memory. */
static bool fetch_ask(struct consumer *c, struct conn *conn, size_t first)
{
    Cairn__Native__FetchRequest m = CAIRN__NATIVE__FETCH_REQUEST__INIT;
    size_t max = c->picks_count - first;
    Cairn__Native__FetchPartition *items = malloc(max * sizeof *items);
    Cairn__Native__FetchPartition **pointers = malloc(max * sizeof *pointers);
    struct consumer_partition **partitions = malloc(max * sizeof *partitions);
    struct request *r = NULL;
    size_t n = 0;

    if (items != NULL && pointers != NULL && partitions != NULL) {
        for (size_t i = first; i < c->picks_count && n < CONSUMER_REQUEST_PARTITIONS_MAX; i++) {
            struct consumer_partition *p = c->picks[i].partition;
            if (c->picks[i].conn != conn) {
                continue;
            }
            c->picks[i].conn = NULL;
            cairn__native__fetch_partition__init(&items[n]);
            items[n].topic_id.data = p->meta->id;
            items[n].topic_id.len = sizeof p->meta->id;
            items[n].partition = p->partition;
            items[n].offset = p->fetch_offset;
            items[n].max_bytes = c->config.fetch_max_bytes;
            pointers[n] = &items[n];
            partitions[n] = p;
            n++;
        }
        m.n_partitions = n;
        m.partitions = pointers;
        m.max_wait_ms = c->config.fetch_max_wait_ms;
        m.min_bytes = 1;
        m.max_bytes = CONSUMER_REQUEST_BYTES_MAX;
        r = request_new(CALL_FETCH, cairn__native__fetch_request__get_packed_size(&m), 0,
                        sizeof(struct consumer_extra) + n * sizeof(struct consumer_entry));
    }
    if (r != NULL) {
        cairn__native__fetch_request__pack(&m, request_message(r));
        r->done = fetch_answer;
        r->patient = true;
        for (size_t i = 0; i < n; i++) {
            entry_fill(r, partitions[i]);
        }
        consumer_request(c, conn, r, c->config.fetch_max_wait_ms + c->core->config.request_timeout_ms);
    }
    free(items);
    free(pointers);
    free(partitions);
    return r != NULL;
}

/* The connection to ask @p's leader on, if @p is due. */
static struct conn *partition_due(struct consumer *c, struct consumer_partition *p)
{
    struct core *core = c->core;
    struct meta_node *node;
    struct conn *conn;

    if (p->removed || p->meta == NULL || p->asking || p->paused || p->state == CONSUME_STOPPED) {
        return NULL;
    }
    if (p->buffered_bytes > 0 && p->buffered_bytes + c->config.fetch_max_bytes > c->config.prefetch_max_bytes) {
        return NULL; /* enough fetched ahead */
    }
    if (core->now_ns < p->retry_ns) {
        consumer_wake_at(c, p->retry_ns);
        return NULL;
    }
    node = meta_leader(core, p->meta, p->partition);
    if (node == NULL) {
        return NULL; /* the next metadata starts a turn */
    }
    conn = meta_conn(core, node, LANE_FETCH);
    if (conn == NULL) {
        consumer_wake_at(c, core->now_ns + CONSUMER_RETRY_MIN_MS * NS_PER_MS);
    }
    return conn;
}

void consumer_ask(struct consumer *c)
{
    c->picks_count = 0;
    list_for_each (pos, &c->partitions) {
        struct consumer_partition *p = list_entry(pos, struct consumer_partition, link);
        struct conn *conn = partition_due(c, p);

        if (conn == NULL) {
            continue;
        }
        if (p->state == CONSUME_RESOLVE) {
            offsets_ask(c, p, conn);
            continue;
        }
        if (c->picks_count == c->picks_capacity) {
            size_t capacity = c->picks_capacity > 0 ? c->picks_capacity * 2 : 16;
            struct consumer_pick *picks = realloc(c->picks, capacity * sizeof *picks);
            if (picks == NULL) {
                consumer_later(p, false);
                continue;
            }
            c->picks = picks;
            c->picks_capacity = capacity;
        }
        c->picks[c->picks_count++] = (struct consumer_pick){.partition = p, .conn = conn};
    }
    for (size_t i = 0; i < c->picks_count; i++) {
        struct conn *conn = c->picks[i].conn;
        if (conn != NULL && (!conn_ready(conn) || !fetch_ask(c, conn, i))) {
            consumer_wake_at(c, c->core->now_ns + CONSUMER_RETRY_MIN_MS * NS_PER_MS);
        }
    }
}
