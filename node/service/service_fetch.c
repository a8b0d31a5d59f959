/* Fetch and list offsets over many partitions. A fetch that finds nothing parks at each of its partitions, and is answered
 * as soon as they have enough together or one has an error. One that has something and not enough goes on behind that. */
#include <stdlib.h>

#include "node/service/service_internal.h"

struct service_fetch *service_fetch_new(uint32_t parts)
{
    struct service_fetch *f = calloc(1, sizeof *f + parts * sizeof f->parts[0]);
    if (f == NULL) {
        return NULL;
    }
    f->n = parts;
    list_init(&f->link);
    return f;
}

void service_fetch_free(struct service_fetch *f)
{
    if (f->service != NULL) {
        env_timer_stop(f->service->env, &f->timer); /* only where the node is abandoned it still runs */
    }
    for (uint32_t i = 0; i < f->n; i++) {
        partition_fetch_release(&f->parts[i].op);
    }
    free(f);
}

/* The answer stays below max_bytes, but its first batches always go: a reader that asks for too little must get on. */
static void trim(struct service_fetch *f)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < f->n; i++) {
        struct partition_fetch *op = &f->parts[(f->first + i) % f->n].op;
        if (op->bytes == 0) {
            continue;
        }
        if (bytes > 0 && bytes + op->bytes > f->max_bytes) {
            partition_fetch_release(op);
        }
        bytes += op->bytes;
    }
}

static void release_one(struct service_fetch *f)
{
    f->pending--;
    if (f->pending > 0) {
        return;
    }
    env_timer_stop(f->service->env, &f->timer);
    trim(f);
    f->done(f);
}

static void cancelled(struct shard_op *op)
{
    release_one(container_of(op, struct service_fetch_part, op.cancel)->request);
}

void service_fetch_cancel(struct service_fetch *f)
{
    if (f->cancelling) {
        return;
    }
    f->cancelling = true;
    f->pending++; /* the ops may end inside the calls */
    for (uint32_t i = 0; i < f->n; i++) {
        struct service_fetch_part *part = &f->parts[i];
        if (part->submitted && !part->completed) {
            f->pending++;
            partition_fetch_cancel(control_shards(f->service->control), &part->op, cancelled);
        }
    }
    release_one(f);
}

/* What there is can be answered: waiting longer is of no use, or nobody wants to. */
static bool satisfied(const struct service_fetch *f, const struct partition_fetch *op)
{
    uint32_t min_bytes = f->min_bytes < f->max_bytes ? f->min_bytes : f->max_bytes;
    return op->error != 0 || (f->bytes > 0 && f->bytes >= min_bytes) || op->bytes >= op->max_bytes ||
           op->n >= SERVICE_FETCH_BATCHES_MAX;
}

static void part_done(struct shard_op *op)
{
    struct service_fetch_part *part = container_of(op, struct service_fetch_part, op.op);
    struct service_fetch *f = part->request;
    bool enough;

    f->bytes += part->op.bytes - part->bytes;
    part->bytes = part->op.bytes;
    enough = satisfied(f, &part->op);
    if (part->op.error != 0 && part->op.n > 0) {
        part->op.error = 0; /* what was found before stands; the next request meets the error */
    }
    if (part->op.error != 0) {
        service_complete_where(f->service, part->op.group, &part->op.where);
    }
    if (!enough && part->op.n > 0 && !f->cancelling) {
        shards_submit(control_shards(f->service->control), part->op.group, &part->op.op); /* and more, behind it */
        return;
    }
    part->completed = true;
    if (enough) {
        service_fetch_cancel(f);
    }
    release_one(f);
}

static void timed_out(struct timer *timer)
{
    service_fetch_cancel(container_of(timer, struct service_fetch, timer));
}

void service_fetch(struct service *s, struct service_fetch *f)
{
    uint32_t wait_ms = f->max_wait_ms < SERVICE_TIMEOUT_MAX_MS ? f->max_wait_ms : SERVICE_TIMEOUT_MAX_MS;
    uint32_t share;

    f->service = s;
    if (f->max_bytes == 0 || f->max_bytes > SERVICE_FETCH_MAX_BYTES) {
        f->max_bytes = SERVICE_FETCH_MAX_BYTES;
    }
    /* All read at the same time: together no more than the answer may have. Who is first changes, so that none goes without
     * for long where that is not enough for all. */
    share = f->n == 0 ? 0 : f->max_bytes / f->n;
    if (share < SERVICE_FETCH_SHARE_MIN_BYTES) {
        share = SERVICE_FETCH_SHARE_MIN_BYTES;
    }
    f->first = f->n == 0 ? 0 : s->fetch_rotor++ % f->n;
    timer_init(&f->timer, timed_out);
    f->pending = 1;
    f->cancelling = wait_ms == 0;
    for (uint32_t i = 0; i < f->n; i++) {
        struct service_fetch_part *part = &f->parts[(f->first + i) % f->n];
        part->request = f;
        part->op.op.run = partition_fetch_run;
        part->op.op.done = part_done;
        part->op.error = service_find_group(s, &part->topic_id, part->partition, &part->op.group);
        if (part->op.error != 0) {
            part->completed = true;
            service_fetch_cancel(f);
            continue;
        }
        if (part->op.max_bytes == 0 || part->op.max_bytes > share) {
            part->op.max_bytes = share < f->max_bytes ? share : f->max_bytes;
        }
        if (part->op.max_bytes > SHARD_FETCH_BYTES_MAX) {
            part->op.max_bytes = SHARD_FETCH_BYTES_MAX;
        }
        part->op.wait = !f->cancelling; /* once something is there to answer, the others need not wait */
        part->submitted = true;
        f->pending++;
        shards_submit(control_shards(s->control), part->op.group, &part->op.op);
    }
    if (!f->cancelling) {
        env_timer_start(s->env, &f->timer, wait_ms);
    }
    release_one(f);
}

/* ---- list offsets ----------------------------------------------------------------------------------------------------- */

struct service_list_offsets *service_list_offsets_new(uint32_t parts)
{
    struct service_list_offsets *l = calloc(1, sizeof *l + parts * sizeof l->parts[0]);
    if (l == NULL) {
        return NULL;
    }
    l->n = parts;
    return l;
}

static void list_release_one(struct service_list_offsets *l)
{
    l->pending--;
    if (l->pending == 0) {
        l->done(l);
    }
}

static void list_part_done(struct shard_op *op)
{
    struct service_list_offsets_part *part = container_of(op, struct service_list_offsets_part, op.op);
    if (part->op.error != 0) {
        service_complete_where(part->request->service, part->op.group, &part->op.where);
    }
    list_release_one(part->request);
}

void service_list_offsets(struct service *s, struct service_list_offsets *l)
{
    l->service = s;
    l->pending = l->n + 1;
    for (uint32_t i = 0; i < l->n; i++) {
        struct service_list_offsets_part *part = &l->parts[i];
        part->request = l;
        part->op.op.run = partition_list_offsets_run;
        part->op.op.done = list_part_done;
        part->op.offset = -1;
        part->op.timestamp_ms = -1;
        part->op.error = service_find_group(s, &part->topic_id, part->partition, &part->op.group);
        if (part->op.error != 0) {
            l->pending--;
            continue;
        }
        shards_submit(control_shards(s->control), part->op.group, &part->op.op);
    }
    list_release_one(l);
}
