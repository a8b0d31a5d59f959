/* Where partitions end, of those who lead them: on this node's shards, or asked of the leaders' nodes. For the lag of
 * consumer groups, so nothing here is linearizable, and what cannot be learned in time is simply not known. */
#include <stdlib.h>

#include "node/control/control_internal.h"
#include "node/shard/partition_lag.h"

/* Some ends that are led here, for @ask or for the node @peer. */
struct ends_batch;
struct ends_op {
    struct partition_lag lag;
    struct ends_batch *batch;
    uint32_t place; /* in @ask */
};
struct ends_batch {
    struct control *control;
    struct list link;
    struct control_log_ends *ask; /* NULL: a peer's, or given up */
    uint32_t peer;
    uint64_t id;
    uint32_t n;
    uint32_t next;
    uint32_t under_way;
    bool pumping;
    struct ends_op ops[];
};

/* Some ends that were asked of a peer. */
struct ends_call {
    struct list link;
    uint64_t id;
    uint32_t peer;
    struct control_log_ends *ask;
    uint32_t n;
    uint32_t places[];
};

void log_ends_init(struct control *c)
{
    list_init(&c->log_ends.batches);
    list_init(&c->log_ends.calls);
}

static void release(struct control_log_ends *ask)
{
    ask->pending--;
    if (ask->pending == 0) {
        ask->done(ask);
    }
}

/* ---- on the leader's node ------------------------------------------------------------------------------------ */

static void respond(struct control *c, const struct ends_batch *b)
{
    Cairn__Cluster__LogEnds m = CAIRN__CLUSTER__LOG_ENDS__INIT;
    Cairn__Cluster__LogEnd *ends = calloc(b->n, sizeof *ends);
    Cairn__Cluster__LogEnd **pointers = calloc(b->n, sizeof *pointers);
    size_t size;
    uint8_t *message = NULL;

    if (ends == NULL || pointers == NULL) {
        goto out;
    }
    for (uint32_t i = 0; i < b->n; i++) {
        const struct partition_lag *lag = &b->ops[i].lag;
        cairn__cluster__log_end__init(&ends[i]);
        ends[i].group = lag->group;
        ends[i].offset = lag->offset;
        ends[i].error = (uint32_t)lag->error;
        ends[i].log_start = lag->log_start;
        ends[i].high_watermark = lag->high_watermark;
        ends[i].time_ms = lag->time_ms;
        pointers[i] = &ends[i];
    }
    m.id = b->id;
    m.answer = true;
    m.ends = pointers;
    m.n_ends = b->n;
    size = cairn__cluster__log_ends__get_packed_size(&m);
    message = malloc(size);
    if (message != NULL) {
        cairn__cluster__log_ends__pack(&m, message);
        if (transport_control(c->transport, b->peer, CALL_PEER_LOG_ENDS, message, size) != 0) {
            goto out; /* the asker's time limit tells it */
        }
    }
out:
    free(message);
    free(ends);
    free(pointers);
}

static void finish_batch(struct ends_batch *b)
{
    struct control *c = b->control;
    for (uint32_t i = 0; b->ask != NULL && i < b->n; i++) {
        const struct partition_lag *lag = &b->ops[i].lag;
        struct control_log_end *end = &b->ask->ends[b->ops[i].place];
        end->error = lag->error;
        end->log_start = lag->log_start;
        end->high_watermark = lag->high_watermark;
        end->time_ms = lag->time_ms;
    }
    if (b->peer != 0 && !c->closing) {
        respond(c, b);
    }
    c->log_ends.serving -= b->peer != 0;
    list_remove(&b->link);
    if (b->ask != NULL) {
        release(b->ask);
    }
    free(b);
}

/* A few at a time: each may read a batch of records to see when it was appended. */
static void pump(struct ends_batch *b)
{
    if (b->pumping) {
        return;
    }
    b->pumping = true;
    while (b->next < b->n && b->under_way < CONTROL_LOG_ENDS_AT_ONCE) {
        struct ends_op *op = &b->ops[b->next++];
        b->under_way++;
        shards_submit(b->control->shards, op->lag.group, &op->lag.op);
    }
    b->pumping = false;
    if (b->next == b->n && b->under_way == 0) {
        finish_batch(b);
    }
}

static void op_done(struct shard_op *shard_op)
{
    struct ends_batch *b = container_of(shard_op, struct ends_op, lag.op)->batch;
    b->under_way--;
    if (b->control->closing) {
        b->n = b->next; /* the shards take no more */
    }
    pump(b);
}

static struct ends_batch *batch_new(struct control *c, uint32_t capacity)
{
    struct ends_batch *b = calloc(1, sizeof *b + capacity * sizeof b->ops[0]);
    if (b == NULL) {
        return NULL;
    }
    b->control = c;
    list_push_back(&c->log_ends.batches, &b->link);
    return b;
}

static void batch_add(struct ends_batch *b, uint64_t group, int64_t offset, uint32_t place)
{
    struct ends_op *op = &b->ops[b->n++];
    op->batch = b;
    op->place = place;
    op->lag.group = group;
    op->lag.offset = offset;
    op->lag.error = ERR_LEADER_NOT_READY;
    op->lag.op.run = partition_lag_run;
    op->lag.op.done = op_done;
}

static void serve(struct control *c, uint32_t node, const Cairn__Cluster__LogEnds *m)
{
    struct ends_batch *b;
    if (m->n_ends == 0 || m->n_ends > CONTROL_LOG_ENDS_MAX || c->log_ends.serving >= CONTROL_LOG_ENDS_SERVED_MAX) {
        return;
    }
    b = batch_new(c, (uint32_t)m->n_ends);
    if (b == NULL) {
        return;
    }
    c->log_ends.serving++;
    b->peer = node;
    b->id = m->id;
    for (size_t i = 0; i < m->n_ends; i++) {
        batch_add(b, m->ends[i]->group, m->ends[i]->offset, 0);
    }
    pump(b);
}

/* ---- on the asker's node ------------------------------------------------------------------------------------- */

static void end_call(struct ends_call *call, int error)
{
    for (uint32_t i = 0; error != 0 && i < call->n; i++) {
        call->ask->ends[call->places[i]].error = error;
    }
    list_remove(&call->link);
    release(call->ask);
    free(call);
}

static void answered(struct control *c, uint32_t node, const Cairn__Cluster__LogEnds *m)
{
    list_for_each (pos, &c->log_ends.calls) {
        struct ends_call *call = list_entry(pos, struct ends_call, link);
        if (call->id != m->id || call->peer != node) {
            continue;
        }
        for (uint32_t i = 0; i < call->n && i < m->n_ends; i++) {
            struct control_log_end *end = &call->ask->ends[call->places[i]];
            const Cairn__Cluster__LogEnd *told = m->ends[i];
            if (told->group == end->group) {
                end->error = (int)told->error;
                end->log_start = told->log_start;
                end->high_watermark = told->high_watermark;
                end->time_ms = told->time_ms;
            }
        }
        end_call(call, 0);
        return;
    }
}

void log_ends_receive(struct control *c, uint32_t node, const uint8_t *message, size_t size)
{
    Cairn__Cluster__LogEnds *m = control_is_formed(c) ? cairn__cluster__log_ends__unpack(NULL, size, message) : NULL;
    if (m == NULL) {
        return;
    }
    if (m->answer) {
        answered(c, node, m);
    } else {
        serve(c, node, m);
    }
    cairn__cluster__log_ends__free_unpacked(m, NULL);
}

static int send_call(struct control *c, struct ends_call *call)
{
    Cairn__Cluster__LogEnds m = CAIRN__CLUSTER__LOG_ENDS__INIT;
    Cairn__Cluster__LogEnd *ends = calloc(call->n, sizeof *ends);
    Cairn__Cluster__LogEnd **pointers = calloc(call->n, sizeof *pointers);
    uint8_t *message = NULL;
    size_t size;
    int rv = ERR_NOMEM;

    if (ends == NULL || pointers == NULL) {
        goto out;
    }
    for (uint32_t i = 0; i < call->n; i++) {
        cairn__cluster__log_end__init(&ends[i]);
        ends[i].group = call->ask->ends[call->places[i]].group;
        ends[i].offset = call->ask->ends[call->places[i]].offset;
        pointers[i] = &ends[i];
    }
    m.id = call->id;
    m.ends = pointers;
    m.n_ends = call->n;
    size = cairn__cluster__log_ends__get_packed_size(&m);
    message = malloc(size);
    if (message != NULL) {
        cairn__cluster__log_ends__pack(&m, message);
        rv = transport_control(c->transport, call->peer, CALL_PEER_LOG_ENDS, message, size);
    }
out:
    free(message);
    free(ends);
    free(pointers);
    return rv;
}

/* Ask @node about what it leads of @ask, CONTROL_LOG_ENDS_MAX at a time: from place @from on. Returns where to go on. */
static uint32_t ask_some(struct control *c, struct control_log_ends *ask, uint32_t node, uint32_t from)
{
    struct ends_call *call = calloc(1, sizeof *call + CONTROL_LOG_ENDS_MAX * sizeof call->places[0]);
    uint32_t i = from;
    if (call == NULL) {
        return ask->n; /* the rest stays "not known" */
    }
    call->ask = ask;
    call->peer = node;
    call->id = control_calls_new_id(c);
    for (; i < ask->n && call->n < CONTROL_LOG_ENDS_MAX; i++) {
        if (control_leader_of(c, ask->ends[i].group, NULL) == node) {
            call->places[call->n++] = i;
        }
    }
    ask->pending++;
    list_push_back(&c->log_ends.calls, &call->link);
    if (call->n == 0 || send_call(c, call) != 0) {
        end_call(call, 0);
    }
    return i;
}

static void ask_shards(struct control *c, struct control_log_ends *ask)
{
    struct ends_batch *b = batch_new(c, ask->n);
    if (b == NULL) {
        return;
    }
    b->ask = ask;
    for (uint32_t i = 0; i < ask->n; i++) {
        if (control_leader_of(c, ask->ends[i].group, NULL) == c->node) {
            batch_add(b, ask->ends[i].group, ask->ends[i].offset, i);
        }
    }
    ask->pending++;
    pump(b);
}

void control_log_ends(struct control *c, struct control_log_ends *ask)
{
    ask->pending = 1; /* for the calls below: answers may come inside */
    ask->deadline_ms = env_now_ms(c->env) + CONTROL_LOG_ENDS_TIMEOUT_MS;
    for (uint32_t i = 0; i < ask->n; i++) {
        ask->ends[i].error = ERR_LEADER_NOT_READY;
        ask->ends[i].time_ms = -1;
    }
    if (!c->closing) {
        ask_shards(c, ask);
        for (const struct control_peer *p = c->peers; p != NULL; p = p->hh.next) {
            for (uint32_t i = 0; p->up && i < ask->n;) {
                i = ask_some(c, ask, p->node, i);
            }
        }
    }
    release(ask);
}

/* ---- ends ---------------------------------------------------------------------------------------------------- */

void log_ends_tick(struct control *c, uint64_t now_ms)
{
again:
    list_for_each (pos, &c->log_ends.calls) {
        struct ends_call *call = list_entry(pos, struct ends_call, link);
        if (now_ms >= call->ask->deadline_ms) {
            end_call(call, ERR_TIMEOUT);
            if (c->closing) {
                return;
            }
            goto again; /* who was told may have asked again: the list may be another one */
        }
    }
}

void log_ends_link_down(struct control *c, uint32_t node)
{
again:
    list_for_each (pos, &c->log_ends.calls) {
        struct ends_call *call = list_entry(pos, struct ends_call, link);
        if (call->peer == node) {
            end_call(call, ERR_LEADER_NOT_READY);
            goto again;
        }
    }
}

void log_ends_end(struct control *c)
{
    while (!list_empty(&c->log_ends.calls)) {
        end_call(list_entry(c->log_ends.calls.next, struct ends_call, link), ERR_SHUTDOWN);
    }
}

void log_ends_free(struct control *c)
{
    struct list *pos;
    while ((pos = list_pop_front(&c->log_ends.calls)) != NULL) {
        free(list_entry(pos, struct ends_call, link));
    }
    while ((pos = list_pop_front(&c->log_ends.batches)) != NULL) {
        free(list_entry(pos, struct ends_batch, link));
    }
}
