/* Calls to the coordinators that live here. */
#include "node/service/service_group.h"

#include <stdlib.h>

#include "node/service/service_internal.h"

struct service_groups *service_groups_new(uint32_t calls)
{
    struct service_groups *g = calloc(1, sizeof *g + calls * sizeof g->calls[0]);
    if (g == NULL) {
        return NULL;
    }
    g->n = calls;
    list_init(&g->link);
    return g;
}

void service_groups_free(struct service_groups *g)
{
    if (g == NULL) {
        return;
    }
    for (uint32_t i = 0; i < g->n; i++) {
        coordinator_request_release(&g->calls[i].op.u.request);
    }
    free(g);
}

/* The consumer group that a call names; NULL: none (list). */
static const char *group_named(const struct coordinator_op *op)
{
    switch (op->verb) {
    case COORDINATOR_JOIN:
        return op->u.join.group;
    case COORDINATOR_SYNC:
        return op->u.sync.group;
    case COORDINATOR_HEARTBEAT:
        return op->u.heartbeat.group;
    case COORDINATOR_LEAVE:
        return op->u.leave.group;
    case COORDINATOR_COMMIT:
        return op->u.commit.group;
    case COORDINATOR_FETCH:
        return op->u.fetch.group;
    case COORDINATOR_FORGET:
        return op->u.forget.group;
    case COORDINATOR_DELETE:
        return op->u.del.group;
    case COORDINATOR_DESCRIBE:
        return op->u.describe.group;
    case COORDINATOR_LIST:
        return NULL;
    }
    return NULL;
}

/* ---- topics -------------------------------------------------------------------------------------------------------------- */

static const struct metadata_topic *topic_of(const struct service *s, const struct coordinator_part *part)
{
    if (!uuid_is_nil(&part->topic)) {
        return metadata_fsm_topic(service_metadata(s), &part->topic);
    }
    return part->topic_name == NULL ? NULL : metadata_fsm_topic_named(service_metadata(s), part->topic_name);
}

/* @must_exist: what is not there is an error of its part; the others go on. */
static void resolve(const struct service *s, struct coordinator_part *parts, uint32_t n, bool must_exist)
{
    for (uint32_t i = 0; i < n; i++) {
        const struct metadata_topic *t = topic_of(s, &parts[i]);
        bool exists = metadata_topic_partition(t, parts[i].partition) != NULL;
        parts[i].error = exists || !must_exist ? 0 : ERR_UNKNOWN_TOPIC;
        if (t != NULL) {
            parts[i].topic = t->id;
        }
    }
}

/* A coordinator compares names with subscriptions, perhaps on another thread while this one applies a deletion: it gets
 * copies. Without one (memory) it refuses. */
static void copy_names(const struct service *s, struct coordinator_part *parts, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        const struct metadata_topic *t = metadata_fsm_topic(service_metadata(s), &parts[i].topic);
        if (parts[i].topic_name == NULL && t != NULL) {
            parts[i].metadata_out = group_blob_text(t->name);
            parts[i].topic_name = parts[i].metadata_out == NULL ? NULL : parts[i].metadata_out->data;
        }
    }
}

static void drop_names(struct coordinator_part *parts, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        if (parts[i].metadata_out != NULL) {
            group_blob_release(parts[i].metadata_out);
            parts[i].metadata_out = NULL;
            parts[i].topic_name = NULL;
        }
    }
}

static void name_parts(const struct service *s, struct coordinator_part *parts, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        const struct metadata_topic *t = metadata_fsm_topic(service_metadata(s), &parts[i].topic);
        if (parts[i].topic_name == NULL && t != NULL) {
            parts[i].topic_name = t->name;
        }
    }
}

/* Of all that a group has committed, what belongs to topics that are gone is nobody's business. */
static void drop_deleted(const struct service *s, struct coordinator_fetch *f)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < f->n_parts; i++) {
        if (metadata_fsm_topic(service_metadata(s), &f->parts[i].topic) == NULL) {
            group_blob_release(f->parts[i].metadata_out);
        } else {
            f->parts[kept++] = f->parts[i];
        }
    }
    f->n_parts = kept;
}

static void before(struct service *s, struct coordinator_op *op)
{
    switch (op->verb) {
    case COORDINATOR_JOIN:
        op->u.join.uuid = uuid_from_random(env_random(s->env), env_random(s->env));
        break;
    case COORDINATOR_COMMIT:
        resolve(s, op->u.commit.parts, op->u.commit.n_parts, true);
        break;
    case COORDINATOR_FORGET:
        resolve(s, op->u.forget.parts, op->u.forget.n_parts, true);
        copy_names(s, op->u.forget.parts, op->u.forget.n_parts);
        break;
    case COORDINATOR_FETCH:
        if (!op->u.fetch.all) {
            resolve(s, op->u.fetch.parts, op->u.fetch.n_parts, false);
        }
        break;
    default:
        break;
    }
}

static void after(struct service *s, struct coordinator_op *op)
{
    switch (op->verb) {
    case COORDINATOR_COMMIT:
        name_parts(s, op->u.commit.parts, op->u.commit.n_parts);
        break;
    case COORDINATOR_FORGET:
        drop_names(op->u.forget.parts, op->u.forget.n_parts);
        name_parts(s, op->u.forget.parts, op->u.forget.n_parts);
        break;
    case COORDINATOR_FETCH:
        if (op->u.fetch.all && op->u.request.error == 0) {
            drop_deleted(s, &op->u.fetch);
        }
        name_parts(s, op->u.fetch.parts, op->u.fetch.n_parts);
        break;
    default:
        break;
    }
}

/* ---- calls --------------------------------------------------------------------------------------------------------------- */

static void release_one(struct service_groups *g)
{
    g->pending--;
    if (g->pending == 0) {
        g->done(g);
    }
}

static void call_done(struct shard_op *op)
{
    struct service_group_call *call = container_of(op, struct service_group_call, op.op);
    after(call->request->service, &call->op);
    release_one(call->request);
}

static void submit(struct service *s, struct service_group_call *call, uint64_t internal)
{
    call->op.group = internal;
    call->op.op.run = coordinator_op_run;
    call->op.op.done = call_done;
    before(s, &call->op);
    shards_submit(control_shards(s->control), internal, &call->op.op);
}

static void begin(struct service *s, struct service_groups *g)
{
    g->service = s;
    g->pending = g->n + 1; /* one for the loop that submits: answers may come inside the calls */
    for (uint32_t i = 0; i < g->n; i++) {
        g->calls[i].request = g;
    }
}

/* That nothing was committed of a topic makes consumers begin anew: not to be said because the local read model lags. */
static bool lacks(const struct service *s, const struct coordinator_op *op)
{
    const struct coordinator_fetch *f = &op->u.fetch;
    if (op->verb != COORDINATOR_FETCH || f->unchecked) {
        return false;
    }
    for (uint32_t i = 0; !f->all && i < f->n_parts; i++) {
        if (uuid_is_nil(&f->parts[i].topic) && topic_of(s, &f->parts[i]) == NULL) {
            return true;
        }
    }
    return f->all;
}

/* @error: what a call that needs a current read model is refused with; 0: it is current, or none does. */
static void run_calls(struct service *s, struct service_groups *g, int error)
{
    for (uint32_t i = 0; i < g->n; i++) {
        struct service_group_call *call = &g->calls[i];
        uint64_t internal = service_internal_group(s, group_named(&call->op));
        if (internal == 0 || s->ending) {
            call->op.u.request.error = s->ending ? ERR_SHUTDOWN : ERR_NOT_COORDINATOR;
            g->pending--;
        } else if (error != 0 && lacks(s, &call->op)) {
            call->op.u.request.error = error;
            g->pending--;
        } else {
            submit(s, call, internal);
        }
    }
    release_one(g);
}

static void current(struct control_barrier *barrier, int error)
{
    struct service_groups *g = container_of(barrier, struct service_groups, barrier);
    run_calls(g->service, g, error == 0 ? 0 : ERR_LEADER_NOT_READY);
}

void service_groups(struct service *s, struct service_groups *g)
{
    begin(s, g);
    for (uint32_t i = 0; i < g->n && !s->ending; i++) {
        if (lacks(s, &g->calls[i].op) && service_internal_group(s, g->calls[i].op.u.fetch.group) != 0) {
            g->barrier.done = current;
            g->barrier.timeout_ms = SERVICE_FIND_TIMEOUT_MS;
            control_barrier(s->control, &g->barrier);
            return;
        }
    }
    run_calls(s, g, 0);
}

/* ---- list ---------------------------------------------------------------------------------------------------------------- */

static void listed(struct service_groups *g)
{
    struct service_list_groups *l = g->data;
    for (uint32_t i = 0; i < g->n; i++) {
        int error = service_group_error(&g->calls[i]);
        if (error != 0 && error != ERR_NOT_COORDINATOR) {
            l->error = error;
        }
    }
    l->done(l);
}

void service_list_groups(struct service *s, struct service_list_groups *l)
{
    const struct metadata_topic *t = metadata_fsm_coordinators(service_metadata(s));
    l->service = s;
    l->error = 0;
    l->groups = service_groups_new(t == NULL || s->ending ? 0 : t->n_partitions);
    if (l->groups == NULL) {
        l->error = ERR_NOMEM;
        l->done(l);
        return;
    }
    l->groups->ctx = l->ctx;
    l->groups->done = listed;
    l->groups->data = l;
    begin(s, l->groups);
    for (uint32_t i = 0; i < l->groups->n; i++) {
        struct service_group_call *call = &l->groups->calls[i];
        call->op.verb = COORDINATOR_LIST;
        call->op.u.list.states = l->states;
        submit(s, call, t->partitions[i].group);
    }
    release_one(l->groups);
}

void service_list_groups_close(struct service_list_groups *l)
{
    service_groups_free(l->groups);
    l->groups = NULL;
}
