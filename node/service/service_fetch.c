/* Fetch and list offsets over many partitions. A fetch that finds nothing parks at each of its partitions, and is answered
 * as soon as one of them has bytes or an error. */
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
        struct partition_fetch *op = &f->parts[i].op;
        if (op->bytes == 0) {
            continue;
        }
        if (bytes > 0 && bytes + op->bytes > f->max_bytes) {
            partition_fetch_release(op);
            op->bytes = 0;
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

static void part_done(struct shard_op *op)
{
    struct service_fetch_part *part = container_of(op, struct service_fetch_part, op.op);
    struct service_fetch *f = part->request;
    part->completed = true;
    if (part->op.error != 0) {
        service_complete_where(f->service, part->op.group, &part->op.where);
    }
    if (part->op.error != 0 || part->op.n > 0) {
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

    f->service = s;
    if (f->max_bytes == 0 || f->max_bytes > SERVICE_FETCH_MAX_BYTES) {
        f->max_bytes = SERVICE_FETCH_MAX_BYTES;
    }
    timer_init(&f->timer, timed_out);
    f->pending = 1;
    f->cancelling = wait_ms == 0;
    for (uint32_t i = 0; i < f->n; i++) {
        struct service_fetch_part *part = &f->parts[i];
        part->request = f;
        part->op.op.run = partition_fetch_run;
        part->op.op.done = part_done;
        part->op.error = service_find_group(s, &part->topic_id, part->partition, &part->op.group);
        if (part->op.error != 0) {
            part->completed = true;
            service_fetch_cancel(f);
            continue;
        }
        if (part->op.max_bytes > f->max_bytes) {
            part->op.max_bytes = f->max_bytes;
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
