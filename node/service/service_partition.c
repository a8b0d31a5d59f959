#include "node/service/service_partition.h"

#include <stdlib.h>

#include "node/fsm/partition/partition_fsm.h"
#include "node/service/service_internal.h"

/* ---- where epochs end ------------------------------------------------------------------------------------------------- */

struct service_epoch_ends *service_epoch_ends_new(uint32_t parts)
{
    struct service_epoch_ends *e = calloc(1, sizeof *e + parts * sizeof e->parts[0]);
    if (e != NULL) {
        e->n = parts;
    }
    return e;
}

static void epoch_release_one(struct service_epoch_ends *e)
{
    e->pending--;
    if (e->pending == 0) {
        e->done(e);
    }
}

static void epoch_part_done(struct shard_op *op)
{
    struct service_epoch_ends_part *part = container_of(op, struct service_epoch_ends_part, op.op);
    if (part->op.error != 0) {
        service_complete_where(part->request->service, part->op.group, &part->op.where);
    }
    epoch_release_one(part->request);
}

void service_epoch_ends(struct service *s, struct service_epoch_ends *e)
{
    e->service = s;
    e->pending = e->n + 1; /* one for this loop: answers may come inside the calls */
    for (uint32_t i = 0; i < e->n; i++) {
        struct service_epoch_ends_part *part = &e->parts[i];
        part->request = e;
        part->op.op.run = partition_epoch_end_run;
        part->op.op.done = epoch_part_done;
        part->op.error = service_find_group(s, &part->topic_id, part->partition, &part->op.group);
        if (part->op.error != 0) {
            e->pending--;
            continue;
        }
        shards_submit(control_shards(s->control), part->op.group, &part->op.op);
    }
    epoch_release_one(e);
}

/* ---- trim ------------------------------------------------------------------------------------------------------------------ */

struct service_trims *service_trims_new(uint32_t parts)
{
    struct service_trims *t = calloc(1, sizeof *t + parts * sizeof t->parts[0]);
    if (t != NULL) {
        t->n = parts;
    }
    return t;
}

static void trim_release_one(struct service_trims *t)
{
    t->pending--;
    if (t->pending == 0) {
        t->done(t);
    }
}

static void trim_part_done(struct shard_op *op)
{
    struct service_trims_part *part = container_of(op, struct service_trims_part, op.op);
    if (part->op.error != 0) {
        service_complete_where(part->request->service, part->op.group, &part->op.where);
    }
    trim_release_one(part->request);
}

void service_trims(struct service *s, struct service_trims *t)
{
    bool known = metadata_fsm_version(service_metadata(s)) >= PARTITION_COMMAND_METADATA_VERSION;

    t->service = s;
    t->pending = t->n + 1;
    for (uint32_t i = 0; i < t->n; i++) {
        struct service_trims_part *part = &t->parts[i];
        part->request = t;
        part->op.op.run = partition_trim_run;
        part->op.op.done = trim_part_done;
        part->op.error = known ? service_find_group(s, &part->topic_id, part->partition, &part->op.group) : ERR_VERSION;
        if (part->op.error != 0) {
            t->pending--;
            continue;
        }
        shards_submit(control_shards(s->control), part->op.group, &part->op.op);
    }
    trim_release_one(t);
}
