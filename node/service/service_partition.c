#include "node/service/service_partition.h"

#include <stdlib.h>

#include "node/fsm/partition/partition_fsm.h"
#include "node/service/service_internal.h"

/* ---- where epochs end
 * ------------------------------------------------------------------------------------------------- */

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

/* ---- trim
 * ------------------------------------------------------------------------------------------------------------------ */

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

/* ---- describe
 * ---------------------------------------------------------------------------------------------------------------- */

struct service_describes *service_describes_new(uint32_t parts)
{
    struct service_describes *d = calloc(1, sizeof *d + parts * sizeof d->parts[0]);
    if (d != NULL) {
        d->n = parts;
    }
    return d;
}

void service_describes_free(struct service_describes *d)
{
    for (uint32_t i = 0; d != NULL && i < d->n; i++) {
        free(d->parts[i].op.producers);
    }
    free(d);
}

static void describe_release_one(struct service_describes *d)
{
    d->pending--;
    if (d->pending == 0) {
        d->done(d);
    }
}

static void describe_part_done(struct shard_op *op)
{
    describe_release_one(container_of(op, struct service_describes_part, op.op)->request);
}

void service_describes(struct service *s, struct service_describes *d)
{
    d->service = s;
    d->pending = d->n + 1;
    for (uint32_t i = 0; i < d->n; i++) {
        struct service_describes_part *part = &d->parts[i];
        part->request = d;
        part->op.leader_only = d->leader_only;
        part->op.op.run = partition_describe_run;
        part->op.op.done = describe_part_done;
        part->op.error = service_find_group(s, &part->topic_id, part->partition, &part->op.group);
        if (part->op.error != 0) {
            d->pending--;
            continue;
        }
        shards_submit(control_shards(s->control), part->op.group, &part->op.op);
    }
    describe_release_one(d);
}

/* ---- preferred leaders
 * --------------------------------------------------------------------------------------------------------- */

#define ELECTION_POLL_MS 50

struct service_elections *service_elections_new(uint32_t parts)
{
    struct service_elections *e = calloc(1, sizeof *e + parts * sizeof e->parts[0]);
    if (e != NULL) {
        e->n = parts;
        list_init(&e->link);
    }
    return e;
}

static void election_release_one(struct service_elections *e)
{
    e->pending--;
    if (e->pending == 0) {
        e->done(e);
    }
}

static void election_transferred(struct shard_op *op)
{
    election_release_one(container_of(op, struct service_elections_part, op.op)->request);
}

/* True while it is worth waiting for. */
static bool election_look(struct service_elections_part *part, bool first)
{
    struct service *s = part->request->service;
    const struct metadata_partition *p =
        metadata_topic_partition(metadata_fsm_topic(service_metadata(s), &part->topic_id), part->partition);

    if (p == NULL) {
        part->error = ERR_UNKNOWN_TOPIC;
        return false;
    }
    if (control_leader_of(s->control, p->group, NULL) == p->preferred_node) {
        part->error = first ? ERR_EXISTS : 0;
        return false;
    }
    if (p->preferred_node != control_node(s->control) && !control_node_alive(s->control, p->preferred_node)) {
        part->error = ERR_LEADER_NOT_READY;
        return false;
    }
    part->error = ERR_TIMEOUT;
    if (first && control_leader_of(s->control, p->group, NULL) == control_node(s->control)) {
        part->op.group = p->group;
        part->op.node = p->preferred_node;
        part->op.op.run = partition_transfer_run;
        part->op.op.done = election_transferred;
        part->request->pending++;
        shards_submit(control_shards(s->control), p->group, &part->op.op);
    }
    return true;
}

static void election_poll(struct service_elections *e, bool first)
{
    struct service *s = e->service;
    bool waiting = false;

    list_remove(&e->link);
    for (uint32_t i = 0; i < e->n; i++) {
        struct service_elections_part *part = &e->parts[i];
        if (first || part->waiting) {
            part->request = e;
            part->waiting = election_look(part, first);
        }
        waiting = waiting || part->waiting;
    }
    if (!waiting || s->ending || env_now_ms(s->env) >= e->deadline_ms) {
        election_release_one(e);
        return;
    }
    list_push_back(&s->electing, &e->link);
    env_timer_start(s->env, &e->timer, ELECTION_POLL_MS);
}

static void election_timer(struct timer *timer)
{
    election_poll(container_of(timer, struct service_elections, timer), false);
}

void service_elections(struct service *s, struct service_elections *e)
{
    uint32_t timeout_ms = e->timeout_ms < SERVICE_TIMEOUT_MAX_MS ? e->timeout_ms : SERVICE_TIMEOUT_MAX_MS;

    e->service = s;
    e->deadline_ms = env_now_ms(s->env) + timeout_ms;
    e->pending = 1;
    timer_init(&e->timer, election_timer);
    election_poll(e, true);
}

void service_end_elections(struct service *s)
{
    while (!list_empty(&s->electing)) {
        struct service_elections *e = list_entry(s->electing.next, struct service_elections, link);
        env_timer_stop(s->env, &e->timer);
        election_poll(e, false);
    }
}

void service_abandon_elections(struct service *s)
{
    struct list *pos;
    while ((pos = list_pop_front(&s->electing)) != NULL) {
        env_timer_stop(s->env, &list_entry(pos, struct service_elections, link)->timer);
    }
}
