/* Leaders go where they are preferred, a few at a time and only to nodes that have been up for a while; and away from
 * this node before it stops. */
#include <stdlib.h>

#include "node/control/control_internal.h"

struct balance_op {
    struct control *control;
    struct list link;
    struct partition_transfer transfer;
};

void balance_init(struct control *c)
{
    list_init(&c->balance.transfers);
}

static void transferred(struct shard_op *shard_op)
{
    struct balance_op *op = container_of(shard_op, struct balance_op, transfer.op);
    list_remove(&op->link);
    free(op);
}

static void transfer(struct control *c, uint64_t group, uint32_t node)
{
    struct balance_op *op = calloc(1, sizeof *op);
    if (op == NULL) {
        return;
    }
    op->control = c;
    op->transfer.group = group;
    op->transfer.node = node;
    op->transfer.op.run = partition_transfer_run;
    op->transfer.op.done = transferred;
    list_push_back(&c->balance.transfers, &op->link);
    shards_submit(c->shards, group, &op->transfer.op);
}

static bool settled(const struct control *c, uint32_t node, uint64_t now_ms)
{
    const struct control_peer *p = control_peers_find(c, node);
    return p != NULL && p->up && now_ms - p->up_ms >= CONTROL_BALANCE_UP_MS && control_node_alive(c, node);
}

static void give_back(struct control *c, uint64_t now_ms)
{
    uint32_t n = 0;
    for (const struct leader *l = c->leaders.table; l != NULL && n < CONTROL_BALANCE_BATCH; l = l->hh.next) {
        const struct metadata_partition *p;
        if (l->node != c->node || l->group == METADATA_GROUP) {
            continue;
        }
        p = metadata_fsm_partition_of_group(c->metadata.fsm, l->group);
        if (p != NULL && p->preferred_node != c->node && settled(c, p->preferred_node, now_ms)) {
            transfer(c, l->group, p->preferred_node);
            n++;
        }
    }
    if (n > 0) {
        log_event(c->env->logger, LOG_INFO, "leaders_given_back", "node=%u groups=%u", c->node, n);
    }
}

/* Leaderships that somebody else could take over. */
static bool leads_what_others_could(const struct control *c)
{
    for (const struct leader *l = c->leaders.table; l != NULL; l = l->hh.next) {
        const struct metadata_partition *p;
        if (l->node != c->node) {
            continue;
        }
        if (l->group == METADATA_GROUP) {
            if (c->metadata.leading && core_config_voters(group_config(c->metadata.group)) > 1) {
                return true;
            }
            continue;
        }
        p = metadata_fsm_partition_of_group(c->metadata.fsm, l->group);
        if (p != NULL && p->n_replicas > 1) {
            return true;
        }
    }
    return false;
}

void control_hand_over(struct control *c, uint32_t limit_ms, void (*done)(void *data), void *data)
{
    uint64_t now_ms = env_now_ms(c->env);
    c->balance.handing_over = true;
    c->balance.hand_over_limit_ms = now_ms + limit_ms;
    c->balance.hand_over_again_ms = now_ms + CONTROL_HAND_OVER_AGAIN_MS;
    c->balance.handed_over = done;
    c->balance.handed_over_data = data;
    log_event(c->env->logger, LOG_INFO, "hand_over", "node=%u groups=%u limit_ms=%u", c->node, c->leaders.own,
              limit_ms);
    shards_hand_over(c->shards);
}

static void hand_over_tick(struct control *c, uint64_t now_ms)
{
    void (*done)(void *data) = c->balance.handed_over;
    bool leads = leads_what_others_could(c);

    if (done == NULL) {
        return;
    }
    if (leads && now_ms < c->balance.hand_over_limit_ms) {
        if (now_ms >= c->balance.hand_over_again_ms) {
            c->balance.hand_over_again_ms = now_ms + CONTROL_HAND_OVER_AGAIN_MS;
            shards_hand_over(c->shards);
        }
        return;
    }
    log_event(c->env->logger, LOG_INFO, "hand_over_ended", "node=%u groups_left=%u", c->node, c->leaders.own);
    c->balance.handed_over = NULL;
    done(c->balance.handed_over_data);
}

void balance_tick(struct control *c, uint64_t now_ms)
{
    if (c->balance.handing_over) {
        hand_over_tick(c, now_ms);
        return;
    }
    if (now_ms < c->balance.next_ms) {
        return;
    }
    if (c->balance.next_ms != 0 && c->metadata.confirmed) {
        give_back(c, now_ms);
    }
    c->balance.next_ms = now_ms + CONTROL_BALANCE_MS + env_random(c->env) % CONTROL_BALANCE_MS;
}

void balance_free(struct control *c)
{
    struct list *pos;
    while ((pos = list_pop_front(&c->balance.transfers)) != NULL) {
        free(list_entry(pos, struct balance_op, link));
    }
}
