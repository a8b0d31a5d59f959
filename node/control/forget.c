/* Offsets that were committed of topics that are deleted now: the coordinators here are told to forget them. A coordinator
 * cannot know by itself, and a topic that the local read model does not know may as well be new: so what counts is that it
 * is known to be deleted. Looked at after a deletion and after a coordinator has moved here, until nothing is found. */
#include <stdlib.h>

#include "node/control/control_internal.h"
#include "node/shard/group_runtime.h"

struct forget_op {
    struct coordinator_topics topics;
    struct control *control;
    struct list link;
};

void forget_init(struct control *c)
{
    list_init(&c->forget.operations);
}

static void end_op(struct forget_op *op)
{
    list_remove(&op->link);
    free(op->topics.topics);
    free(op);
}

static void forgotten(struct shard_op *shard_op)
{
    end_op(container_of(shard_op, struct forget_op, topics.op));
}

static void named(struct shard_op *shard_op)
{
    struct forget_op *op = container_of(shard_op, struct forget_op, topics.op);
    struct control *c = op->control;
    uint32_t n = 0;
    for (uint32_t i = 0; i < op->topics.n; i++) {
        if (metadata_fsm_topic_deleted(c->metadata.fsm, &op->topics.topics[i])) {
            op->topics.topics[n++] = op->topics.topics[i];
        }
    }
    if (n == 0 || c->closing) {
        end_op(op);
        return;
    }
    c->forget.seen = 0; /* whether they went is looked at again */
    op->topics.n = n;
    op->topics.op.run = coordinator_topics_forget_run;
    op->topics.op.done = forgotten;
    shards_submit(c->shards, op->topics.group, &op->topics.op);
}

/* Something to tell one state of deletions and coordinators here from another; never 0. */
static uint64_t present(const struct control *c, const struct metadata_topic *t)
{
    uint64_t sum = 1 + metadata_fsm_deleted_topics(c->metadata.fsm);
    for (uint32_t i = 0; i < t->n_partitions; i++) {
        uint64_t term = 0;
        if (control_leader_of(c, t->partitions[i].group, &term) == c->node) {
            sum = sum * 31 + t->partitions[i].group + (term << 8);
        }
    }
    return sum | 1;
}

void forget_tick(struct control *c, uint64_t now_ms)
{
    const struct metadata_topic *t = metadata_fsm_coordinators(c->metadata.fsm);
    uint64_t now;

    if (now_ms < c->forget.next_ms || t == NULL || !c->metadata.confirmed ||
        metadata_fsm_deleted_topics(c->metadata.fsm) == 0 || !list_empty(&c->forget.operations)) {
        return;
    }
    c->forget.next_ms = now_ms + CONTROL_FORGET_MS;
    now = present(c, t);
    if (now == c->forget.seen) {
        return;
    }
    c->forget.seen = now;
    for (uint32_t i = 0; i < t->n_partitions; i++) {
        struct forget_op *op;
        if (control_leader_of(c, t->partitions[i].group, NULL) != c->node) {
            continue;
        }
        op = calloc(1, sizeof *op);
        if (op == NULL) {
            c->forget.seen = 0;
            return;
        }
        op->control = c;
        op->topics.group = t->partitions[i].group;
        op->topics.op.run = coordinator_topics_run;
        op->topics.op.done = named;
        list_push_back(&c->forget.operations, &op->link);
        shards_submit(c->shards, op->topics.group, &op->topics.op);
    }
}

void forget_free(struct control *c)
{
    while (!list_empty(&c->forget.operations)) {
        end_op(list_entry(c->forget.operations.next, struct forget_op, link));
    }
}
