/* Choose what goes out this turn and pack it: one batch of a partition per request, the partitions of one leader
 * together, a partition's second batch in the leader's second request, and so on. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "client/src/core/producer_build.h"
#include "proto/native/native.pb-c.h"

static bool grow(void **items, size_t *capacity, size_t count, size_t item_size)
{
    size_t wanted = *capacity > 0 ? *capacity * 2 : 16;
    void *p;

    if (count < *capacity) {
        return true;
    }
    p = realloc(*items, wanted * item_size);
    if (p == NULL) {
        return false;
    }
    *items = p;
    *capacity = wanted;
    return true;
}

/* The first request for @conn from @round on that takes @size bytes more; index, or SIZE_MAX: not now. A partition in
 * trouble travels @alone: the others must not wait for its answer. */
static size_t build_for(struct producer *p, struct conn *conn, struct meta_node *node, unsigned round, size_t size,
                        bool alone)
{
    unsigned rounds = 0;
    struct producer_build *build;
    void *items = p->builds;

    for (size_t i = 0; i < p->builds_count; i++) {
        build = &p->builds[i];
        if (build->conn != conn) {
            continue;
        }
        if (!alone && !build->alone && build->round >= round && build->count < PRODUCER_REQUEST_PARTITIONS_MAX - 1 &&
            build->bytes + size <= PRODUCER_REQUEST_BYTES_MAX && build->bytes + size <= conn->payload_max) {
            return i;
        }
        rounds++;
    }
    if (conn->awaiting_count + rounds >= CONN_REQUESTS_MAX ||
        !grow(&items, &p->builds_capacity, p->builds_count, sizeof *build)) {
        return SIZE_MAX;
    }
    p->builds = items;
    build = &p->builds[p->builds_count];
    *build = (struct producer_build){.conn = conn, .node = node, .round = rounds, .alone = alone};
    return p->builds_count++;
}

/* The partition may use the producer's present identity. False: not yet. */
static bool partition_identity(struct producer *p, struct producer_partition *pp)
{
    bool same = pp->producer_id == p->producer_id && pp->producer_epoch == p->producer_epoch;

    if (p->producer_id < 0) {
        p->next_epoch_wanted = true;
        return pp->producer_id >= 0 && !pp->stale;
    }
    if (same) {
        if (pp->stale) {
            p->next_epoch_wanted = true;
        }
        return !pp->stale;
    }
    list_for_each (pos, &pp->queue) {
        struct batch *b = list_entry(pos, struct batch, link);
        if (b->stamped && b->state != BATCH_DONE) {
            return true; /* goes on under the old epoch until those have ended; done ones only wait to be told */
        }
    }
    pp->producer_id = p->producer_id;
    pp->producer_epoch = p->producer_epoch;
    pp->sequence_next = 0;
    pp->stale = false;
    return true;
}

static bool batch_ready(struct producer *p, struct producer_partition *pp, struct batch *b)
{
    if (b->stamped) {
        return true;
    }
    if (b->requests > 0) { /* still being written under its old number */
        return false;
    }
    if (batch_stamp(b, pp->producer_id, pp->producer_epoch, pp->sequence_next, p->config.codec, &p->scratch) != 0) {
        core_wake_at(p->core, p->core->now_ns + PRODUCER_RETRY_MIN_MS * NS_PER_MS);
        return false;
    }
    pp->sequence_next = (int32_t)(((uint32_t)pp->sequence_next + (uint32_t)b->builder.count) & INT32_MAX);
    return true;
}

/* Where to send @pp's batches now; NULL: nowhere yet. */
static struct conn *partition_route(struct producer *p, struct producer_partition *pp, struct meta_node **node)
{
    struct core *core = p->core;
    struct conn *conn;

    if (core->now_ns < pp->retry_ns) {
        core_wake_at(core, pp->retry_ns);
        return NULL;
    }
    *node = meta_leader(core, pp->topic->meta, pp->partition);
    if (*node == NULL) {
        return NULL;
    }
    conn = meta_conn(core, *node, LANE_MAIN);
    if (pp->on_wire > 0 && (pp->wire_node != (*node)->id || (conn != NULL && pp->wire_conn != conn))) {
        producer_rewind(pp); /* another node leads now: no use in waiting for the old one's answer */
        pp->retrying = false;
    }
    return conn;
}

static void partition_pick(struct producer *p, struct producer_partition *pp)
{
    struct batch *newest = list_entry(pp->queue.prev, struct batch, link);
    struct meta_node *node = NULL;
    struct conn *conn;
    unsigned round = 0;

    if (newest->state != BATCH_QUEUED && !pp->retrying && !pp->reset_wanted &&
        p->sent_generation == p->core->meta.generation) {
        return; /* all is on its way, and nobody said that the leader moved */
    }
    conn = partition_route(p, pp, &node);
    if (pp->on_wire == 0) {
        pp->retrying = false;
        if (pp->reset_wanted) {
            producer_reset(p, pp);
        }
    }
    if (conn == NULL || pp->retrying || pp->reset_wanted || list_empty(&pp->queue) || !partition_identity(p, pp)) {
        return;
    }
    list_for_each (pos, &pp->queue) {
        struct batch *b = list_entry(pos, struct batch, link);
        void *items = p->picks;
        size_t build;

        if (b->state != BATCH_QUEUED) {
            continue;
        }
        if (!grow(&items, &p->picks_capacity, p->picks_count, sizeof *p->picks)) {
            return;
        }
        p->picks = items;
        if (!batch_ready(p, pp, b)) {
            return;
        }
        build = build_for(p, conn, node, round, b->size, pp->attempts > 0);
        if (build == SIZE_MAX) {
            return;
        }
        round = p->builds[build].round + 1;
        p->builds[build].count++;
        p->builds[build].bytes += b->size;
        p->picks[p->picks_count++] = (struct producer_pick){.batch = b, .build = build};
    }
}

static void batch_sent(struct producer *p, struct batch *b, const struct producer_build *build,
                       struct producer_entry *entry)
{
    struct producer_partition *pp = b->partition;

    b->attempt++;
    b->requests++;
    b->sent_first = pp->on_wire == 0 && pp->queue.next == &b->link;
    b->state = BATCH_SENT;
    if (b->ever_sent) {
        p->counts.batches_retried++;
    }
    b->ever_sent = true;
    pp->on_wire++;
    pp->wire_conn = build->conn;
    pp->wire_node = build->node->id;
    entry->batch = b;
    entry->attempt = b->attempt;
}

/* The message of build @index. Errors: ERR_NOMEM. */
static int build_pack(struct producer *p, size_t index, struct request **out)
{
    struct producer_build *build = &p->builds[index];
    Cairn__Native__ProduceRequest m = CAIRN__NATIVE__PRODUCE_REQUEST__INIT;
    Cairn__Native__ProducePartition *items = malloc(build->count * sizeof *items);
    Cairn__Native__ProducePartition **pointers = malloc(build->count * sizeof *pointers);
    struct request *r = NULL;
    size_t n = 0;

    if (items != NULL && pointers != NULL) {
        for (size_t i = 0; i < p->picks_count; i++) {
            struct batch *b = p->picks[i].batch;
            if (p->picks[i].build != index) {
                continue;
            }
            cairn__native__produce_partition__init(&items[n]);
            items[n].topic_id.data = b->partition->topic->meta->id;
            items[n].topic_id.len = sizeof b->partition->topic->meta->id;
            items[n].partition = b->partition->partition;
            items[n].size = (uint32_t)b->size;
            pointers[n] = &items[n];
            n++;
        }
        m.n_partitions = n;
        m.partitions = pointers;
        m.timeout_ms = PRODUCER_REQUEST_WAIT_MS;
        r = request_new(CALL_PRODUCE, cairn__native__produce_request__get_packed_size(&m), build->count,
                        build->count * sizeof(struct producer_entry));
        if (r != NULL) {
            cairn__native__produce_request__pack(&m, request_message(r));
        }
    }
    free(items);
    free(pointers);
    *out = r;
    return r != NULL ? 0 : ERR_NOMEM;
}

static int build_send(struct producer *p, size_t index)
{
    struct producer_build *build = &p->builds[index];
    struct request *r;
    int rv;

    rv = build_pack(p, index, &r);
    if (rv != 0) {
        return rv;
    }
    for (size_t i = 0; i < p->picks_count; i++) {
        struct batch *b = p->picks[i].batch;
        if (p->picks[i].build != index) {
            continue;
        }
        r->payload[r->payload_count].iov_base = b->bytes;
        r->payload[r->payload_count].iov_len = b->size;
        batch_sent(p, b, build, (struct producer_entry *)r->extra + r->payload_count);
        r->payload_count++;
    }
    assert(r->payload_count == build->count);
    r->owner = p;
    r->done = producer_answer;
    r->release = producer_release;
    p->requests++;
    conn_request(build->conn, r, p->core->config.request_timeout_ms * NS_PER_MS);
    return 0;
}

void producer_send(struct producer *p)
{
    p->builds_count = 0;
    p->picks_count = 0;
    list_for_each_safe (pos, &p->active) {
        partition_pick(p, list_entry(pos, struct producer_partition, active_link));
    }
    p->sent_generation = p->core->meta.generation;
    for (size_t i = 0; i < p->builds_count; i++) {
        if (build_send(p, i) != 0) { /* the rest stays queued, in order */
            core_wake_at(p->core, p->core->now_ns + PRODUCER_RETRY_MIN_MS * NS_PER_MS);
            break;
        }
    }
}
